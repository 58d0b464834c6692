//! Collecting large arguments whose job is over. What is needed is told by streams and records alone, whatever has died
//! in between: an object goes when nothing knows its job any more.

use std::time::Duration;

use broker::Broker;
use futures::{StreamExt, TryStreamExt, stream};
use proto::{JobId, WorkspaceId};
use tokio::time::Instant;

use crate::store::{Records, Turn, Walk};
use crate::stream::{DeadLetters, Finder, StoredObject, objects, remove, server_time};
use crate::sweep::SweepError;

/// Objects read at once, and how often in a round.
const BATCH: usize = 500;
const BATCHES: usize = 20;
/// Objects that are looked after at once.
const AT_ONCE: usize = 16;
/// A round stops when it has taken so long; the next goes on.
const ROUND: Duration = Duration::from_secs(10);
/// So many times as long as a round has taken nobody begins the next: what is said of objects lies among their chunks,
/// so that the server reads most of the store from the disk that jobs wait for.
const REST: u32 = 19;

/// What a round did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Collected {
    /// Objects that are gone now.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Collects large arguments of an installation, a bounded part of them at a time. Of several, one at a time does.
pub struct Collector {
    broker: Broker,
    finder: Finder,
    letters: DeadLetters,
    records: Records,
    grace: Duration,
}

impl Collector {
    /// Over these connections. Nothing goes that is younger than `grace`: its job may be on its way into the stream.
    pub fn new(broker: Broker, records: Records, grace: Duration) -> Self {
        let (finder, letters) = (Finder::new(broker.clone()), DeadLetters::new(broker.clone()));
        Self { broker, finder, letters, records, grace }
    }

    /// One round, unless somebody has begun one within this time.
    ///
    /// # Errors
    /// Redis or NATS is away; nothing was removed without the word of both.
    pub async fn round(&self, within: Duration) -> Result<Option<Collected>, SweepError> {
        if !self.records.may_sweep(Turn::Args, within).await? {
            return Ok(None);
        }
        let began = Instant::now();
        let end = began + ROUND.min(within);
        let grace_us = i64::try_from(self.grace.as_micros()).unwrap_or(i64::MAX);
        let settled_us = server_time(&self.broker).await?.timestamp_micros().saturating_sub(grace_us);
        let mut behind = self.records.swept(Walk::Args).await?;
        let mut collected = Collected::default();
        for _ in 0..BATCHES {
            let page = objects(&self.broker, behind, BATCH).await?;
            let found = page.objects.len();
            let settled = page.objects.into_iter().take_while(|object| object.stored_us <= settled_us);
            let settled: Vec<StoredObject> = settled.collect();
            // behind a young one there are younger ones
            behind = page.next.filter(|_| settled.len() == found).unwrap_or(0);
            self.collect(settled, &mut collected).await?;
            self.records.note_swept(Walk::Args, behind).await?;
            if behind == 0 || Instant::now() >= end {
                break;
            }
        }
        if let Err(error) = self.records.rest(Turn::Args, within, began.elapsed() * REST).await {
            tracing::debug!(%error, "the next round does not wait for longer");
        }
        Ok(Some(collected))
    }

    async fn collect(&self, settled: Vec<StoredObject>, collected: &mut Collected) -> Result<(), SweepError> {
        // of what nobody of ours has named nothing is known
        let named = settled.into_iter().filter_map(|object| object.owner().map(|owner| (owner, object)));
        let (owners, objects): (Vec<_>, Vec<_>) = named.unzip();
        let known = self.records.known(&owners).await?;
        let perhaps = owners.into_iter().zip(objects).zip(known);
        let perhaps = perhaps.filter(|((_, object), known)| object.unfinished || !known);
        let removals = stream::iter(perhaps).map(|((owner, object), _)| self.unless_needed(object, owner));
        let mut removals = removals.buffer_unordered(AT_ONCE);
        while let Some(bytes) = removals.try_next().await? {
            collected.objects += u64::from(bytes.is_some());
            collected.bytes += bytes.unwrap_or(0);
        }
        Ok(())
    }

    /// The bytes of an object that was removed; none of one that stays.
    async fn unless_needed(
        &self,
        object: StoredObject,
        owner: (WorkspaceId, JobId),
    ) -> Result<Option<u64>, SweepError> {
        // one that is not whole by now never is
        if !object.unfinished && self.is_needed(owner).await? {
            return Ok(None);
        }
        remove(&self.broker, &object).await?;
        Ok(Some(object.bytes as u64))
    }

    /// Whether anything knows the job. From place to place it moves by being in both for a moment, so each is looked at
    /// before and after those that it may come from; and it has a record before it goes back from ready jobs to timers.
    async fn is_needed(&self, owner: (WorkspaceId, JobId)) -> Result<bool, SweepError> {
        let (workspace, id) = (&owner.0, owner.1);
        Ok(self.letters.holds(workspace, id).await?
            || self.finder.holds(workspace, id).await?
            || self.letters.holds(workspace, id).await?
            || self.finder.holds(workspace, id).await?
            || self.records.known(&[owner]).await?.contains(&true))
    }
}
