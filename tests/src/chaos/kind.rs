//! The kinds of load: how often each comes, what it calls, and what has to come of it. A new
//! kind is a variant with its lines here, and its way of calling in `load.rs`.

use super::scripts::{FAILS, LARGE, ONCE, WORKS};
use super::seed::Seed;

/// A kind of promise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The caller waits for the result.
    Sync,
    /// The caller is told the job's id.
    Async,
    /// The same request several times, by one idempotency key, at both gateways.
    Keyed,
    /// A refused request is sent again under the id of its refusal.
    Again,
    /// Arguments that do not fit into an envelope.
    Large,
    /// Its end is asked for.
    Canceled,
    /// It must not run again when its worker is lost.
    Once,
    /// Its script fails.
    Failing,
    /// It is put aside first.
    Delayed,
    /// Its script fails, and is tried again; the caller waits for the last try.
    Retried,
}

/// What has to come of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expected {
    /// Its value, and the name of the run.
    Value,
    /// The same, and the size of its text.
    Size(usize),
    /// Its script's failure.
    Failure,
    /// Its cancellation.
    Canceled,
}

/// More than an envelope takes.
pub(super) const LARGE_BYTES: usize = 300 * 1024;

/// How often a job may be started where it does not say.
pub(super) const ATTEMPTS: u64 = 5;

impl Kind {
    /// All of them, and how many of a hundred.
    const SHARES: [(Self, u64); 10] = [
        (Self::Sync, 24),
        (Self::Async, 16),
        (Self::Keyed, 12),
        (Self::Again, 10),
        (Self::Large, 6),
        (Self::Canceled, 6),
        (Self::Once, 8),
        (Self::Failing, 6),
        (Self::Delayed, 7),
        (Self::Retried, 5),
    ];

    /// One by chance.
    pub(super) fn pick(random: &mut Seed) -> Self {
        let mut left = random.below(Self::SHARES.iter().map(|(_, share)| share).sum());
        for (kind, share) in Self::SHARES {
            if left < share {
                return kind;
            }
            left -= share;
        }
        Self::Async
    }

    /// What it runs.
    pub(super) fn script(self) -> &'static str {
        match self {
            Self::Sync | Self::Async | Self::Keyed | Self::Again | Self::Canceled | Self::Delayed => WORKS,
            Self::Large => LARGE,
            Self::Once => ONCE,
            Self::Failing | Self::Retried => FAILS,
        }
    }

    pub(super) fn expected(self) -> Expected {
        match self {
            Self::Sync | Self::Async | Self::Keyed | Self::Again | Self::Once | Self::Delayed => {
                Expected::Value
            }
            Self::Large => Expected::Size(LARGE_BYTES),
            Self::Canceled => Expected::Canceled,
            Self::Failing | Self::Retried => Expected::Failure,
        }
    }

    /// How often its job may be started.
    pub(super) fn attempts(self) -> u64 {
        self.losses() * self.tries()
    }

    /// How often one try of it may lose its worker.
    pub(super) fn losses(self) -> u64 {
        if self == Self::Once { 1 } else { ATTEMPTS }
    }

    /// How often its script fails before that is its end.
    pub(super) fn tries(self) -> u64 {
        if self == Self::Retried { 3 } else { 1 }
    }

    /// What is asked for beside the script.
    pub(super) fn query(self) -> &'static str {
        match self {
            Self::Delayed => "?scheduled_in_secs=2",
            // {"constant":{"attempts":2,"seconds":1}}
            Self::Retried => "?retry=%7B%22constant%22%3A%7B%22attempts%22%3A2%2C%22seconds%22%3A1%7D%7D",
            _ => "",
        }
    }

    /// How long its script works, in milliseconds.
    pub(super) fn work_ms(self, random: &mut Seed) -> u64 {
        match self {
            Self::Canceled => 30_000,
            Self::Large | Self::Failing | Self::Retried => 0,
            _ => random.below(700),
        }
    }

    /// Whether its caller waits.
    pub(super) fn waits(self) -> bool {
        matches!(self, Self::Sync | Self::Large | Self::Retried)
    }
}
