//! Keeps one table current: a full load, then changes as they happen. Whatever goes
//! wrong, it opens a new consumer and loads in full, which also drops what was deleted
//! meanwhile; so there is one way in and it is exercised at every start.

use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::Message;
use async_nats::jetstream::consumer::push::{Ordered, OrderedConfig};
use broker::names::CATALOG_STREAM;
use broker::{Broker, Link};
use futures::StreamExt;
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::store::is_deletion;
use crate::table::Table;
use crate::{Key, Record};

/// A load in which nothing arrives for so long is begun again.
const LOAD_STALL: Duration = Duration::from_secs(2);
/// Between two attempts while NATS is there but the stream cannot be watched.
const REOPEN_PAUSE: Duration = Duration::from_millis(250);

/// Why the watch has to be opened again.
#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error("the link to NATS changed")]
    Link,
    #[error("the consumer could not be made: {0}")]
    Open(String),
    #[error("the load stalled for {} ms", LOAD_STALL.as_millis())]
    Stalled,
    #[error("the stream failed: {0}")]
    Stream(String),
    #[error("a message carried no stream sequence: {0}")]
    Info(String),
}

/// Watches until `stop`.
pub(crate) async fn run<T: Record>(broker: Broker, table: Arc<Table<T>>, stop: CancellationToken) {
    let keep = async {
        let mut link = broker.link();
        loop {
            connected(&mut link).await;
            let Err(reason) = follow(&broker, &table, &mut link).await;
            table.broken();
            tracing::info!(catalog.kind = T::KIND.as_str(), %reason, "catalog watch opens again");
            pause(&reason).await;
        }
    };
    stop.run_until_cancelled(keep).await;
}

/// A link that went away says itself when it is back; anything else gets a breath.
async fn pause(broken: &Broken) {
    match broken {
        Broken::Link => {}
        Broken::Open(_) | Broken::Stalled | Broken::Stream(_) | Broken::Info(_) => {
            tokio::time::sleep(REOPEN_PAUSE).await;
        }
    }
}

async fn connected(link: &mut watch::Receiver<Link>) {
    let up = link.wait_for(|state| matches!(state, Link::Up(_))).await.is_ok();
    if !up {
        // the connection itself is gone for good; only `stop` ends the watch
        std::future::pending::<()>().await;
    }
}

/// Loads, then applies changes until something breaks.
async fn follow<T: Record>(
    broker: &Broker,
    table: &Table<T>,
    link: &mut watch::Receiver<Link>,
) -> Result<std::convert::Infallible, Broken> {
    link.mark_unchanged();
    // before the consumer is made: what this process writes from here on must survive the load's end
    table.begin_load();
    let (mut messages, mut pending) = open(broker, T::KIND.filter()).await?;
    while pending > 0 {
        let message = timeout(LOAD_STALL, next(&mut messages, link)).await.map_err(|_| Broken::Stalled)??;
        pending = apply(table, &message)?;
    }
    table.end_load();
    tracing::debug!(catalog.kind = T::KIND.as_str(), "catalog table is current");
    loop {
        let message = next(&mut messages, link).await?;
        apply(table, &message)?;
    }
}

/// An ordered consumer of one kind, and how many messages its load has.
async fn open(broker: &Broker, filter: String) -> Result<(Ordered, u64), Broken> {
    let failed = |error: String| Broken::Open(error);
    let config = OrderedConfig {
        name: Some(format!("watch-{}", uuid::Uuid::now_v7().simple())),
        deliver_subject: broker.client().new_inbox(),
        filter_subject: filter,
        ..OrderedConfig::default()
    };
    let stream =
        broker.jetstream().get_stream_no_info(CATALOG_STREAM).await.map_err(|e| failed(e.to_string()))?;
    let consumer = stream.create_consumer(config).await.map_err(|e| failed(e.to_string()))?;
    let pending = consumer.cached_info().num_pending;
    let messages = consumer.messages().await.map_err(|e| failed(e.to_string()))?;
    Ok((messages, pending))
}

async fn next(messages: &mut Ordered, link: &mut watch::Receiver<Link>) -> Result<Message, Broken> {
    tokio::select! {
        biased;
        _ = link.changed() => Err(Broken::Link),
        message = messages.next() => match message {
            Some(Ok(message)) => Ok(message),
            Some(Err(error)) => Err(Broken::Stream(error.to_string())),
            None => Err(Broken::Stream("it ended".to_owned())),
        },
    }
}

/// Applies one message and says how many follow it.
fn apply<T: Record>(table: &Table<T>, message: &Message) -> Result<u64, Broken> {
    let info = message.info().map_err(|error| Broken::Info(error.to_string()))?;
    let Some(key) = Key::of_subject(T::KIND, &message.subject) else { return Ok(info.pending) };
    let deleted = message.headers.as_ref().is_some_and(is_deletion);
    let value = (!deleted).then_some(&message.payload);
    if let Err(error) = table.apply(&key, info.stream_sequence, value) {
        tracing::error!(%error, "a catalog record cannot be read");
    }
    Ok(info.pending)
}
