//! The webhooks: asynchronous ones answer with the job's uuid, synchronous ones with what
//! the script returned; by path (latest version) or by hash (that version for ever).

use axum::body::Body;
use axum::extract::{FromRequestParts, Request, State};
use axum::response::{IntoResponse, Response};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use job_queue::Waited;
use proto::{ErrorCode, JobId, ScriptHash};
use tokio::time::Instant;

use crate::answer;
use crate::app::App;
use crate::auth::{Caller, Source};
use crate::error::{ApiError, ApiResult, X_JOB_ID};
use crate::idempotency::{Key, REPLAY};
use crate::request::{self, RunParams, Wait};
use crate::routes::{Tail, cancel};
use crate::trigger::{Order, Target, Triggered, Waiting, id_for, trigger};

/// Queue a job of the latest version of a script; answers with its uuid.
#[utoipa::path(post, path = "/api/w/{workspace}/jobs/run/p/{path}", tag = "webhooks",
    params(("workspace" = String, Path), ("path" = String, Path, description = "u/<user>/<name> or f/<folder>/<name>"),
        ("job_id" = Option<String>, Query), ("tag" = Option<String>, Query), ("parent_job" = Option<String>, Query),
        ("status" = Option<u16>, Query, description = "200, 201 or 202"), ("token" = Option<String>, Query),
        ("Idempotency-Key" = Option<String>, Header, description = "the same again makes no second job")),
    request_body(content = String, description = "the arguments", content_type = "application/json"),
    responses((status = 201, description = "the job's uuid", body = String, content_type = "text/plain")))]
pub(crate) async fn by_path(
    State(app): State<App>,
    Tail(path): Tail<String>,
    request: Request,
) -> ApiResult<Response> {
    queue(app, Target::Path(path), request).await
}

/// Queue a job of one version of a script; answers with its uuid.
#[utoipa::path(post, path = "/api/w/{workspace}/jobs/run/h/{hash}", tag = "webhooks",
    params(("workspace" = String, Path), ("hash" = String, Path, description = "16 hexadecimal digits"),
        ("Idempotency-Key" = Option<String>, Header, description = "the same again makes no second job")),
    request_body(content = String, content_type = "application/json"),
    responses((status = 201, description = "the job's uuid", body = String, content_type = "text/plain")))]
pub(crate) async fn by_hash(
    State(app): State<App>,
    Tail(hash): Tail<ScriptHash>,
    request: Request,
) -> ApiResult<Response> {
    queue(app, Target::Hash(hash), request).await
}

/// Run the latest version of a script and answer with its result.
#[utoipa::path(post, path = "/api/w/{workspace}/jobs/run_wait_result/p/{path}", tag = "webhooks",
    params(("workspace" = String, Path), ("path" = String, Path),
        ("timeout_wait" = Option<f64>, Query, description = "seconds"), ("cancel_on_timeout" = Option<bool>, Query),
        ("cancel_on_disconnect" = Option<bool>, Query), ("payload" = Option<String>, Query, description = "GET: base64 of the arguments"),
        ("Idempotency-Key" = Option<String>, Header, description = "the same again makes no second job")),
    request_body(content = String, content_type = "application/json"),
    responses((status = 200, description = "the result", body = String, content_type = "application/json"),
        (status = 422, description = "the script failed; its error. Or the key came with another body"), (status = 504, description = "the wait ran out; the job goes on")))]
pub(crate) async fn wait_by_path(
    State(app): State<App>,
    Tail(path): Tail<String>,
    request: Request,
) -> ApiResult<Response> {
    run_and_wait(app, Target::Path(path), request).await
}

/// Run one version of a script and answer with its result.
#[utoipa::path(post, path = "/api/w/{workspace}/jobs/run_wait_result/h/{hash}", tag = "webhooks",
    params(("workspace" = String, Path), ("hash" = String, Path),
        ("Idempotency-Key" = Option<String>, Header, description = "the same again makes no second job")),
    request_body(content = String, content_type = "application/json"),
    responses((status = 200, description = "the result", body = String, content_type = "application/json")))]
pub(crate) async fn wait_by_hash(
    State(app): State<App>,
    Tail(hash): Tail<ScriptHash>,
    request: Request,
) -> ApiResult<Response> {
    run_and_wait(app, Target::Hash(hash), request).await
}

/// HEAD makes no job: 200 and nothing, for whom GET would run.
pub(crate) async fn head(caller: Caller) -> ApiResult<StatusCode> {
    refuse_cookie_get(&Method::HEAD, &caller)?;
    Ok(StatusCode::OK)
}

/// OPTIONS needs no token: CORS preflight, and the CloudEvents handshake.
pub(crate) async fn options(headers: HeaderMap) -> Response {
    let mut answer = HeaderMap::new();
    answer.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    answer.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET,POST"));
    answer.insert(
        header::ACCESS_CONTROL_ALLOW_HEADERS,
        HeaderValue::from_static("content-type,authorization,idempotency-key,webhook-id"),
    );
    answer.insert(header::ALLOW, HeaderValue::from_static("GET,HEAD,POST,OPTIONS"));
    if let Some(origin) = headers.get("webhook-request-origin") {
        answer.insert("webhook-allowed-origin", origin.clone());
    }
    (StatusCode::OK, answer).into_response()
}

