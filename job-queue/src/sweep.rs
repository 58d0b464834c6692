//! Sweeping the rows of queued jobs: they are a projection of the streams of jobs and timers, rebuilt from them when Redis
//! has lost them, and taken away when the streams have lost their job.

use std::collections::HashMap;
use std::time::Duration;

use broker::Broker;
use futures::{StreamExt, TryStreamExt, stream};
use proto::WorkspaceId;
use tokio::time::Instant;
use uuid::Uuid;

use crate::model::{Job, JobState, now_us};
use crate::store::{PageCursor, Records, StoreError, SweptRow, Turn, Walk};
use crate::stream::{Finder, StreamError, Waiting, backlog};

/// Jobs read at once, and how often in a round if nothing is missing: while something is, a round goes on to its end.
const BATCH: usize = 500;
const BATCHES: usize = 20;
/// Rows of a workspace that are looked after at once, and how often in a round.
const ROWS: usize = 200;
const PARTS: usize = 10;
/// Jobs that are looked for at once.
const AT_ONCE: usize = 16;
/// Rows of a workspace whose records have expired that are removed at once, and how often in a round.
const EXPIRED: usize = 500;
const TIMES: usize = 20;
/// A round stops when it has taken so long; the next goes on.
const ROUND: Duration = Duration::from_secs(10);
/// The row of a younger job may still be on its way.
const SETTLED_US: i64 = 5_000_000;
/// One that is due may take so long into the job stream: until then nothing is missed there.
const LATE_US: i64 = 60_000_000;

/// What a round did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Jobs of the stream that had no record, and have a row now.
    pub restored: u64,
    /// Rows without a job, which are gone now.
    pub dropped: u64,
    /// Rows of ended jobs that were looked at because their record's time is over.
    pub expired: u64,
}

/// A round of a sweep could not be finished; the next goes on.
#[derive(Debug, thiserror::Error)]
pub enum SweepError {
    /// Redis.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// NATS.
    #[error(transparent)]
    Stream(#[from] StreamError),
}

/// Sweeps the rows of an installation, a bounded part of them at a time. Of several, one at a time does.
pub struct Sweeper {
    broker: Broker,
    finder: Finder,
    records: Records,
    /// Up to which row each workspace was looked after.
    places: HashMap<WorkspaceId, PageCursor>,
}

impl Sweeper {
    /// Over these connections.
    pub fn new(broker: Broker, records: Records) -> Self {
        Self { finder: Finder::new(broker.clone()), broker, records, places: HashMap::new() }
    }

    /// One round, unless somebody has begun one within this time.
    ///
    /// # Errors
    /// Redis or NATS is away; what was done stays done.
    pub async fn round(
        &mut self,
        workspaces: &[WorkspaceId],
        within: Duration,
    ) -> Result<Option<Swept>, SweepError> {
        if !self.records.may_sweep(Turn::Rows, within).await? {
            return Ok(None);
        }
        let end = Instant::now() + ROUND.min(within);
        let mut swept = Swept::default();
        for stream in [Waiting::Ready, Waiting::Aside] {
            swept.restored += self.restore(stream, end).await?;
        }
        self.places.retain(|workspace, _| workspaces.contains(workspace));
        // whoever has much to be looked after does not keep the others from it for ever
        let first = usize::from_ne_bytes(*Uuid::new_v4().as_bytes().first_chunk().unwrap_or(&[0; 8]));
        let (before, from) = workspaces.split_at(first.checked_rem(workspaces.len()).unwrap_or(0));
        for workspace in from.iter().chain(before) {
            swept.expired += self.expire(workspace, end).await?;
            swept.dropped += self.look_after(workspace, end).await?;
        }
        Ok(Some(swept))
    }

    /// Walks on along a stream, and begins anew behind its end.
    async fn restore(&self, stream: Waiting, end: Instant) -> Result<u64, SweepError> {
        let mut behind = self.records.swept(Walk::Jobs(stream)).await?;
        let (mut restored, mut whole) = (0, 0);
        while whole < BATCHES {
            let page = backlog(&self.broker, stream, behind, BATCH).await?;
            behind = page.next.unwrap_or(0);
            let settled = now_us() - SETTLED_US;
            let jobs: Vec<Job> = page.jobs.into_iter().filter(|job| job.created_us <= settled).collect();
            let missing = self.records.restore(&jobs).await?.unsigned_abs();
            restored += missing;
            whole += usize::from(missing == 0);
            self.records.note_swept(Walk::Jobs(stream), behind).await?;
            if behind == 0 || Instant::now() >= end {
                break;
            }
        }
        Ok(restored)
    }

    /// Removes rows of listings whose records have expired: in a workspace where nothing starts, nobody else does.
    async fn expire(&self, workspace: &WorkspaceId, end: Instant) -> Result<u64, SweepError> {
        let mut expired = 0;
        for _ in 0..TIMES {
            let found = self.records.expire_rows(workspace, EXPIRED).await?;
            expired += found as u64;
            if found < EXPIRED || Instant::now() >= end {
                break;
            }
        }
        Ok(expired)
    }

    /// Looks after the next rows of a workspace's queue.
    async fn look_after(&mut self, workspace: &WorkspaceId, end: Instant) -> Result<u64, SweepError> {
        let mut dropped = 0;
        for _ in 0..PARTS {
            if Instant::now() >= end {
                break;
            }
            let place = self.places.remove(workspace);
            let mut rows = self.records.queue_rows(workspace, place, ROWS).await?;
            let (found, late) = (rows.len(), now_us() - LATE_US);
            rows.retain(|row| row.at.score_us <= late);
            let more = rows.last().filter(|_| rows.len() == found && found == ROWS).map(|row| row.at);
            let lost = self.lost(workspace, rows).await?;
            self.records.drop_queued(workspace, &lost).await?;
            dropped += lost.len() as u64;
            let Some(place) = more else { break };
            self.places.insert(workspace.clone(), place);
        }
        Ok(dropped)
    }

    /// Those of the rows whose job does not wait.
    async fn lost(&self, workspace: &WorkspaceId, rows: Vec<SweptRow>) -> Result<Vec<SweptRow>, SweepError> {
        let looks = stream::iter(rows).map(|row| self.unless_waiting(workspace, row));
        let lost: Vec<Option<SweptRow>> = looks.buffered(AT_ONCE).try_collect().await?;
        Ok(lost.into_iter().flatten().collect())
    }

    async fn unless_waiting(
        &self,
        workspace: &WorkspaceId,
        row: SweptRow,
    ) -> Result<Option<SweptRow>, SweepError> {
        let waits = match row.known {
            Some((JobState::Ended(_), _)) => false,
            _ => self.finder.holds(workspace, row.at.id).await?,
        };
        Ok((!waits).then_some(row))
    }
}
