//! The scripts that change a record: start, its undoing, end, cancel; and what a renewal reads.

use std::time::Duration;

use bytes::Bytes;
use proto::{InstanceId, JobId, WorkspaceId};

use super::attempts::{NextTry, next_try};
use super::keys::{self, JobKeys};
use super::logs::units;
use super::{Records, StoreError};
use crate::model::{
    Args, CancelRequest, End, Job, JobState, Outcome, ProcessStart, canceled_result, error_result, now_us,
};
use crate::stream::DeliveryNumber;

/// A worker is about to run a job.
pub struct StartRequest<'a> {
    /// The delivered job.
    pub job: &'a Job,
    /// Who is about to run it.
    pub worker: &'a InstanceId,
    /// How strongly the worker confines it.
    pub isolation: &'a str,
    /// New for every start: the same call repeated counts one attempt.
    pub nonce: &'a str,
    /// By which delivery the job came.
    pub delivery: DeliveryNumber,
    /// Attempts at most; one more delivery ends the job as failed.
    pub max_attempts: u32,
    /// The first line of the attempt's log.
    pub first_log: &'a str,
}

/// Why a start led to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Undo {
    /// What it needs is away.
    Away,
    /// This worker could not start it; others may.
    Fault,
}

/// What came of a start.
#[derive(Debug)]
pub enum StartAnswer {
    /// Run it; the fence is at this attempt.
    Run {
        /// Counted from 1.
        attempt: u32,
        /// Where the log ends now, in UTF-16 units: the next chunk goes there.
        log_len: u64,
        /// Somebody has asked for its end, perhaps of an attempt before.
        cancel_asked: bool,
        /// How many tries have failed before this one.
        retries: u32,
    },
    /// It is to be tried again later, and this message is older than that: its timer is to be set, the message
    /// acknowledged.
    Later(NextTry),
    /// It came by a delivery that was long under way: a later one of the same message is being run, and nothing is to
    /// be done, not even acknowledged.
    Late,
    /// It has ended already: repeat the after-effects and acknowledge.
    Ended(End),
    /// It has been tried too often and has ended as failed, now or at a start before this one: its dead letter is to be
    /// written, the after-effects repeated.
    Exhausted(End),
}

/// A worker has run a job to its end.
pub struct EndRequest<'a> {
    /// The job.
    pub job: &'a Job,
    /// The attempt that ran.
    pub attempt: u32,
    /// How it ended, with its result.
    pub end: &'a End,
    /// Microseconds from fork to exit.
    pub run_us: i64,
    /// Peak memory, KiB.
    pub mem_kib: u64,
    /// How its process came to it, if it ran.
    pub process: Option<&'a ProcessStart>,
    /// Log text not yet appended.
    pub last_log: &'a str,
    /// How long its workspace keeps records at this moment; none: it is not known.
    pub retention: Option<Duration>,
}

/// What came of an end.
#[derive(Debug)]
pub enum EndAnswer {
    /// It is the job's end.
    Written,
    /// Another end was first; that one counts.
    Ended(End),
    /// Another attempt holds the fence: say nothing, do nothing.
    Fenced,
}

/// What came of a cancellation.
#[derive(Debug, PartialEq)]
pub enum CancelAnswer {
    /// It had ended already.
    Ended,
    /// It runs; its worker has to be told.
    Running(Option<InstanceId>),
    /// It was queued and has ended.
    Canceled(End),
    /// Neither a record nor a message.
    Absent,
}

/// Whether an attempt may go on.
#[derive(Debug, PartialEq)]
pub enum Renewal {
    /// It may.
    Go,
    /// Somebody asked for its end.
    Canceled(CancelRequest),
    /// Another attempt holds the fence, or the job has ended.
    Fenced,
}

