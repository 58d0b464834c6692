//! Events of single jobs: whoever watches a job subscribes to its subject; several
//! watchers in one process share a subscription. Each subscription sends itself an empty
//! message when it is made and whenever the link was broken: once it arrives the watchers
//! look, and miss nothing from then on.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use broker::{Broker, Link, names};
use futures::StreamExt;
use prost::Message;
use proto::job::Event;
use proto::{JobId, WorkspaceId};
use tokio::sync::{broadcast, watch};
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::{Waited, probe, relinked};
use crate::store::{Records, StoreError};

pub use proto::job::EventKind;

/// Events a slow watcher may be behind; it then looks at the record as on any event.
const BEHIND: usize = 16;

/// Watching and telling of jobs.
#[derive(Clone)]
pub struct Events {
    broker: Broker,
    watched: Arc<Mutex<HashMap<String, Weak<Topic>>>>,
}

struct Topic {
    events: broadcast::Sender<()>,
    reader: AbortHandle,
}

/// One watcher of one job.
pub struct EventWatch {
    _topic: Arc<Topic>,
    events: broadcast::Receiver<()>,
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
            // the first change of this watcher, too
            probe(self.broker.client(), subject).await;
            return Ok(EventWatch { _topic: topic, events });
        }
        let client = self.broker.client().clone();
        let mut link = self.broker.link();
        link.mark_unchanged();
        let messages = client.subscribe(subject.clone()).await?;
        let (sender, events) = broadcast::channel(BEHIND);
        let reader = tokio::spawn(read(client, messages, subject.clone(), sender.clone(), link));
        let topic = Arc::new(Topic { events: sender, reader: reader.abort_handle() });
        self.remember(subject, &topic);
        Ok(EventWatch { _topic: topic, events })
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
    watchers: broadcast::Sender<()>,
    mut link: watch::Receiver<Link>,
) {
    probe(&client, subject.clone()).await;
    loop {
        tokio::select! {
            message = messages.next() => {
                if message.is_none() { return }
                // no watcher left: the topic is about to be dropped
                let _ = watchers.send(());
            }
            () = relinked(&mut link) => probe(&client, subject.clone()).await,
        }
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
        match self.events.recv().await {
            Ok(()) | Err(broadcast::error::RecvError::Lagged(_)) => {}
            Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
        }
    }

    /// Waits for the job's end until `deadline`: what a caller does whom the job's envelope does not name.
    ///
    /// # Errors
    /// The store is away.
    pub async fn ended(
        mut self,
        records: &Records,
        workspace: &WorkspaceId,
        id: JobId,
        deadline: Instant,
    ) -> Result<Waited, StoreError> {
        loop {
            let late = Instant::now() >= deadline;
            match records.end_of(workspace, id).await? {
                Some(end) => return Ok(Waited::Ended(end)),
                None if late => return Ok(Waited::Timeout),
                // at the deadline it looks once more
                None => drop(tokio::time::timeout_at(deadline, self.changed()).await),
            }
        }
    }
}

impl Drop for Topic {
    fn drop(&mut self) {
        self.reader.abort();
    }
}
