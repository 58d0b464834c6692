//! The contract between Hookmill's processes: messages, ids, tokens of subjects
//! and keys, identity and scopes, and the one table of error codes. No I/O: every
//! crate may use it, and it uses none of ours.

pub mod bearer;
pub mod error;
pub mod ids;
pub mod isolation;
pub mod json;
pub mod language;
pub mod retry;
pub mod rights;
pub mod subject;

/// Generated from `protos/`; `tests/it` fails when it drifts from them.
#[expect(
    missing_docs,
    clippy::pedantic,
    clippy::module_inception,
    clippy::allow_attributes,
    clippy::allow_attributes_without_reason,
    reason = "generated code"
)]
mod generated {
    pub mod auth {
        include!("gen/hookmill.auth.v1.rs");
    }
    pub mod job {
        include!("gen/hookmill.job.v1.rs");
    }
}

pub use bearer::Bearer;
pub use error::ErrorCode;
pub use generated::{auth, job};
pub use ids::{InstanceId, JobId, ScriptHash, ScriptPath, Tag, TokenId, WorkspaceId};
pub use isolation::{IsolationMode, UnknownIsolation};
pub use language::Language;
pub use retry::{InvalidRetry, RetryPolicy};
pub use rights::{Action, Rights, Scopes};
