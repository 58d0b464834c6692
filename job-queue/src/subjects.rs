//! Core NATS subjects that wake somebody: completions wake the waiting gateway, events
//! whoever watches a job, control messages a worker. All are hints that may be lost; what
//! they tell is in Redis.

use broker::Link;
use bytes::Bytes;
use tokio::sync::watch;

mod completions;
mod control;
mod events;

pub(crate) use completions::announce;
pub use completions::{Completions, TooManyWaiters, Waited, Waiter};
pub use control::Control;
pub use events::{EventKind, EventWatch, Events};

/// Resolves when the link comes up again after it was down.
async fn relinked(link: &mut watch::Receiver<Link>) {
    loop {
        if link.changed().await.is_err() {
            return std::future::pending().await;
        }
        if matches!(*link.borrow_and_update(), Link::Up(_)) {
            return;
        }
    }
}

/// Sends an empty message over a subject this process listens to. It is written after the
/// subscription, so its arrival says that the server knows of the subscription.
async fn probe(client: &async_nats::Client, subject: String) {
    if let Err(error) = client.publish(subject, Bytes::new()).await {
        tracing::debug!(%error, "a subscription could not be tried");
    }
}
