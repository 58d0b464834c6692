//! Pulling a job forward that was put aside until later.

use std::time::Duration;

use axum::extract::State;
use job_queue::{JobState, Place, PublishError, QueuedJob, now_us};
use proto::{ErrorCode, JobId};
use tokio::time::Instant;

use crate::app::App;
use crate::auth::Caller;
use crate::error::{ApiError, ApiResult};
use crate::routes::Tail;
use crate::routes::cancel::{authorised, unknown};
use crate::trigger::{Again, PUBLISH, not_published};

/// Let a job that was put aside start at once.
#[utoipa::path(post, path = "/api/w/{workspace}/jobs/queue/run_now/{id}", tag = "jobs",
    params(("workspace" = String, Path), ("id" = String, Path)),
    responses((status = 200, description = "the job's uuid, or that it does not wait any more", body = String, content_type = "text/plain"),
        (status = 404)))]
pub(crate) async fn run_now(
    State(app): State<App>,
    caller: Caller,
    Tail(id): Tail<JobId>,
) -> ApiResult<String> {
    if let Some(queued) = authorised(&app, &caller, id).await?
        && pull_forward(&app, &caller, &queued).await?
    {
        return Ok(id.to_string());
    }
    let record = app.records.get(&caller.workspace, id).await?;
    match record.map(|record| record.state) {
        Some(JobState::Running) => Ok(format!("job {id} is already running")),
        Some(JobState::Ended(_)) => Ok(format!("job {id} is already completed")),
        // it became due at this moment, and is on its way
        Some(JobState::Queued) => Ok(id.to_string()),
        None if app.finder.holds(&caller.workspace, id).await? => Ok(id.to_string()),
        None => Err(unknown(id)),
    }
}

/// Whether it waits no longer than for a worker now.
async fn pull_forward(app: &App, caller: &Caller, queued: &QueuedJob) -> ApiResult<bool> {
    let id = queued.job.id;
    if !matches!(queued.place, Place::Timer(_)) {
        return is_due(app, caller, id).await.map(|()| true);
    }
    let hastened = app.publisher.hasten(queued, Instant::now() + PUBLISH).await;
    let hastened = hastened.map_err(|error| match error {
        unanswered @ PublishError::Unanswered(_) => ApiError::unavailable("the job queue", &unanswered),
        error => not_published(error, id, Again::Replay),
    })?;
    let Some(job) = hastened else { return Ok(false) };
    if let Err(error) = app.records.note_due(&job).await {
        tracing::debug!(job.id = %id, %error, "the row of a job that was pulled forward says when it was due before");
    }
    Ok(true)
}

/// What waits for a worker is due, but for a job whose try has failed at this moment: the timer of the next one is
/// about to be set.
async fn is_due(app: &App, caller: &Caller, id: JobId) -> ApiResult<()> {
    let record = app.records.get(&caller.workspace, id).await?;
    let next_try = record.and_then(|record| record.next_try_us);
    if next_try.is_none_or(|due_us| due_us <= now_us()) {
        return Ok(());
    }
    let message = format!("job {id} is just being put aside for its next try; send the request again");
    Err(ApiError::new(ErrorCode::Unavailable, message).retry_after(Duration::from_secs(1)).job(id))
}
