//! Reading one job: the record, its log, its result.

use axum::Json;
use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::header;
use job_queue::{End, Job, JobState, Outcome, Place, QueuedJob, Record};
use proto::JobId;
use proto::rights::{Action, JobOwner};
use serde_json::json;
use serde_json::value::RawValue;

use crate::answer;
use crate::app::App;
use crate::auth::Caller;
use crate::error::{ApiError, ApiResult};
use crate::present::{self, Details, ShownAttempt, ShownJob};
use crate::routes::Tail;
use crate::routes::cancel::unknown;

/// Log characters shown with a job; the whole log is at `get_logs`.
const SHOWN_LOG: u64 = 20_000;

/// A job as far as it is known: its record, or its message in the stream.
pub(crate) enum Found {
    Recorded(Box<Record>),
    /// With its record, if it has one: it was tried before, or its row of the listing is written.
    Queued(Box<QueuedJob>, Option<Box<Record>>),
}

impl Found {
    pub(crate) fn job(&self) -> &Job {
        match self {
            Self::Recorded(record) => &record.job,
            Self::Queued(queued, _) => &queued.job,
        }
    }

    pub(crate) fn state(&self) -> JobState {
        match self {
            Self::Recorded(record) => record.state,
            Self::Queued(..) => JobState::Queued,
        }
    }

    pub(crate) fn record(&self) -> Option<&Record> {
        match self {
            Self::Recorded(record) => Some(record),
            Self::Queued(_, record) => record.as_deref(),
        }
    }
}

/// A job the caller may read: terminal record beats running record beats message.
pub(crate) async fn find(app: &App, caller: &Caller, id: JobId) -> ApiResult<Option<Found>> {
    let Some(found) = look(app, caller, id).await? else { return Ok(None) };
    let job = found.job();
    // a job of others looks like one that is not there
    let readable = caller.may(Action::ReadJob(JobOwner { path: &job.path, email: &job.caller.email }));
    readable.map_err(|refusal| if caller.rights.scopes.is_empty() { unknown(id) } else { refusal })?;
    Ok(Some(found))
}

async fn look(app: &App, caller: &Caller, id: JobId) -> ApiResult<Option<Found>> {
    let waits = match app.records.get(&caller.workspace, id).await?.map(Box::new) {
        Some(record) if record.state != JobState::Queued => return Ok(Some(Found::Recorded(record))),
        waits => waits,
    };
    if let Some(queued) = app.finder.find(&caller.workspace, id).await? {
        return Ok(Some(Found::Queued(Box::new(queued), waits)));
    }
    // it may have been taken and ended between the two looks
    let record = app.records.get(&caller.workspace, id).await?;
    Ok(record.map(|record| Found::Recorded(Box::new(record))))
}

/// A job's record, arguments, result and the end of its log.
#[utoipa::path(get, path = "/api/w/{workspace}/jobs_u/get/{id}", tag = "jobs",
    params(("workspace" = String, Path), ("id" = String, Path), ("no_logs" = Option<bool>, Query)),
    responses((status = 200, description = "QueuedJob or CompletedJob", body = serde_json::Value), (status = 404)))]
pub(crate) async fn get(
    State(app): State<App>,
    caller: Caller,
    Tail(id): Tail<JobId>,
    RawQuery(query): RawQuery,
) -> ApiResult<Json<ShownJob>> {
    let found = find(&app, &caller, id).await?.ok_or_else(|| unknown(id))?;
    shown(&app, &caller, found, !asks(query.as_deref(), "no_logs")).await.map(Json)
}

/// The same, once the job has ended; 404 until then.
#[utoipa::path(get, path = "/api/w/{workspace}/jobs_u/completed/get/{id}", tag = "jobs",
    params(("workspace" = String, Path), ("id" = String, Path)),
    responses((status = 200, description = "CompletedJob", body = serde_json::Value), (status = 404)))]
pub(crate) async fn completed(
    State(app): State<App>,
    caller: Caller,
    Tail(id): Tail<JobId>,
) -> ApiResult<Json<ShownJob>> {
    let found = ended(&app, &caller, id).await?;
    shown(&app, &caller, Found::Recorded(Box::new(found)), true).await.map(Json)
}

/// A job's result as it is; 404 until it has ended.
#[utoipa::path(get, path = "/api/w/{workspace}/jobs_u/completed/get_result/{id}", tag = "jobs",
    params(("workspace" = String, Path), ("id" = String, Path), ("json_path" = Option<String>, Query)),
    responses((status = 200, description = "the result", body = serde_json::Value), (status = 404)))]
