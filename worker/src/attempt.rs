//! One delivery from its arrival to its acknowledgement. Nothing is spent while a
//! dependency is away; the end is recorded before the message goes; what follows from the
//! end is repeated by whoever finds it recorded already.

mod beginning;
mod condition;
mod death;
mod fault;
mod handlers;
mod preparation;
mod retrying;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
#[cfg(feature = "planted-bugs")]
use job_queue::planted;
use job_queue::{
    CancelRequest, Delivery, DeliveryNumber, End, EndAnswer, EndRequest, EventKind, Job, Lease, NextTry,
    Outcome, ProcessStart, StartAnswer, canceled_result,
};
use proto::RetryPolicy;
use tracing::Instrument;

use self::beginning::{Begun, begin, guess, unusable};
pub(crate) use self::fault::Health;
use self::preparation::{Ready, retoken};
use self::retrying::Verdict;
use crate::environment::{self, Platform};
use crate::execute::{JobError, KillReason, Leftovers, Limits, Start, Surroundings, Verdict as Came};
use crate::keeper::Keeper;
use crate::log_sink::{Fence, RecordLog};
use crate::patience::ask;
use crate::serve::Worker;

/// The end, with what the record keeps beside it.
struct Finished {
    end: End,
    run_us: i64,
    mem_kib: u64,
    process: Option<ProcessStart>,
    last_log: String,
    leftovers: Option<Leftovers>,
    /// What follows its failure, and within which limits it ran.
    retry: Option<(RetryPolicy, Limits)>,
    /// How long its workspace keeps it, where that is known.
    retention: Option<Duration>,
}

/// An attempt that is over.
enum Over {
    Recorded(Recorded),
    /// The job is to be tried again; its timer is to be set.
    Later {
        next: NextTry,
        leftovers: Option<Leftovers>,
    },
    /// Somebody else is to start it; until its slot takes another, it rests.
    Elsewhere {
        rest: Duration,
    },
}

/// What came of running.
enum Ran {
    Through(Box<Finished>),
    /// This worker could not.
    Not(JobError),
}

/// What a slot does before it is free again.
enum Then {
    Nothing,
    Sweep(Leftovers),
    Rest(Duration),
}

/// A job whose end is recorded, by us or by somebody before us.
struct Recorded {
    end: End,
    leftovers: Option<Leftovers>,
    /// It was tried too often.
    dead: bool,
}

/// A job as it came.
struct Arrived {
    subject: String,
    envelope: Bytes,
}

/// A finished job's folder is removed this much later: its caller's answer, which is still on its
/// way through other processes, has the cores first.
const SWEEP_AFTER: Duration = Duration::from_millis(10);

/// Works off one delivery.
pub(crate) async fn handle(worker: &Worker, delivery: Delivery) {
    let Delivery { job, envelope, subject, lease, slot, number } = delivery;
    let arrived = Arrived { subject, envelope };
    let then = match job {
        Ok(job) => {
            let span = tracing::info_span!(
                "job.process", otel.kind = "consumer", job.id = %job.id, script.path = %job.path, job.attempt = tracing::field::Empty
            );
            lifecycle::set_parent(&span, &job.trace.parent, &job.trace.state);
            process(worker, job, &arrived, lease, number).instrument(span).await
        }
        Err(error) => {
            death::unreadable(worker, &lease, &arrived, &error, number.count).await;
            Then::Nothing
        }
    };
    match then {
        Then::Nothing => {}
        Then::Rest(rest) => _ = worker.drain.run_until_cancelled(tokio::time::sleep(rest)).await,
        Then::Sweep(leftovers) => {
            // as many as there are slots: whoever writes faster than we remove waits with its slot
            let _sweep = worker.sweeps.acquire().await;
            drop(slot);
            tokio::time::sleep(SWEEP_AFTER).await;
            leftovers.remove().await;
        }
    }
}

