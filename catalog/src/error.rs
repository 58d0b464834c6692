//! Why the catalog did not do or know something, in the terms a caller branches on.

use proto::ErrorCode;

/// Why an operation on the catalog failed.
#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    /// The request itself is at fault; the text is for its sender.
    #[error("{0}")]
    Rejected(String),
    /// Another writer was first: something changed since it was read.
    #[error("{0} was changed by someone else meanwhile")]
    Conflict(String),
    /// NATS is away or gave no answer in time; a write may or may not have happened.
    #[error("the catalog is unavailable: {0}")]
    Unavailable(String),
    /// A newer Hookmill wrote this record.
    #[error("{key} has format version {version}, this program reads up to {supported}")]
    NewerFormat {
        /// The record's key.
        key: String,
        /// The version it was written in.
        version: u32,
        /// The newest version this program reads.
        supported: u32,
    },
    /// What is stored is not what was written there.
    #[error("{key} cannot be read: {why}")]
    Malformed {
        /// The record's key.
        key: String,
        /// What is wrong with it.
        why: String,
    },
}

impl CatalogError {
    /// Its row in the error table.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Rejected(_) => ErrorCode::BadRequest,
            // a bounded number of retries is already behind it
            Self::Conflict(_) | Self::Unavailable(_) => ErrorCode::Unavailable,
            Self::NewerFormat { .. } | Self::Malformed { .. } => ErrorCode::Internal,
        }
    }
}
