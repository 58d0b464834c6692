//! From a delivery to a script that may start: what it needs, and an attempt that is counted.
//! Whoever is away is waited for without spending an attempt.
//!
//! Token, files and start need nothing of each other, so they are asked for at once, as long as
//! auth-service is known to answer. Should it not answer after all, the start is taken back.

use job_queue::{DeliveryNumber, Job, StartAnswer, StartRequest, Undo};
use uuid::Uuid;

use super::preparation::{Plan, Preparation, issued, plan, ready, refused};
use crate::execute::{Invocation, JobError, Prepared};
use crate::keeper::Keeper;
use crate::patience::{GaveUp, Transient, ask};
use crate::serve::Worker;

/// A start that has its answer.
pub(super) struct Begun {
    pub(super) answer: StartAnswer,
    /// Of use only if the answer is to run.
    pub(super) preparation: Preparation,
    /// What makes this start known among others of the same attempt.
    pub(super) nonce: String,
}

/// None when the job is not ours any more.
pub(super) async fn begin(
    worker: &Worker,
    keeper: &Keeper,
    job: &Job,
    number: DeliveryNumber,
) -> Option<Begun> {
    let (plan, invocation) = match plan(worker, keeper, job).await? {
        Ok(planned) => planned,
        Err(error) => {
            return in_order(worker, keeper, job, (number, worker.config.max_attempts), Err(error)).await;
        }
    };
    let files = files(worker, invocation);
    if worker.tokens.answers() {
        at_once(worker, keeper, job, number, plan, files).await
    } else {
        let (issued, files) = tokio::join!(issued(worker, keeper, job, guess(number), plan.timeout), files);
        let limits = (number, plan.attempts);
        in_order(worker, keeper, job, limits, ready(worker, plan, files, issued?)).await
    }
}

/// Tasks of a client that a question passes before it is on its way: tonic's buffer, the HTTP/2
/// connection, and one that wakes the asker in between.
const TASKS_OF_A_CLIENT: usize = 3;

/// The files are written while others work, so their questions go out first.
async fn files(worker: &Worker, invocation: Invocation) -> Result<Prepared, JobError> {
    for _ in 0..TASKS_OF_A_CLIENT {
        tokio::task::yield_now().await;
    }
    worker.executor.prepare(invocation).await
}

async fn in_order(
    worker: &Worker,
    keeper: &Keeper,
    job: &Job,
    limits: (DeliveryNumber, u32),
    preparation: Preparation,
) -> Option<Begun> {
    let nonce = nonce();
    let answer = start(worker, keeper, job, limits, &nonce).await?;
    Some(Begun { answer, preparation, nonce })
}

async fn at_once(
    worker: &Worker,
    keeper: &Keeper,
    job: &Job,
    number: DeliveryNumber,
    plan: Plan,
    files: impl Future<Output = Result<Prepared, JobError>>,
) -> Option<Begun> {
    let nonce = nonce();
    let issuing = worker.tokens.issue(job, guess(number), plan.timeout);
    let (outcome, answer, files) =
        tokio::join!(issuing, start(worker, keeper, job, (number, plan.attempts), &nonce), files);
    let answer = answer?;
    match (outcome, &answer) {
        (Err(status), StartAnswer::Run { attempt, .. }) if status.is_transient() => {
            tracing::warn!(error = %status, "waiting for auth-service, without an attempt");
            undo(worker, keeper, job, (*attempt, &nonce), Undo::Away).await?;
            let issued = issued(worker, keeper, job, guess(number), plan.timeout).await?;
            let limits = (number, plan.attempts);
            in_order(worker, keeper, job, limits, ready(worker, plan, files, issued)).await
        }
        (outcome, _) => {
            let issued = outcome.map_err(|status| refused(&status));
            Some(Begun { answer, preparation: ready(worker, plan, files, issued), nonce })
        }
    }
}

/// The attempt that this will be, unless somebody handed the job back.
pub(super) fn guess(number: DeliveryNumber) -> u32 {
    u32::try_from(number.count).unwrap_or(1).max(1)
}

fn nonce() -> String {
    Uuid::new_v4().to_string()
}

/// Counts an attempt and moves the fence to it, unless the job has ended.
async fn start(
    worker: &Worker,
    keeper: &Keeper,
    job: &Job,
    (delivery, max_attempts): (DeliveryNumber, u32),
    nonce: &str,
) -> Option<StartAnswer> {
    let first_log = format!("job={} tag={} worker={}\n", job.id, job.tag, worker.id);
    let request = StartRequest {
        job,
        worker: &worker.id,
        isolation: worker.executor.level().map_or("off", sandbox::Level::as_str),
        nonce,
        delivery,
        max_attempts,
        first_log: &first_log,
    };
    let answer = ask(keeper, "run store", || worker.records.start(&request)).await;
    let answer = answer.map_err(|gave_up| unusable(job, &gave_up)).ok()?;
    if let StartAnswer::Run { attempt, cancel_asked, .. } = &answer {
        keeper.attempt_is(*attempt, *cancel_asked);
    }
    Some(answer)
}

/// Takes a start back, as if the job had not been delivered. None when it is not ours any more.
pub(super) async fn undo(
    worker: &Worker,
    keeper: &Keeper,
    job: &Job,
    start: (u32, &str),
    why: Undo,
) -> Option<()> {
    // from now on the record does not name us, and that is no reason to let the job go
    keeper.attempt_is_undone();
    let undone = ask(keeper, "run store", || worker.records.undo_start(job, start, why)).await;
    if undone.map_err(|gave_up| unusable(job, &gave_up)).ok()? {
        return Some(());
    }
    // somebody else has it by now, or our first word of it has come through: its message is not ours to give back
    keeper.let_go();
    None
}

/// Says why a store that is there is of no use.
pub(super) fn unusable(job: &Job, gave_up: &GaveUp<job_queue::StoreError>) {
    if let GaveUp::Failed(error) = gave_up {
        tracing::error!(job.id = %job.id, %error, "the run store gave an unusable answer");
    }
}