impl Records {
    /// Moves the fence to a new attempt, unless the job has ended.
    ///
    /// # Errors
    /// The store is away; nothing is known.
    pub async fn start(&self, request: &StartRequest<'_>) -> Result<StartAnswer, StoreError> {
        let job = request.job;
        let exhausted = exhausted_end(request.max_attempts);
        let mut script = JobKeys::new(&job.workspace, Some(&job.path), job.id).invoke(&self.scripts.start);
        script.arg(job.id.to_string()).arg(request.nonce).arg(request.worker.as_str()).arg(now_us());
        script.arg(job.encode_for_record()).arg(job.created_us).arg(inline_args(job));
        script.arg(request.max_attempts).arg(request.first_log).arg(units(request.first_log));
        script.arg(&exhausted.result[..]).arg(self.kept_s(Some(job), None)).arg(request.isolation);
        script.arg(job.retries).arg(listed_us(job)).arg(self.retention.longest_s());
        script.arg(request.delivery.sequence).arg(request.delivery.count);
        let answer: Vec<redis::Value> = self.invoke(&script).await?;
        start_answer(&answer)
    }

    /// Takes a start back that led to nothing, so that no attempt is spent; whether it was still
    /// the one that counts. Afterwards the job is queued, and may be started again. After a hundred faults its attempt
    /// stays spent: should it be the job after all, it ends.
    ///
    /// # Errors
    /// The store is away; nothing is known, and the same call may be repeated.
    pub async fn undo_start(
        &self,
        job: &Job,
        (attempt, nonce): (u32, &str),
        why: Undo,
    ) -> Result<bool, StoreError> {
        let mut script =
            JobKeys::new(&job.workspace, Some(&job.path), job.id).invoke(&self.scripts.undo_start);
        script.arg(job.id.to_string()).arg(attempt).arg(nonce).arg(job.due_us());
        script.arg(match why {
            Undo::Away => "",
            Undo::Fault => "1",
        });
        self.invoke(&script).await
    }

    /// Records the end, if this attempt still holds the fence and none was recorded.
    ///
    /// # Errors
    /// The store is away; nothing is known, and the same call may be repeated.
    pub async fn end(&self, request: &EndRequest<'_>) -> Result<EndAnswer, StoreError> {
        let job = request.job;
        let mut script = JobKeys::new(&job.workspace, Some(&job.path), job.id).invoke(&self.scripts.end);
        script.arg(job.id.to_string()).arg(request.attempt).arg(now_us());
        script.arg(request.end.outcome.as_str()).arg(&request.end.result[..]);
        script.arg(request.run_us).arg(request.mem_kib).arg(self.kept_s(Some(job), request.retention));
        script.arg(request.last_log).arg(units(request.last_log));
        script.arg(request.process.map_or_else(String::new, ToString::to_string));
        let answer: Vec<redis::Value> = self.invoke(&script).await?;
        match text(&answer, 0)?.as_str() {
            "written" => Ok(EndAnswer::Written),
            "ended" => Ok(EndAnswer::Ended(end(&answer)?)),
            "fenced" => Ok(EndAnswer::Fenced),
            other => Err(unexpected(other)),
        }
    }

    /// Asks for a job's end. `queued` is its message, if the stream holds one; `said`, how long its workspace keeps records.
    ///
    /// # Errors
    /// The store is away; nothing is known.
    pub async fn cancel(
        &self,
        workspace: &WorkspaceId,
        id: JobId,
        request: &CancelRequest,
        queued: Option<&Job>,
        said: Option<Duration>,
    ) -> Result<CancelAnswer, StoreError> {
        let result = canceled_result(request);
        let envelope = queued.map(Job::encode_for_record).unwrap_or_default();
        let mut script =
            JobKeys::new(workspace, queued.map(|job| &job.path), id).invoke(&self.scripts.cancel);
        script.arg(id.to_string()).arg(&request.by).arg(&request.reason).arg(now_us()).arg(envelope);
        script.arg(queued.map_or(0, |job| job.created_us)).arg(&result[..]);
        // a timer that could not be removed after all must still find its job's end
        script
            .arg(self.kept_s(queued, said) + queued.map_or(0, seconds_ahead))
            .arg(queued.map_or(0, listed_us))
            .arg(self.retention.longest_s());
        let answer: Vec<redis::Value> = self.invoke(&script).await?;
        match text(&answer, 0)?.as_str() {
            "ended" => Ok(CancelAnswer::Ended),
            "running" => Ok(CancelAnswer::Running(text(&answer, 1)?.parse().ok())),
            "canceled" => Ok(CancelAnswer::Canceled(End { outcome: Outcome::Canceled, result })),
            "absent" => Ok(CancelAnswer::Absent),
            other => Err(unexpected(other)),
        }
    }

