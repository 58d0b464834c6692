//! `getupdate`: what changed on a job since the caller last asked. Holds up to a second
//! when nothing did, because the command line client asks in a loop without a pause.

use std::time::Duration;

use axum::Json;
use axum::extract::{RawQuery, State};
use job_queue::JobState;
use proto::JobId;
use serde::Serialize;
use tokio::time::Instant;

use super::jobs::{asks, find, number};
use crate::app::App;
use crate::auth::Caller;
use crate::error::{ApiError, ApiResult};
use crate::routes::Tail;
use crate::routes::cancel::unknown;

/// How long an answer without news is held.
const HOLD: Duration = Duration::from_secs(1);

/// What changed; absent means unchanged.
#[derive(Debug, Default, PartialEq, Serialize)]
pub(crate) struct Update {
    #[serde(skip_serializing_if = "Option::is_none")]
    running: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    completed: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    new_logs: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    log_offset: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mem_peak: Option<u64>,
}

/// What the caller knows already.
struct Known {
    running: bool,
    log_offset: u64,
    no_logs: bool,
}

impl Known {
    fn parse(query: Option<&str>) -> ApiResult<Self> {
        let log_offset = number(query, "log_offset")?.unwrap_or(0);
        Ok(Self { running: asks(query, "running"), log_offset, no_logs: asks(query, "no_logs") })
    }
}

/// What changed on a job.
#[utoipa::path(get, path = "/api/w/{workspace}/jobs_u/getupdate/{id}", tag = "jobs",
    params(("workspace" = String, Path), ("id" = String, Path), ("running" = Option<bool>, Query),
        ("log_offset" = Option<u64>, Query, description = "UTF-16 units already read"), ("no_logs" = Option<bool>, Query)),
    responses((status = 200, description = "running, completed, new_logs, log_offset", body = serde_json::Value)))]
pub(crate) async fn get(
    State(app): State<App>,
    caller: Caller,
    Tail(id): Tail<JobId>,
    RawQuery(query): RawQuery,
) -> ApiResult<Json<Update>> {
    let known = Known::parse(query.as_deref())?;
    let deadline = Instant::now() + HOLD;
    let watch = app.events.watch(&caller.workspace, id).await;
    let mut watch = watch.map_err(|error| ApiError::unavailable("the job queue", &error))?;
    loop {
        let (update, news) = look(&app, &caller, id, &known).await?;
        if news || tokio::time::timeout_at(deadline, watch.changed()).await.is_err() {
            return Ok(Json(update));
        }
    }
}

/// The update, and whether it tells anything.
async fn look(app: &App, caller: &Caller, id: JobId, known: &Known) -> ApiResult<(Update, bool)> {
    let found = find(app, caller, id).await?.ok_or_else(|| unknown(id))?;
    let Some(record) = found.record() else {
        return Ok((Update { running: Some(false), ..Update::default() }, false));
    };
    let state = found.state();
    let mut update = Update { mem_peak: record.mem_kib, ..Update::default() };
    update.running = match state {
        JobState::Queued => Some(false),
        JobState::Running => Some(true),
        JobState::Ended(_) => None,
    };
    update.completed = matches!(state, JobState::Ended(_)).then_some(true);
    let mut news = update.completed.is_some() || (state == JobState::Running && !known.running);
    if !known.no_logs && record.log_len > known.log_offset {
        let slice = app.records.log_from(&caller.workspace, id, known.log_offset).await?;
        news |= !slice.text.is_empty();
        update.log_offset = Some(slice.end);
        update.new_logs = Some(slice.text);
    }
    Ok((update, news))
}
