//! What a script needs before it may start, and where each part comes from.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use catalog::{SandboxSettings, Script};
use job_queue::Job;
use proto::IsolationMode;
use sandbox::Network;

use crate::execute::{Invocation, JobError, Limits, Owner, Prepared};
use crate::job_token::Issued;
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
    /// How long its workspace keeps ended runs, where it says so.
    pub(super) retention: Option<Duration>,
    /// What the script itself asks of its sandbox.
    asked: SandboxSettings,
}

/// What came of preparing: it can be started, or the job cannot run for this reason.
pub(super) type Preparation = Result<Ready, JobError>;

/// What is to run, before anything was made for it.
pub(super) struct Plan {
    script: Arc<Script>,
    /// What the script itself asks of its sandbox.
    asked: SandboxSettings,
    pub(super) timeout: Duration,
    /// How often it may be started.
    pub(super) attempts: u32,
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
    let asked = match script.script.sandbox() {
        Ok(asked) => asked,
        Err(error) => return Some(Err(cannot_run(&format!("its setting sandbox: {error}")))),
    };
    let attempts = match script.script.retries_on_worker_loss() {
        Ok(true) => worker.config.max_attempts,
        Ok(false) => 1,
        Err(error) => return Some(Err(cannot_run(&format!("its setting retry_on_worker_loss: {error}")))),
    };
    let timeout = timeout(worker, &script);
    let invocation = invocation(job, &script, args, timeout);
    Some(Ok((Plan { script, asked, timeout, attempts }, invocation)))
}

/// All of it together: what the script may use is known only with its workspace's word.
pub(super) fn ready(
    worker: &Worker,
    plan: Plan,
    files: Result<Prepared, JobError>,
    issued: Result<Issued, JobError>,
) -> Preparation {
    let Plan { script, asked, timeout, attempts: _ } = plan;
    let issued = issued?;
    let limits = granted(worker, &issued, &asked, timeout)?;
    let files = files?.within(limits, mode(&issued, &asked));
    let (token, retention) = (issued.token, issued.retention);
    Ok(Ready { script, files, token, limits, retention, asked })
}

fn granted(
    worker: &Worker,
    issued: &Issued,
    asked: &SandboxSettings,
    timeout: Duration,
) -> Result<Limits, JobError> {
    let granted = worker.config.sandbox.granted_within(&issued.sandbox, asked);
    let (kernel, network) = granted.map_err(|why| cannot_run(&why))?;
    Ok(Limits { timeout, kernel, network, ..Limits::default() })
}

/// As the script says, else its workspace.
fn mode(issued: &Issued, asked: &SandboxSettings) -> IsolationMode {
    asked.or(issued.sandbox.settings).isolation.unwrap_or_default()
}

/// The attempt was guessed from NATS's count, which is not ours: when it was another, the
/// token has to be another, too, and what its workspace asks for may have changed.
pub(super) async fn retoken(
    worker: &Worker,
    keeper: &Keeper,
    job: &Job,
    preparation: Preparation,
    (guess, attempt): (u32, u32),
) -> Option<Preparation> {
    match preparation {
        Ok(ready) if guess != attempt => {
            let issued = issued(worker, keeper, job, attempt, ready.limits.timeout).await?;
            Some(issued.and_then(|issued| {
                let limits = granted(worker, &issued, &ready.asked, ready.limits.timeout)?;
                let files = ready.files.within(limits, mode(&issued, &ready.asked));
                let (token, retention) = (issued.token, issued.retention);
                Ok(Ready { files, token, limits, retention, ..ready })
            }))
        }
        other => Some(other),
    }
}

/// Asks for as long as the job is ours.
pub(super) async fn issued(
    worker: &Worker,
    keeper: &Keeper,
    job: &Job,
    attempt: u32,
    timeout: Duration,
) -> Option<Result<Issued, JobError>> {
    let issued = ask(keeper, "auth-service", || worker.tokens.issue(job, attempt, timeout)).await;
    match issued {
        Ok(issued) => Some(Ok(issued)),
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

/// Its limits and its mode are not known yet; until they are it reaches nobody, and shares nothing.
fn invocation(job: &Job, script: &Script, args: Bytes, timeout: Duration) -> Invocation {
    Invocation {
        job_id: job.id,
        language: job.language,
        content: script.script.content.as_str().into(),
        path: job.path.to_string(),
        args,
        limits: Limits { timeout, network: Network::None, ..Limits::default() },
        mode: IsolationMode::Fresh,
        owner: Some(owner(job)),
    }
}

/// Whoever its process may have belonged to before.
fn owner(job: &Job) -> Owner {
    let caller = &job.caller;
    let identity = [caller.permissioned_as.as_str(), &caller.username, &caller.email].join("\n");
    Owner { workspace: job.workspace.clone(), version: job.hash, identity }
}

/// How long the script may run: as it says, up to the most of this worker.
fn timeout(worker: &Worker, script: &Script) -> Duration {
    let own = script.script.timeout.and_then(|seconds| u64::try_from(seconds).ok()).map(Duration::from_secs);
    own.unwrap_or(worker.config.timeout_default).min(worker.config.timeout_max)
}
