//! A try that has failed, and whether another one follows: then the job is put aside until that is due.

use std::time::Duration;

use job_queue::{Job, NextTry, Outcome, PublishError, RetryAnswer, RetryRequest, now_us};
use proto::RetryPolicy;
use tokio::time::Instant;

use super::beginning::unusable;
use super::condition::{self, Said};
use super::{Finished, Over, Recorded};
use crate::keeper::Keeper;
use crate::patience::{GaveUp, Transient, ask};
use crate::serve::Worker;

/// How long the stream of timers may take for one answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// How often a worker that cannot tell whether a try is repeated asks, longer and longer apart: some three minutes.
const ASKED: u32 = 10;

/// What becomes of a try that came to its end.
pub(super) enum Verdict {
    /// It is the job's end, and is to be recorded.
    End(Box<Finished>),
    /// It is not the job's end, or another one was recorded before.
    Over(Over),
}

/// Whether the job is to be tried again; then the attempt is over. None when the job is not ours any more.
pub(super) async fn after(
    worker: &Worker,
    keeper: &Keeper,
    job: &Job,
    (attempt, retries): (u32, u32),
    mut finished: Box<Finished>,
) -> Option<Verdict> {
    let Some(pause) = pause(&finished, retries) else { return Some(Verdict::End(finished)) };
    let wanted = wanted(worker, keeper, &mut finished).await?;
    if let Some(request) = keeper.canceled() {
        return Some(Verdict::End(Box::new(finished.canceled(&request))));
    }
    if !wanted {
        return Some(Verdict::End(finished));
    }
    let due_us = now_us().saturating_add(i64::try_from(pause.as_micros()).unwrap_or(i64::MAX));
    let request = RetryRequest {
        job,
        attempt,
        result: &finished.end.result,
        run_us: finished.run_us,
        last_log: &finished.last_log,
        due_us,
    };
    // from now on the record may not name us, and that is no reason to let the job go
    keeper.attempt_is_undone();
    let answer = ask(keeper, "run store", || worker.records.retry(&request)).await;
    match answer.map_err(|gave_up| unusable(job, &gave_up)).ok()? {
        RetryAnswer::Later(next) => {
            metrics::counter!("worker_retries_total", "language" => job.language.as_str()).increment(1);
            Some(Verdict::Over(Over::Later { next, leftovers: finished.leftovers }))
        }
        RetryAnswer::Canceled(request) => Some(Verdict::End(Box::new(finished.canceled(&request)))),
        RetryAnswer::Ended(end) => {
            let recorded = Recorded { end, leftovers: finished.leftovers, dead: false };
            Some(Verdict::Over(Over::Recorded(recorded)))
        }
        RetryAnswer::Fenced => {
            keeper.let_go();
            None
        }
    }
}

/// How long it is until the next try, if there is to be one.
fn pause(finished: &Finished, retries: u32) -> Option<Duration> {
    if finished.end.outcome != Outcome::Failure {
        return None;
    }
    finished.retry.as_ref()?.0.pause(retries.saturating_add(1), fastrand::f64().mul_add(2.0, -1.0))
}

/// Whether its policy means this failure. None when the job is not ours any more.
async fn wanted(worker: &Worker, keeper: &Keeper, finished: &mut Finished) -> Option<bool> {
    let Some((policy, limits)) = finished.retry.as_ref() else { return Some(true) };
    let Some(condition) = policy.retry_if.as_ref() else { return Some(true) };
    let mut asked = 0;
    let said = loop {
        asked += 1;
        match condition::holds(worker, keeper, condition, &finished.end.result, limits).await {
            // the try is over, so nobody else can ask in our place: a full disk may have room again
            Said::Fault(why) if asked < ASKED && keeper.canceled().is_none() => {
                if !keeper.hold(worker.health.fault(&why)).await {
                    return None;
                }
            }
            Said::Fault(why) => break Said::Fault(why),
            said => {
                worker.health.well();
                break said;
            }
        }
    };
    match said {
        Said::So(holds) => Some(holds),
        Said::Unknown(why) | Said::Fault(why) => {
            let line = format!("not tried again, as its retry_if cannot be told: {why}\n");
            finished.last_log.push_str(&line);
            Some(false)
        }
        Said::NotOurs => None,
    }
}

/// The call's policy, else the script's; one that an older version let through is none.
pub(super) fn policy(job: &Job, script: &catalog::Script) -> Option<RetryPolicy> {
    job.retry.clone().or_else(|| script.script.retry().ok().flatten())
}

/// Sets the job's timer; its message may go then. None when that is not ours to do any more: whoever gets the message
/// does it.
pub(super) async fn put_aside(worker: &Worker, keeper: &Keeper, job: &Job, next: NextTry) -> Option<()> {
    let NextTry { due_us, retries } = next;
    let next = Job { scheduled_us: Some(due_us), retries, ..job.clone() };
    let set = async || worker.publisher.put_aside(&next, Instant::now() + ANSWER_WITHIN).await;
    match ask(keeper, "timers", set).await {
        Ok(()) => Some(()),
        Err(GaveUp::NotOurs) => None,
        Err(GaveUp::Failed(error)) => {
            tracing::error!(job.id = %job.id, %error, "the timer of the next try was refused");
            None
        }
    }
}

impl Transient for PublishError {
    fn is_transient(&self) -> bool {
        matches!(self, Self::Unanswered(_) | Self::Full)
    }
}