pub(crate) async fn result(
    State(app): State<App>,
    caller: Caller,
    Tail(id): Tail<JobId>,
    RawQuery(query): RawQuery,
) -> ApiResult<Response> {
    ended(&app, &caller, id).await?;
    let end = end_of(&app, &caller, id).await?;
    let body = match value(query.as_deref(), "json_path") {
        Some(path) => answer::part(&end.result, &path).unwrap_or_else(|| Bytes::from_static(b"null")),
        None => end.result,
    };
    Ok(([(header::CONTENT_TYPE, "application/json"), (header::X_CONTENT_TYPE_OPTIONS, "nosniff")], body)
        .into_response())
}

/// Whether a job has ended, and its result if so; never 404.
#[utoipa::path(get, path = "/api/w/{workspace}/jobs_u/completed/get_result_maybe/{id}", tag = "jobs",
    params(("workspace" = String, Path), ("id" = String, Path), ("get_started" = Option<bool>, Query)),
    responses((status = 200, description = "{started, success, completed, result}", body = serde_json::Value)))]
pub(crate) async fn result_maybe(
    State(app): State<App>,
    caller: Caller,
    Tail(id): Tail<JobId>,
    RawQuery(query): RawQuery,
) -> ApiResult<Response> {
    let found = find(&app, &caller, id).await?;
    let state = found.as_ref().map(Found::state);
    if let Some(JobState::Ended(outcome)) = state {
        let end = end_of(&app, &caller, id).await?;
        return Ok(maybe_ended(outcome, &end));
    }
    let started = asks(query.as_deref(), "get_started").then(|| state == Some(JobState::Running));
    Ok(Json(json!({"started": started, "success": null, "completed": false, "result": null})).into_response())
}

fn maybe_ended(outcome: Outcome, end: &End) -> Response {
    #[derive(serde::Serialize)]
    struct Maybe<'a> {
        started: bool,
        success: bool,
        completed: bool,
        result: Option<&'a RawValue>,
    }
    let result = serde_json::from_slice(&end.result).ok();
    Json(Maybe { started: true, success: outcome == Outcome::Success, completed: true, result })
        .into_response()
}

/// The whole log, or that of one attempt.
#[utoipa::path(get, path = "/api/w/{workspace}/jobs_u/get_logs/{id}", tag = "jobs",
    params(("workspace" = String, Path), ("id" = String, Path), ("attempt" = Option<u32>, Query, description = "counted from 1")),
    responses((status = 200, description = "the log", body = String, content_type = "text/plain"), (status = 404)))]
pub(crate) async fn logs(
    State(app): State<App>,
    caller: Caller,
    Tail(id): Tail<JobId>,
    RawQuery(query): RawQuery,
) -> ApiResult<Response> {
    let attempt = number(query.as_deref(), "attempt")?;
    let found = find(&app, &caller, id).await?.ok_or_else(|| unknown(id))?;
    let log = match attempt {
        Some(attempt) => log_of(&app, &caller, &found, attempt).await?,
        None => app.records.log_from(&caller.workspace, id, 0).await?.text,
    };
    let headers =
        [(header::CONTENT_TYPE, "text/plain; charset=utf-8"), (header::X_CONTENT_TYPE_OPTIONS, "nosniff")];
    Ok((headers, log).into_response())
}

/// One attempt's part of the log.
async fn log_of(app: &App, caller: &Caller, found: &Found, attempt: u32) -> ApiResult<String> {
    let id = found.job().id;
    let absent =
        || ApiError::not_found(format!("job {id} has no attempt {attempt}, or it is not kept any more"));
    let record = found.record().ok_or_else(absent)?;
    let past = app.records.attempts(&caller.workspace, id).await?;
    let attempts = present::attempts(record, &past);
    let bounds = attempts.iter().find(|shown| shown.number() == attempt).ok_or_else(absent)?.log();
    Ok(app.records.log_part(&caller.workspace, id, bounds).await?)
}

/// The arguments, whole.
#[utoipa::path(get, path = "/api/w/{workspace}/jobs_u/get_args/{id}", tag = "jobs",
    params(("workspace" = String, Path), ("id" = String, Path)),
    responses((status = 200, description = "the arguments", body = serde_json::Value), (status = 404)))]
pub(crate) async fn args(
    State(app): State<App>,
    caller: Caller,
    Tail(id): Tail<JobId>,
) -> ApiResult<Response> {
    let found = find(&app, &caller, id).await?.ok_or_else(|| unknown(id))?;
    let args = args_of(&app, &caller, &found).await?.unwrap_or_else(|| Bytes::from_static(b"{}"));
    Ok(([(header::CONTENT_TYPE, "application/json")], args).into_response())
}

