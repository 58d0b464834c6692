//! Jobs as the contract shows them (2.2): required keys always, optional ones omitted
//! rather than null, results and arguments as their own raw JSON.

mod attempts;

use bytes::Bytes;
use chrono::{DateTime, SecondsFormat};
use job_queue::{Job, JobState, Outcome, ProcessStart, Record};
use proto::json::raw_value;
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

pub(crate) use attempts::{ShownAttempt, attempts};

/// Arguments and results of this many bytes are replaced by a mark in `jobs_u/get`.
const TOO_BIG: usize = 90_000;

/// What is shown beside the record.
#[derive(Default)]
pub(crate) struct Details {
    pub(crate) args: Option<Bytes>,
    pub(crate) result: Option<Bytes>,
    pub(crate) logs: Option<String>,
    /// Why a queued job waits.
    pub(crate) waiting_for: Option<String>,
    /// Where there was more than one.
    pub(crate) attempts: Vec<ShownAttempt>,
}

#[derive(Serialize)]
#[serde(untagged)]
pub(crate) enum ShownJob {
    Queued(Box<QueuedJob>),
    Completed(Box<CompletedJob>),
}

/// The keys both shapes share.
#[derive(Serialize)]
pub(crate) struct Common {
    workspace_id: String,
    id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    parent_job: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    root_job: Option<String>,
    created_by: String,
    created_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    started_at: Option<String>,
    script_hash: String,
    script_path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    args: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    logs: Option<String>,
    canceled: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    canceled_by: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    canceled_reason: Option<String>,
    job_kind: &'static str,
    permissioned_as: String,
    is_flow_step: bool,
    language: &'static str,
    email: String,
    visible_to_owner: bool,
    tag: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    mem_peak: Option<u64>,
    trigger_kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    schedule_path: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    worker: Option<String>,
    /// Ours: how strongly its worker confines it: `process`, `landlock` or `namespaces`.
    #[serde(skip_serializing_if = "Option::is_none")]
    isolation: Option<String>,
    /// Ours: how its process came to it, once it has ended: `isolation`, `origin` and `took_us`.
    #[serde(skip_serializing_if = "Option::is_none")]
    process: Option<ProcessStart>,
    /// Whether tries of it have failed before.
    #[serde(skip_serializing_if = "Option::is_none")]
    is_retry: Option<bool>,
    /// Ours: which attempt this is.
    attempt: u32,
    /// Ours: all of them, where there was more than one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    attempts: Vec<ShownAttempt>,
    /// Ours: the W3C trace the job belongs to.
    #[serde(skip_serializing_if = "String::is_empty")]
    traceparent: String,
}

#[derive(Serialize)]
pub(crate) struct QueuedJob {
    r#type: &'static str,
    #[serde(flatten)]
    common: Common,
    running: bool,
    scheduled_for: String,
    /// Ours: what a job that does not run yet waits for.
    #[serde(skip_serializing_if = "Option::is_none")]
    waiting_for: Option<String>,
}

#[derive(Serialize)]
pub(crate) struct CompletedJob {
    r#type: &'static str,
    #[serde(flatten)]
    common: Common,
    completed_at: String,
    duration_ms: i64,
    /// Ours: microseconds from fork to exit of the script's process.
    #[serde(skip_serializing_if = "Option::is_none")]
    run_us: Option<i64>,
    success: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<Box<RawValue>>,
    deleted: bool,
    is_skipped: bool,
}

/// A job that has a record.
pub(crate) fn record(record: &Record, details: Details) -> ShownJob {
    match record.state {
        JobState::Queued | JobState::Running => queued(&record.job, Some(record), details),
        JobState::Ended(outcome) => ShownJob::Completed(Box::new(completed(record, outcome, details))),
    }
}

