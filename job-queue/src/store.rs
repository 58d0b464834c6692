//! Records, results, logs and listings in Redis; keys and scripts are described in
//! `docs/redis-keys.md`. Every call is bounded in time and repeated once when the
//! connection broke: all of them are idempotent.

mod attempts;
mod connection;
mod keys;
mod listing;
mod logs;
mod memory;
mod presence;
mod queue;
mod queued;
mod read;
mod reservation;
mod retention;
mod rows;
mod sweep;
mod tally;
mod write;

use redis::{FromRedisValue, Script, ScriptInvocation};

pub use attempts::{NextTry, Passed, PastAttempt, RetryAnswer, RetryRequest};
pub use connection::{RedisConfig, StoreError};
pub use listing::{Filter, Page};
pub use logs::{LogChunk, LogSlice};
pub use memory::Memory;
pub use presence::{Presence, WorkerRow};
pub use queue::{QueueCursor, QueueFilter, QueuePage, QueuePart, QueueQuery, Term, TermField};
pub use queued::QueuedRows;
pub use reservation::{Reservation, Reserved};
pub use retention::Retention;
pub use rows::{Order, PageCursor};
pub use tally::{CountAnswer, CountRequest, Counted, CountedEnd};
pub use write::{CancelAnswer, EndAnswer, EndRequest, Renewal, StartAnswer, StartRequest, Undo};

pub(crate) use sweep::{SweptRow, Turn, Walk};

use connection::Connection;

/// The store of jobs that run or ran. Cheap to clone.
#[derive(Clone)]
pub struct Records {
    connection: Connection,
    scripts: std::sync::Arc<Scripts>,
    retention: Retention,
}

struct Scripts {
    start: Script,
    undo_start: Script,
    log: Script,
    retry: Script,
    end: Script,
    cancel: Script,
    queued: Script,
    drop: Script,
    expire_rows: Script,
    page: Script,
    reserve: Script,
    release: Script,
    count: Script,
}

impl Scripts {
    fn new() -> Self {
        let expiring = |body: &str| format!("{}\n{body}", include_str!("lua/expire.lua"));
        let with_common = |body: &str| Script::new(&format!("{}\n{body}", include_str!("lua/common.lua")));
        Self {
            start: with_common(&expiring(include_str!("lua/start.lua"))),
            undo_start: with_common(include_str!("lua/undo_start.lua")),
            log: with_common(include_str!("lua/log.lua")),
            retry: with_common(include_str!("lua/retry.lua")),
            #[cfg(not(feature = "planted-bugs"))]
            end: with_common(include_str!("lua/end.lua")),
            #[cfg(feature = "planted-bugs")]
            end: with_common(&crate::planted::end_script(include_str!("lua/end.lua"))),
            cancel: with_common(include_str!("lua/cancel.lua")),
            queued: with_common(include_str!("lua/queued.lua")),
            drop: with_common(include_str!("lua/drop.lua")),
            expire_rows: Script::new(&expiring(include_str!("lua/expire_rows.lua"))),
            page: Script::new(include_str!("lua/page.lua")),
            reserve: Script::new(include_str!("lua/reserve.lua")),
            release: Script::new(include_str!("lua/release.lua")),
            count: Script::new(include_str!("lua/count.lua")),
        }
    }
}

impl Records {
    /// Starts connecting and returns at once; calls fail with [`StoreError::Unavailable`]
    /// until the server is there.
    ///
    /// # Errors
    /// The address cannot be parsed.
    pub fn open(config: &RedisConfig) -> Result<Self, StoreError> {
        let connection = Connection::open(config)?;
        Ok(Self { connection, scripts: Scripts::new().into(), retention: config.retention })
    }

    /// Whether the server answers, within the call's bound.
    ///
    /// # Errors
    /// It does not.
    pub async fn ping(&self) -> Result<(), StoreError> {
        self.connection.query::<String>(&redis::cmd("PING")).await.map(drop)
    }

    /// Refuses a server that may evict: results would vanish unseen.
    ///
    /// # Errors
    /// [`StoreError::Eviction`], or the server does not answer.
    pub async fn check_eviction(&self) -> Result<(), StoreError> {
        let mut ask = redis::cmd("CONFIG");
        ask.arg("GET").arg("maxmemory-policy");
        let answer: Vec<String> = self.connection.query(&ask).await?;
        match answer.get(1).map(String::as_str) {
            Some("noeviction") => Ok(()),
            other => Err(StoreError::Eviction(other.unwrap_or("unknown").to_owned())),
        }
    }

    async fn invoke<T: FromRedisValue>(&self, invocation: &ScriptInvocation<'_>) -> Result<T, StoreError> {
        self.connection.invoke(invocation).await
    }
}