async fn process(worker: &Worker, job: Job, arrived: &Arrived, lease: Lease, number: DeliveryNumber) -> Then {
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
    let leftovers = match attempt(worker, &keeper, &job, number).await {
        Some(Over::Recorded(recorded)) => {
            settle(worker, &lease, &job, (arrived, number.count), recorded).await
        }
        Some(Over::Later { next, leftovers }) => {
            match retrying::put_aside(worker, &keeper, &job, next).await {
                Some(()) if keeper.holds_lease() => lease.ack().await,
                // whoever has the message by now may be at the next try with it
                Some(()) => {}
                None => hand_back(&keeper, &lease).await,
            }
            leftovers
        }
        Some(Over::Elsewhere { rest }) => {
            hand_back(&keeper, &lease).await;
            return Then::Rest(rest);
        }
        None => {
            hand_back(&keeper, &lease).await;
            None
        }
    };
    leftovers.map_or(Then::Nothing, Then::Sweep)
}

/// At once, to whoever has a slot; not when that would take it away from whoever has it by now.
async fn hand_back(keeper: &Keeper, lease: &Lease) {
    if keeper.holds_lease() {
        lease.hand_back(None).await;
    }
}

/// What follows from a recorded end.
async fn settle(
    worker: &Worker,
    lease: &Lease,
    job: &Job,
    (arrived, delivered): (&Arrived, i64),
    Recorded { end, leftovers, dead }: Recorded,
) -> Option<Leftovers> {
    if !dead && job.schedule.is_none() {
        lease.settle(job, &end, &worker.events).await;
        return leftovers;
    }
    // whoever waits need not wait for its letter, nor for its schedule's handlers
    lease.tell(job, &end, &worker.events).await;
    let rest = async {
        handlers::tell(worker, lease, job, delivered).await?;
        if dead { death::exhausted(worker, lease, job, arrived, &end).await } else { Some(()) }
    };
    if rest.await.is_some() {
        lease.ack().await;
    }
    leftovers
}

/// What came of it, or none when somebody else has to see to the job.
async fn attempt(worker: &Worker, keeper: &Keeper, job: &Arc<Job>, number: DeliveryNumber) -> Option<Over> {
    // the largest part of an attempt's state, of no use while the script runs
    let Begun { answer, preparation, nonce } = Box::pin(begin(worker, keeper, job, number)).await?;
    let recorded = |end, dead| Some(Over::Recorded(Recorded { end, leftovers: None, dead }));
    let (fence, retries) = match answer {
        StartAnswer::Run { attempt, log_len, retries, .. } => (Fence { attempt, log_len }, retries),
        StartAnswer::Late => {
            metrics::counter!("worker_late_deliveries_total").increment(1);
            keeper.let_go();
            return None;
        }
        StartAnswer::Later(next) => return Some(Over::Later { next, leftovers: None }),
        #[cfg(feature = "planted-bugs")]
        StartAnswer::Ended(_) if planted::has(planted::Bug::NoAfterEffects) => {
            keeper.ack().await;
            keeper.let_go();
            return None;
        }
        StartAnswer::Ended(end) => return recorded(end, false),
        StartAnswer::Exhausted(end) => return recorded(end, true),
    };
    let attempt = fence.attempt;
    tracing::Span::current().record("job.attempt", attempt);
    let finished = async {
        match retoken(worker, keeper, job, preparation, (guess(number), attempt)).await? {
            Ok(ready) => run(worker, keeper, job, fence, ready).await,
            Err(error) if error.is_fault() => Some(Ran::Not(error)),
            Err(error) => Some(Ran::Through(Box::new(Finished::failed(&error)))),
        }
    };
    // the script is on its way before anybody is told so
    let told = worker.events.tell(&job.workspace, job.id, EventKind::Started);
    let (finished, ()) = tokio::join!(finished, told);
    let finished = match finished? {
        Ran::Through(finished) => finished,
        Ran::Not(error) => {
            return fault::give_up(worker, keeper, job, (attempt, &nonce), &error.message).await;
        }
    };
    match retrying::after(worker, keeper, job, (attempt, retries), finished).await? {
        Verdict::End(finished) => {
            record_end(worker, keeper, job, attempt, *finished).await.map(Over::Recorded)
        }
        Verdict::Over(over) => Some(over),
    }
}

