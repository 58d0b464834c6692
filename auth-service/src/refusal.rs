//! Why a call is refused, and the gRPC status that says so by the one error table.

use catalog::CatalogError;
use proto::ErrorCode;
use tonic::Status;

/// Why a call is refused. The texts are for the caller of the HTTP API.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("{0}")]
    Unauthenticated(&'static str),
    #[error("{0}")]
    PermissionDenied(String),
    #[error("{0}")]
    Invalid(String),
    #[error("{0}")]
    NotFound(String),
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    #[error("the operating system gave no randomness")]
    Randomness,
}

impl Refusal {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Unauthenticated(_) => ErrorCode::Unauthenticated,
            Self::PermissionDenied(_) => ErrorCode::PermissionDenied,
            Self::Invalid(_) => ErrorCode::BadRequest,
            Self::NotFound(_) => ErrorCode::NotFound,
            Self::Catalog(error) => error.code(),
            Self::Randomness => ErrorCode::Internal,
        }
    }
}

impl From<proto::rights::Refusal> for Refusal {
    fn from(refusal: proto::rights::Refusal) -> Self {
        Self::PermissionDenied(refusal.message)
    }
}

impl From<Refusal> for Status {
    fn from(refusal: Refusal) -> Self {
        let code = refusal.code();
        if code == ErrorCode::Internal {
            tracing::error!(error = %refusal, "a call failed");
        }
        Self::new(code.grpc(), refusal.to_string())
    }
}

/// Known, and not allowed.
pub(crate) fn denied(text: impl Into<String>) -> Refusal {
    Refusal::PermissionDenied(text.into())
}

/// An argument that does not parse.
pub(crate) fn invalid(error: impl std::fmt::Display) -> Refusal {
    Refusal::Invalid(error.to_string())
}
