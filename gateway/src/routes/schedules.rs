//! Schedules: make, change, switch, remove and show them, and preview when one would come.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use catalog::Schedule;
use chrono::{SecondsFormat, Utc};
use http::{HeaderMap, StatusCode};
use proto::ScriptPath;
use proto::rights::Action;
use serde::Deserialize;

use super::Tail;
use super::jobs::number;
use crate::app::App;
use crate::auth::{Account, Caller};
use crate::error::{ApiError, ApiResult};
use crate::request;
use crate::schedule::{self, Change, Filter, Preview, Sent, SetDefault, Shown};

/// Rows of a page where the caller does not say.
const PER_PAGE: usize = 30;
/// The most a caller may ask for.
const MOST: usize = 1000;
/// The same where each row has its jobs.
const MOST_WITH_JOBS: usize = 100;
/// Times a preview shows.
const PREVIEWED: usize = 5;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SetEnabled {
    enabled: bool,
}

/// Make a schedule. It runs as its caller, if it is sent with `enabled`.
#[utoipa::path(post, path = "/api/w/{workspace}/schedules/create", tag = "schedules",
    params(("workspace" = String, Path)),
    request_body(content = serde_json::Value, description = "path, schedule, timezone, script_path, enabled, args and settings"),
    responses((status = 201, description = "its path", body = String, content_type = "text/plain"), (status = 400), (status = 403)))]
pub(crate) async fn create(
    State(app): State<App>,
    caller: Caller,
    headers: HeaderMap,
    body: Body,
) -> ApiResult<Response> {
    let body = request::read(&headers, body, app.config.body_limit).await?;
    let sent = Sent::parse(&body)?;
    let path = sent.path()?.clone();
    schedule::write(&app, &caller, &path, &Change::Create(Box::new(sent))).await?;
    Ok((StatusCode::CREATED, path.to_string()).into_response())
}

/// Replace a schedule's settings; it runs as its caller from now on.
#[utoipa::path(post, path = "/api/w/{workspace}/schedules/update/{path}", tag = "schedules",
    params(("workspace" = String, Path), ("path" = String, Path)),
    request_body(content = serde_json::Value, description = "schedule, timezone, args and settings"),
    responses((status = 200, description = "its path", body = String, content_type = "text/plain"), (status = 400), (status = 403), (status = 404)))]
pub(crate) async fn update(
    State(app): State<App>,
    caller: Caller,
    Tail(path): Tail<String>,
    headers: HeaderMap,
    body: Body,
) -> ApiResult<String> {
    let path = path_of(&path)?;
    let body = request::read(&headers, body, app.config.body_limit).await?;
    let sent = Box::new(Sent::parse(&body)?);
    schedule::write(&app, &caller, &path, &Change::Edit(sent)).await?;
    Ok(path.to_string())
}

/// Switch a schedule on or off; it runs as its caller from now on.
#[utoipa::path(post, path = "/api/w/{workspace}/schedules/setenabled/{path}", tag = "schedules",
    params(("workspace" = String, Path), ("path" = String, Path)),
    request_body(content = serde_json::Value, description = "{\"enabled\": …}"),
    responses((status = 200, description = "done", body = String, content_type = "text/plain"), (status = 400), (status = 403), (status = 404)))]
pub(crate) async fn set_enabled(
    State(app): State<App>,
    caller: Caller,
    Tail(path): Tail<String>,
    body: Bytes,
) -> ApiResult<String> {
    let path = path_of(&path)?;
    let SetEnabled { enabled } = serde_json::from_slice(&body)
        .map_err(|error| ApiError::bad_request(format!("invalid JSON: {error}")))?;
    schedule::write(&app, &caller, &path, &Change::Enable(enabled)).await?;
    Ok(format!("schedule {path} is {}", if enabled { "enabled" } else { "disabled" }))
}

/// Remove a schedule.
#[utoipa::path(delete, path = "/api/w/{workspace}/schedules/delete/{path}", tag = "schedules",
    params(("workspace" = String, Path), ("path" = String, Path)),
    responses((status = 200, description = "done", body = String, content_type = "text/plain"), (status = 403), (status = 404)))]
pub(crate) async fn delete(
    State(app): State<App>,
    caller: Caller,
    Tail(path): Tail<String>,
) -> ApiResult<String> {
    let path = path_of(&path)?;
    schedule::write(&app, &caller, &path, &Change::Delete).await?;
    Ok(format!("schedule {path} is deleted"))
}

/// One schedule.
#[utoipa::path(get, path = "/api/w/{workspace}/schedules/get/{path}", tag = "schedules",
    params(("workspace" = String, Path), ("path" = String, Path)),
    responses((status = 200, description = "Schedule", body = serde_json::Value), (status = 404)))]
pub(crate) async fn get(
    State(app): State<App>,
    caller: Caller,
    Tail(path): Tail<String>,
) -> ApiResult<Response> {
    let path = path_of(&path)?;
    caller.may(Action::ReadSchedule(&path))?;
    let stored = schedule::stored(&app, &caller.workspace, &path).await?;
    Ok(Json(Shown::whole(&stored)).into_response())
}

/// Whether there is a schedule at a path.
#[utoipa::path(get, path = "/api/w/{workspace}/schedules/exists/{path}", tag = "schedules",
    params(("workspace" = String, Path), ("path" = String, Path)),
    responses((status = 200, description = "whether there is", body = bool)))]
