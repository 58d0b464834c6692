//! Events of single jobs: whoever watches a job subscribes to its subject; several
//! watchers in one process share a subscription. Each subscription sends itself an empty
//! message when it is made and whenever the link was broken: once it arrives the watchers
//! look, and miss nothing from then on.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use broker::{Broker, Link, names};
use futures::StreamExt;
use prost::Message;
use proto::job::Event;
use proto::{JobId, WorkspaceId};
use tokio::sync::{broadcast, watch};
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::{Waited, probe, relinked};
use crate::store::Records;

pub use proto::job::EventKind;

/// Events a slow watcher may be behind; it then looks at the record as on any event.
const BEHIND: usize = 16;

/// When a store that was away is asked again by who waits for an end.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Watching and telling of jobs.
#[derive(Clone)]
pub struct Events {
    broker: Broker,
    watched: Arc<Mutex<HashMap<String, Weak<Topic>>>>,
}

/// What a watcher is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    /// Of this.
    Kind(EventKind),
    /// That something may have been missed.
    Look,
}

struct Topic {
    events: broadcast::Sender<Told>,
    reader: AbortHandle,
}

/// One watcher of one job.
pub struct EventWatch {
    _topic: Arc<Topic>,
    events: broadcast::Receiver<Told>,
    /// The watch began with a subscription that others had made: its first change is now.
    begins: bool,
}

impl Events {
    /// Over this connection.
    pub fn new(broker: Broker) -> Self {
        Self { broker, watched: Arc::default() }
    }

    /// Watches a job. The first [`EventWatch::changed`] comes by itself, when the server
    /// knows of the subscription: a watcher that looks at the record at each change misses
    /// nothing, whatever happened before.
    ///
    /// # Errors
    /// The client is closed.
    pub async fn watch(
        &self,
        workspace: &WorkspaceId,
        id: JobId,
    ) -> Result<EventWatch, async_nats::SubscribeError> {
        let subject = names::event(&workspace.token(), &id.to_string());
        if let Some(topic) = self.existing(&subject) {
            let events = topic.events.subscribe();
            // should the server not know of it yet, its first message is still to come, to this watcher, too
            return Ok(EventWatch { _topic: topic, events, begins: true });
        }
        let client = self.broker.client().clone();
        let mut link = self.broker.link();
        link.mark_unchanged();
        let messages = client.subscribe(subject.clone()).await?;
        let (sender, events) = broadcast::channel(BEHIND);
        let reader = tokio::spawn(read(client, messages, subject.clone(), sender.clone(), link));
        let topic = Arc::new(Topic { events: sender, reader: reader.abort_handle() });
        self.remember(subject, &topic);
        Ok(EventWatch { _topic: topic, events, begins: false })
    }

    fn existing(&self, subject: &str) -> Option<Arc<Topic>> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner).get(subject)?.upgrade()
    }

    fn remember(&self, subject: String, topic: &Arc<Topic>) {
        let mut watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        watched.retain(|_, topic| topic.strong_count() > 0);
        watched.insert(subject, Arc::downgrade(topic));
    }

    /// Tells whoever watches the job.
    pub async fn tell(&self, workspace: &WorkspaceId, id: JobId, kind: EventKind) {
        tell(self.broker.client(), workspace, id, kind).await;
    }
}

/// Passes on whatever comes, until the subscription ends.
async fn read(
    client: async_nats::Client,
    mut messages: async_nats::Subscriber,
    subject: String,
    watchers: broadcast::Sender<Told>,
    mut link: watch::Receiver<Link>,
) {
    probe(&client, subject.clone()).await;
    loop {
        tokio::select! {
            message = messages.next() => {
                let Some(message) = message else { return };
                // no watcher left: the topic is about to be dropped
                let _ = watchers.send(told(&message.payload));
            }
            () = relinked(&mut link) => probe(&client, subject.clone()).await,
        }
    }
}

/// An empty message is our own.
fn told(payload: &[u8]) -> Told {
    match Event::decode(payload) {
        Ok(event) if !payload.is_empty() => Told::Kind(event.kind()),
        _ => Told::Look,
    }
}

/// Tells whoever watches a job that something changed.
pub(crate) async fn tell(client: &async_nats::Client, workspace: &WorkspaceId, id: JobId, kind: EventKind) {
    let event = Event { schema_version: 1, kind: kind.into() };
    let subject = names::event(&workspace.token(), &id.to_string());
    if let Err(error) = client.publish(subject, event.encode_to_vec().into()).await {
        tracing::debug!(job.id = %id, %error, "an event was not sent");
    }
}

impl EventWatch {
    /// Resolves when something changed, or may have, since the last call; at first when
    /// the watch has begun.
    pub async fn changed(&mut self) {
        self.told().await;
    }

    async fn told(&mut self) -> Told {
        if std::mem::take(&mut self.begins) {
            return Told::Look;
        }
        match self.events.recv().await {
            Ok(told) => told,
            Err(broadcast::error::RecvError::Lagged(_)) => Told::Look,
            Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
        }
    }

    /// Resolves when the job has ended, or may have.
    async fn may_have_ended(&mut self) {
        while !matches!(self.told().await, Told::Look | Told::Kind(EventKind::Ended | EventKind::Unspecified))
        {
        }
    }

    /// Waits for the job's end until `deadline`: what a caller does whom the job's envelope does not name. While it
    /// waits it costs no command.
    pub async fn ended(
        mut self,
        records: &Records,
        workspace: &WorkspaceId,
        id: JobId,
        deadline: Instant,
    ) -> Waited {
        let mut look_by = deadline;
        loop {
            let late = tokio::time::timeout_at(look_by, self.may_have_ended()).await.is_err();
            match records.end_of(workspace, id).await {
                Ok(Some(end)) => return Waited::Ended(end),
                Ok(None) => look_by = deadline,
                // what was told just now is not told again
                Err(error) => {
                    tracing::warn!(job.id = %id, %error, "a record cannot be read; it is looked at again");
                    look_by = deadline.min(Instant::now() + LOOK_AGAIN);
                }
            }
            if late && Instant::now() >= deadline {
                return Waited::Timeout;
            }
        }
    }
}

impl Drop for Topic {
    fn drop(&mut self) {
        self.reader.abort();
    }
}