/// Runs the script. None when it was killed because the job is not ours any more.
async fn run(worker: &Worker, keeper: &Keeper, job: &Arc<Job>, fence: Fence, ready: Ready) -> Option<Ran> {
    let Ready { script, files, token, limits, retention, .. } = ready;
    let platform = Platform {
        base_internal_url: &worker.config.base_internal_url,
        base_url: &worker.config.base_url,
        group: &worker.config.group,
        worker: &worker.id,
    };
    let (env, retry) = (
        environment::of(job, &script, &token, &platform),
        retrying::policy(job, &script).map(|policy| (policy, limits)),
    );
    let around = Surroundings { env, mask: vec![token] };
    let (log, rest) = RecordLog::new(worker.records.clone(), worker.events.clone(), job.clone(), fence);
    if !keeper.is_in_time() {
        // we were stopped or slow, and somebody else may have it
        keeper.let_go();
        return None;
    }
    let (outcome, leftovers) = worker.executor.run(files, around, log, keeper.kill()).await;
    let run_us = outcome.wall.map_or(0, |wall| i64::try_from(wall.as_micros()).unwrap_or(i64::MAX));
    let end = match end_of(outcome.verdict, &limits, keeper)? {
        Ok(end) => end,
        Err(fault) => return Some(Ran::Not(fault)),
    };
    if outcome.wall.is_some() {
        worker.health.well();
    }
    let (mem_kib, leftovers) = (outcome.mem_peak_kib, Some(leftovers));
    let process = outcome.start.map(process_start);
    let finished =
        Finished { end, run_us, mem_kib, process, last_log: rest.take(), leftovers, retry, retention };
    Some(Ran::Through(Box::new(finished)))
}

fn process_start(start: Start) -> ProcessStart {
    let took_us = u64::try_from(start.took.as_micros()).unwrap_or(u64::MAX);
    ProcessStart { isolation: start.mode, origin: start.origin.as_str().to_owned(), took_us }
}

/// The end, or why there is none although the job is still ours.
fn end_of(came: Came, limits: &Limits, keeper: &Keeper) -> Option<Result<End, JobError>> {
    let (outcome, result) = match came {
        Came::Success { result } => (Outcome::Success, result),
        Came::Failure { error } => (Outcome::Failure, error),
        Came::Fault { error } => return Some(Err(error)),
        Came::Killed(KillReason::LeaseLost | KillReason::Shutdown) => return None,
        Came::Killed(KillReason::Canceled) => (Outcome::Canceled, canceled_result(&keeper.canceled()?)),
        Came::Killed(reason @ (KillReason::Timeout | KillReason::OutputTooLarge)) => {
            (Outcome::Failure, reason.error(limits).to_json())
        }
    };
    Some(Ok(End { outcome, result }))
}

impl Finished {
    /// The same, but that somebody has asked for its end.
    fn canceled(self, request: &CancelRequest) -> Self {
        Self { end: End { outcome: Outcome::Canceled, result: canceled_result(request) }, ..self }
    }

    fn failed(error: &JobError) -> Self {
        let end = End { outcome: Outcome::Failure, result: error.to_json() };
        Self {
            end,
            run_us: 0,
            mem_kib: 0,
            process: None,
            last_log: format!("{}\n", error.message),
            leftovers: None,
            retry: None,
            retention: None,
        }
    }
}

/// Records the end; the answer has the end that counts, if it is ours to settle.
async fn record_end(
    worker: &Worker,
    keeper: &Keeper,
    job: &Job,
    attempt: u32,
    finished: Finished,
) -> Option<Recorded> {
    #[cfg(feature = "planted-bugs")]
    if planted::has(planted::Bug::AckBeforeEnd) {
        keeper.ack().await;
    }
    let request = EndRequest {
        job,
        attempt,
        end: &finished.end,
        run_us: finished.run_us,
        mem_kib: finished.mem_kib,
        process: finished.process.as_ref(),
        last_log: &finished.last_log,
        retention: finished.retention,
    };
    let answer = ask(keeper, "run store", || worker.records.end(&request)).await;
    match answer.map_err(|gave_up| unusable(job, &gave_up)).ok()? {
        EndAnswer::Written => {
            let labels = [("outcome", finished.end.outcome.as_str()), ("language", job.language.as_str())];
            metrics::counter!("worker_jobs_total", &labels).increment(1);
            Some(Recorded { end: finished.end, leftovers: finished.leftovers, dead: false })
        }
        EndAnswer::Ended(end) => Some(Recorded { end, leftovers: finished.leftovers, dead: false }),
        EndAnswer::Fenced => {
            keeper.let_go();
            None
        }
    }
}
