//! A trigger: from a resolved script and checked arguments to a job the stream has
//! acknowledged. The only place where jobs are made.

mod claim;
mod waiting;

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use job_queue::{Job, PublishError, Reservation, Trace, Waiter, now_us};
use proto::rights::Action;
use proto::{ErrorCode, JobId, Language, ScriptHash, ScriptPath, Tag};
use tokio::time::Instant;
use tracing::Instrument;

use crate::app::App;
use crate::auth::Caller;
use crate::error::{ApiError, ApiResult};
use crate::job_id::Binding;
use crate::request::RunParams;
use crate::retention;

use self::claim::{Claim, claim, release};
pub(crate) use self::waiting::Waiting;

/// How long a trigger may take until the stream has acknowledged its job.
pub(crate) const PUBLISH: Duration = Duration::from_millis(1500);

/// What a webhook addresses.
#[derive(Clone, Debug)]
pub(crate) enum Target {
    /// The latest version of a path, as it stands in the URL.
    Path(String),
    /// One version for ever.
    Hash(ScriptHash),
}

/// A version to run, with what a job needs of it.
pub(crate) struct Runnable {
    path: ScriptPath,
    hash: ScriptHash,
    language: Language,
    tag: Tag,
}

/// What is to be triggered, and how.
pub(crate) struct Order {
    pub(crate) runnable: Runnable,
    pub(crate) args: Bytes,
    /// Of a request that has a key.
    pub(crate) reservation: Option<Reservation>,
    /// Whether its caller waits for the end.
    pub(crate) wait: bool,
}

/// A job in the stream, and the place of whoever waits for it.
pub(crate) struct Triggered {
    pub(crate) id: JobId,
    pub(crate) waiting: Option<Waiting>,
    /// Whether a request before this one, with the same key, has made it.
    pub(crate) replay: bool,
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => path.fmt(f),
            Self::Hash(hash) => hash.fmt(f),
        }
    }
}

impl Target {
    /// The version to run, if the caller may run it.
    pub(crate) async fn resolve(&self, app: &App, caller: &Caller) -> ApiResult<Runnable> {
        match self {
            Self::Path(path) => {
                let absent = || ApiError::not_found(format!("Script not found at name {path}"));
                // what is no path is the path of nothing
                let path: ScriptPath = path.parse().map_err(|_| absent())?;
                caller.may(Action::RunScript(&path))?;
                let head = app.catalog.resolve(&caller.workspace, &path).await?.ok_or_else(absent)?;
                let tag = tag(head.tag.as_ref(), head.language);
                Ok(Runnable { path: head.path.clone(), hash: head.hash, language: head.language, tag })
            }
            Self::Hash(hash) => {
                let script = app.catalog.script(&caller.workspace, *hash).await?;
                let script =
                    script.ok_or_else(|| ApiError::not_found(format!("Script not found at hash {hash}")))?;
                caller.may(Action::RunScript(&script.script.path))?;
                let tag = tag(script.script.tag.as_ref(), script.script.language);
                Ok(Runnable {
                    path: script.script.path.clone(),
                    hash: *hash,
                    language: script.script.language,
                    tag,
                })
            }
        }
    }
}

fn tag(own: Option<&Tag>, language: Language) -> Tag {
    own.cloned().unwrap_or_else(|| default_tag(language))
}

/// Where jobs of a language wait that say nothing else.
pub(crate) fn default_tag(language: Language) -> Tag {
    language.default_tag().parse().expect("language names are valid tags")
}

/// The id of the job that a request is to make. It is known before anything is asked of anybody,
/// so that every refusal for want of a dependency can name it.
///
/// # Errors
/// The caller may not choose what it chose.
pub(crate) fn id_for(app: &App, caller: &Caller, target: &Target, params: &RunParams) -> ApiResult<JobId> {
    let target = target.to_string();
    let binding = Binding { workspace: &caller.workspace, target: &target, token: &caller.known.token_id };
    refuse_steering(app, caller, params, binding)?;
    Ok(params.job_id.unwrap_or_else(|| app.job_ids.make(binding)))
}

