//! The queue of a workspace: the jobs that run or wait, listed, counted, and where one of them stands.

mod query;

use std::str::FromStr;

use axum::Json;
use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Response};
use job_queue::{JobState, QueuePage, QueueQuery};
use proto::JobId;
use proto::rights::Action;
use serde_json::{Value, json};

use super::cancel::unknown;
use super::jobs::find;
use super::list::{PER_PAGE, refuse_unbuilt, row, visible};
use crate::app::App;
use crate::auth::Caller;
use crate::error::ApiResult;
use crate::present::ShownJob;
use crate::routes::Tail;

use query::queue_query;

/// Uuids of a page where the caller does not say.
const UUIDS: usize = 1000;

/// The jobs that run or wait.
#[utoipa::path(get, path = "/api/w/{workspace}/jobs/queue/list", tag = "jobs",
    params(("workspace" = String, Path), ("order_desc" = Option<bool>, Query), ("running" = Option<bool>, Query),
        ("scheduled_for_before_now" = Option<bool>, Query), ("script_path_exact" = Option<String>, Query),
        ("script_path_start" = Option<String>, Query), ("script_hash" = Option<String>, Query), ("tag" = Option<String>, Query),
        ("created_by" = Option<String>, Query), ("parent_job" = Option<String>, Query), ("worker" = Option<String>, Query),
        ("page" = Option<usize>, Query), ("per_page" = Option<usize>, Query),
        ("cursor" = Option<String>, Query, description = "the `X-Next-Cursor` of the page before")),
    responses((status = 200, description = "QueuedJob rows", body = serde_json::Value)))]
pub(crate) async fn list(
    State(app): State<App>,
    RawQuery(query): RawQuery,
    caller: Caller,
) -> ApiResult<Response> {
    caller.may(Action::ListJobs)?;
    let page = page(&app, &caller, &queue_query(query.as_deref(), PER_PAGE)?).await?;
    let rows: Vec<ShownJob> = page.rows.iter().filter(|row| visible(&caller, row)).map(row).collect();
    Ok((next(&page), Json(rows)).into_response())
}

/// The uuids of the jobs that run or wait, by the same filters.
#[utoipa::path(get, path = "/api/w/{workspace}/jobs/queue/list_filtered_uuids", tag = "jobs",
    params(("workspace" = String, Path), ("order_desc" = Option<bool>, Query), ("running" = Option<bool>, Query),
        ("scheduled_for_before_now" = Option<bool>, Query), ("script_path_exact" = Option<String>, Query),
        ("script_path_start" = Option<String>, Query), ("script_hash" = Option<String>, Query), ("tag" = Option<String>, Query),
        ("created_by" = Option<String>, Query), ("parent_job" = Option<String>, Query), ("worker" = Option<String>, Query),
        ("page" = Option<usize>, Query), ("per_page" = Option<usize>, Query),
        ("cursor" = Option<String>, Query, description = "the `X-Next-Cursor` of the page before")),
    responses((status = 200, description = "uuids", body = Vec<String>)))]
pub(crate) async fn uuids(
    State(app): State<App>,
    RawQuery(query): RawQuery,
    caller: Caller,
) -> ApiResult<Response> {
    caller.may(Action::ListJobs)?;
    let page = page(&app, &caller, &queue_query(query.as_deref(), UUIDS)?).await?;
    let visible = page.rows.iter().filter(|row| visible(&caller, row));
    let ids: Vec<JobId> = visible.map(|row| row.job.id).collect();
    Ok((next(&page), Json(ids)).into_response())
}

/// How many jobs wait and are due.
#[utoipa::path(get, path = "/api/w/{workspace}/jobs/queue/count", tag = "jobs",
    params(("workspace" = String, Path)),
    responses((status = 200, description = "{database_length, suspended}", body = serde_json::Value)))]
pub(crate) async fn count(
    State(app): State<App>,
    RawQuery(query): RawQuery,
    caller: Caller,
) -> ApiResult<Json<Value>> {
    caller.may(Action::ListJobs)?;
    refuse_unbuilt(query.as_deref(), &[])?;
    let due = app.records.queued_by(&caller.workspace, job_queue::now_us()).await?;
    Ok(Json(json!({"database_length": due, "suspended": 0})))
}

/// Which place in the queue a job has, or would have, that is due at this time.
#[utoipa::path(get, path = "/api/w/{workspace}/jobs/queue/position/{scheduled_for}", tag = "jobs",
    params(("workspace" = String, Path), ("scheduled_for" = i64, Path, description = "Unix ms")),
    responses((status = 200, description = "{position}; {} where nothing waits", body = serde_json::Value)))]
pub(crate) async fn position(
    State(app): State<App>,
    caller: Caller,
    Tail(due): Tail<DueTime>,
) -> ApiResult<Json<Value>> {
    caller.may(Action::ListJobs)?;
    let position = app.records.queue_position(&caller.workspace, due.unix_us).await?;
    Ok(Json(position.map_or_else(|| json!({}), |position| json!({"position": position}))))
}

/// When a job that runs or waits is due, or was.
#[utoipa::path(get, path = "/api/w/{workspace}/jobs/queue/scheduled_for/{id}", tag = "jobs",
    params(("workspace" = String, Path), ("id" = String, Path)),
    responses((status = 200, description = "Unix ms", body = i64), (status = 404)))]
pub(crate) async fn scheduled_for(
    State(app): State<App>,
    caller: Caller,
    Tail(id): Tail<JobId>,
) -> ApiResult<Json<i64>> {
    let found = find(&app, &caller, id).await?;
    let found = found.filter(|found| !matches!(found.state(), JobState::Ended(_)));
    let found = found.ok_or_else(|| unknown(id))?;
    let next_try = found.record().and_then(|record| record.next_try_us);
    let due_us = next_try.unwrap_or_else(|| found.job().due_us());
    Ok(Json(due_us / 1000))
}

/// A time of a path, in Unix ms there.
pub(crate) struct DueTime {
    unix_us: i64,
}

impl FromStr for DueTime {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let unix_us = text.parse().ok().and_then(|unix_ms: i64| unix_ms.checked_mul(1000));
        let unix_us =
            unix_us.ok_or_else(|| format!("scheduled_for: `{text}` is not a time in Unix milliseconds"))?;
        Ok(Self { unix_us })
    }
}

async fn page(app: &App, caller: &Caller, query: &QueueQuery) -> ApiResult<QueuePage> {
    Ok(app.records.list_queue(&caller.workspace, query).await?)
}

fn next(page: &QueuePage) -> [(&'static str, String); 1] {
    [("x-next-cursor", page.next.map(|next| next.to_string()).unwrap_or_default())]
}