/// A job's record once it has ended.
async fn ended(app: &App, caller: &Caller, id: JobId) -> ApiResult<Record> {
    match find(app, caller, id).await? {
        Some(Found::Recorded(record)) if matches!(record.state, JobState::Ended(_)) => Ok(*record),
        Some(_) => Err(ApiError::not_found(format!("job {id} is not completed yet"))),
        None => Err(unknown(id)),
    }
}

async fn end_of(app: &App, caller: &Caller, id: JobId) -> ApiResult<End> {
    let end = app.records.end_of(&caller.workspace, id).await?;
    end.ok_or_else(|| ApiError::not_found(format!("the result of job {id} has expired")))
}

async fn args_of(app: &App, caller: &Caller, found: &Found) -> ApiResult<Option<Bytes>> {
    let job = found.job();
    if let Found::Recorded(_) = found
        && let Some(args) = app.records.args(&caller.workspace, job.id).await?
    {
        return Ok(Some(args));
    }
    match app.args.load(&job.args).await {
        Ok(args) => Ok(Some(args)),
        Err(job_queue::ArgsError::Unavailable(why)) => Err(ApiError::unavailable("the argument store", &why)),
        Err(error @ job_queue::ArgsError::Lost { .. }) => {
            tracing::warn!(job.id = %job.id, %error, "stored arguments are gone");
            Ok(None)
        }
    }
}

/// The job with everything that is shown beside its record.
async fn shown(app: &App, caller: &Caller, found: Found, with_logs: bool) -> ApiResult<ShownJob> {
    let mut details = Details { args: args_of(app, caller, &found).await?, ..Details::default() };
    let id = found.job().id;
    if let Some(record) = found.record().filter(|record| record.attempt > 0) {
        details.attempts = attempts_of(app, caller, record).await?;
        if with_logs {
            details.logs =
                Some(app.records.log_tail(&caller.workspace, id, record.log_len, SHOWN_LOG).await?);
        }
    }
    match found {
        Found::Queued(queued, record) => {
            details.waiting_for = Some(waiting_for(app, &queued, record.as_deref()).await?);
            Ok(present::queued(&queued.job, record.as_deref(), details))
        }
        Found::Recorded(record) => {
            if matches!(record.state, JobState::Ended(_)) {
                details.result = Some(end_of(app, caller, id).await?.result);
            }
            Ok(present::record(&record, details))
        }
    }
}

/// Its attempts, where there was more than one, or the one there was will not be the last.
async fn attempts_of(app: &App, caller: &Caller, record: &Record) -> ApiResult<Vec<ShownAttempt>> {
    if record.attempt <= 1 && record.retries == 0 {
        return Ok(Vec::new());
    }
    let past = app.records.attempts(&caller.workspace, record.job.id).await?;
    Ok(present::attempts(record, &past))
}

/// Why a queued job waits, in plain words.
async fn waiting_for(app: &App, queued: &QueuedJob, record: Option<&Record>) -> ApiResult<String> {
    let job = &queued.job;
    let aside = matches!(queued.place, Place::Timer(_)).then(|| job.due_us());
    if let Some(due_us) = record.and_then(|record| record.next_try_us).or(aside) {
        return Ok(format!("{}, when it is due", present::timestamp(due_us)));
    }
    Ok(match app.records.workers_of(&job.tag).await? {
        0 => format!("a worker for tag `{}`: none is running", job.tag),
        1 => format!("a free slot of the one worker for tag `{}`", job.tag),
        n => format!("a free slot of one of the {n} workers for tag `{}`", job.tag),
    })
}

/// A query parameter's value, the last one.
pub(crate) fn value(query: Option<&str>, name: &str) -> Option<String> {
    let pairs = url::form_urlencoded::parse(query.unwrap_or_default().as_bytes());
    pairs
        .filter(|(key, _)| key == name)
        .last()
        .map(|(_, value)| value.into_owned())
        .filter(|value| !value.is_empty())
}

/// A query parameter that is a number.
pub(crate) fn number<T: std::str::FromStr>(query: Option<&str>, name: &str) -> ApiResult<Option<T>> {
    let parse = |text: String| {
        text.parse().map_err(|_| ApiError::bad_request(format!("{name}: `{text}` is not a number")))
    };
    value(query, name).map(parse).transpose()
}

/// Whether a flag of the query is on.
pub(crate) fn asks(query: Option<&str>, name: &str) -> bool {
    matches!(value(query, name).as_deref(), Some("true" | "1"))
}
