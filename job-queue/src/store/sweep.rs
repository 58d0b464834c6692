//! What sweeps keep in the store, and do there.

use std::time::Duration;

use proto::{JobId, ScriptPath, WorkspaceId};

use super::keys::{self, JobKeys};
use super::rows::{Order, PageCursor, Rows};
use super::{Records, StoreError};
use crate::model::{Job, JobState, now_us};
use crate::stream::Waiting;

/// What one gateway at a time does.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Turn {
    /// Rows of listings.
    Rows,
    /// Large arguments.
    Args,
}

/// What is walked along a part at a time.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Walk {
    /// A stream of jobs.
    Jobs(Waiting),
    /// The store of large arguments.
    Args,
}

/// A row of the queue, as a sweep looks at it.
#[derive(Clone, Debug)]
pub(crate) struct SweptRow {
    pub(crate) at: PageCursor,
    /// What its record says; none without a record.
    pub(crate) known: Option<(JobState, ScriptPath)>,
}

impl Records {
    /// Whether the caller is the one that does this for so long.
    pub(crate) async fn may_sweep(&self, turn: Turn, lasts: Duration) -> Result<bool, StoreError> {
        let mut ask = redis::cmd("SET");
        let lasts_ms = u64::try_from(lasts.as_millis()).unwrap_or(u64::MAX).max(1);
        ask.arg(keys::turn(turn)).arg(1).arg("NX").arg("PX").arg(lasts_ms);
        Ok(self.connection.query::<Option<String>>(&ask).await?.is_some())
    }

    /// Makes a turn last longer, if it is to be longer than it was said to be.
    pub(crate) async fn rest(&self, turn: Turn, lasts: Duration, longer: Duration) -> Result<(), StoreError> {
        if longer <= lasts {
            return Ok(());
        }
        let mut ask = redis::cmd("PEXPIRE");
        ask.arg(keys::turn(turn)).arg(u64::try_from(longer.as_millis()).unwrap_or(u64::MAX));
        self.connection.query::<()>(&ask).await
    }

    /// How far a walk has come.
    pub(crate) async fn swept(&self, walk: Walk) -> Result<u64, StoreError> {
        let mut ask = redis::cmd("GET");
        ask.arg(keys::swept(walk));
        Ok(self.connection.query::<Option<u64>>(&ask).await?.unwrap_or(0))
    }

    /// Remembers how far a walk has come.
    pub(crate) async fn note_swept(&self, walk: Walk, sequence: u64) -> Result<(), StoreError> {
        let mut ask = redis::cmd("SET");
        ask.arg(keys::swept(walk)).arg(sequence);
        self.connection.query::<()>(&ask).await
    }

    /// Which of these jobs have a record, in their order.
    pub(crate) async fn known(&self, jobs: &[(WorkspaceId, JobId)]) -> Result<Vec<bool>, StoreError> {
        if jobs.is_empty() {
            return Ok(Vec::new());
        }
        let mut asks = redis::pipe();
        for (workspace, id) in jobs {
            asks.cmd("EXISTS").arg(keys::record(workspace, *id));
        }
        self.connection.pipeline(&asks).await
    }

    /// Writes the rows of jobs that have none; how many had no record.
    pub(crate) async fn restore(&self, jobs: &[Job]) -> Result<i64, StoreError> {
        let written = futures::future::try_join_all(jobs.iter().map(|job| self.note_one(job))).await?;
        Ok(written.iter().sum())
    }

    /// Rows of the queue behind this one, the earliest due first.
    pub(crate) async fn queue_rows(
        &self,
        workspace: &WorkspaceId,
        cursor: Option<PageCursor>,
        most: usize,
    ) -> Result<Vec<SweptRow>, StoreError> {
        let (index, order) = (keys::queued(workspace), Order::OldestFirst);
        let mut rows = Rows { records: self, workspace, index, order, cursor, skip: 0 };
        let found = rows.next(most).await?.into_iter();
        Ok(found.map(|(at, row)| SweptRow { at, known: row.map(|row| (row.state, row.job.path)) }).collect())
    }

    /// Removes rows of the queue, and has the records expire that they leave behind.
    pub(crate) async fn drop_queued(
        &self,
        workspace: &WorkspaceId,
        rows: &[SweptRow],
    ) -> Result<(), StoreError> {
        let drops = rows.iter().map(|row| async move {
            let path = row.known.as_ref().map(|(_, path)| path);
            let mut script = JobKeys::new(workspace, path, row.at.id).invoke(&self.scripts.drop);
            script.arg(row.at.id.to_string()).arg(now_us()).arg(self.kept_s(None, None));
            self.invoke::<i64>(&script).await
        });
        futures::future::try_join_all(drops).await.map(drop)
    }
}
