//! How long the oldest job of a tag has been waiting for a worker; only tags are asked about whose jobs come in.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock, Weak};
use std::time::Duration;

use broker::Broker;
use futures::FutureExt;
use proto::Tag;

use super::LATELY;
use super::bounds::Refusal;
use super::lately::Lately;
use crate::stream::oldest_wait;

/// Tags that are known at once: of one beyond them, whose jobs come in while those of all others do, nothing is known.
const MOST: usize = 256;

/// How long a reading counts at most.
const LATEST: Duration = Duration::from_secs(10);

/// A tag to which nobody has published for so long makes room for another one.
const FORGOTTEN: Duration = Duration::from_mins(1);

type Kept = RwLock<HashMap<Tag, Lately<Duration>>>;

/// The waits of the tags that are published to.
#[derive(Clone)]
pub(super) struct Tags {
    broker: Broker,
    /// How long a tag's oldest job may wait.
    bound: Duration,
    kept: Arc<Kept>,
}

impl Tags {
    pub(super) fn new(broker: &Broker, bound: Duration) -> Self {
        Self { broker: broker.clone(), bound, kept: Arc::default() }
    }

    pub(super) async fn admit(&self, tag: &Tag) -> Result<(), Refusal> {
        let Some(wait) = self.of(tag) else { return Ok(()) };
        let (bound, lately) = (self.bound, self.lately());
        let judge = |waited: &Duration| {
            (*waited > bound).then(|| Refusal::Waits { tag: tag.clone(), waited: *waited, bound })
        };
        // it may have gone on waiting since
        let suspect =
            |waited: &Duration, age| *waited > bound || (age > lately && waited.saturating_add(age) > bound);
        wait.refused(suspect, judge).await
    }

    /// Over a long queue a question costs the server 10 ms: the longer the bound, the less it needs the moment.
    fn lately(&self) -> Duration {
        (self.bound / 60).clamp(LATELY, LATEST)
    }

    fn of(&self, tag: &Tag) -> Option<Lately<Duration>> {
        // whoever panicked beside it has left a whole map
        if let Some(known) = self.kept.read().unwrap_or_else(PoisonError::into_inner).get(tag) {
            return Some(known.clone());
        }
        let mut kept = self.kept.write().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= MOST && !kept.contains_key(tag) {
            kept.retain(|_, wait| wait.was_asked_within(FORGOTTEN));
            if kept.len() >= MOST {
                metrics::counter!("job_queue_tags_not_watched_total").increment(1);
                return None;
            }
        }
        Some(kept.entry(tag.clone()).or_insert_with(|| self.watched(tag)).clone())
    }

    fn watched(&self, tag: &Tag) -> Lately<Duration> {
        let (broker, tag, kept) = (self.broker.clone(), tag.clone(), Arc::downgrade(&self.kept));
        Lately::new(self.lately(), move || read(broker.clone(), tag.clone(), kept.clone()).boxed())
    }
}

async fn read(broker: Broker, tag: Tag, kept: Weak<Kept>) -> Option<Duration> {
    let waited = oldest_wait(&broker, &tag).await;
    let waited = waited
        .inspect_err(|error| tracing::debug!(%error, %tag, "it is not known how long jobs wait"))
        .ok()?;
    if let Some(kept) = kept.upgrade() {
        tell(&kept, &tag, waited);
    }
    Some(waited)
}

/// The longest wait of all tags: tags are chosen by callers, and would make ever more series.
fn tell(kept: &Kept, tag: &Tag, waited: Duration) {
    let kept = kept.read().unwrap_or_else(PoisonError::into_inner);
    let others =
        kept.iter().filter(|(other, _)| *other != tag).filter_map(|(_, wait)| wait.within(FORGOTTEN));
    let longest = others.fold(waited, Duration::max);
    metrics::gauge!("job_queue_oldest_wait_seconds").set(longest.as_secs_f64());
}
