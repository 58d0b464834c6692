//! Whether what was promised is what happened.

mod evidence;
mod jobs;
mod leftovers;
mod promises;
mod ticks;

use std::fmt;

pub(super) use self::evidence::Evidence;
pub(super) use self::jobs::{ended_us, time_us};
pub(super) use self::promises::wrong_for;

/// What has to hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    /// Every accepted job has exactly one end.
    OneEnd,
    /// That end is what the last attempt came to, and no other.
    LastAttempt,
    /// It is the one that was promised.
    Outcome,
    /// No job ran more often than its attempts allow, and no attempt twice.
    Attempts,
    /// No job with a durable end ran again.
    RanAfterEnd,
    /// One promise made one job, however often it was asked for.
    OneJob,
    /// Every dead letter is listed, and nothing else.
    DeadLetters,
    /// Everybody was answered, and who waited as soon as there was an answer.
    Answered,
    /// Streams, indexes, object store and folders hold nothing that is over.
    Leftovers,
    /// A schedule makes one job for each of its ticks, and no other.
    Ticks,
    /// A restart keeps what was there.
    Kept,
}

/// A rule that did not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which.
    pub rule: Rule,
    /// Of which job, or where.
    pub of: String,
    /// What was found.
    pub what: String,
}

impl Violation {
    fn new(rule: Rule, of: impl Into<String>, what: impl Into<String>) -> Self {
        Self { rule, of: of.into(), what: what.into() }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}: {}", self.rule, self.of, self.what)
    }
}

/// Everything that does not hold.
pub(super) fn violations(evidence: &Evidence) -> Vec<Violation> {
    let remarks =
        evidence.remarks.iter().map(|what| Violation::new(Rule::Kept, "nats-server", what.as_str()));
    let mut found: Vec<Violation> = remarks.collect();
    found.extend(jobs::check(evidence));
    found.extend(promises::check(evidence));
    found.extend(ticks::check(evidence));
    found.extend(leftovers::check(evidence));
    found
}
