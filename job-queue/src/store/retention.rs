//! How long a record lives after its job's end, with its result, log, attempts and rows.

use std::time::Duration;

use super::{Records, StoreError, keys};
use crate::model::{Job, now_us};
use proto::WorkspaceId;

/// What an operator says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Where nobody says otherwise.
    pub default: Duration,
    /// Whatever is said; of a record that is older nothing is left in listings either.
    pub longest: Duration,
}

impl From<Duration> for Retention {
    /// No workspace may have it longer.
    fn from(one: Duration) -> Self {
        Self { default: one, longest: one }
    }
}

impl Retention {
    /// What holds where this is said.
    pub fn or(&self, said: Option<Duration>) -> Duration {
        said.map_or(self.default, |said| said.min(self.longest))
    }

    pub(super) fn longest_s(&self) -> u64 {
        self.longest.max(self.default).as_secs()
    }
}

impl Records {
    /// How many seconds the record of a job is kept that ends now: as its workspace says at this moment, else as it did when
    /// the job was triggered; and as long as a key stands for it, which would make it run again.
    pub(super) fn kept_s(&self, job: Option<&Job>, said: Option<Duration>) -> u64 {
        let said = said.or(job.and_then(|job| job.retention));
        let ahead_us =
            job.and_then(|job| job.keyed_until_us).map_or(0, |until| until.saturating_sub(now_us()));
        let keyed = u64::try_from(ahead_us).unwrap_or(0).div_ceil(1_000_000);
        self.retention.or(said).as_secs().max(1).max(keyed)
    }

    /// Removes rows of a workspace's listings whose records have expired, at most so many; how many were looked at.
    pub(crate) async fn expire_rows(
        &self,
        workspace: &WorkspaceId,
        most: usize,
    ) -> Result<usize, StoreError> {
        let mut script = self.scripts.expire_rows.prepare_invoke();
        script.key(keys::runs(workspace)).key(keys::expiry(workspace)).arg(now_us()).arg(most);
        self.invoke(&script).await
    }
}
