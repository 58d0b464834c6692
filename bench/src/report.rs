//! What a run found, as it is printed in JSON.

use hookmill::up::profile::Profile;
use serde::Serialize;

use crate::backlog::BacklogReport;
use crate::facts::Facts;
use crate::launcher::LauncherReport;
use crate::overhead::Overhead;
use crate::stats::Spread;

/// The floor's median at concurrency 1, synchronous, on the machine of the first figures (`docs/performance.md`),
/// in milliseconds; a run whose floor is twice as slow is noise.
const REFERENCE_RELAXED_MS: f64 = 0.9;
const REFERENCE_DURABLE_MS: f64 = 1.7;

/// The whole run.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Report {
    /// The machine.
    pub(crate) host: Facts,
    /// What confining a program costs, beside starting it bare.
    pub(crate) launcher: Vec<LauncherReport>,
    /// What a long queue costs.
    pub(crate) backlog: Option<BacklogReport>,
    /// One of each profile.
    pub(crate) profiles: Vec<ProfileReport>,
    /// What speaks against the figures.
    pub(crate) warnings: Vec<String>,
}

/// One profile's figures.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct ProfileReport {
    /// `durable` or `relaxed`.
    pub(crate) profile: String,
    /// Each load.
    pub(crate) cases: Vec<CaseReport>,
    /// Of the synchronous webhook at concurrency 1.
    pub(crate) overhead: Vec<Overhead>,
    /// Jobs whose stored result was fetched and compared.
    pub(crate) compared: usize,
    /// Messages in `JOBS_0` at the end; a run in which some are left fails.
    pub(crate) left_in_queue: u64,
}

/// One load.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct CaseReport {
    /// `floor`, or the script's language.
    pub(crate) what: &'static str,
    /// `async` or `sync`.
    pub(crate) mode: &'static str,
    /// Callers at once.
    pub(crate) concurrency: usize,
    /// Requests a second.
    pub(crate) per_second: f64,
    /// The callers' latency.
    pub(crate) latency: Spread,
    /// Asynchronous: jobs a second from the first request to the empty queue.
    pub(crate) worked_off_per_second: Option<f64>,
}

impl ProfileReport {
    /// Whether its floor says that the machine is not to be trusted at the moment.
    pub(crate) fn noise(&self, profile: Profile) -> Option<String> {
        let reference = match profile {
            Profile::Durable => REFERENCE_DURABLE_MS,
            Profile::Relaxed => REFERENCE_RELAXED_MS,
        };
        let is_floor = |case: &&CaseReport| (case.what, case.mode, case.concurrency) == ("floor", "sync", 1);
        let floor = self.cases.iter().find(is_floor)?.latency.p50_ms;
        (floor > 2.0 * reference).then(|| {
            format!(
                "noise: the {profile} floor's median is {floor:.2} ms, the reference machine's {reference} ms"
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(p50_ms: f64) -> ProfileReport {
        let latency = Spread { samples: 9, p50_ms, p95_ms: 9.0, p99_ms: 9.0 };
        let case = CaseReport {
            what: "floor",
            mode: "sync",
            concurrency: 1,
            per_second: 1.0,
            latency,
            worked_off_per_second: None,
        };
        let profile = "relaxed".to_owned();
        ProfileReport { profile, cases: vec![case], overhead: Vec::new(), compared: 0, left_in_queue: 0 }
    }

    #[test]
    fn a_slow_floor_is_noise() {
        assert!(report(2.0).noise(Profile::Relaxed).unwrap().starts_with("noise: the relaxed floor"));
        assert_eq!(report(2.0).noise(Profile::Durable), None);
        assert_eq!(report(1.0).noise(Profile::Relaxed), None);
    }
}
