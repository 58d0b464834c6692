//! Jobs that are not tried any more: each becomes a dead letter before its message goes.

use std::time::Duration;

use job_queue::{
    DeadLetter, DeathReason, End, InvalidEnvelope, Job, Lease, PublishError, StoreError, now_us,
};

use super::Arrived;
use crate::execute::JobError;
use crate::serve::Worker;

/// Of a log, what a letter has of its end, in UTF-16 units.
const LAST_LOG: u64 = 4096;

/// An envelope that may be of a newer version is handed on so often, with this pause: while an installation is upgraded, workers
/// that can read it are there, or come.
const HANDED_ON: i64 = 30;
const PAUSE: Duration = Duration::from_secs(10);

/// A job that was started as often as it may be. None when the letter was not taken: the job comes again then.
pub(super) async fn exhausted(
    worker: &Worker,
    lease: &Lease,
    job: &Job,
    arrived: &Arrived,
    end: &End,
) -> Option<()> {
    let Ok((attempts, last_log)) = last_words(worker, job).await else {
        lease.hand_back(Some(worker.config.bury_again)).await;
        return None;
    };
    let letter = DeadLetter {
        reason: DeathReason::WorkerLost,
        message: JobError::message_of(&end.result),
        attempts,
        died_us: now_us(),
        last_log,
        subject: arrived.subject.clone(),
        envelope: arrived.envelope.clone(),
    };
    bury(worker, lease, &letter).await
}

/// How often it was started, and the end of its log.
async fn last_words(worker: &Worker, job: &Job) -> Result<(u32, String), StoreError> {
    let record = worker.records.get(&job.workspace, job.id).await?;
    let (attempts, log_len) = record.map_or((0, 0), |record| (record.attempt, record.log_len));
    let last_log = worker.records.log_tail(&job.workspace, job.id, log_len, LAST_LOG).await?;
    Ok((attempts, last_log))
}

/// A job whose envelope cannot be read: its message goes when its letter was taken.
pub(super) async fn unreadable(
    worker: &Worker,
    lease: &Lease,
    arrived: &Arrived,
    error: &InvalidEnvelope,
    delivered: i64,
) {
    let perhaps_newer = matches!(error, InvalidEnvelope::Version(_) | InvalidEnvelope::Field { .. });
    if perhaps_newer && delivered <= HANDED_ON {
        tracing::warn!(nats.subject = arrived.subject, %error, "a job is handed on to a worker that can read it");
        return lease.hand_back(Some(PAUSE)).await;
    }
    tracing::error!(nats.subject = arrived.subject, %error, "a job cannot be read");
    let letter = DeadLetter {
        reason: DeathReason::Unreadable,
        message: error.to_string(),
        attempts: 0,
        died_us: now_us(),
        last_log: String::new(),
        subject: arrived.subject.clone(),
        envelope: arrived.envelope.clone(),
    };
    if bury(worker, lease, &letter).await.is_some() {
        lease.ack().await;
    }
}

/// Whether the stream has the letter. Else the message comes again: nothing is lost, and nothing turns in a circle.
async fn bury(worker: &Worker, lease: &Lease, letter: &DeadLetter) -> Option<()> {
    match worker.dead_letters.bury(letter).await {
        Ok(()) => {
            metrics::counter!("worker_dead_letters_total", "reason" => letter.reason.as_str_name())
                .increment(1);
            Some(())
        }
        Err(error @ (PublishError::Full | PublishError::NotStored(_) | PublishError::Unanswered(_))) => {
            tracing::error!(nats.subject = letter.subject, %error, "a dead letter was not taken");
            lease.hand_back(Some(worker.config.bury_again)).await;
            None
        }
        Err(error @ (PublishError::Duplicate | PublishError::Refused(_))) => {
            tracing::error!(nats.subject = letter.subject, %error, "a dead letter was refused");
            lease.hand_back(Some(Duration::from_hours(24))).await;
            None
        }
    }
}
