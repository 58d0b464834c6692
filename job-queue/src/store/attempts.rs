//! A job's attempts: the end of one that another one follows, and what is kept of those that were not the last.

use bytes::Bytes;
use proto::{InstanceId, JobId, WorkspaceId};

use super::keys::{self, JobKeys};
use super::logs::units;
use super::write::{end, number, text, unexpected};
use super::{Records, StoreError};
use crate::model::{CancelRequest, End, Job, now_us};

/// Of the result of an attempt that was not the last, so many bytes are kept at most; of a longer one nothing.
const KEPT_RESULT: usize = 4096;

/// A try has failed, and another one is to follow.
pub struct RetryRequest<'a> {
    /// The job.
    pub job: &'a Job,
    /// The attempt that failed.
    pub attempt: u32,
    /// Its result.
    pub result: &'a Bytes,
    /// Microseconds from fork to exit.
    pub run_us: i64,
    /// Log text not yet appended.
    pub last_log: &'a str,
    /// Unix microseconds of when the next try may start.
    pub due_us: i64,
}

/// When a job is to be tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NextTry {
    /// Unix microseconds of when it may start.
    pub due_us: i64,
    /// How many tries have failed.
    pub retries: u32,
}

/// What came of asking for another try.
#[derive(Debug)]
pub enum RetryAnswer {
    /// The attempt is over. A timer is to be set; whoever comes to the job before is told the same again.
    Later(NextTry),
    /// Somebody has asked for the job's end: there is no next try, its end is to be recorded.
    Canceled(CancelRequest),
    /// It has ended already.
    Ended(End),
    /// Another attempt holds the fence: say nothing, do nothing.
    Fenced,
}

/// How an attempt that was not the last came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passed {
    /// The try failed.
    Failure,
    /// Its worker was lost, or gave the job back.
    WorkerLost,
}

/// An attempt that was not the last.
#[derive(Clone, Debug, PartialEq)]
pub struct PastAttempt {
    /// How it ended.
    pub passed: Passed,
    /// Counted from 1.
    pub attempt: u32,
    /// Unix microseconds.
    pub started_us: i64,
    /// Unix microseconds; of a lost one, when that was noticed.
    pub ended_us: i64,
    /// Microseconds from fork to exit; 0 where they are not known.
    pub run_us: i64,
    /// Where its part of the job's log begins, in UTF-16 units.
    pub log_from: u64,
    /// Where that ends.
    pub log_to: u64,
    /// Who ran it.
    pub worker: Option<InstanceId>,
    /// Its result, unless it was too large to be kept.
    pub result: Option<Bytes>,
}

impl Records {
    /// Ends an attempt that another one follows, if it still holds the fence.
    ///
    /// # Errors
    /// The store is away; nothing is known, and the same call may be repeated.
    pub async fn retry(&self, request: &RetryRequest<'_>) -> Result<RetryAnswer, StoreError> {
        let job = request.job;
        let mut script = JobKeys::new(&job.workspace, Some(&job.path), job.id).invoke(&self.scripts.retry);
        let kept = if request.result.len() > KEPT_RESULT { &[] } else { &request.result[..] };
        script.arg(job.id.to_string()).arg(request.attempt).arg(now_us()).arg(kept).arg(request.run_us);
        script.arg(request.last_log).arg(units(request.last_log)).arg(request.due_us);
        let answer: Vec<redis::Value> = self.invoke(&script).await?;
        match text(&answer, 0)?.as_str() {
            "later" => next_try(&answer).map(RetryAnswer::Later),
            "canceled" => {
                let (by, reason) = (text(&answer, 1)?, text(&answer, 2)?);
                Ok(RetryAnswer::Canceled(CancelRequest { by, reason }))
            }
            "ended" => end(&answer).map(RetryAnswer::Ended),
            "fenced" => Ok(RetryAnswer::Fenced),
            other => Err(unexpected(other)),
        }
    }

    /// The attempts of a job that were not the last, oldest first; of very many, the latest ones.
    ///
    /// # Errors
    /// The store is away.
    pub async fn attempts(&self, workspace: &WorkspaceId, id: JobId) -> Result<Vec<PastAttempt>, StoreError> {
        let mut ask = redis::cmd("LRANGE");
        ask.arg(keys::attempts(workspace, id)).arg(0).arg(-1);
        let kept: Vec<Vec<u8>> = self.connection.query(&ask).await?;
        Ok(kept.iter().filter_map(|row| past(row)).collect())
    }
}

/// `{_, due µs, retries}`
pub(super) fn next_try(answer: &[redis::Value]) -> Result<NextTry, StoreError> {
    Ok(NextTry { due_us: number(answer, 1)?, retries: number(answer, 2)? })
}

/// As `note_attempt` in `lua/common.lua` writes it; none where it is not of that form.
fn past(row: &[u8]) -> Option<PastAttempt> {
    let line = row.iter().position(|byte| *byte == b'\n')?;
    let facts = std::str::from_utf8(&row[..line]).ok()?;
    let [how, attempt, started, ended, run, log_from, log_to, worker] =
        facts.split(' ').collect::<Vec<_>>().try_into().ok()?;
    let result = Bytes::copy_from_slice(&row[line + 1..]);
    Some(PastAttempt {
        passed: if how == "lost" { Passed::WorkerLost } else { Passed::Failure },
        attempt: attempt.parse().ok()?,
        started_us: started.parse().ok()?,
        ended_us: ended.parse().ok()?,
        run_us: run.parse().ok()?,
        log_from: log_from.parse().ok()?,
        log_to: log_to.parse().ok()?,
        worker: worker.parse().ok(),
        result: Some(result).filter(|result| !result.is_empty()),
    })
}
