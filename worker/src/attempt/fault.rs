//! A fault of this worker, which has nothing to do with the job: no launcher, a full disk. The job goes to whoever
//! can start it, without an attempt; its slot rests, so that a worker that can start nothing does not take up
//! every job in turn, and the worker says that it is not ready.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use job_queue::{Job, Undo};
use lifecycle::Latch;

use super::Over;
use super::beginning::undo;
use crate::keeper::Keeper;
use crate::serve::Worker;

/// The first rest; each further fault in a row doubles it.
const REST: Duration = Duration::from_secs(1);
/// The longest rest.
const LONGEST: Duration = Duration::from_secs(30);

/// Whether this worker can start scripts.
#[derive(Debug)]
pub(crate) struct Health {
    latch: Latch,
    /// Faults since a script was started last.
    faults: AtomicU32,
}

impl Health {
    /// Well until shown otherwise: scripts were tried before it takes jobs.
    pub(crate) fn new(latch: Latch) -> Self {
        latch.ready();
        Self { latch, faults: AtomicU32::new(0) }
    }

    /// A script was started.
    pub(super) fn well(&self) {
        if self.faults.load(Ordering::Relaxed) != 0 && self.faults.swap(0, Ordering::Relaxed) != 0 {
            self.latch.ready();
            tracing::info!("scripts start again");
        }
    }

    /// One could not be; how long its slot rests.
    pub(super) fn fault(&self, why: &str) -> Duration {
        metrics::counter!("worker_faults_total").increment(1);
        let before = self.faults.fetch_add(1, Ordering::Relaxed);
        self.latch.not_ready(why.to_owned());
        rest(before)
    }
}

fn rest(before: u32) -> Duration {
    REST.saturating_mul(1_u32.checked_shl(before).unwrap_or(u32::MAX)).min(LONGEST)
}

/// Takes the start back, if it is ours still; the slot rests in any case.
pub(super) async fn give_up(
    worker: &Worker,
    keeper: &Keeper,
    job: &Job,
    (attempt, nonce): (u32, &str),
    why: &str,
) -> Option<Over> {
    tracing::error!(job.id = %job.id, error = why, "this worker cannot start a script; the job goes to another");
    let rest = worker.health.fault(why);
    undo(worker, keeper, job, (attempt, nonce), Undo::Fault).await;
    Some(Over::Elsewhere { rest })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_that_starts_nothing_rests_longer_and_longer() {
        let rests: Vec<u64> = [0, 1, 2, 4, 5, 31, 32, u32::MAX].map(|before| rest(before).as_secs()).to_vec();
        assert_eq!(rests, [1, 2, 4, 16, 30, 30, 30, 30]);
    }

    #[test]
    fn it_is_not_ready_until_a_script_starts() {
        let readiness = lifecycle::Readiness::new();
        let health = Health::new(readiness.latch("scripts"));
        assert!(readiness.is_ready());
        health.fault("disk full");
        assert!(!readiness.is_ready());
        health.well();
        assert!(readiness.is_ready());
        assert_eq!(health.fault("disk full"), REST);
    }
}