/// A job that waits in the stream or runs.
pub(crate) fn queued(job: &Job, record: Option<&Record>, details: Details) -> ShownJob {
    let running = record.is_some_and(|record| record.state == JobState::Running);
    let waiting_for = details.waiting_for.clone();
    let due_us = record.and_then(|record| record.next_try_us).unwrap_or_else(|| job.due_us());
    let scheduled_for = timestamp(due_us);
    let common = common(job, record, details);
    ShownJob::Queued(Box::new(QueuedJob { r#type: "QueuedJob", common, running, scheduled_for, waiting_for }))
}

fn completed(record: &Record, outcome: Outcome, mut details: Details) -> CompletedJob {
    let ended = record.ended_us.unwrap_or(record.job.created_us);
    let started = record.started_us.unwrap_or(ended);
    let result = details.result.take().map(shown_result);
    let mut common = common(&record.job, Some(record), details);
    // a job that ended without running still has a start for clients that need one
    common.started_at = Some(timestamp(started));
    common.canceled = outcome == Outcome::Canceled;
    CompletedJob {
        r#type: "CompletedJob",
        common,
        completed_at: timestamp(ended),
        duration_ms: (ended - started) / 1000,
        run_us: record.run_us,
        success: outcome == Outcome::Success,
        result,
        deleted: false,
        is_skipped: false,
    }
}

fn common(job: &Job, record: Option<&Record>, details: Details) -> Common {
    let cancel = record.and_then(|record| record.cancel.clone());
    Common {
        workspace_id: job.workspace.to_string(),
        id: job.id.to_string(),
        parent_job: job.parent.map(|id| id.to_string()),
        root_job: job.root.map(|id| id.to_string()),
        created_by: job.caller.created_by.clone(),
        created_at: timestamp(job.created_us),
        started_at: record.and_then(|record| record.started_us).map(timestamp),
        script_hash: job.hash.to_string(),
        script_path: job.path.to_string(),
        args: details.args.map(shown_args),
        logs: details.logs,
        canceled: cancel.is_some(),
        canceled_by: cancel.as_ref().map(|cancel| cancel.by.clone()),
        canceled_reason: cancel.map(|cancel| cancel.reason),
        job_kind: "script",
        permissioned_as: job.caller.permissioned_as.clone(),
        is_flow_step: false,
        language: job.language.as_str(),
        email: job.caller.email.clone(),
        visible_to_owner: true,
        tag: job.tag.to_string(),
        mem_peak: record.and_then(|record| record.mem_kib),
        trigger_kind: if job.schedule.is_some() { "schedule" } else { "webhook" },
        schedule_path: job.schedule.as_ref().map(ToString::to_string),
        worker: record.and_then(|record| record.worker.as_ref()).map(ToString::to_string),
        isolation: record.and_then(|record| record.isolation.clone()),
        process: record.and_then(|record| record.process.clone()),
        is_retry: record.filter(|record| record.retries > 0).map(|_| true),
        attempt: record.map_or(0, |record| record.attempt),
        attempts: details.attempts,
        traceparent: job.trace.parent.clone(),
    }
}

fn shown_args(args: Bytes) -> Box<RawValue> {
    if args.len() >= TOO_BIG { raw(b"{\"reason\":\"WINDMILL_TOO_BIG\"}") } else { raw(&args) }
}

fn shown_result(result: Bytes) -> Box<RawValue> {
    if result.len() >= TOO_BIG { raw(b"\"WINDMILL_TOO_BIG\"") } else { raw(&result) }
}

/// The bytes' own text; what is not JSON (it was checked when it was stored) is null.
fn raw(bytes: &[u8]) -> Box<RawValue> {
    let text = raw_value(bytes).unwrap_or("null").to_owned();
    RawValue::from_string(text).unwrap_or_else(|_| to_raw_value(&()).expect("null is JSON"))
}

/// RFC 3339 with microseconds.
pub(crate) fn timestamp(unix_us: i64) -> String {
    DateTime::from_timestamp_micros(unix_us).unwrap_or_default().to_rfc3339_opts(SecondsFormat::Micros, true)
}