pub(crate) async fn exists(
    State(app): State<App>,
    caller: Caller,
    Tail(path): Tail<String>,
) -> ApiResult<Json<bool>> {
    // what is no path is the path of nothing
    let Ok(path) = path.parse::<ScriptPath>() else { return Ok(Json(false)) };
    caller.may(Action::ReadSchedule(&path))?;
    match schedule::stored(&app, &caller.workspace, &path).await {
        Ok(_) => Ok(Json(true)),
        Err(error) if error.code == proto::ErrorCode::NotFound => Ok(Json(false)),
        Err(error) => Err(error),
    }
}

/// Schedules, the one edited last first.
#[utoipa::path(get, path = "/api/w/{workspace}/schedules/list", tag = "schedules",
    params(("workspace" = String, Path), ("path" = Option<String>, Query, description = "of the script"),
        ("script_path" = Option<String>, Query), ("schedule_path" = Option<String>, Query),
        ("path_start" = Option<String>, Query, description = "of the schedule"), ("is_flow" = Option<bool>, Query),
        ("page" = Option<usize>, Query), ("per_page" = Option<usize>, Query)),
    responses((status = 200, description = "Schedule rows", body = serde_json::Value)))]
pub(crate) async fn list(
    State(app): State<App>,
    RawQuery(query): RawQuery,
    caller: Caller,
) -> ApiResult<Response> {
    let filter = Filter::parse(query.as_deref())?;
    let found = page(&app, &caller, &filter, query.as_deref(), MOST)?;
    let rows: Vec<Shown<'_>> = found.iter().map(|row| Shown::row(row)).collect();
    Ok(Json(rows).into_response())
}

/// Schedules, the one edited last first, each with the latest of its jobs that have ended.
#[utoipa::path(get, path = "/api/w/{workspace}/schedules/list_with_jobs", tag = "schedules",
    params(("workspace" = String, Path), ("page" = Option<usize>, Query), ("per_page" = Option<usize>, Query)),
    responses((status = 200, description = "Schedule rows with jobs", body = serde_json::Value)))]
pub(crate) async fn list_with_jobs(
    State(app): State<App>,
    RawQuery(query): RawQuery,
    caller: Caller,
) -> ApiResult<Response> {
    let found = page(&app, &caller, &Filter::default(), query.as_deref(), MOST_WITH_JOBS)?;
    let paths: Vec<&ScriptPath> = found.iter().map(|row| &row.path).collect();
    let ends = app.records.latest_ends(&caller.workspace, &paths).await?;
    let rows: Vec<_> = found.iter().zip(&ends).map(|(row, ends)| Shown::with_jobs(row, ends)).collect();
    Ok(Json(rows).into_response())
}

/// The part of the list that is asked for; schedules the caller may not read are not listed.
fn page(
    app: &App,
    caller: &Caller,
    filter: &Filter,
    query: Option<&str>,
    most: usize,
) -> ApiResult<Vec<Arc<Schedule>>> {
    caller.may(Action::ListSchedules)?;
    let per_page = number(query, "per_page")?.unwrap_or(PER_PAGE).clamp(1, most);
    // page 0 is the first page, too
    let page: usize = number(query, "page")?.unwrap_or(1).max(1);
    let mut found = app.catalog.schedules(&caller.workspace)?;
    found.retain(|row| filter.takes(row) && caller.may(Action::ReadSchedule(&row.path)).is_ok());
    found.sort_by(|a, b| b.edited_at_ms.cmp(&a.edited_at_ms).then_with(|| a.path.cmp(&b.path)));
    let skipped = (page - 1).saturating_mul(per_page);
    Ok(found.into_iter().skip(skipped).take(per_page).collect())
}

/// Set the handler that new schedules get, and with `override_existing` those that are there.
#[utoipa::path(post, path = "/api/w/{workspace}/schedules/setdefaulthandler", tag = "schedules",
    params(("workspace" = String, Path)),
    request_body(content = serde_json::Value, description = "handler_type, override_existing, path, extra_args, number_of_occurence, number_of_occurence_exact"),
    responses((status = 201, description = "done", body = String, content_type = "text/plain"), (status = 400), (status = 403)))]
pub(crate) async fn set_default_handler(
    State(app): State<App>,
    caller: Caller,
    headers: HeaderMap,
    body: Body,
) -> ApiResult<Response> {
    let body = request::read(&headers, body, app.config.body_limit).await?;
    let given = SetDefault::parse(&body)?.set(&app, &caller).await?;
    let text =
        format!("the default handler of workspace {} is set, also for {given} schedules", caller.workspace);
    Ok((StatusCode::CREATED, text).into_response())
}

/// When a schedule would come next.
#[utoipa::path(post, path = "/api/schedules/preview", tag = "schedules",
    request_body(content = serde_json::Value, description = "schedule, timezone, cron_version"),
    responses((status = 200, description = "its next five times, in UTC", body = Vec<String>), (status = 400)))]
pub(crate) async fn preview(_: Account, body: Bytes) -> ApiResult<Json<Vec<String>>> {
    let Preview(cadence) = Preview::parse(&body)?;
    let times = cadence.upcoming(Utc::now()).take(PREVIEWED);
    Ok(Json(times.map(|time| time.to_rfc3339_opts(SecondsFormat::Secs, true)).collect()))
}

fn path_of(text: &str) -> ApiResult<ScriptPath> {
    // what is no path is the path of nothing
    text.parse().map_err(|_| schedule::absent(text))
}
