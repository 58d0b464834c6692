//! How much of everything is run: bounded in number and in time, since today each job starts a process of
//! its own.

use std::time::Duration;

use hookmill::up::profile::Profile;

use crate::case::{Mode, Script};
use crate::load::Plan;

/// No new request of one case after this.
const LIMIT: Duration = Duration::from_secs(20);

/// How long the whole run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Length {
    /// What `make bench` runs for the durable profile: 500 samples of the overhead and more.
    Full,
    /// What it runs for the relaxed one.
    Shorter,
    /// `--quick`.
    Quick,
}

impl Length {
    /// Of one profile of a run.
    pub(crate) fn of(quick: bool, profile: Profile, alone: bool) -> Self {
        match (quick, profile) {
            (true, _) => Self::Quick,
            (false, Profile::Relaxed) if !alone => Self::Shorter,
            (false, Profile::Durable | Profile::Relaxed) => Self::Full,
        }
    }

    /// The concurrencies: one caller, and many.
    pub(crate) fn concurrencies(self) -> [usize; 2] {
        match self {
            Self::Full | Self::Shorter => [1, 64],
            Self::Quick => [1, 8],
        }
    }

    /// The load on the floor.
    pub(crate) fn floor(self, concurrency: usize) -> Plan {
        let count = match (self, concurrency) {
            (Self::Full, 1) => 2000,
            (Self::Full, _) => 10_000,
            (Self::Shorter, 1) => 1000,
            (Self::Shorter, _) => 5000,
            (Self::Quick, 1) => 100,
            (Self::Quick, _) => 400,
        };
        Plan { concurrency, warm_up: warm_up(self, count), count, limit: LIMIT }
    }

    /// The load on the product.
    pub(crate) fn product(self, script: Script, mode: Mode, concurrency: usize) -> Plan {
        let full = match (script, mode, concurrency) {
            (Script::Bash, Mode::Sync, 1) => 600,
            (Script::Bash, Mode::Async, 1) => 400,
            (Script::Bash, _, _) => 1600,
            (Script::Python | Script::Deno, _, 1) => 100,
            (Script::Python | Script::Deno, _, _) => 256,
        };
        let count = match (self, script) {
            (Self::Full, _) => full,
            (Self::Shorter, _) => full / 2,
            (Self::Quick, Script::Bash) => 40,
            (Self::Quick, Script::Python | Script::Deno) => 10,
        };
        Plan { concurrency, warm_up: warm_up(self, count), count, limit: LIMIT }
    }
}

fn warm_up(length: Length, count: u64) -> u64 {
    match length {
        Length::Full | Length::Shorter => (count / 10).max(10),
        Length::Quick => 4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_promise_rests_on_500_samples() {
        assert!(Length::Full.product(Script::Bash, Mode::Sync, 1).count >= 500);
        assert_eq!(Length::of(false, Profile::Durable, false), Length::Full);
        assert_eq!(Length::of(false, Profile::Relaxed, true), Length::Full);
        assert_eq!(Length::of(true, Profile::Durable, true), Length::Quick);
    }
}
