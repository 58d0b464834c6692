//! The records, one file per family. Each is stored as JSON with its format version
//! under `v`; a newer version than this program knows is refused, not guessed at.

mod identity;
mod sandbox;
mod schedule;
mod script;
mod trail;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::{CatalogError, Key, Kind};

pub use identity::{Account, Revoked, Token, User, Workspace};
pub use sandbox::{Reach, SandboxSettings, TooWide, WorkspaceSandbox};
pub use schedule::{
    Cadence, DefaultHandler, DefaultHandlers, Handler, HandlerKind, InvalidCadence, InvalidHandler, Json,
    Schedule, ScheduleSettings,
};
pub use script::{Head, NewScript, Script};
pub use trail::{ActionKind, AuditEntry, Operation};

/// The format version this program writes, and the newest it reads.
const FORMAT: u32 = 1;

/// A record of the catalog: its kind, and what else than its key it is found by.
pub trait Record: Serialize + DeserializeOwned + Send + Sync + 'static {
    /// The kind of its keys.
    const KIND: Kind;

    /// A value that several records may share and tables look them up by.
    fn index(&self) -> Option<&str> {
        None
    }
}

#[derive(Serialize)]
struct Stored<'a, T> {
    v: u32,
    #[serde(flatten)]
    record: &'a T,
}

#[derive(Deserialize)]
struct Version {
    v: u32,
}

/// The stored form of a record.
pub(crate) fn encode<T: Record>(key: &Key, record: &T) -> Result<Vec<u8>, CatalogError> {
    let malformed =
        |error: serde_json::Error| CatalogError::Malformed { key: key.to_string(), why: error.to_string() };
    serde_json::to_vec(&Stored { v: FORMAT, record }).map_err(malformed)
}

/// A record from its stored form.
pub(crate) fn decode<T: Record>(key: &Key, bytes: &[u8]) -> Result<T, CatalogError> {
    let malformed =
        |error: serde_json::Error| CatalogError::Malformed { key: key.to_string(), why: error.to_string() };
    let Version { v } = serde_json::from_slice(bytes).map_err(malformed)?;
    if v > FORMAT {
        return Err(CatalogError::NewerFormat { key: key.to_string(), version: v, supported: FORMAT });
    }
    serde_json::from_slice(bytes).map_err(malformed)
}

/// Now, in Unix milliseconds.
pub fn now_ms() -> i64 {
    chrono::Utc::now().timestamp_millis()
}

#[cfg(test)]
mod tests;