    /// Whether the attempt may go on; asked at every renewal of its lease.
    ///
    /// # Errors
    /// The store is away; the lease alone decides then.
    pub async fn renew(
        &self,
        workspace: &WorkspaceId,
        id: JobId,
        attempt: u32,
    ) -> Result<Renewal, StoreError> {
        let mut ask = redis::cmd("HMGET");
        ask.arg(keys::record(workspace, id)).arg(&["state", "attempt", "cancel_by", "cancel_reason"]);
        let got: [Option<String>; 4] = self.connection.query(&ask).await?;
        let [state, holder, by, reason] = got;
        let ours = state.as_deref() == Some("running") && holder == Some(attempt.to_string());
        Ok(match by {
            _ if !ours => Renewal::Fenced,
            Some(by) => Renewal::Canceled(CancelRequest { by, reason: reason.unwrap_or_default() }),
            None => Renewal::Go,
        })
    }

    /// The attempt that holds the fence; 0 when the job never started.
    ///
    /// # Errors
    /// The store is away.
    pub async fn attempt(&self, workspace: &WorkspaceId, id: JobId) -> Result<u32, StoreError> {
        let mut ask = redis::cmd("HGET");
        ask.arg(keys::record(workspace, id)).arg("attempt");
        Ok(self.connection.query::<Option<u32>>(&ask).await?.unwrap_or(0))
    }
}

/// Where a job that starts or ends now stands in the listings: one that was put aside for longer than runs are kept
/// would not be listed at all, if that were where it was made.
fn listed_us(job: &Job) -> i64 {
    job.created_us.max(job.due_us().min(now_us()))
}

/// How long it is until a job is due.
fn seconds_ahead(job: &Job) -> u64 {
    u64::try_from((job.due_us() - now_us()) / 1_000_000).unwrap_or(0)
}

fn exhausted_end(max_attempts: u32) -> End {
    let message = match max_attempts {
        1 => "the job's worker was lost, and the job is started once at most".to_owned(),
        _ => format!("the job was started {max_attempts} times and its worker was lost each time"),
    };
    End { outcome: Outcome::Failure, result: error_result("WorkerLost", &message) }
}

/// Arguments in the object store stay there; the record's envelope names them.
fn inline_args(job: &Job) -> &[u8] {
    match &job.args {
        Args::Inline(bytes) => bytes,
        Args::Stored { .. } => b"",
    }
}

fn start_answer(answer: &[redis::Value]) -> Result<StartAnswer, StoreError> {
    match text(answer, 0)?.as_str() {
        "run" => Ok(StartAnswer::Run {
            attempt: number(answer, 1)?,
            log_len: number(answer, 2)?,
            cancel_asked: !text(answer, 3)?.is_empty(),
            retries: number(answer, 4)?,
        }),
        "later" => next_try(answer).map(StartAnswer::Later),
        "late" => Ok(StartAnswer::Late),
        "ended" => end(answer).map(StartAnswer::Ended),
        "exhausted" => end(answer).map(StartAnswer::Exhausted),
        other => Err(unexpected(other)),
    }
}

/// `{_, state, result}`
pub(super) fn end(answer: &[redis::Value]) -> Result<End, StoreError> {
    let state = text(answer, 1)?;
    let Some(JobState::Ended(outcome)) = JobState::parse(&state) else { return Err(unexpected(&state)) };
    match answer.get(2) {
        Some(redis::Value::BulkString(bytes)) => Ok(End { outcome, result: Bytes::copy_from_slice(bytes) }),
        _ => Err(unexpected("no result")),
    }
}

pub(super) fn text(answer: &[redis::Value], place: usize) -> Result<String, StoreError> {
    let value = answer.get(place).ok_or_else(|| unexpected("a shorter answer"))?;
    redis::from_redis_value_ref(value).map_err(|error| StoreError::Answer(error.to_string()))
}

pub(super) fn number<T: std::str::FromStr>(answer: &[redis::Value], place: usize) -> Result<T, StoreError> {
    let text = text(answer, place)?;
    text.parse().map_err(|_| unexpected(&text))
}

pub(super) fn unexpected(what: &str) -> StoreError {
    StoreError::Answer(format!("unexpected: {what}"))
}
