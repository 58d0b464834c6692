//! One delivery from its arrival to its acknowledgement. Nothing is spent while a
//! dependency is away; the end is recorded before the message goes; what follows from the
//! end is repeated by whoever finds it recorded already.

use std::sync::Arc;
use std::time::Duration;

use catalog::Script;
use job_queue::{
    Delivery, End, EndAnswer, EndRequest, EventKind, Job, Lease, Outcome, StartAnswer, StartRequest,
    canceled_result, error_result,
};
use tracing::Instrument;
use uuid::Uuid;

use crate::environment::{self, Surroundings};
use crate::execute::{Invocation, KillReason, Limits, Verdict};
use crate::keeper::Keeper;
use crate::log_sink::{Fence, RecordLog};
use crate::patience::{GaveUp, ask};
use crate::serve::Worker;

/// What a script needs before it can be started.
struct Prepared {
    script: Arc<Script>,
    args: bytes::Bytes,
    token: String,
    limits: Limits,
}

/// What came of preparing: it can be started, or the job cannot run for this reason.
type Preparation = Result<Prepared, String>;

/// The end, with what the record keeps beside it.
struct Finished {
    end: End,
    run_us: i64,
    mem_kib: u64,
    last_log: String,
}

/// Works off one delivery.
pub(crate) async fn handle(worker: &Worker, delivery: Delivery) {
    let Delivery { job, subject, lease, slot, delivered } = delivery;
    match job {
        Ok(job) => {
            let span = tracing::info_span!(
                "job.process", otel.kind = "consumer", job.id = %job.id, script.path = %job.path, job.attempt = tracing::field::Empty
            );
            lifecycle::set_parent(&span, &job.trace.parent, &job.trace.state);
            process(worker, job, lease, delivered).instrument(span).await;
        }
        Err(error) => {
            // kept in the stream, and offered again after a day: an upgrade may read it
            tracing::error!(nats.subject = subject, %error, "a job cannot be read by this version");
            lease.hand_back(Some(Duration::from_hours(24))).await;
        }
    }
    drop(slot);
}

async fn process(worker: &Worker, job: Job, lease: Lease, delivered: i64) {
    let entry = worker.watchlist.enter(job.id);
    let keeper = Keeper::start(
        lease.clone(),
        worker.config.lease,
        worker.records.clone(),
        job.clone(),
        entry.bell.clone(),
        worker.abort.clone(),
    );
    let job = Arc::new(job);
    match attempt(worker, &keeper, &job, delivered).await {
        Some(end) => lease.settle(&job, &end, &worker.events).await,
        // at once, to whoever has a slot
        None if keeper.holds_lease() => lease.hand_back(None).await,
        // handing back now would take it away from whoever has it
        None => {}
    }
    worker.executor.run_over();
}

/// The job's recorded end, or none when somebody else has to see to it.
async fn attempt(worker: &Worker, keeper: &Keeper, job: &Arc<Job>, delivered: i64) -> Option<End> {
    let guess = u32::try_from(delivered).unwrap_or(1).max(1);
    let prepared = prepare(worker, keeper, job, guess).await?;
    let fence = match start(worker, keeper, job).await? {
        StartAnswer::Run { attempt, log_len } => Fence { attempt, log_len },
        StartAnswer::Ended(end) | StartAnswer::Exhausted(end) => return Some(end),
    };
    let attempt = fence.attempt;
    keeper.attempt_is(attempt);
    tracing::Span::current().record("job.attempt", attempt);
    worker.events.tell(&job.workspace, job.id, EventKind::Started).await;
    let prepared = retoken(worker, keeper, job, prepared, (guess, attempt)).await?;
    let finished = match prepared {
        Ok(prepared) => run(worker, keeper, job, fence, prepared).await?,
        Err(why) => Finished::failed("ExecutionErr", &why),
    };
    record_end(worker, keeper, job, attempt, &finished).await
}

/// Everything that may be away is asked before an attempt is counted.
async fn prepare(worker: &Worker, keeper: &Keeper, job: &Job, attempt: u32) -> Option<Preparation> {
    let script = ask(keeper, "catalog", || worker.catalog.script(&job.workspace, job.hash)).await;
    let script = match or_reason(script)? {
        Ok(Some(script)) => script,
        Ok(None) => {
            return Some(Err(format!("version {} of {} does not exist any more", job.hash, job.path)));
        }
        Err(why) => return Some(Err(why)),
    };
    let args = match or_reason(ask(keeper, "argument store", || worker.args.load(&job.args)).await)? {
        Ok(args) => args,
        Err(why) => return Some(Err(why)),
    };
    let limits = limits(worker, &script);
    let token = token(worker, keeper, job, attempt, limits.timeout).await?;
    Some(token.map(|token| Prepared { script, args, token, limits }))
}

async fn token(
    worker: &Worker,
    keeper: &Keeper,
    job: &Job,
    attempt: u32,
    timeout: Duration,
) -> Option<Result<String, String>> {
    let issued = ask(keeper, "auth-service", || worker.tokens.issue(job, attempt, timeout)).await;
    match issued {
        Ok(token) => Some(Ok(token)),
        Err(GaveUp::NotOurs) => None,
        Err(GaveUp::Failed(status)) => Some(Err(format!("the job may not run: {}", status.message()))),
    }
}

