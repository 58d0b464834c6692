//! Everything that was promised, by whom, and when something was wrong.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use job_queue::now_us;

use super::fault::{EACH, Fault};
use super::kind::Kind;

/// What a caller heard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// The job exists.
    Accepted { job: String },
    /// The job has ended with this.
    Ended { job: String, body: String },
    /// The job exists and goes on, the caller waits no more.
    TimedOut { job: String },
    /// There is no job for certain, or perhaps this one.
    Refused { status: u16, job: Option<String> },
    /// The connection broke.
    Broken { why: String },
    /// Nothing at all, for longer than anybody may wait.
    Nothing,
    /// Something that no fault explains.
    Odd { status: u16, body: String },
}

/// One request.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub(super) kind: Kind,
    /// What makes its job known among all; requests that repeat each other share it.
    pub(super) value: String,
    pub(super) gateway: usize,
    pub(super) sent_us: i64,
    pub(super) answered_us: i64,
    pub(super) heard: Heard,
}

/// A fault that was struck.
#[derive(Clone, Debug)]
pub(super) struct Struck {
    pub(super) fault: Fault,
    pub(super) from_us: i64,
    /// When it was undone.
    pub(super) healed_us: i64,
    /// When everything was ready again.
    pub(super) to_us: i64,
    /// What it did not find: its moment did not come.
    pub(super) missed: bool,
}

/// An envelope that nobody here can read.
#[derive(Clone, Debug)]
pub(super) struct Newer {
    pub(super) job: String,
    pub(super) subject: String,
}

#[derive(Debug, Default)]
struct Book {
    calls: Vec<Call>,
    waiting: [usize; EACH],
    struck: Vec<Struck>,
    newer: Vec<Newer>,
    remarks: Vec<String>,
}

/// The ledger. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct Ledger(Arc<Mutex<Book>>);

/// A caller who waits at a gateway, until it is dropped.
pub(super) struct Waits(Ledger, usize);

impl Ledger {
    fn book(&self) -> MutexGuard<'_, Book> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn note(&self, call: Call) {
        self.book().calls.push(call);
    }

    pub(super) fn waits(&self, gateway: usize) -> Waits {
        self.book().waiting[gateway] += 1;
        Waits(self.clone(), gateway)
    }

    /// Callers who wait at a gateway now.
    pub(super) fn waiting(&self, gateway: usize) -> usize {
        self.book().waiting[gateway]
    }

    pub(super) fn strike(&self, struck: Struck) {
        self.book().struck.push(struck);
    }

    pub(super) fn newer(&self, newer: Newer) {
        self.book().newer.push(newer);
    }

    /// Something that a fault itself found wrong.
    pub(super) fn remark(&self, what: String) {
        self.book().remarks.push(what);
    }

    pub(super) fn calls(&self) -> Vec<Call> {
        self.book().calls.clone()
    }

    pub(super) fn struck(&self) -> Vec<Struck> {
        self.book().struck.clone()
    }

    pub(super) fn all_newer(&self) -> Vec<Newer> {
        self.book().newer.clone()
    }

    pub(super) fn remarks(&self) -> Vec<String> {
        self.book().remarks.clone()
    }
}

impl Drop for Waits {
    fn drop(&mut self) {
        self.0.book().waiting[self.1] -= 1;
    }
}

impl Heard {
    /// The job that was promised.
    pub(super) fn promised(&self) -> Option<&str> {
        match self {
            Self::Accepted { job } | Self::Ended { job, .. } | Self::TimedOut { job } => Some(job),
            Self::Refused { .. } | Self::Broken { .. } | Self::Nothing | Self::Odd { .. } => None,
        }
    }

    /// The job that may exist.
    pub(super) fn perhaps(&self) -> Option<&str> {
        match self {
            Self::Refused { job: Some(job), .. } => Some(job),
            other => other.promised(),
        }
    }
}

impl Struck {
    /// µs of a span during which this fault lasted.
    pub(super) fn within(&self, from_us: i64, to_us: i64) -> i64 {
        (self.to_us.min(to_us) - self.from_us.max(from_us)).max(0)
    }
}

/// Begins to note a fault.
pub(super) fn since() -> i64 {
    now_us()
}