async fn queue(app: App, target: Target, request: Request) -> ApiResult<Response> {
    let (parts, body) = request.into_parts();
    let (caller, params, triggered) = accept(&app, target, parts, body, false).await?;
    let id = triggered.id.to_string();
    let location = format!("/api/w/{}/jobs_u/get/{id}", caller.workspace);
    let headers = [
        (X_JOB_ID, id.clone()),
        (header::LOCATION, location),
        (header::CACHE_CONTROL, "no-store".to_owned()),
    ];
    Ok(marked(triggered.replay, (params.accepted, headers, id).into_response()))
}

async fn run_and_wait(app: App, target: Target, request: Request) -> ApiResult<Response> {
    let (parts, body) = request.into_parts();
    let started = Instant::now();
    let (caller, params, triggered) = accept(&app, target, parts, body, true).await?;
    let Triggered { id, waiting: Some(waiting), replay } = triggered else {
        return Err(ApiError::new(ErrorCode::Internal, "no place to wait was taken"));
    };
    let wait = params.wait;
    let guard = wait.cancel_on_disconnect.then(|| cancel::OnDrop::new(&app, &caller, id));
    let ended = wait_for(&app, &caller, waiting, id, wait, started).await;
    if let Some(guard) = guard {
        guard.defuse();
    }
    Ok(marked(replay, ended.unwrap_or_else(IntoResponse::into_response)))
}

/// Says of the answer to a request that was sent before that it is one.
fn marked(replay: bool, mut response: Response) -> Response {
    if replay {
        response.headers_mut().insert(REPLAY, HeaderValue::from_static("true"));
    }
    response
}

async fn wait_for(
    app: &App,
    caller: &Caller,
    waiting: Waiting,
    id: JobId,
    wait: Wait,
    started: Instant,
) -> ApiResult<Response> {
    let timeout = wait.timeout.unwrap_or(app.config.wait_default);
    let outcome = waiting.ended(app, &caller.workspace, id, started + timeout).await;
    match outcome.map_err(|error| ApiError::from(error).job(id))? {
        Waited::Ended(end) => Ok(answer::of(id, &end)),
        Waited::Timeout => {
            if wait.cancel_on_timeout {
                cancel::in_background(app, caller, id, "the caller's wait ran out");
            }
            Err(wait_ran_out(&caller.workspace, id, timeout, wait.cancel_on_timeout))
        }
    }
}

fn wait_ran_out(
    workspace: &proto::WorkspaceId,
    id: JobId,
    timeout: std::time::Duration,
    canceled: bool,
) -> ApiError {
    let location = format!("/api/w/{workspace}/jobs_u/completed/get_result_maybe/{id}");
    let rest = if canceled { "and is being cancelled" } else { "and goes on" };
    let message =
        format!("job {id} did not end within {}s {rest}; its result: {location}", timeout.as_secs_f64());
    ApiError::new(ErrorCode::WaitTimeout, message).with(header::LOCATION, &location).job(id)
}

/// Everything up to the stream's acknowledgement.
async fn accept(
    app: &App,
    target: Target,
    mut parts: Parts,
    body: Body,
    wait: bool,
) -> ApiResult<(Caller, RunParams, Triggered)> {
    let caller = Caller::from_request_parts(&mut parts, app).await?;
    refuse_cookie_get(&parts.method, &caller)?;
    let params = RunParams::parse(parts.uri.query().unwrap_or_default(), app.config.wait_max)?;
    let key = Key::of(&parts.headers, &app.config.idempotency_headers)?;
    let id = id_for(app, &caller, &target, &params)?;
    let runnable = target.resolve(app, &caller).await;
    // with a key, that is what is sent again, and the id may be another's
    let runnable = runnable.map_err(|error| if key.is_some() { error } else { named(error, id) })?;
    let body = request::read(&parts.headers, body, app.config.body_limit).await?;
    let reservation = key.map(|key| key.reservation(&caller, &target, &params, &body));
    let args = request::build(&parts.headers, body, &params)?;
    let order = Order { runnable, args, reservation, wait };
    let triggered = trigger(app, &caller, id, order, &params).await?;
    tracing::Span::current().record("job.id", tracing::field::display(triggered.id));
    Ok((caller, params, triggered))
}

/// A dependency was away before there was a job: the same id may be sent again.
fn named(error: ApiError, id: JobId) -> ApiError {
    if error.code == ErrorCode::Unavailable { error.job(id) } else { error }
}

/// A link that a signed-in browser follows must not run anything.
fn refuse_cookie_get(method: &Method, caller: &Caller) -> ApiResult<()> {
    if caller.source == Source::Cookie && matches!(*method, Method::GET | Method::HEAD) {
        return Err(ApiError::new(
            ErrorCode::Unauthenticated,
            "a cookie does not authenticate a GET run; send a token",
        ));
    }
    Ok(())
}
