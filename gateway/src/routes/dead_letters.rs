//! Dead letters: jobs that are not tried any more, listed, shown, replayed and discarded, one by one or by filter.

use std::time::Duration;

use axum::Json;
use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::StatusCode;
use job_queue::KeptLetter;
use proto::rights::{Action, JobOwner};
use proto::{ErrorCode, JobId};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::jobs::{asks, number};
use crate::app::App;
use crate::auth::Caller;
use crate::dead_letter::{self, Selection, Shown};
use crate::error::{ApiError, ApiResult};
use crate::routes::Tail;

/// Letters of a page where the caller does not say, and at most.
const PER_PAGE: usize = 30;
const MOST: usize = 1000;

/// Letters read at once while some are looked for, and for how long they are.
const PAGE: usize = 50;
const MANY_WITHIN: Duration = Duration::from_secs(20);

/// Dead letters, oldest first.
#[utoipa::path(get, path = "/api/w/{workspace}/dead_letters/list", tag = "dead letters",
    params(("workspace" = String, Path), ("per_page" = Option<usize>, Query),
        ("cursor" = Option<String>, Query, description = "the `X-Next-Cursor` of the page before")),
    responses((status = 200, description = "job_id, reason, message, attempts, died_at, …", body = serde_json::Value)))]
pub(crate) async fn list(
    State(app): State<App>,
    caller: Caller,
    RawQuery(query): RawQuery,
) -> ApiResult<Response> {
    caller.may(Action::ListJobs)?;
    let query = query.as_deref();
    let most = number(query, "per_page")?.unwrap_or(PER_PAGE).clamp(1, MOST);
    let behind = number(query, "cursor")?.unwrap_or(0);
    let page = app.dead_letters.page(&caller.workspace, behind, most).await?;
    let next = page.next.map(|next| next.to_string()).unwrap_or_default();
    let visible = page.letters.iter().filter(|kept| visible(&caller, kept));
    let rows: Vec<Shown> = visible.map(|kept| shown(&caller, kept)).collect();
    Ok(([("x-next-cursor", next)], Json(rows)).into_response())
}

/// One dead letter, with the end of its log.
#[utoipa::path(get, path = "/api/w/{workspace}/dead_letters/get/{id}", tag = "dead letters",
    params(("workspace" = String, Path), ("id" = String, Path, description = "the job")),
    responses((status = 200, body = serde_json::Value), (status = 404)))]
pub(crate) async fn get(
    State(app): State<App>,
    caller: Caller,
    Tail(id): Tail<JobId>,
) -> ApiResult<Json<Value>> {
    let kept = find(&app, &caller, id).await?;
    let mut whole = json!(shown(&caller, &kept));
    whole["last_log"] = json!(kept.letter.last_log);
    Ok(Json(whole))
}

/// Try a dead job again: a new job with its arguments and its rights; answers with the new job's uuid.
#[utoipa::path(post, path = "/api/w/{workspace}/dead_letters/replay/{id}", tag = "dead letters",
    params(("workspace" = String, Path), ("id" = String, Path, description = "the job")),
    responses((status = 201, description = "the new job's uuid", body = String, content_type = "text/plain"), (status = 404)))]
pub(crate) async fn replay(
    State(app): State<App>,
    caller: Caller,
    Tail(id): Tail<JobId>,
) -> ApiResult<(StatusCode, String)> {
    let kept = find(&app, &caller, id).await?;
    may_change(&caller, &kept)?;
    let new = dead_letter::replay(&app, &caller.workspace, &kept).await?;
    Ok((StatusCode::CREATED, new.to_string()))
}

/// Forget a dead job.
#[utoipa::path(post, path = "/api/w/{workspace}/dead_letters/discard/{id}", tag = "dead letters",
    params(("workspace" = String, Path), ("id" = String, Path, description = "the job")),
    responses((status = 200, body = String, content_type = "text/plain"), (status = 404)))]
pub(crate) async fn discard(
    State(app): State<App>,
    caller: Caller,
    Tail(id): Tail<JobId>,
) -> ApiResult<String> {
    let kept = find(&app, &caller, id).await?;
    may_change(&caller, &kept)?;
    dead_letter::discard(&app, &caller, &kept).await?;
    Ok(format!("discarded the dead letter of job {id}"))
}

/// Try all again that fit a filter, at most 1000 at once; with `dry_run`, count them.
#[utoipa::path(post, path = "/api/w/{workspace}/dead_letters/replay", tag = "dead letters",
    params(("workspace" = String, Path), ("dry_run" = Option<bool>, Query),
        ("cursor" = Option<String>, Query, description = "the `next` of the answer before")),
    request_body(content = serde_json::Value, description = "reason, script_path, died_after, died_before; {} is all"),
    responses((status = 200, description = "matched, done, failed, next", body = serde_json::Value)))]
