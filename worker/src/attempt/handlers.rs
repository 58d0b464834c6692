//! A job of a schedule that has ended: the schedule's handlers are to hear of it before its message goes.

use std::time::Duration;

use job_queue::{Job, Lease};
use tokio::time::Instant;

use crate::serve::Worker;

/// How long the stream of timers may take for its answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// When it is told again for the first time, and at the latest; longer each time. The slot is free meanwhile: a stream that
/// refuses must not keep workers busy.
const LATER: Duration = Duration::from_secs(10);
const LATEST: Duration = Duration::from_mins(10);

/// Whether they will hear of it. Else the message comes again, finds the end recorded, and this is repeated.
pub(super) async fn tell(worker: &Worker, lease: &Lease, job: &Job, delivered: i64) -> Option<()> {
    match worker.afters.tell(job, Instant::now() + ANSWER_WITHIN).await {
        Ok(()) => Some(()),
        Err(error) => {
            tracing::warn!(job.id = %job.id, %error, "the end of a schedule's job is told later");
            lease.hand_back(Some(later(delivered))).await;
            None
        }
    }
}

fn later(delivered: i64) -> Duration {
    LATER.saturating_mul(1 << (delivered - 1).clamp(0, 16)).min(LATEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_told_again_less_and_less_often() {
        let seconds = [0, 1, 2, 3, 7, 8, i64::MAX].map(|delivered| later(delivered).as_secs());
        assert_eq!(seconds, [10, 10, 20, 40, 600, 600, 600]);
    }
}
