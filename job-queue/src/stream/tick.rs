//! The ticks of schedules: each schedule has at most one timer, of its next tick. What one is, and what follows from it,
//! is known to whoever knows the schedule; here is its way through the broker.

use broker::{Broker, names};
use bytes::Bytes;
use prost::Message as _;
use proto::job as wire;
use proto::{ScriptPath, WorkspaceId};
use serde_json::json;
use tokio::time::Instant;

use super::timer::{self, Before, Timer};
use super::{Lease, PublishError, Slot, StreamError, delete, direct_get, publish, sequence};

/// The version of a tick that this code writes, and the only one it reads.
const SCHEMA_VERSION: u32 = 1;

/// The next tick of a schedule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tick {
    /// The schedule's workspace.
    pub workspace: WorkspaceId,
    /// Its path.
    pub path: ScriptPath,
    /// The writing of it that this tick belongs to.
    pub generation: String,
    /// When it is due, Unix microseconds.
    pub due_us: i64,
    /// The tick before it of which there is a job, Unix microseconds; none: there is none.
    pub last_us: Option<i64>,
}

/// A tick whose time has come; it comes again until it is settled.
pub struct FiredTick {
    /// The tick; none where this version cannot read it.
    pub tick: Option<Tick>,
    /// The right to it.
    pub lease: Lease,
    /// The place it has among what is worked off at once.
    pub slot: Slot,
}

/// Sets and removes the timers of schedules.
#[derive(Clone)]
pub struct Ticks(Broker);

impl Ticks {
    /// Over this connection.
    pub fn new(broker: Broker) -> Self {
        Self(broker)
    }

    /// Sets a schedule's timer in the place of any other: somebody has written the schedule.
    ///
    /// # Errors
    /// It is not, or not certainly, set.
    pub async fn replace(&self, tick: &Tick, deadline: Instant) -> Result<(), PublishError> {
        publish::in_time(&self.0, deadline, self.set(tick, Before::Whatever)).await
    }

    /// Sets a schedule's timer, unless it has one: then that is later news, or the same.
    ///
    /// # Errors
    /// It is not certain that it has one.
    pub async fn follow(&self, tick: &Tick, deadline: Instant) -> Result<(), PublishError> {
        match publish::in_time(&self.0, deadline, self.set(tick, Before::Nothing { dedupe_id: None })).await {
            Err(PublishError::Duplicate) => Ok(()),
            other => other,
        }
    }

    async fn set(&self, tick: &Tick, before: Before) -> Result<(), PublishError> {
        let (workspace, path) = (tick.workspace.token(), tick.path.token());
        let timer = Timer {
            subject: names::schedule_timer(&workspace, &path),
            target: names::schedule_fire(&workspace, &path),
            due_us: tick.due_us,
            payload: tick.encode(),
            job_subject: None,
        };
        timer::set(&self.0, timer, before).await
    }

    /// A schedule's next tick, whether it has fired or not.
    ///
    /// # Errors
    /// NATS is away.
    pub async fn next(
        &self,
        workspace: &WorkspaceId,
        path: &ScriptPath,
    ) -> Result<Option<Tick>, StreamError> {
        Ok(self.find(workspace, path).await?.and_then(|(_, tick)| tick))
    }

    /// Removes a schedule's timer. One that is being worked off at this moment finds its schedule gone.
    ///
    /// # Errors
    /// NATS is away.
    pub async fn remove(&self, workspace: &WorkspaceId, path: &ScriptPath) -> Result<(), StreamError> {
        match self.find(workspace, path).await? {
            Some((sequence, _)) => delete(&self.0, names::TIMERS_STREAM, sequence).await,
            None => Ok(()),
        }
    }

    async fn find(
        &self,
        workspace: &WorkspaceId,
        path: &ScriptPath,
    ) -> Result<Option<(u64, Option<Tick>)>, StreamError> {
        let filter = names::schedule_anywhere(&workspace.token(), &path.token());
        let ask = json!({"last_by_subj": filter});
        let answer = direct_get(&self.0, names::TIMERS_STREAM, &ask).await?;
        Ok(answer.and_then(|message| {
            let sequence = message.headers.as_ref().and_then(sequence)?;
            Some((sequence, Tick::decode(&message.payload)))
        }))
    }
}

impl Tick {
    fn encode(&self) -> Bytes {
        let wire = wire::Tick {
            schema_version: SCHEMA_VERSION,
            workspace: self.workspace.to_string(),
            path: self.path.to_string(),
            generation: self.generation.clone(),
            due_us: self.due_us,
            last_us: self.last_us.unwrap_or_default(),
        };
        wire.encode_to_vec().into()
    }

    /// Whether this is the subject of its schedule's timer when it has fired.
    pub(super) fn is_at(&self, subject: &str) -> bool {
        subject == names::schedule_fire(&self.workspace.token(), &self.path.token())
    }

    /// None where it is none of this version.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let wire = wire::Tick::decode(bytes).ok().filter(|wire| wire.schema_version == SCHEMA_VERSION)?;
        Some(Self {
            workspace: wire.workspace.parse().ok()?,
            path: wire.path.parse().ok()?,
            generation: wire.generation,
            due_us: wire.due_us,
            last_us: Some(wire.last_us).filter(|last| *last != 0),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trips() {
        let tick = Tick {
            workspace: "demo".parse().unwrap(),
            path: "f/demo/nightly".parse().unwrap(),
            generation: "g".to_owned(),
            due_us: 1,
            last_us: None,
        };
        assert_eq!(Tick::decode(&tick.encode()), Some(tick.clone()));
        let later = Tick { last_us: Some(7), ..tick };
        assert_eq!(Tick::decode(&later.encode()), Some(later));
        assert_eq!(Tick::decode(b"\xff\xff"), None);
        assert_eq!(Tick::decode(b""), None);
    }
}
