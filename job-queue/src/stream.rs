//! The job streams in NATS: publishing, finding queued jobs, pulling, leases, and the
//! object store of large arguments.

mod args;
mod delivery;
mod finder;
mod provision;
mod publish;
mod pull;
mod requests;
mod slots;

use broker::names;
use proto::{JobId, Tag, WorkspaceId};

pub use args::{ArgsError, ArgsStore};
pub use delivery::{Delivery, Lease, LeaseError};
pub use finder::{Finder, QueuedJob};
pub use provision::{PROVISION_DEFAULT_MAX_BYTES, provision};
pub use publish::{PublishError, Publisher};
pub use pull::{Puller, PullerConfig};
pub use slots::{Slot, Slots};

/// NATS could not do it.
#[derive(Debug, thiserror::Error)]
#[error("NATS is not available: {0}")]
pub struct StreamError(String);

impl StreamError {
    #[expect(clippy::needless_pass_by_value, reason = "the form `map_err` takes")]
    fn new(why: impl ToString) -> Self {
        Self(why.to_string())
    }
}

/// The one priority of today; the token is in every subject from the start.
const PRIORITY: &str = "p1";

fn subject(tag: &Tag, workspace: &WorkspaceId, id: JobId) -> String {
    names::job_subject(&tag.token(), PRIORITY, &workspace.token(), &id.to_string())
}
