//! Reading records, results and arguments.

use std::collections::HashMap;

use bytes::Bytes;
use proto::{JobId, WorkspaceId};

use super::keys;
use super::{Records, StoreError};
use crate::model::{CancelRequest, End, Job, JobState, Record};

/// The fields a record is read by.
pub(super) const FIELDS: [&str; 18] = [
    "envelope",
    "state",
    "attempt",
    "worker",
    "isolation",
    "started_us",
    "ended_us",
    "run_us",
    "log_len",
    "mem_kib",
    "result_len",
    "cancel_by",
    "cancel_reason",
    "created_us",
    "retries",
    "due_us",
    "log_at",
    "process",
];

/// One `HMGET` of [`FIELDS`].
pub(super) type Row = Vec<Option<Vec<u8>>>;

impl Records {
    /// A job's record, if it has one.
    ///
    /// # Errors
    /// The store is away.
    pub async fn get(&self, workspace: &WorkspaceId, id: JobId) -> Result<Option<Record>, StoreError> {
        let mut ask = redis::cmd("HMGET");
        ask.arg(keys::record(workspace, id)).arg(&FIELDS[..]);
        Ok(record(self.connection.query(&ask).await?))
    }

    /// The end of a job that has ended.
    ///
    /// # Errors
    /// The store is away.
    pub async fn end_of(&self, workspace: &WorkspaceId, id: JobId) -> Result<Option<End>, StoreError> {
        let mut both = redis::pipe();
        both.cmd("HGET").arg(keys::record(workspace, id)).arg("state");
        both.cmd("GET").arg(keys::result(workspace, id));
        let (state, result): (Option<String>, Option<Vec<u8>>) = self.connection.pipeline(&both).await?;
        let Some(JobState::Ended(outcome)) = state.as_deref().and_then(JobState::parse) else {
            return Ok(None);
        };
        Ok(result.map(|result| End { outcome, result: result.into() }))
    }

    /// The arguments a job was started with; none before its start, or when they are in
    /// the object store.
    ///
    /// # Errors
    /// The store is away.
    pub async fn args(&self, workspace: &WorkspaceId, id: JobId) -> Result<Option<Bytes>, StoreError> {
        let mut ask = redis::cmd("GET");
        ask.arg(keys::args(workspace, id));
        let args: Option<Vec<u8>> = self.connection.query(&ask).await?;
        Ok(args.map(Bytes::from))
    }
}

/// A record from its fields; none where there is no record, or not one of ours.
pub(super) fn record(row: Row) -> Option<Record> {
    let fields: HashMap<&str, Vec<u8>> =
        FIELDS.into_iter().zip(row).filter_map(|(name, value)| Some((name, value?))).collect();
    let text = |name: &str| fields.get(name).and_then(|bytes| std::str::from_utf8(bytes).ok());
    let job = Job::decode(fields.get("envelope")?).ok()?;
    Some(Record {
        job,
        state: JobState::parse(text("state")?)?,
        attempt: text("attempt").and_then(|n| n.parse().ok()).unwrap_or(0),
        worker: text("worker").and_then(|id| id.parse().ok()),
        isolation: text("isolation").map(str::to_owned),
        process: text("process").and_then(|start| start.parse().ok()),
        started_us: text("started_us").and_then(|n| n.parse().ok()),
        ended_us: text("ended_us").and_then(|n| n.parse().ok()),
        run_us: text("run_us").and_then(|n| n.parse().ok()),
        log_len: text("log_len").and_then(|n| n.parse().ok()).unwrap_or(0),
        mem_kib: text("mem_kib").and_then(|n| n.parse().ok()),
        result_len: text("result_len").and_then(|n| n.parse().ok()),
        retries: text("retries").and_then(|n| n.parse().ok()).unwrap_or(0),
        next_try_us: text("due_us").and_then(|n| n.parse().ok()),
        log_from: text("log_at").and_then(|n| n.parse().ok()).unwrap_or(0),
        cancel: text("cancel_by").map(|by| CancelRequest {
            by: by.to_owned(),
            reason: text("cancel_reason").unwrap_or_default().to_owned(),
        }),
    })
}
