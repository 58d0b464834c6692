//! Cancelling a job, queued or running.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use job_queue::{CancelAnswer, CancelRequest, EventKind, QueuedJob};
use proto::rights::{Action, JobOwner};
use proto::{JobId, WorkspaceId};
use tokio::time::Instant;

use crate::app::App;
use crate::auth::Caller;
use crate::error::{ApiError, ApiResult};
use crate::retention;
use crate::routes::Tail;
use crate::trigger::PUBLISH;

/// Ask for a job's end: a queued one ends at once, a running one is killed.
#[utoipa::path(post, path = "/api/w/{workspace}/jobs_u/queue/cancel/{id}", tag = "jobs",
    params(("workspace" = String, Path), ("id" = String, Path)),
    request_body(content = String, description = "{\"reason\": …}, optional", content_type = "application/json"),
    responses((status = 200, description = "the job's uuid, or that it has ended", body = String, content_type = "text/plain")))]
pub(crate) async fn cancel(
    State(app): State<App>,
    caller: Caller,
    Tail(id): Tail<JobId>,
    body: Bytes,
) -> ApiResult<Response> {
    let queued = authorised(&app, &caller, id).await?;
    let request = CancelRequest { by: caller.rights.username.clone(), reason: reason(&body)? };
    match end(&app, &caller.workspace, id, &request, queued).await? {
        CancelAnswer::Absent => Err(unknown(id)),
        CancelAnswer::Ended => Ok(format!("job {id} is already completed").into_response()),
        CancelAnswer::Running(_) | CancelAnswer::Canceled(_) => Ok(id.to_string().into_response()),
    }
}

pub(crate) fn unknown(id: JobId) -> ApiError {
    ApiError::not_found(format!("job {id} does not exist or you don't have access"))
}

fn reason(body: &[u8]) -> ApiResult<String> {
    #[derive(serde::Deserialize)]
    struct Body {
        #[serde(default)]
        reason: Option<String>,
    }
    if body.trim_ascii().is_empty() {
        return Ok(String::new());
    }
    let body: Body = serde_json::from_slice(body)
        .map_err(|error| ApiError::bad_request(format!("invalid JSON: {error}")))?;
    Ok(body.reason.unwrap_or_default().chars().take(1000).collect())
}

/// The job's message, if it is queued; refused for a job the caller may not change.
pub(crate) async fn authorised(app: &App, caller: &Caller, id: JobId) -> ApiResult<Option<QueuedJob>> {
    let record = app.records.get(&caller.workspace, id).await?;
    let queued = match &record {
        Some(record) if record.state != job_queue::JobState::Queued => None,
        _ => app.finder.find(&caller.workspace, id).await?,
    };
    let job = queued.as_ref().map(|queued| &queued.job).or(record.as_ref().map(|record| &record.job));
    let job = job.ok_or_else(|| unknown(id))?;
    caller.may(Action::CancelJob(JobOwner { path: &job.path, email: &job.caller.email }))?;
    Ok(queued)
}

/// The cancellation itself, and what follows from it.
async fn end(
    app: &App,
    workspace: &WorkspaceId,
    id: JobId,
    request: &CancelRequest,
    mut queued: Option<QueuedJob>,
) -> ApiResult<CancelAnswer> {
    let said = retention::known_retention(app, workspace).await;
    let ask = async |queued: &Option<QueuedJob>| {
        app.records.cancel(workspace, id, request, queued.as_ref().map(|queued| &queued.job), said).await
    };
    let mut answer = ask(&queued).await?;
    // it ran when we looked, and its start was taken back since: then its message is there
    if answer == CancelAnswer::Absent && queued.is_none() {
        queued = app.finder.find(workspace, id).await?;
        answer = ask(&queued).await?;
    }
    match &answer {
        CancelAnswer::Running(Some(worker)) => app.control.nudge(worker, workspace, id).await,
        CancelAnswer::Canceled(end) => {
            if let Some(queued) = &queued {
                app.completions.announce(&queued.job, end).await;
                drop_message(app, queued).await;
            }
            app.events.tell(workspace, id, EventKind::Ended).await;
        }
        CancelAnswer::Running(None) | CancelAnswer::Ended | CancelAnswer::Absent => {}
    }
    Ok(answer)
}

/// Whoever pulls the message finds the terminal record, and does what follows from it; doing it here spares that.
async fn drop_message(app: &App, queued: &QueuedJob) {
    let id = queued.job.id;
    if let Err(error) = app.afters.tell(&queued.job, Instant::now() + PUBLISH).await {
        tracing::warn!(job.id = %id, %error, "the end of a schedule's job is told when its message is pulled");
        return;
    }
    if let Err(error) = app.finder.remove(queued).await {
        tracing::debug!(job.id = %id, %error, "the message of a cancelled job stays until it is pulled");
    }
}

/// Cancels without making anybody wait for it.
pub(crate) fn in_background(app: &App, caller: &Caller, id: JobId, reason: &str) {
    let (app, workspace) = (app.clone(), caller.workspace.clone());
    let request = CancelRequest { by: caller.rights.username.clone(), reason: reason.to_owned() };
    app.tasks.clone().spawn(async move {
        let canceled = async {
            let queued = app.finder.find(&workspace, id).await?;
            end(&app, &workspace, id, &request, queued).await
        };
        if let Err(error) = canceled.await {
            tracing::warn!(job.id = %id, error = error.message, "a job whose caller left was not cancelled");
        }
    });
}

/// Cancels a job when the request that waits for it is dropped: its caller hung up.
pub(crate) struct OnDrop<'a> {
    app: &'a App,
    caller: &'a Caller,
    id: JobId,
    armed: bool,
}

impl<'a> OnDrop<'a> {
    pub(crate) fn new(app: &'a App, caller: &'a Caller, id: JobId) -> Self {
        Self { app, caller, id, armed: true }
    }

    /// The caller has been answered.
    pub(crate) fn defuse(mut self) {
        self.armed = false;
    }
}

impl Drop for OnDrop<'_> {
    fn drop(&mut self) {
        if self.armed {
            in_background(self.app, self.caller, self.id, "the caller hung up");
        }
    }
}
