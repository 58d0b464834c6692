//! A job's attempts, as shown on it where there was more than one.

use job_queue::{JobState, Outcome, Passed, PastAttempt, Record};
use serde::Serialize;
use serde_json::value::RawValue;

use super::{raw, timestamp};

/// One attempt.
#[derive(Serialize)]
pub(crate) struct ShownAttempt {
    attempt: u32,
    /// `failure`, `worker_lost`, and of the last one also `running`, `success`, `canceled`.
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    started_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ended_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    run_us: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    worker: Option<String>,
    /// Of one that was not the last, unless it was too large.
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<Box<RawValue>>,
    /// Where its part of the log begins and ends, in UTF-16 units.
    log_from: u64,
    log_to: u64,
}

impl ShownAttempt {
    /// The part of the job's log that is its own.
    pub(crate) fn log(&self) -> (u64, u64) {
        (self.log_from, self.log_to)
    }

    /// Counted from 1.
    pub(crate) fn number(&self) -> u32 {
        self.attempt
    }

    fn past(past: &PastAttempt) -> Self {
        Self {
            attempt: past.attempt,
            state: match past.passed {
                Passed::Failure => "failure",
                Passed::WorkerLost => "worker_lost",
            },
            started_at: Some(timestamp(past.started_us)),
            ended_at: Some(timestamp(past.ended_us)),
            run_us: Some(past.run_us).filter(|run| *run > 0),
            worker: past.worker.as_ref().map(ToString::to_string),
            result: past.result.as_ref().map(|result| raw(result)),
            log_from: past.log_from,
            log_to: past.log_to,
        }
    }

    fn last(record: &Record) -> Self {
        Self {
            attempt: record.attempt,
            state: state(record.state),
            started_at: record.started_us.map(timestamp),
            ended_at: record.ended_us.map(timestamp),
            run_us: record.run_us,
            worker: record.worker.as_ref().map(ToString::to_string),
            result: None,
            log_from: record.log_from,
            log_to: record.log_len,
        }
    }
}

fn state(state: JobState) -> &'static str {
    match state {
        JobState::Queued => "queued",
        JobState::Running => "running",
        JobState::Ended(outcome) => Outcome::as_str(outcome),
    }
}

/// All of them, oldest first.
pub(crate) fn attempts(record: &Record, past: &[PastAttempt]) -> Vec<ShownAttempt> {
    let passed = past.last().is_some_and(|past| past.attempt >= record.attempt);
    let last = (!passed && record.attempt > 0).then(|| ShownAttempt::last(record));
    past.iter().map(ShownAttempt::past).chain(last).collect()
}
