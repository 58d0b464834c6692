//! The one error table: what went wrong → HTTP status, gRPC status, whether the
//! same request may be sent again. Exhaustive, so that a new code fails to compile
//! until each column has its answer.

use http::StatusCode;

/// What a caller can be told went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorCode {
    /// The request is malformed or asks for what cannot be.
    BadRequest,
    /// No credential, or one that is unknown, revoked or expired.
    Unauthenticated,
    /// The credential is good, but not for this.
    PermissionDenied,
    /// Absent, or hidden from the caller.
    NotFound,
    /// The method is not served at this path.
    MethodNotAllowed,
    /// A body that stopped coming.
    BodyTimeout,
    /// A body over its bound.
    PayloadTooLarge,
    /// A content type no run route takes.
    UnsupportedMediaType,
    /// The script ran and failed; the body is its result.
    ScriptFailed,
    /// An idempotency key came again with another request.
    KeyReused,
    /// A limit of the caller's own.
    RateLimited,
    /// A bug of ours.
    Internal,
    /// A dependency of ours is away; nothing, or nothing certain, was done.
    Unavailable,
    /// The queue is full, or nearly so.
    QueueFull,
    /// What is there already is too much work; new jobs are refused until it is less.
    Overloaded,
    /// The wait ran out; the job goes on.
    WaitTimeout,
}

impl ErrorCode {
    /// Every code, for tables and tests.
    pub const ALL: &[Self] = &[
        Self::BadRequest,
        Self::Unauthenticated,
        Self::PermissionDenied,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::BodyTimeout,
        Self::PayloadTooLarge,
        Self::UnsupportedMediaType,
        Self::ScriptFailed,
        Self::KeyReused,
        Self::RateLimited,
        Self::Internal,
        Self::Unavailable,
        Self::QueueFull,
        Self::Overloaded,
        Self::WaitTimeout,
    ];

    /// The name in `application/problem+json`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BadRequest => "bad_request",
            Self::Unauthenticated => "unauthenticated",
            Self::PermissionDenied => "permission_denied",
            Self::NotFound => "not_found",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::BodyTimeout => "body_timeout",
            Self::PayloadTooLarge => "payload_too_large",
            Self::UnsupportedMediaType => "unsupported_media_type",
            Self::ScriptFailed => "script_failed",
            Self::KeyReused => "idempotency_key_reused",
            Self::RateLimited => "rate_limited",
            Self::Internal => "internal",
            Self::Unavailable => "unavailable",
            Self::QueueFull => "queue_full",
            Self::Overloaded => "overloaded",
            Self::WaitTimeout => "wait_timeout",
        }
    }

    /// The HTTP status.
    pub fn http(self) -> StatusCode {
        match self {
            Self::BadRequest => StatusCode::BAD_REQUEST,
            Self::Unauthenticated => StatusCode::UNAUTHORIZED,
            Self::PermissionDenied => StatusCode::FORBIDDEN,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::BodyTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::PayloadTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::ScriptFailed | Self::KeyReused => StatusCode::UNPROCESSABLE_ENTITY,
            Self::RateLimited => StatusCode::TOO_MANY_REQUESTS,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Unavailable | Self::QueueFull | Self::Overloaded => StatusCode::SERVICE_UNAVAILABLE,
            Self::WaitTimeout => StatusCode::GATEWAY_TIMEOUT,
        }
    }

    /// The gRPC status.
    pub fn grpc(self) -> tonic::Code {
        match self {
            Self::BadRequest | Self::PayloadTooLarge | Self::UnsupportedMediaType => {
                tonic::Code::InvalidArgument
            }
            Self::Unauthenticated => tonic::Code::Unauthenticated,
            Self::PermissionDenied => tonic::Code::PermissionDenied,
            Self::NotFound => tonic::Code::NotFound,
            Self::MethodNotAllowed => tonic::Code::Unimplemented,
            Self::ScriptFailed => tonic::Code::Aborted,
            Self::KeyReused => tonic::Code::AlreadyExists,
            Self::RateLimited | Self::QueueFull | Self::Overloaded => tonic::Code::ResourceExhausted,
            Self::Internal => tonic::Code::Internal,
            Self::Unavailable => tonic::Code::Unavailable,
            Self::BodyTimeout | Self::WaitTimeout => tonic::Code::DeadlineExceeded,
        }
    }

    /// What a gRPC status from one of our services means; a status that none of
    /// them sends on purpose (a broken connection, a deadline) is a dependency away.
    pub fn from_grpc(code: tonic::Code) -> Self {
        match code {
            tonic::Code::InvalidArgument | tonic::Code::FailedPrecondition | tonic::Code::OutOfRange => {
                Self::BadRequest
            }
            tonic::Code::Unauthenticated => Self::Unauthenticated,
            tonic::Code::PermissionDenied => Self::PermissionDenied,
            tonic::Code::NotFound => Self::NotFound,
            tonic::Code::ResourceExhausted => Self::RateLimited,
            tonic::Code::Internal | tonic::Code::DataLoss | tonic::Code::Unimplemented => Self::Internal,
            tonic::Code::Ok
            | tonic::Code::Cancelled
            | tonic::Code::Unknown
            | tonic::Code::DeadlineExceeded
            | tonic::Code::AlreadyExists
            | tonic::Code::Aborted
            | tonic::Code::Unavailable => Self::Unavailable,
        }
    }

    /// Whether the same request may succeed when sent again later.
    pub fn retryable(self) -> bool {
        match self {
            Self::BodyTimeout
            | Self::RateLimited
            | Self::Unavailable
            | Self::QueueFull
            | Self::Overloaded
            | Self::WaitTimeout => true,
            Self::BadRequest
            | Self::Unauthenticated
            | Self::PermissionDenied
            | Self::NotFound
            | Self::MethodNotAllowed
            | Self::PayloadTooLarge
            | Self::UnsupportedMediaType
            | Self::ScriptFailed
            | Self::KeyReused
            | Self::Internal => false,
        }
    }

    /// What the plain text of such an error begins with (contract 0.1).
    pub fn prefix(self) -> &'static str {
        match self {
            Self::BadRequest => "Bad request: ",
            Self::Unauthenticated => "Unauthorized: ",
            Self::PermissionDenied => "Permission denied: ",
            Self::NotFound => "Not found: ",
            Self::Internal => "Internal: ",
            Self::Unavailable => "Unavailable: ",
            Self::QueueFull => "Queue full: ",
            Self::Overloaded => "Overloaded: ",
            Self::MethodNotAllowed
            | Self::BodyTimeout
            | Self::PayloadTooLarge
            | Self::UnsupportedMediaType
            | Self::ScriptFailed
            | Self::KeyReused
            | Self::RateLimited
            | Self::WaitTimeout => "",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_distinct_and_statuses_are_errors() {
        let names: std::collections::HashSet<_> = ErrorCode::ALL.iter().map(|code| code.as_str()).collect();
        assert_eq!(names.len(), ErrorCode::ALL.len());
        for code in ErrorCode::ALL {
            assert!(code.http().is_client_error() || code.http().is_server_error(), "{code:?}");
        }
    }

    #[test]
    fn auth_away_is_never_401() {
        for code in [
            tonic::Code::Unavailable,
            tonic::Code::DeadlineExceeded,
            tonic::Code::Unknown,
            tonic::Code::Cancelled,
        ] {
            assert_eq!(ErrorCode::from_grpc(code), ErrorCode::Unavailable);
        }
    }
}
