//! Pulling a job forward that was put aside until later.

use axum::extract::State;
use job_queue::JobState;
use proto::JobId;
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
    if pull_forward(&app, &caller, id).await? {
        return Ok(id.to_string());
    }
    let record = app.records.get(&caller.workspace, id).await?;
    match record.map(|record| record.state) {
        Some(JobState::Running) => Ok(format!("job {id} is already running")),
        Some(JobState::Ended(_)) => Ok(format!("job {id} is already completed")),
        // it was due at this moment, and is on its way
        Some(JobState::Queued) => Ok(id.to_string()),
        None => Err(unknown(id)),
    }
}

/// Whether it waits no longer than for a worker now.
async fn pull_forward(app: &App, caller: &Caller, id: JobId) -> ApiResult<bool> {
    let Some(queued) = authorised(app, caller, id).await? else { return Ok(false) };
    let hastened = app.publisher.hasten(&queued, Instant::now() + PUBLISH).await;
    let hastened = hastened.map_err(|error| match error {
        unanswered @ job_queue::PublishError::Unanswered(_) => {
            ApiError::unavailable("the job queue", &unanswered)
        }
        error => not_published(error, id, Again::Replay),
    })?;
    let Some(job) = hastened else { return Ok(false) };
    if let Err(error) = app.records.note_due(&job).await {
        tracing::debug!(job.id = %id, %error, "the row of a job that was pulled forward says when it was due before");
    }
    Ok(true)
}
