//! Which workers are there, and which tags they serve: signs of life that expire.

use std::time::Duration;

use proto::{InstanceId, Tag};

use super::{Records, StoreError, keys};
use crate::model::now_us;

/// How often a worker gives a sign of life.
const BEAT: Duration = Duration::from_secs(10);
/// How long one counts.
const ALIVE: Duration = Duration::from_secs(30);

/// What a worker says of itself.
#[derive(Clone, Debug)]
pub struct WorkerRow {
    /// Its id.
    pub id: InstanceId,
    /// The group it was started in.
    pub group: String,
    /// The tags it serves.
    pub tags: Vec<Tag>,
    /// How many jobs it runs at once.
    pub slots: usize,
}

/// A worker's sign of life, given until it is dropped or withdrawn.
pub struct Presence {
    records: Records,
    row: WorkerRow,
    started_ms: i64,
}

impl Presence {
    /// For this worker.
    pub fn new(records: Records, row: WorkerRow) -> Self {
        Self { records, row, started_ms: now_us() / 1000 }
    }

    /// Gives signs of life for ever; a store that is away is tried again at the next.
    pub async fn keep(&self) {
        let mut beat = tokio::time::interval(BEAT);
        loop {
            beat.tick().await;
            if let Err(error) = self.beat().await {
                tracing::debug!(%error, "no sign of life given");
            }
        }
    }

    async fn beat(&self) -> Result<(), StoreError> {
        let now_ms = now_us() / 1000;
        let id = self.row.id.as_str();
        let worker = keys::worker(id);
        let tags: Vec<&str> = self.row.tags.iter().map(Tag::as_str).collect();
        let mut write = redis::pipe();
        write
            .cmd("HSET")
            .arg(&worker)
            .arg("group")
            .arg(&self.row.group)
            .arg("tags")
            .arg(tags.join(","))
            .ignore();
        write
            .cmd("HSET")
            .arg(&worker)
            .arg("slots")
            .arg(self.row.slots)
            .arg("started_ms")
            .arg(self.started_ms)
            .ignore();
        write.cmd("PEXPIRE").arg(&worker).arg(millis(ALIVE)).ignore();
        for tag in &self.row.tags {
            let key = keys::tag(tag);
            write.cmd("ZADD").arg(&key).arg(now_ms).arg(id).ignore();
            write.cmd("ZREMRANGEBYSCORE").arg(&key).arg("-inf").arg(now_ms - millis(ALIVE)).ignore();
            write.cmd("PEXPIRE").arg(&key).arg(millis(ALIVE)).ignore();
        }
        self.records.connection.pipeline(&write).await
    }

    /// Takes the worker off the lists, at the end of its life.
    ///
    /// # Errors
    /// The store is away; the entries expire by themselves.
    pub async fn withdraw(&self) -> Result<(), StoreError> {
        let mut write = redis::pipe();
        write.cmd("DEL").arg(keys::worker(self.row.id.as_str())).ignore();
        for tag in &self.row.tags {
            write.cmd("ZREM").arg(keys::tag(tag)).arg(self.row.id.as_str()).ignore();
        }
        self.records.connection.pipeline(&write).await
    }
}

impl Records {
    /// How many workers serve a tag.
    ///
    /// # Errors
    /// The store is away.
    pub async fn workers_of(&self, tag: &Tag) -> Result<u64, StoreError> {
        let mut ask = redis::cmd("ZCOUNT");
        ask.arg(keys::tag(tag)).arg(now_us() / 1000 - millis(ALIVE)).arg("+inf");
        self.connection.query(&ask).await
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
