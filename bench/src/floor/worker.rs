//! The floor's worker: pull, start write, Python, result write, completion, ack.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use async_nats::Client;
use async_nats::jetstream::consumer::{AckPolicy, PullConsumer, pull};
use async_nats::jetstream::{self, Message as Delivery};
use broker::names;
use broker::permissions::WORKER;
use bytes::Bytes;
use futures::StreamExt;
use redis::Script;
use redis::aio::ConnectionManager;
use uuid::Uuid;

use super::gateway::connect;
use super::message::{ENVELOPE, Message, completion};
use super::python::Pythons;
use super::{CONSUMER, INSTANCE, PYTHONS, SUBJECT};

/// What each pull asks for: smaller batches halve the throughput (peers.md).
const BATCH: usize = 256;

/// How long records live, seconds: as long as the product's.
const RETENTION_S: u64 = 168 * 3600;

/// As much as the product's start script stores of a small job: a record with the envelope, and the arguments.
const START: &str = "\
redis.call('HSET', KEYS[1], 'state', 'running', 'envelope', ARGV[1], 'worker', 'floor', 'attempt', 1)
redis.call('SET', KEYS[2], ARGV[2])
return 1";

/// As much as its end script stores: state, result, expiry.
const END: &str = "\
redis.call('HSET', KEYS[1], 'state', 'success')
redis.call('SET', KEYS[3], ARGV[1], 'EX', ARGV[2])
redis.call('EXPIRE', KEYS[1], ARGV[2])
redis.call('EXPIRE', KEYS[2], ARGV[2])
return 1";

/// Where NATS, Valkey and Python are.
#[derive(Debug, clap::Args)]
pub(crate) struct WorkerArgs {
    #[arg(long, env = "BENCH_FLOOR_NATS_URL")]
    nats_url: String,
    #[arg(long, env = "BENCH_FLOOR_NATS_PASSWORD", hide_env_values = true)]
    nats_password: String,
    #[arg(long, env = "BENCH_FLOOR_REDIS_URL", hide_env_values = true)]
    redis_url: String,
    #[arg(long, env = "BENCH_FLOOR_PYTHON")]
    python: PathBuf,
}

pub(super) fn environment(
    nats_url: &str,
    password: &str,
    redis_url: &str,
    python: &Path,
) -> Vec<(String, String)> {
    let pairs = [
        ("BENCH_FLOOR_NATS_URL", nats_url.to_owned()),
        ("BENCH_FLOOR_NATS_PASSWORD", password.to_owned()),
        ("BENCH_FLOOR_REDIS_URL", redis_url.to_owned()),
        ("BENCH_FLOOR_PYTHON", python.to_string_lossy().into_owned()),
    ];
    pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

struct Worker {
    client: Client,
    redis: ConnectionManager,
    start: Script,
    end: Script,
    pythons: Pythons,
}

impl WorkerArgs {
    /// Works until it is killed.
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        let client = connect(&self.nats_url, WORKER, &self.nats_password).await?;
        let redis = redis::Client::open(self.redis_url)?.get_connection_manager().await?;
        let pythons = Pythons::start(&self.python, PYTHONS).await?;
        let consumer = consumer(&client).await?;
        let worker = Worker { client, redis, start: Script::new(START), end: Script::new(END), pythons };
        let worker = Arc::new(worker);
        let mut deliveries = consumer.stream().max_messages_per_batch(BATCH).messages().await?;
        while let Some(delivery) = deliveries.next().await {
            let (worker, delivery) = (worker.clone(), delivery?);
            tokio::spawn(async move { worker.handle(delivery).await });
        }
        Ok(())
    }
}

async fn consumer(client: &Client) -> anyhow::Result<PullConsumer> {
    let config = pull::Config {
        durable_name: Some(CONSUMER.to_owned()),
        filter_subject: format!("{}.>", SUBJECT.trim_end_matches(".bench")),
        ack_policy: AckPolicy::Explicit,
        ack_wait: Duration::from_secs(15),
        max_ack_pending: 20_000,
        ..pull::Config::default()
    };
    let stream = jetstream::new(client.clone()).get_stream_no_info(names::JOBS_STREAM).await?;
    Ok(stream.create_consumer(config).await?)
}

impl Worker {
    async fn handle(&self, delivery: Delivery) {
        if let Err(error) = self.work_off(&delivery).await {
            // not acknowledged: the queue does not become empty, and the run fails
            use std::io::Write;
            let _ = writeln!(std::io::stderr(), "floor: {error:#}");
        }
    }

    async fn work_off(&self, delivery: &Delivery) -> anyhow::Result<()> {
        let Message { answer, id, args } =
            Message::decode(&delivery.payload).context("not a message of the floor")?;
        let envelope = delivery.payload.slice(..ENVELOPE);
        self.write(&self.start, id, &[envelope, args.clone()]).await?;
        let result = self.pythons.call(&args).await?;
        self.write(&self.end, id, &[result.clone(), RETENTION_S.to_string().into()]).await?;
        if answer {
            self.client.publish(names::done(INSTANCE), completion(id, &result)).await?;
        }
        delivery.ack().await.map_err(|error| anyhow::anyhow!("ack: {error}"))
    }

    async fn write(&self, script: &Script, id: Uuid, args: &[Bytes]) -> anyhow::Result<()> {
        let mut call = script.prepare_invoke();
        for kind in ["job", "arg", "res"] {
            call.key(format!("hm:{{bench}}:{kind}:{id}"));
        }
        for arg in args {
            call.arg(&arg[..]);
        }
        Ok(call.invoke_async(&mut self.redis.clone()).await?)
    }
}
