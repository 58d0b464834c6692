//! Job listings: newest first, a page at a cost that does not grow with history.

use axum::Json;
use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Response};
use job_queue::{Filter, PageCursor};
use proto::ScriptPath;
use proto::rights::{Action, JobOwner};

use super::jobs::{number, value};
use crate::app::App;
use crate::auth::Caller;
use crate::error::{ApiError, ApiResult};
use crate::present::{self, Details, ShownJob};

/// Rows of a page where the caller does not say.
pub(super) const PER_PAGE: usize = 30;
/// The most a caller may ask for.
const MOST: usize = 1000;

/// Filters of the contract that are not built yet: ignoring one would show wrong rows.
const NOT_BUILT: [&str; 34] = [
    "created_by",
    "label",
    "worker",
    "parent_job",
    "script_path_start",
    "schedule_path",
    "script_hash",
    "started_before",
    "started_after",
    "created_before",
    "created_after",
    "completed_before",
    "completed_after",
    "created_before_queue",
    "created_after_queue",
    "scheduled_for_before_now",
    "job_kinds",
    "suspended",
    "args",
    "result",
    "tag",
    "allow_wildcards",
    "trigger_kind",
    "trigger_path",
    "is_skipped",
    "resolved",
    "is_flow_step",
    "has_null_parent",
    "success",
    "status",
    "all_workspaces",
    "is_not_schedule",
    "excludes_entrypoint_override",
    "broad_filter",
];

/// Jobs, newest first.
#[utoipa::path(get, path = "/api/w/{workspace}/jobs/list", tag = "jobs",
    params(("workspace" = String, Path), ("running" = Option<bool>, Query), ("script_path_exact" = Option<String>, Query),
        ("page" = Option<usize>, Query), ("per_page" = Option<usize>, Query),
        ("cursor" = Option<String>, Query, description = "the `X-Next-Cursor` of the page before")),
    responses((status = 200, description = "QueuedJob and CompletedJob rows", body = serde_json::Value)))]
pub(crate) async fn jobs(
    State(app): State<App>,
    RawQuery(query): RawQuery,
    caller: Caller,
) -> ApiResult<Response> {
    caller.may(Action::ListJobs)?;
    let query = query.as_deref();
    refuse_unbuilt(query, &[])?;
    let per_page = number(query, "per_page")?.unwrap_or(PER_PAGE).clamp(1, MOST);
    // page 0 is the first page, too
    let page: usize = number(query, "page")?.unwrap_or(1).max(1);
    let cursor = value(query, "cursor")
        .map(|text| text.parse::<PageCursor>().map_err(ApiError::bad_request))
        .transpose()?;
    let filter = filter(query)?;
    let listed = app
        .records
        .list(&caller.workspace, &filter, cursor, (page - 1).saturating_mul(per_page), per_page)
        .await?;
    let next = listed.next.map(|next| next.to_string()).unwrap_or_default();
    let rows: Vec<ShownJob> = listed.rows.iter().filter(|row| visible(&caller, row)).map(row).collect();
    Ok(([("x-next-cursor", next)], Json(rows)).into_response())
}

pub(super) fn row(record: &job_queue::Record) -> ShownJob {
    present::record(record, Details::default())
}

/// Jobs the caller may not read are not listed.
pub(super) fn visible(caller: &Caller, record: &job_queue::Record) -> bool {
    let job = &record.job;
    caller.may(Action::ReadJob(JobOwner { path: &job.path, email: &job.caller.email })).is_ok()
}

fn filter(query: Option<&str>) -> ApiResult<Filter> {
    let path = value(query, "script_path_exact").map(|text| text.parse::<ScriptPath>()).transpose()?;
    Ok(Filter { path, running: flag(query, "running")? })
}

/// A query parameter that is `true` or `false`.
pub(crate) fn flag(query: Option<&str>, name: &str) -> ApiResult<Option<bool>> {
    let read = |text: String| match text.as_str() {
        "true" => Ok(true),
        "false" => Ok(false),
        other => Err(ApiError::bad_request(format!("{name}: `{other}` is not true or false"))),
    };
    value(query, name).map(read).transpose()
}

/// Refuses filters that are not built, but for those that this listing has.
pub(crate) fn refuse_unbuilt(query: Option<&str>, built: &[&str]) -> ApiResult<()> {
    let mut unbuilt = NOT_BUILT.iter().filter(|name| !built.contains(name));
    match unbuilt.find(|name| value(query, name).is_some_and(|value| value != "false")) {
        Some(name) => Err(ApiError::bad_request(format!("the filter `{name}` is not supported yet"))),
        None => Ok(()),
    }
}