/// The attempt was guessed from NATS's count, which is not ours: when it was another, the
/// token has to be another, too.
async fn retoken(
    worker: &Worker,
    keeper: &Keeper,
    job: &Job,
    prepared: Preparation,
    (guess, attempt): (u32, u32),
) -> Option<Preparation> {
    match prepared {
        Ok(prepared) if guess != attempt => {
            let token = token(worker, keeper, job, attempt, prepared.limits.timeout).await?;
            Some(token.map(|token| Prepared { token, ..prepared }))
        }
        other => Some(other),
    }
}

/// An answer, the reason why the job cannot run, or none when it is not ours any more.
fn or_reason<T, E: std::fmt::Display>(answer: Result<T, GaveUp<E>>) -> Option<Result<T, String>> {
    match answer {
        Ok(answer) => Some(Ok(answer)),
        Err(GaveUp::NotOurs) => None,
        Err(GaveUp::Failed(error)) => Some(Err(error.to_string())),
    }
}

fn limits(worker: &Worker, script: &Script) -> Limits {
    let own = script.script.timeout.and_then(|seconds| u64::try_from(seconds).ok()).map(Duration::from_secs);
    let timeout = own.unwrap_or(worker.config.timeout_default).min(worker.config.timeout_max);
    Limits { timeout, ..Limits::default() }
}

async fn start(worker: &Worker, keeper: &Keeper, job: &Job) -> Option<StartAnswer> {
    let nonce = Uuid::new_v4().to_string();
    let first_log = format!("job={} tag={} worker={}\n", job.id, job.tag, worker.id);
    let request = StartRequest {
        job,
        worker: &worker.id,
        nonce: &nonce,
        max_attempts: worker.config.max_attempts,
        first_log: &first_log,
    };
    let answer = ask(keeper, "run store", || worker.records.start(&request)).await;
    answer.map_err(|gave_up| unusable(job, &gave_up)).ok()
}

/// Runs the script. None when it was killed because the job is not ours any more.
async fn run(
    worker: &Worker,
    keeper: &Keeper,
    job: &Arc<Job>,
    fence: Fence,
    prepared: Prepared,
) -> Option<Finished> {
    let Prepared { script, args, token, limits } = prepared;
    let around = Surroundings {
        base_internal_url: &worker.config.base_internal_url,
        base_url: &worker.config.base_url,
        group: &worker.config.group,
        worker: &worker.id,
    };
    let invocation = Invocation {
        job_id: job.id,
        language: job.language,
        content: script.script.content.as_str().into(),
        path: job.path.to_string(),
        args,
        env: environment::of(job, &script, &token, &around),
        mask: vec![token],
        limits,
    };
    let (log, rest) = RecordLog::new(worker.records.clone(), worker.events.clone(), job.clone(), fence);
    let outcome = worker.executor.run(invocation, log, keeper.kill()).await;
    let run_us = outcome.exit.map_or(0, |exit| i64::try_from(exit.wall().as_micros()).unwrap_or(i64::MAX));
    let end = end_of(outcome.verdict, &limits, keeper)?;
    Some(Finished { end, run_us, mem_kib: outcome.mem_peak_kib, last_log: rest.take() })
}

fn end_of(verdict: Verdict, limits: &Limits, keeper: &Keeper) -> Option<End> {
    let (outcome, result) = match verdict {
        Verdict::Success { result } => (Outcome::Success, result),
        Verdict::Failure { error } => (Outcome::Failure, error),
        Verdict::Killed(KillReason::LeaseLost | KillReason::Shutdown) => return None,
        Verdict::Killed(KillReason::Canceled) => (Outcome::Canceled, canceled_result(&keeper.canceled()?)),
        Verdict::Killed(reason @ (KillReason::Timeout | KillReason::OutputTooLarge)) => {
            (Outcome::Failure, reason.error(limits).to_json())
        }
    };
    Some(End { outcome, result })
}

impl Finished {
    fn failed(name: &str, why: &str) -> Self {
        let end = End { outcome: Outcome::Failure, result: error_result(name, why) };
        Self { end, run_us: 0, mem_kib: 0, last_log: format!("{why}\n") }
    }
}

/// Records the end; the answer is the end that counts, if it is ours to settle.
async fn record_end(
    worker: &Worker,
    keeper: &Keeper,
    job: &Job,
    attempt: u32,
    finished: &Finished,
) -> Option<End> {
    let request = EndRequest {
        job,
        attempt,
        end: &finished.end,
        run_us: finished.run_us,
        mem_kib: finished.mem_kib,
        last_log: &finished.last_log,
    };
    let answer = ask(keeper, "run store", || worker.records.end(&request)).await;
    match answer.map_err(|gave_up| unusable(job, &gave_up)).ok()? {
        EndAnswer::Written => {
            let labels = [("outcome", finished.end.outcome.as_str()), ("language", job.language.as_str())];
            metrics::counter!("worker_jobs_total", &labels).increment(1);
            Some(finished.end.clone())
        }
        EndAnswer::Ended(end) => Some(end),
        EndAnswer::Fenced => {
            keeper.let_go();
            None
        }
    }
}

fn unusable(job: &Job, gave_up: &GaveUp<job_queue::StoreError>) {
    if let GaveUp::Failed(error) = gave_up {
        tracing::error!(job.id = %job.id, %error, "the run store gave an unusable answer");
    }
}
