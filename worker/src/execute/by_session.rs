//! A script whose interpreter takes jobs: a process that is there already, its answer, and the process given back.

use std::sync::Arc;

use bytes::Bytes;
use lifecycle::supervisor::Status;
use proto::IsolationMode;
use tokio::time::Instant;

use super::executor::{Ground, Job, Leftovers};
use super::failure::JobError;
use super::invocation::{Invocation, Outcome, Verdict};
use super::limits::explain;
use super::log::{LogPump, LogSink, Seen};
use super::mask::Masks;
use super::mode::Start;
use super::pool::Wanted;
use super::session::{Account, Process, Terms, Turn, Turned};
use super::verdict::{self, READ_AT_ONCE, blocking};
use crate::runtime::{Load, Runtime, Sessions, Way, checked, too_large};

/// What a language offers.
pub(super) fn of(runtime: &dyn Runtime) -> Option<&dyn Sessions> {
    match runtime.way() {
        Way::Sessions(sessions) => Some(sessions),
        Way::Commands(_) => None,
    }
}

/// Runs a script to its answer, or to the end of its process.
pub(super) async fn run<S: LogSink>(load: Load, ground: &Ground, job: Job<S>) -> (Outcome, Leftovers) {
    let Job { invocation, runtime, env, masks, rules, logs, mut kill } = job;
    let mode = mode(&invocation, runtime.as_ref());
    let (limits, network) = (invocation.limits.kernel, invocation.limits.network);
    let terms = Terms { limits, network, rules, neighbours: ground.neighbours };
    let wanted = Wanted {
        runtime: &runtime,
        owner: invocation.owner.as_ref(),
        mode,
        terms,
        env: &env,
        from_the_start: mode == IsolationMode::Fresh && is_for_the_start(&env),
    };
    let began = Instant::now();
    let (mut process, origin) = match ground.pool.take(&wanted).await {
        Ok(taken) => taken,
        Err(error) => return (Outcome::never_ran(JobError::unhanded(&error)), Leftovers::none()),
    };
    if let Err(error) = process.receive(&load.files).await {
        return (Outcome::never_ran(error), Leftovers::of(process.bury()));
    }
    let took = began.elapsed();
    let mut pump = LogPump::new(logs, Arc::clone(&masks), invocation.limits);
    let turn = Turn { invocation: &invocation, env: &env, script: &load.order, mode };
    let account = turn.take(&mut process, &mut pump, &mut kill).await;
    let took = account.up.map_or(took, |up| up.duration_since(began));
    let leftovers = part(ground, process, &invocation, mode, account.lives);
    let start = Start { mode, origin, took };
    (conclude(invocation, start, account, pump.into_seen(), masks).await, leftovers)
}

/// What is asked for, or what comes nearest to it in this language.
fn mode(invocation: &Invocation, runtime: &dyn Runtime) -> IsolationMode {
    let forks = of(runtime).is_some_and(Sessions::forks);
    match invocation.mode {
        _ if invocation.owner.is_none() => IsolationMode::Fresh,
        IsolationMode::Fork if !forks => IsolationMode::Fresh,
        mode => mode,
    }
}

/// The process goes back to where it came from, if it lives.
fn part(
    ground: &Ground,
    process: Process,
    invocation: &Invocation,
    mode: IsolationMode,
    lives: bool,
) -> Leftovers {
    match &invocation.owner {
        Some(owner) if lives => {
            ground.pool.give_back(process, owner, mode);
            Leftovers::none()
        }
        _ => Leftovers::of(process.bury()),
    }
}

async fn conclude(
    invocation: Invocation,
    start: Start,
    account: Account,
    seen: Seen,
    masks: Arc<Masks>,
) -> Outcome {
    let Account { turned, wall, peak_kib: mem_peak_kib, .. } = account;
    let output_bytes = seen.bytes;
    let ran = !matches!(&turned, Turned::Exited(Err(_)));
    let size = if let Turned::Answered { body, .. } = &turned { body.len() as u64 } else { 0 };
    let verdict = match turned {
        Turned::Killed(reason) => Ok(Verdict::Killed(reason)),
        turned if size + seen.bytes <= READ_AT_ONCE => {
            Ok(verdict::of(result(&invocation, turned, &seen, &masks), &masks))
        }
        turned => blocking(move || verdict::of(result(&invocation, turned, &seen, &masks), &masks)).await,
    };
    match verdict {
        Ok(verdict) => {
            let (wall, start) = (ran.then_some(wall), ran.then_some(start));
            Outcome { verdict, wall, start, mem_peak_kib, output_bytes }
        }
        Err(error) => Outcome::never_ran(error),
    }
}

fn result(invocation: &Invocation, turned: Turned, seen: &Seen, masks: &Masks) -> Result<Bytes, JobError> {
    let limits = &invocation.limits;
    match turned {
        Turned::Answered { ok: true, body } => checked(body.into()),
        Turned::Answered { ok: false, body } => Err(explain(raised(&body), Status::Code(1), None, limits)),
        Turned::TooLarge { size } => Err(too_large(size, limits.result_bytes)),
        Turned::Broken(why) => Err(JobError::new("ExecutionErr", why)),
        Turned::Killed(reason) => Err(reason.error(limits)),
        Turned::Exited(exit) => {
            let ended = exit.map_err(verdict::lost)?;
            let (status, tail) = (ended.exit.status, verdict::tail(seen, masks));
            let error = JobError::execution(invocation.language.as_str(), status, &tail);
            Err(explain(error, status, ended.hit, limits))
        }
    }
}

/// The error that a script has raised, as its process tells it.
fn raised(body: &[u8]) -> JobError {
    let told = serde_json::from_slice(body);
    told.unwrap_or_else(|error| {
        JobError::new("ExecutionErr", format!("the script failed, and so did the telling: {error}"))
    })
}

/// Whether some of the environment is of use only to a process that is started with it.
fn is_for_the_start(env: &[(String, String)]) -> bool {
    env.iter().any(|(name, _)| FOR_THE_START.iter().any(|begin| name.starts_with(begin)))
}

/// How variables begin that a program reads when it starts.
const FOR_THE_START: [&str; 4] = ["LD_", "MALLOC_", "GLIBC_", "NODE_"];
