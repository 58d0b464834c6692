//! The completion demultiplexer: one standing subscription of a gateway instance, its
//! messages handed to waiters by job id. A waiter costs no command while it waits; after
//! a broken link, and at its deadline, it reads the record instead.
//!
//! When the link is back the demultiplexer sends itself an empty message: once it arrives
//! the subscription is certain, and whatever was said before can be read in the store.

mod places;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use broker::{Broker, names};
use bytes::Bytes;
use futures::StreamExt;
use places::Places;
use prost::Message;
use proto::{InstanceId, JobId, WorkspaceId};
use tokio::sync::{oneshot, watch};
use tokio::time::Instant;

use crate::model::{End, Job, Outcome};
use crate::store::{Records, StoreError};
use crate::subjects::{probe, relinked};

/// Results up to this size travel inside the completion.
const INLINE_RESULT: usize = 64 * 1024;

/// The completion subject of one gateway instance.
#[derive(Clone)]
pub struct Completions {
    shared: Arc<Shared>,
    client: async_nats::Client,
}

struct Shared {
    instance: InstanceId,
    places: Mutex<Places>,
    most: usize,
    /// Changes when something may have been missed.
    looks: watch::Sender<()>,
}

/// The end, or word that it can be read.
#[derive(Clone)]
enum Signal {
    End(End),
    Look,
}

/// A place in the demultiplexer; gives it back when dropped.
pub struct Waiter {
    shared: Arc<Shared>,
    id: JobId,
    place: u64,
    signal: oneshot::Receiver<Signal>,
    looks: watch::Receiver<()>,
}

/// What waiting came to.
#[derive(Debug)]
pub enum Waited {
    /// The job ended.
    Ended(End),
    /// The deadline came first; the job goes on.
    Timeout,
}

/// The bound on waiting callers is reached.
#[derive(Debug, thiserror::Error)]
#[error("{0} callers already wait on this gateway, the most it takes")]
pub struct TooManyWaiters(usize);

impl Completions {
    /// Subscribes for `instance`; at most `most` callers wait at once.
    ///
    /// # Errors
    /// The client is closed.
    pub async fn subscribe(
        broker: &Broker,
        instance: InstanceId,
        most: usize,
    ) -> Result<(Self, impl Future<Output = ()> + Send + use<>), async_nats::SubscribeError> {
        let subject = names::done(instance.as_str());
        let mut messages = broker.client().subscribe(subject.clone()).await?;
        let (looks, _) = watch::channel(());
        let shared = Arc::new(Shared { instance, places: Mutex::default(), most, looks });
        let (client, mut link) = (broker.client().clone(), broker.link());
        link.mark_unchanged();
        let demultiplexer = {
            let (shared, client) = (shared.clone(), client.clone());
            async move {
                loop {
                    tokio::select! {
                        message = messages.next() => match message {
                            Some(message) => shared.deliver(&message.payload),
                            None => return,
                        },
                        () = relinked(&mut link) => probe(&client, subject.clone()).await,
                    }
                }
            }
        };
        Ok((Self { shared, client }, demultiplexer))
    }

    /// The instance, for envelopes.
    pub fn instance(&self) -> &InstanceId {
        &self.shared.instance
    }

    /// Takes a place before the job is published, so that no completion is missed.
    ///
    /// # Errors
    /// The bound is reached.
    pub fn wait(&self, id: JobId) -> Result<Waiter, TooManyWaiters> {
        let mut places = self.shared.lock();
        if places.taken() >= self.shared.most {
            return Err(TooManyWaiters(self.shared.most));
        }
        let (place, signal) = places.take(id);
        drop(places);
        Ok(Waiter { shared: self.shared.clone(), id, place, signal, looks: self.shared.looks.subscribe() })
    }

    /// Tells the gateway that waits for a job, if one does, that the job ended here: it
    /// was cancelled before any worker had it.
    pub async fn announce(&self, job: &Job, end: &End) {
        announce(&self.client, job, end).await;
    }

    /// How many callers wait.
    pub fn waiting(&self) -> usize {
        self.shared.lock().taken()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Places> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn deliver(&self, payload: &[u8]) {
        if payload.is_empty() {
            self.looks.send_replace(());
            return;
        }
        if let Some((id, signal)) = read(payload) {
            self.lock().tell(id, &signal);
        } else {
            tracing::warn!("a completion is not readable");
        }
    }
}

fn read(payload: &[u8]) -> Option<(JobId, Signal)> {
    let completion = proto::job::Completion::decode(payload).ok()?;
    let id = completion.job_id.parse().ok()?;
    let outcome = Outcome::from_wire(completion.outcome);
    let end = outcome.zip(completion.result).map(|(outcome, result)| Signal::End(End { outcome, result }));
    Some((id, end.unwrap_or(Signal::Look)))
}

impl Waiter {
    /// Waits for the end until `deadline`.
    ///
    /// # Errors
    /// The job ended, but its result cannot be read.
    pub async fn ended(
        mut self,
        records: &Records,
        workspace: &WorkspaceId,
        deadline: Instant,
    ) -> Result<Waited, StoreError> {
        loop {
            tokio::select! {
                signal = &mut self.signal => return self.signalled(signal, records, workspace, deadline).await,
                Ok(()) = self.looks.changed() => {
                    // what was said while the link was down is lost: look once
                    if let Ok(Some(end)) = records.end_of(workspace, self.id).await {
                        return Ok(Waited::Ended(end));
                    }
                }
                () = tokio::time::sleep_until(deadline) => return Ok(self.last_look(records, workspace).await),
            }
        }
    }

    async fn signalled(
        &self,
        signal: Result<Signal, oneshot::error::RecvError>,
        records: &Records,
        workspace: &WorkspaceId,
        deadline: Instant,
    ) -> Result<Waited, StoreError> {
        if let Ok(Signal::End(end)) = signal {
            return Ok(Waited::Ended(end));
        }
        let read = tokio::time::timeout_at(deadline.max(Instant::now()), records.end_of(workspace, self.id));
        match read.await {
            Ok(end) => Ok(end?.map_or(Waited::Timeout, Waited::Ended)),
            Err(_) => Ok(Waited::Timeout),
        }
    }

    async fn last_look(&self, records: &Records, workspace: &WorkspaceId) -> Waited {
        match records.end_of(workspace, self.id).await {
            Ok(Some(end)) => Waited::Ended(end),
            Ok(None) => Waited::Timeout,
            Err(error) => {
                tracing::warn!(job.id = %self.id, %error, "the wait ran out and the record cannot be read");
                Waited::Timeout
            }
        }
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        self.shared.lock().leave(self.id, self.place);
    }
}

/// Tells the gateway that waits for `job`, if one does.
pub(crate) async fn announce(client: &async_nats::Client, job: &Job, end: &End) {
    let Some(instance) = &job.reply_to else { return };
    let result = (end.result.len() <= INLINE_RESULT).then(|| end.result.clone());
    let completion = proto::job::Completion {
        schema_version: 1,
        workspace: job.workspace.to_string(),
        job_id: job.id.to_string(),
        outcome: end.outcome.wire().into(),
        result,
    };
    let payload = Bytes::from(completion.encode_to_vec());
    if let Err(error) = client.publish(names::done(instance.as_str()), payload).await {
        tracing::warn!(job.id = %job.id, %error, "a completion was not sent");
    }
}