pub(crate) async fn replay_many(
    State(app): State<App>,
    caller: Caller,
    RawQuery(query): RawQuery,
    body: Bytes,
) -> ApiResult<Json<Value>> {
    many(&app, &caller, query.as_deref(), &body, Deed::Replay).await
}

/// Forget all that fit a filter, at most 1000 at once; with `dry_run`, count them.
#[utoipa::path(post, path = "/api/w/{workspace}/dead_letters/discard", tag = "dead letters",
    params(("workspace" = String, Path), ("dry_run" = Option<bool>, Query),
        ("cursor" = Option<String>, Query, description = "the `next` of the answer before")),
    request_body(content = serde_json::Value, description = "reason, script_path, died_after, died_before; {} is all"),
    responses((status = 200, description = "matched, done, failed, next", body = serde_json::Value)))]
pub(crate) async fn discard_many(
    State(app): State<App>,
    caller: Caller,
    RawQuery(query): RawQuery,
    body: Bytes,
) -> ApiResult<Json<Value>> {
    many(&app, &caller, query.as_deref(), &body, Deed::Discard).await
}

/// What is done with each of many.
#[derive(Clone, Copy)]
enum Deed {
    Replay,
    Discard,
}

impl Deed {
    async fn done(self, app: &App, caller: &Caller, kept: &KeptLetter) -> ApiResult<Value> {
        match self {
            Self::Replay => {
                let new = dead_letter::replay(app, &caller.workspace, kept).await?;
                Ok(json!({"job_id": kept.id, "new_job_id": new}))
            }
            Self::Discard => {
                dead_letter::discard(app, caller, kept).await?;
                Ok(json!({"job_id": kept.id}))
            }
        }
    }
}

/// Page by page, for as long as callers wait: what is left is told by where it begins.
async fn many(
    app: &App,
    caller: &Caller,
    query: Option<&str>,
    body: &[u8],
    deed: Deed,
) -> ApiResult<Json<Value>> {
    // who may not list jobs must not come by their ids
    caller.may(Action::ListJobs)?;
    let selection: Selection = serde_json::from_slice(body)
        .map_err(|error| ApiError::bad_request(format!("invalid filter: {error}")))?;
    let (dry_run, mut behind) = (asks(query, "dry_run"), number(query, "cursor")?.unwrap_or(0));
    let until = Instant::now() + MANY_WITHIN;
    let (mut matched, mut done, mut failed) = (0, Vec::new(), Vec::new());
    let next = 'pages: loop {
        let page = app.dead_letters.page(&caller.workspace, behind, PAGE).await?;
        let Some(end) = page.next else { break None };
        for kept in &page.letters {
            if matched == MOST || Instant::now() >= until {
                break 'pages Some(behind);
            }
            if may_change(caller, kept).is_ok() && selection.fits(&caller.workspace, kept) {
                matched += 1;
                match if dry_run { None } else { Some(deed.done(app, caller, kept).await) } {
                    None => {}
                    Some(Ok(row)) => done.push(row),
                    Some(Err(error)) if error.code == ErrorCode::Unavailable => return Err(error),
                    // it is the same for all that follow
                    Some(Err(error)) if error.refuses_new_jobs() => {
                        failed.push(json!({"job_id": kept.id, "error": error.message}));
                        break 'pages Some(behind);
                    }
                    Some(Err(error)) => failed.push(json!({"job_id": kept.id, "error": error.message})),
                }
            }
            behind = kept.sequence;
        }
        behind = end;
    };
    let next = next.map(|next| next.to_string());
    Ok(Json(json!({"matched": matched, "done": done, "failed": failed, "next": next})))
}

async fn find(app: &App, caller: &Caller, id: JobId) -> ApiResult<KeptLetter> {
    let found = app.dead_letters.find(&caller.workspace, id).await?;
    // what the caller may not read is not there for it
    let found = found.filter(|kept| visible(caller, kept));
    found.ok_or_else(|| ApiError::not_found(format!("no dead letter of job {id}")))
}

fn shown(caller: &Caller, kept: &KeptLetter) -> Shown {
    Shown::of(&caller.workspace, kept)
}

fn visible(caller: &Caller, kept: &KeptLetter) -> bool {
    allowed(caller, kept, false).is_ok()
}

/// Whoever may cancel a job may have it tried again, or forgotten.
fn may_change(caller: &Caller, kept: &KeptLetter) -> ApiResult<()> {
    allowed(caller, kept, true)
}

/// A letter that cannot be read is nobody's: admins see to it.
fn allowed(caller: &Caller, kept: &KeptLetter, change: bool) -> ApiResult<()> {
    let Some(job) = kept.letter.job(&caller.workspace, kept.id) else {
        return caller.may(Action::WriteWorkspace);
    };
    let owner = JobOwner { path: &job.path, email: &job.caller.email };
    caller.may(if change { Action::CancelJob(owner) } else { Action::ReadJob(owner) })
}
