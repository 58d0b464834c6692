//! What a script needs before it may start, and where each part comes from.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use catalog::Script;
use job_queue::Job;

use crate::execute::{Invocation, JobError, Limits, Prepared};
use crate::keeper::Keeper;
use crate::patience::{GaveUp, ask};
use crate::serve::Worker;

/// A script that can be started.
pub(super) struct Ready {
    pub(super) script: Arc<Script>,
    /// Its folder and files.
    pub(super) files: Prepared,
    pub(super) token: String,
    pub(super) limits: Limits,
}

/// What came of preparing: it can be started, or the job cannot run for this reason.
pub(super) type Preparation = Result<Ready, JobError>;

/// What is to run, before anything was made for it.
pub(super) struct Plan {
    script: Arc<Script>,
    pub(super) limits: Limits,
}

/// The version and its arguments. None when the job is not ours any more.
pub(super) async fn plan(
    worker: &Worker,
    keeper: &Keeper,
    job: &Job,
) -> Option<Result<(Plan, Invocation), JobError>> {
    let script = ask(keeper, "catalog", || worker.catalog.script(&job.workspace, job.hash)).await;
    let script = match unless_lost(script)? {
        Ok(Some(script)) => script,
        Ok(None) => {
            let text = format!("version {} of {} does not exist any more", job.hash, job.path);
            return Some(Err(cannot_run(&text)));
        }
        Err(error) => return Some(Err(error)),
    };
    let args = match unless_lost(ask(keeper, "argument store", || worker.args.load(&job.args)).await)? {
        Ok(args) => args,
        Err(error) => return Some(Err(error)),
    };
    let limits = match limits(worker, &script) {
        Ok(limits) => limits,
        Err(error) => return Some(Err(error)),
    };
    let invocation = invocation(job, &script, args, limits);
    Some(Ok((Plan { script, limits }, invocation)))
}

/// All of it together.
pub(super) fn ready(
    plan: Plan,
    files: Result<Prepared, JobError>,
    token: Result<String, JobError>,
) -> Preparation {
    let Plan { script, limits } = plan;
    Ok(Ready { script, token: token?, files: files?, limits })
}

/// The attempt was guessed from NATS's count, which is not ours: when it was another, the
/// token has to be another, too.
pub(super) async fn retoken(
    worker: &Worker,
    keeper: &Keeper,
    job: &Job,
    preparation: Preparation,
    (guess, attempt): (u32, u32),
) -> Option<Preparation> {
    match preparation {
        Ok(ready) if guess != attempt => {
            let token = token(worker, keeper, job, attempt, ready.limits.timeout).await?;
            Some(token.map(|token| Ready { token, ..ready }))
        }
        other => Some(other),
    }
}

/// Asks for as long as the job is ours.
pub(super) async fn token(
    worker: &Worker,
    keeper: &Keeper,
    job: &Job,
    attempt: u32,
    timeout: Duration,
) -> Option<Result<String, JobError>> {
    let issued = ask(keeper, "auth-service", || worker.tokens.issue(job, attempt, timeout)).await;
    match issued {
        Ok(token) => Some(Ok(token)),
        Err(GaveUp::NotOurs) => None,
        Err(GaveUp::Failed(status)) => Some(Err(refused(&status))),
    }
}

/// auth-service said no.
pub(super) fn refused(status: &tonic::Status) -> JobError {
    cannot_run(&format!("the job may not run: {}", status.message()))
}

/// An answer, the reason why the job cannot run, or none when it is not ours any more.
fn unless_lost<T, E: std::fmt::Display>(answer: Result<T, GaveUp<E>>) -> Option<Result<T, JobError>> {
    match answer {
        Ok(answer) => Some(Ok(answer)),
        Err(GaveUp::NotOurs) => None,
        Err(GaveUp::Failed(error)) => Some(Err(cannot_run(&error.to_string()))),
    }
}

fn cannot_run(why: &str) -> JobError {
    JobError::new("ExecutionErr", why)
}

fn invocation(job: &Job, script: &Script, args: Bytes, limits: Limits) -> Invocation {
    Invocation {
        job_id: job.id,
        language: job.language,
        content: script.script.content.as_str().into(),
        path: job.path.to_string(),
        args,
        limits,
    }
}

/// What the script may use, or why this worker does not give it what it asks for.
fn limits(worker: &Worker, script: &Script) -> Result<Limits, JobError> {
    let own = script.script.timeout.and_then(|seconds| u64::try_from(seconds).ok()).map(Duration::from_secs);
    let timeout = own.unwrap_or(worker.config.timeout_default).min(worker.config.timeout_max);
    let asked =
        script.script.sandbox().map_err(|error| cannot_run(&format!("its setting sandbox: {error}")))?;
    let (kernel, network) = worker.config.sandbox.granted(&asked).map_err(|why| cannot_run(&why))?;
    Ok(Limits { timeout, kernel, network, ..Limits::default() })
}