/// Puts the job into the stream, or finds the one that the same key has made.
pub(crate) async fn trigger(
    app: &App,
    caller: &Caller,
    id: JobId,
    order: Order,
    params: &RunParams,
) -> ApiResult<Triggered> {
    // one deadline for all of it: a caller is told within 2 s
    let deadline = Instant::now() + PUBLISH;
    let keyed = order.reservation.is_some();
    let Ok(claimed) = tokio::time::timeout_at(deadline, claim(app, caller, id, &order, params)).await else {
        let error = unsure(&"no answer before the deadline");
        // with a key the job may have another id, and the key is what is sent again
        return Err(if keyed { error } else { error.job(id) });
    };
    let (id, free) = match claimed? {
        Claim::Free(id) => (id, true),
        Claim::Made(id) => (id, false),
    };
    let waiter = if order.wait { place(app, id).map(Some) } else { Ok(None) };
    let reservation = order.reservation.clone();
    let published = match waiter {
        Err(full) => Err(Unpublished::Certainly(full)),
        Ok(waiter) if free => publish(app, caller, id, order, params, waiter, deadline).await,
        Ok(waiter) => Ok(replay(id, waiter)),
    };
    match (published, reservation) {
        (Err(Unpublished::Certainly(error)), Some(reservation)) => {
            release(app, caller, reservation, id);
            Err(error)
        }
        (Err(Unpublished::Certainly(error) | Unpublished::Perhaps(error)), _) => Err(error),
        (Ok(triggered), _) => Ok(triggered),
    }
}

/// How a request that was not answered is sent again without a second job.
#[derive(Clone, Copy)]
pub(crate) enum Again {
    /// By its idempotency key.
    Key,
    /// By the id it was refused with.
    JobId,
    /// As it is.
    Replay,
}

/// Why there is no job; whether that is certain.
enum Unpublished {
    Certainly(ApiError),
    Perhaps(ApiError),
}

async fn publish(
    app: &App,
    caller: &Caller,
    id: JobId,
    order: Order,
    params: &RunParams,
    waiter: Option<Waiter>,
    deadline: Instant,
) -> Result<Triggered, Unpublished> {
    let keyed = order.reservation.is_some();
    let again = if keyed { Again::Key } else { Again::JobId };
    let mut job = job(app, caller, order.runnable, id, params, waiter.is_some());
    job.retention = Some(retention::retention(app, &caller.workspace).await);
    if keyed {
        let memory = retention::key_memory(app, &caller.workspace).await;
        job.keyed_until_us =
            i64::try_from(memory.as_micros()).ok().and_then(|memory| now_us().checked_add(memory));
    }
    match put(app.clone(), job, order.args, deadline).await {
        Ok(()) => Ok(Triggered { id, waiting: waiter.map(Waiting::Named), replay: false }),
        // somebody with the same key was faster
        Err(PublishError::Duplicate) if keyed => Ok(replay(id, waiter)),
        Err(error @ PublishError::Unanswered(_)) => {
            Err(Unpublished::Perhaps(not_published(error, id, again)))
        }
        Err(error) => Err(Unpublished::Certainly(not_published(error, id, again))),
    }
}

/// Puts a job into the stream, and its row where it is looked for. It goes on when the caller hangs up: a job that is
/// in the stream has its row.
async fn put(app: App, mut job: Job, args: Bytes, deadline: Instant) -> Result<(), PublishError> {
    let tasks = app.tasks.clone();
    let putting = async move {
        app.publisher.publish(&mut job, args, deadline).await?;
        app.pressure.note(&job);
        app.queued_rows.note(job);
        Ok(())
    };
    let put = tasks.spawn(putting.in_current_span()).await;
    put.unwrap_or_else(|lost| Err(PublishError::Unanswered(lost.to_string())))
}

