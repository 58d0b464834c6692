//! What stands around every handler, outermost first: the span and log line of a request,
//! problem+json where it is asked for, an end to waiting for a body, and a panic's 500.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, HttpBody};
use axum::extract::{MatchedPath, Request, State};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, header};
use http_body_util::BodyExt;
use lifecycle::HumanDuration;
use proto::ErrorCode;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::timeout::{TimeoutBody, TimeoutError};
use tracing::Instrument;

use crate::error::ApiError;

/// All of it, in order. `body_idle`: how long nothing of a body may come.
pub(crate) fn apply(router: Router, body_idle: Duration) -> Router {
    let router = router.layer(CatchPanicLayer::custom(panicked));
    let router = router.layer(from_fn_with_state(body_idle, patient));
    router.layer(from_fn(problem_details)).layer(from_fn(observe))
}

/// A body that stops coming is not waited for, whoever reads it.
async fn patient(State(idle): State<Duration>, request: Request, next: Next) -> Response {
    if request.body().is_end_stream() {
        return next.run(request).await;
    }
    let stopped = Arc::new(AtomicBool::new(false));
    let tell = stopped.clone();
    let request = request.map(|body| {
        let told = TimeoutBody::new(idle, body).map_err(move |error| {
            tell.fetch_or(error.is::<TimeoutError>(), Ordering::Relaxed);
            error
        });
        Body::new(told)
    });
    let response = next.run(request).await;
    if stopped.load(Ordering::Relaxed) {
        let message = format!("nothing more of the body came within {}", HumanDuration(idle));
        return ApiError::new(ErrorCode::BodyTimeout, message).into_response();
    }
    response
}

fn panicked(_: Box<dyn std::any::Any + Send>) -> Response {
    ApiError::new(ErrorCode::Internal, "the request could not be handled").into_response()
}

/// RFC 9457 instead of plain text, for callers that ask for it.
async fn problem_details(request: Request, next: Next) -> Response {
    let asked = wants_problem(request.headers());
    let response = next.run(request).await;
    match response.extensions().get::<ApiError>() {
        Some(error) if asked => error.as_problem(),
        _ => response,
    }
}

fn wants_problem(headers: &HeaderMap) -> bool {
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    accept.contains("application/problem+json")
}

fn continue_trace(span: &tracing::Span, headers: &HeaderMap) {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    lifecycle::set_parent(span, header("traceparent"), header("tracestate"));
}

/// One span and one log line per request. The query is never recorded: it may hold a token.
async fn observe(request: Request, next: Next) -> Response {
    let started = Instant::now();
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().map_or("unknown", MatchedPath::as_str).to_owned();
    let span = tracing::info_span!(
        "http.server",
        otel.kind = "server",
        otel.name = format!("{method} {route}"),
        http.request.method = %method,
        http.route = route,
        http.response.status_code = tracing::field::Empty,
        job.id = tracing::field::Empty,
    );
    continue_trace(&span, request.headers());
    let response = next.run(request).instrument(span.clone()).await;
    let (status, elapsed) = (response.status().as_u16(), started.elapsed());
    // by a task of its own: the caller does not wait for our log
    tokio::spawn(async move {
        span.record("http.response.status_code", status);
        span.in_scope(|| tracing::info!(duration_ms = elapsed.as_secs_f64() * 1e3, "request answered"));
        let labels = [("method", method.to_string()), ("route", route), ("code", status.to_string())];
        metrics::histogram!("http_server_request_duration_seconds", &labels).record(elapsed.as_secs_f64());
    });
    response
}
