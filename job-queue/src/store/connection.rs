//! The connection: reconnects by itself, every call bounded, one repetition.

use std::time::Duration;

use super::Retention;
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{Cmd, ErrorKind, FromRedisValue, Pipeline, RedisError, ScriptInvocation};

/// Where the store is.
#[derive(Clone)]
pub struct RedisConfig {
    /// `redis://user:password@host:port/0`.
    pub url: String,
    /// How long records live after their end.
    pub retention: Retention,
}

/// The store could not do it.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The configuration cannot be used.
    #[error("cannot use the Redis configuration: {0}")]
    Config(String),
    /// No answer within the bound, or no connection. Nothing is known of what was asked.
    #[error("Redis is not available: {0}")]
    Unavailable(String),
    /// The server may evict keys.
    #[error("Redis evicts by `{0}`; Hookmill needs `maxmemory-policy noeviction`, or results would vanish")]
    Eviction(String),
    /// The server refused, or holds something this code does not understand.
    #[error("Redis answered: {0}")]
    Answer(String),
}

/// How long one call may take, the repetition included.
const CALL: Duration = Duration::from_millis(900);

#[derive(Clone)]
pub(super) struct Connection(ConnectionManager);

impl Connection {
    pub(super) fn open(config: &RedisConfig) -> Result<Self, StoreError> {
        let client = redis::Client::open(config.url.as_str())
            .map_err(|error| StoreError::Config(without_url(&error)))?;
        let options = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(Duration::from_millis(400)))
            // large results and a failover take longer than the crate's 500 ms
            .set_response_timeout(Some(Duration::from_secs(2)))
            .set_number_of_retries(1)
            .set_min_delay(Duration::from_millis(20))
            .set_max_delay(Duration::from_millis(200))
            .set_pipeline_buffer_size(1000);
        let manager = ConnectionManager::new_lazy_with_config(client, options);
        manager.map(Self).map_err(|error| StoreError::Config(without_url(&error)))
    }

    pub(super) async fn query<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, StoreError> {
        self.call(|mut connection| async move { command.query_async(&mut connection).await }).await
    }

    pub(super) async fn pipeline<T: FromRedisValue>(&self, pipeline: &Pipeline) -> Result<T, StoreError> {
        self.call(|mut connection| async move { pipeline.query_async(&mut connection).await }).await
    }

    pub(super) async fn invoke<T: FromRedisValue>(
        &self,
        script: &ScriptInvocation<'_>,
    ) -> Result<T, StoreError> {
        self.call(|mut connection| async move { script.invoke_async(&mut connection).await }).await
    }

    async fn call<T, F, Fut>(&self, ask: F) -> Result<T, StoreError>
    where
        F: Fn(ConnectionManager) -> Fut,
        Fut: Future<Output = redis::RedisResult<T>>,
    {
        let attempts = async {
            match ask(self.0.clone()).await {
                Err(error) if is_away(&error) => ask(self.0.clone()).await,
                answer => answer,
            }
        };
        let answer = match tokio::time::timeout(CALL, attempts).await {
            Ok(answer) => answer.map_err(|error| classify(&error)),
            Err(_) => Err(StoreError::Unavailable(format!("no answer within {} ms", CALL.as_millis()))),
        };
        answer.inspect_err(count)
    }
}

fn count(error: &StoreError) {
    let kind = match error {
        StoreError::Unavailable(_) => "unavailable",
        StoreError::Config(_) | StoreError::Eviction(_) | StoreError::Answer(_) => "refused",
    };
    metrics::counter!("job_queue_store_errors_total", "kind" => kind).increment(1);
}

fn is_away(error: &RedisError) -> bool {
    error.is_io_error()
        || error.is_timeout()
        || error.is_connection_dropped()
        || error.is_connection_refusal()
}

fn classify(error: &RedisError) -> StoreError {
    let away = is_away(error) || is_starting(error);
    if away { StoreError::Unavailable(error.to_string()) } else { StoreError::Answer(error.to_string()) }
}

/// Loading its data, out of memory, or not the primary: it will take the call later.
fn is_starting(error: &RedisError) -> bool {
    use redis::ServerErrorKind::{BusyLoading, ClusterDown, MasterDown, ReadOnly, TryAgain};
    match error.kind() {
        ErrorKind::Server(BusyLoading | ClusterDown | MasterDown | ReadOnly | TryAgain) => true,
        _ => error.code() == Some("OOM"),
    }
}

/// The crate's message may hold the URL, and that the password.
fn without_url(error: &RedisError) -> String {
    error.category().to_owned()
}