fn replay(id: JobId, waiter: Option<Waiter>) -> Triggered {
    metrics::counter!("gateway_idempotent_replays_total").increment(1);
    Triggered { id, waiting: waiter.map(Waiting::Beside), replay: true }
}

/// A webhook token may not choose where a job runs, whose child it is or its id, but it
/// may send again the id that our own 503 gave it.
fn refuse_steering(app: &App, caller: &Caller, params: &RunParams, binding: Binding<'_>) -> ApiResult<()> {
    if !caller.rights.is_webhook_token() {
        return Ok(());
    }
    let chosen = params.job_id.filter(|id| !app.job_ids.recognises(*id, binding)).map(|_| "job_id");
    match params.steering().or(chosen) {
        Some(field) => {
            let message = format!("a webhook token may not choose `{field}`");
            Err(ApiError::new(ErrorCode::PermissionDenied, message))
        }
        None => Ok(()),
    }
}

fn used(id: JobId) -> ApiError {
    ApiError::bad_request(format!("job_id {id} is already used")).job(id)
}

fn unsure(error: &impl std::fmt::Display) -> ApiError {
    ApiError::unavailable("the job queue", error)
}

fn place(app: &App, id: JobId) -> ApiResult<Waiter> {
    app.completions.wait(id).map_err(|error| {
        ApiError::new(ErrorCode::Unavailable, error.to_string()).retry_after(Duration::from_secs(1))
    })
}

/// When the job is due; whoever waits for it does not wait until then.
fn scheduled_us(params: &RunParams, wait: bool) -> Option<i64> {
    params.scheduled_us.filter(|_| !wait)
}

fn job(app: &App, caller: &Caller, runnable: Runnable, id: JobId, params: &RunParams, wait: bool) -> Job {
    let trace =
        lifecycle::current_trace_context().unwrap_or_else(lifecycle::trace_context::TraceContext::generate);
    Job {
        id,
        workspace: caller.workspace.clone(),
        path: runnable.path,
        hash: runnable.hash,
        language: runnable.language,
        tag: params.tag.clone().unwrap_or(runnable.tag),
        args: job_queue::Args::Inline(Bytes::new()),
        caller: caller.info(),
        grant: caller.known.grant.clone(),
        trace: Trace { parent: trace.traceparent.to_string(), state: trace.tracestate },
        reply_to: wait.then(|| app.completions.instance().clone()),
        created_us: now_us(),
        scheduled_us: scheduled_us(params, wait),
        retry: params.retry.clone(),
        retries: 0,
        schedule: None,
        retention: None,
        keyed_until_us: None,
        parent: params.parent_job,
        root: params.root_job,
    }
}

pub(crate) fn not_published(error: PublishError, id: JobId, again: Again) -> ApiError {
    match error {
        PublishError::Duplicate => used(id),
        PublishError::Full => {
            ApiError::new(ErrorCode::QueueFull, "the queue takes no more jobs at the moment")
                .retry_after(Duration::from_secs(5))
        }
        PublishError::NotStored(why) => ApiError::unavailable("the store of large arguments", &why),
        PublishError::Unanswered(why) => {
            tracing::warn!(job.id = %id, why, "a job was not acknowledged by the stream");
            let again = match again {
                Again::Key => "the request again with the same key".to_owned(),
                Again::JobId => format!("the request again with ?job_id={id}"),
                Again::Replay => "the same request again".to_owned(),
            };
            let message = format!(
                "the job queue did not acknowledge job {id}, which may exist; send {again}, it never runs twice"
            );
            ApiError::new(ErrorCode::Unavailable, message).retry_after(Duration::from_secs(1)).job(id)
        }
        PublishError::Refused(why) => {
            tracing::error!(job.id = %id, why, "the stream refused a job");
            ApiError::new(ErrorCode::Internal, "the job queue refused the job").job(id)
        }
    }
}
