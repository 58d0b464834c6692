//! What the store says of a job: its state, its end, and the shapes of error results.

use bytes::Bytes;
use proto::InstanceId;
use serde_json::json;

use super::{Job, ProcessStart};

/// How a job ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// `main` returned.
    Success,
    /// It did not, or its result could not be used.
    Failure,
    /// Somebody asked for its end.
    Canceled,
}

impl Outcome {
    /// The name on the record.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Failure => "failure",
            Self::Canceled => "canceled",
        }
    }

    /// The wire form.
    pub fn wire(self) -> proto::job::Outcome {
        match self {
            Self::Success => proto::job::Outcome::Success,
            Self::Failure => proto::job::Outcome::Failure,
            Self::Canceled => proto::job::Outcome::Canceled,
        }
    }

    /// From the wire form; an unknown value is none.
    pub fn from_wire(value: i32) -> Option<Self> {
        match proto::job::Outcome::try_from(value).ok()? {
            proto::job::Outcome::Success => Some(Self::Success),
            proto::job::Outcome::Failure => Some(Self::Failure),
            proto::job::Outcome::Canceled => Some(Self::Canceled),
            proto::job::Outcome::Unspecified => None,
        }
    }
}

/// Where a job stands. Terminal beats running beats queued.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum JobState {
    /// Waiting for a worker.
    Queued,
    /// On a worker.
    Running,
    /// Over.
    Ended(Outcome),
}

impl JobState {
    /// From the record's field.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "queued" => Some(Self::Queued),
            "running" => Some(Self::Running),
            "success" => Some(Self::Ended(Outcome::Success)),
            "failure" => Some(Self::Ended(Outcome::Failure)),
            "canceled" => Some(Self::Ended(Outcome::Canceled)),
            _ => None,
        }
    }
}

/// The end of a job, as its waiters want it.
#[derive(Clone, Debug, PartialEq)]
pub struct End {
    /// How.
    pub outcome: Outcome,
    /// The result's exact JSON.
    pub result: Bytes,
}

/// Who asked for a job's end, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CancelRequest {
    /// A user name, or `timeout` and the like.
    pub by: String,
    /// Free text; may be empty.
    pub reason: String,
}

/// A job's record.
#[derive(Clone, Debug)]
pub struct Record {
    /// The envelope, without inline arguments and grant.
    pub job: Job,
    /// Where it stands.
    pub state: JobState,
    /// Which attempt holds the fence; 0 before the first start.
    pub attempt: u32,
    /// The worker of that attempt.
    pub worker: Option<InstanceId>,
    /// How strongly that worker confines it.
    pub isolation: Option<String>,
    /// How its process came to it; known once it has ended.
    pub process: Option<ProcessStart>,
    /// Unix microseconds of the attempt's start.
    pub started_us: Option<i64>,
    /// Unix microseconds of the end.
    pub ended_us: Option<i64>,
    /// Microseconds from fork to exit of the script's process.
    pub run_us: Option<i64>,
    /// Length of the log in UTF-16 units.
    pub log_len: u64,
    /// Peak memory in KiB.
    pub mem_kib: Option<u64>,
    /// Bytes of the result.
    pub result_len: Option<u64>,
    /// How many tries have failed that another one follows.
    pub retries: u32,
    /// Unix microseconds of when the next try is due; none where it waits for none.
    pub next_try_us: Option<i64>,
    /// Where the log of the attempt begins, in UTF-16 units.
    pub log_from: u64,
    /// Set when somebody asked for its end.
    pub cancel: Option<CancelRequest>,
}

impl Record {
    /// Unix microseconds from which on it may run.
    pub fn due_us(&self) -> i64 {
        self.next_try_us.unwrap_or_else(|| self.job.due_us())
    }
}

/// The result of a job that was cancelled (contract 2.2).
pub fn canceled_result(cancel: &CancelRequest) -> Bytes {
    let message = format!("Job canceled: {} by {}", cancel.reason, cancel.by);
    let error =
        json!({"message": message, "name": "Canceled", "reason": cancel.reason, "canceler": cancel.by});
    json!({ "error": error }).to_string().into()
}

/// An error result of our own making (contract 2.2: `error` holds name and message).
pub fn error_result(name: &str, message: &str) -> Bytes {
    json!({"error": {"name": name, "message": message}}).to_string().into()
}
