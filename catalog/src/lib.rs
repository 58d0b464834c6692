//! What is *defined*: workspaces, accounts, users, tokens, scripts and schedules, over the one KV
//! stream `KV_CATALOG`. A deploy is one atomic batch; every process keeps the kinds it
//! may read current by a watch and loads script bodies on demand.

mod batch;
mod blobs;
mod deploy;
mod error;
mod key;
mod open;
mod provision;
mod reads;
mod records;
mod scripts;
mod store;
mod table;
mod watch;

pub use batch::{Batch, Committed, Expect};
pub use deploy::{Author, Deployed, IfUnchanged, script_hash};
pub use error::CatalogError;
pub use key::{Key, Kind};
pub use open::{Catalog, kinds};
pub use provision::{Profile, provision};
pub use records::{
    Account, ActionKind, AuditEntry, Cadence, DefaultHandler, DefaultHandlers, Handler, HandlerKind, Head,
    InvalidCadence, InvalidHandler, Json, NewScript, Operation, Reach, Record, Revoked, SandboxSettings,
    Schedule, ScheduleSettings, Script, Token, TooWide, User, Workspace, WorkspaceSandbox, now_ms,
};
pub use table::WatchState;

/// How long one operation on the store may take before it is `Unavailable`.
pub const STORE_TIMEOUT: std::time::Duration = std::time::Duration::from_millis(1500);
