//! The ends of schedules' jobs, on their way to the handlers of the schedule. Whoever has ended a job, or finds it ended,
//! sets a timer that is due at once: it may be set again and again, and whoever gets it finds in the store whether the
//! job was counted already.

use broker::{Broker, names};
use bytes::Bytes;
use prost::Message as _;
use proto::job as wire;
use proto::{JobId, WorkspaceId};
use tokio::time::Instant;

use super::timer::{self, Before, Timer};
use super::{Lease, PublishError, Slot, publish};
use crate::model::Job;

/// The version that this code writes, and the only one it reads.
const SCHEMA_VERSION: u32 = 1;

/// A job of a schedule that has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct After {
    /// Its workspace.
    pub workspace: WorkspaceId,
    /// Its id.
    pub id: JobId,
}

/// The end of a job of which its schedule's handlers are to hear; it comes again until it is settled.
pub struct FiredAfter {
    /// The job; none where this version cannot read it.
    pub after: Option<After>,
    /// The right to it.
    pub lease: Lease,
    /// The place it has among what is worked off at once.
    pub slot: Slot,
}

/// Tells of the ends of schedules' jobs.
#[derive(Clone)]
pub struct Afters(Broker);

impl Afters {
    /// Over this connection.
    pub fn new(broker: Broker) -> Self {
        Self(broker)
    }

    /// A job has ended, and its end is recorded: has the handlers of its schedule hear of it, if it has one. Safe to
    /// repeat.
    ///
    /// # Errors
    /// It is not certain that they will.
    pub async fn tell(&self, job: &Job, deadline: Instant) -> Result<(), PublishError> {
        if job.schedule.is_none() {
            return Ok(());
        }
        let after = After { workspace: job.workspace.clone(), id: job.id };
        publish::in_time(&self.0, deadline, timer::set(&self.0, after.timer(), Before::Whatever)).await
    }
}

/// Long ago, whatever clock a worker has.
const AT_ONCE_US: i64 = 1_000_000_000_000_000;

impl After {
    fn timer(&self) -> Timer {
        let (workspace, id) = (self.workspace.token(), self.id.to_string());
        Timer {
            subject: names::after_timer(&workspace, &id),
            target: names::after_fire(&workspace, &id),
            due_us: AT_ONCE_US,
            payload: self.encode(),
            job_subject: None,
        }
    }

    fn encode(&self) -> Bytes {
        let wire = wire::After {
            schema_version: SCHEMA_VERSION,
            workspace: self.workspace.to_string(),
            job_id: self.id.to_string(),
        };
        wire.encode_to_vec().into()
    }

    /// Whether this is the subject of its timer when it has fired.
    pub(super) fn is_at(&self, subject: &str) -> bool {
        subject == names::after_fire(&self.workspace.token(), &self.id.to_string())
    }

    /// None where it is none of this version.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let wire = wire::After::decode(bytes).ok().filter(|wire| wire.schema_version == SCHEMA_VERSION)?;
        Some(Self { workspace: wire.workspace.parse().ok()?, id: wire.job_id.parse().ok()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trips() {
        let after = After { workspace: "my-ws".parse().unwrap(), id: JobId::random() };
        assert_eq!(After::decode(&after.encode()), Some(after.clone()));
        assert!(after.is_at(&after.timer().target) && !after.is_at(&after.timer().subject));
        assert_eq!(After::decode(b"\xff\xff"), None);
        assert_eq!(After::decode(b""), None);
    }
}
