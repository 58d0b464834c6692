//! Errors as callers see them: a code of the one table, a text that names what is wrong,
//! and the headers that go with it. Plain text, or problem+json where the caller asks.

mod refusal;
mod strike;

use std::time::Duration;

use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderName, HeaderValue, header};
use proto::{ErrorCode, JobId};

pub(crate) const X_JOB_ID: HeaderName = HeaderName::from_static("x-job-id");

/// A refusal or failure, ready to be answered.
#[derive(Debug, Clone)]
pub(crate) struct ApiError {
    pub(crate) code: ErrorCode,
    pub(crate) message: String,
    headers: Box<HeaderMap>,
}

pub(crate) type ApiResult<T> = Result<T, ApiError>;

impl ApiError {
    pub(crate) fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: strike::strike(message.into()), headers: Box::default() }
    }

    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::BadRequest, message)
    }

    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::NotFound, message)
    }

    /// A dependency of ours is away: the caller may send the same again.
    pub(crate) fn unavailable(what: &str, error: &impl std::fmt::Display) -> Self {
        tracing::warn!(dependency = what, %error, "a dependency is away");
        let message = format!("{what} is not available at the moment; send the request again");
        Self::new(ErrorCode::Unavailable, message).retry_after(Duration::from_secs(1))
    }

    /// Whether there is no room for any new job.
    pub(crate) fn refuses_new_jobs(&self) -> bool {
        matches!(self.code, ErrorCode::QueueFull | ErrorCode::Overloaded)
    }

    pub(crate) fn retry_after(self, after: Duration) -> Self {
        self.with(header::RETRY_AFTER, &after.as_secs().max(1).to_string())
    }

    pub(crate) fn job(self, id: JobId) -> Self {
        self.with(X_JOB_ID, &id.to_string())
    }

    pub(crate) fn with(mut self, name: HeaderName, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.insert(name, value);
        }
        self
    }

    /// The body: prefix and message.
    fn text(&self) -> String {
        format!("{}{}", self.code.prefix(), self.message)
    }

    /// The same error as RFC 9457 problem details.
    pub(crate) fn as_problem(&self) -> Response {
        let body = serde_json::json!({
            "type": "about:blank",
            "title": self.code.http().canonical_reason(),
            "status": self.code.http().as_u16(),
            "detail": self.text(),
            "code": self.code.as_str(),
            "retryable": self.code.retryable(),
        });
        let content_type = (header::CONTENT_TYPE, "application/problem+json");
        (self.code.http(), (*self.headers).clone(), [content_type], body.to_string()).into_response()
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let nosniff = (header::X_CONTENT_TYPE_OPTIONS, "nosniff");
        let mut response =
            (self.code.http(), (*self.headers).clone(), [nosniff], self.text()).into_response();
        // for the middleware that answers problem+json where it is asked for
        response.extensions_mut().insert(self);
        response
    }
}

impl From<job_queue::StoreError> for ApiError {
    fn from(error: job_queue::StoreError) -> Self {
        match error {
            job_queue::StoreError::Unavailable(why) => Self::unavailable("the run store", &why),
            other => {
                tracing::error!(error = %other, "the run store gave an unusable answer");
                Self::new(ErrorCode::Internal, "the run store gave an unusable answer")
            }
        }
    }
}

impl From<job_queue::StreamError> for ApiError {
    fn from(error: job_queue::StreamError) -> Self {
        Self::unavailable("the job queue", &error)
    }
}

impl From<catalog::CatalogError> for ApiError {
    fn from(error: catalog::CatalogError) -> Self {
        match error.code() {
            ErrorCode::Unavailable => Self::unavailable("the catalog", &error),
            ErrorCode::Internal => {
                tracing::error!(%error, "the catalog holds something unusable");
                Self::new(ErrorCode::Internal, "the catalog holds something unusable")
            }
            code => Self::new(code, error.to_string()),
        }
    }
}

impl From<proto::rights::Refusal> for ApiError {
    fn from(refusal: proto::rights::Refusal) -> Self {
        Self::new(refusal.code, refusal.message)
    }
}

/// A name or id in a path or query that is not of its form.
impl From<proto::ids::InvalidId> for ApiError {
    fn from(error: proto::ids::InvalidId) -> Self {
        Self::bad_request(error.to_string())
    }
}
