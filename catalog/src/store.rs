//! The store itself: one read by key and one write by batch, each bounded in time,
//! because a disconnected NATS client blocks.

use async_nats::jetstream::ErrorCode;
use async_nats::jetstream::publish::PublishAck;
use async_nats::jetstream::response::Response;
use async_nats::{HeaderMap, Message};
use broker::Broker;
use broker::names::CATALOG_STREAM;
use bytes::Bytes;
use tokio::time::timeout;

use crate::batch::{Batch, Committed};
use crate::{CatalogError, Key, Record, STORE_TIMEOUT, records};

/// The last write to a key.
pub(crate) struct Entry {
    pub(crate) revision: u64,
    /// None: it was deleted.
    pub(crate) value: Option<Bytes>,
}

#[derive(Clone)]
pub(crate) struct Store {
    broker: Broker,
}

impl Store {
    pub(crate) fn new(broker: Broker) -> Self {
        Self { broker }
    }

    pub(crate) fn broker(&self) -> &Broker {
        &self.broker
    }

    /// The last write to a key, read from the store.
    pub(crate) async fn get(&self, key: &Key) -> Result<Option<Entry>, CatalogError> {
        self.reachable()?;
        let subject = format!("$JS.API.DIRECT.GET.{CATALOG_STREAM}.{}", key.subject());
        let answer = timeout(STORE_TIMEOUT, self.broker.client().request(subject, Bytes::new())).await;
        let message = answer.map_err(|_| no_answer())?.map_err(unavailable)?;
        entry_of(key, message)
    }

    /// The record of a key, with the revision a write after it must expect.
    pub(crate) async fn read<T: Record>(&self, key: &Key) -> Result<Option<(u64, Option<T>)>, CatalogError> {
        let Some(entry) = self.get(key).await? else { return Ok(None) };
        let record = entry.value.map(|bytes| records::decode(key, &bytes)).transpose()?;
        Ok(Some((entry.revision, record)))
    }

    /// Writes a batch; all of it or nothing.
    pub(crate) async fn commit(&self, batch: &Batch) -> Result<Committed, CatalogError> {
        self.reachable()?;
        let answer = timeout(STORE_TIMEOUT, self.send(batch)).await.map_err(|_| no_answer())??;
        let ack = match answer {
            Response::Ok(ack) => ack,
            Response::Err { error } => return Err(refused(batch, &error)),
        };
        let others = batch.writes.len() as u64 - 1;
        Ok(Committed { first_revision: ack.sequence.saturating_sub(others) })
    }

    /// Only the last write asks for an answer: what is wrong with any is told there.
    async fn send(&self, batch: &Batch) -> Result<Response<PublishAck>, CatalogError> {
        let id = uuid::Uuid::now_v7().simple().to_string();
        let count = batch.writes.len();
        let client = self.broker.client();
        let Some((last, before)) = batch.writes.split_last() else {
            return Err(CatalogError::Rejected("a batch needs at least one write".to_owned()));
        };
        for (place, write) in before.iter().enumerate() {
            let headers = write.headers(&id, place + 1, count);
            client
                .publish_with_headers(write.key.subject(), headers, write.payload())
                .await
                .map_err(unavailable)?;
        }
        let headers = last.headers(&id, count, count);
        let answer = client.request_with_headers(last.key.subject(), headers, last.payload()).await;
        serde_json::from_slice(&answer.map_err(unavailable)?.payload).map_err(unavailable)
    }

    /// While the link is known to be down, an answer at once is better than one at the deadline.
    pub(crate) fn reachable(&self) -> Result<(), CatalogError> {
        if self.broker.is_up() {
            Ok(())
        } else {
            Err(CatalogError::Unavailable("not connected to NATS".to_owned()))
        }
    }
}

fn entry_of(key: &Key, message: Message) -> Result<Option<Entry>, CatalogError> {
    match message.status.map(|status| status.as_u16()) {
        None | Some(200) => {}
        Some(404) => return Ok(None),
        Some(status) => {
            return Err(CatalogError::Unavailable(format!("reading {key}: NATS answered {status}")));
        }
    }
    let headers = message.headers.unwrap_or_default();
    let revision = headers.get("Nats-Sequence").and_then(|value| value.as_str().parse().ok());
    let Some(revision) = revision else {
        return Err(CatalogError::Unavailable(format!("reading {key}: NATS named no sequence")));
    };
    let value = (!is_deletion(&headers)).then_some(message.payload);
    Ok(Some(Entry { revision, value }))
}

/// Whether a message of the stream says that its key was deleted.
pub(crate) fn is_deletion(headers: &HeaderMap) -> bool {
    headers.get("KV-Operation").is_some() || headers.get("Nats-Marker-Reason").is_some()
}

fn refused(batch: &Batch, error: &async_nats::jetstream::Error) -> CatalogError {
    let code = error.error_code();
    if code == ErrorCode::STREAM_WRONG_LAST_SEQUENCE || code == ErrorCode::STREAM_WRONG_LAST_SEQUENCE_CONSTANT
    {
        let keys: Vec<String> = batch.writes.iter().map(|write| write.key.to_string()).collect();
        return CatalogError::Conflict(keys.join(" or "));
    }
    CatalogError::Unavailable(format!("NATS refused the write: {error}"))
}

fn no_answer() -> CatalogError {
    CatalogError::Unavailable(format!("NATS gave no answer within {} ms", STORE_TIMEOUT.as_millis()))
}

fn unavailable(error: impl std::fmt::Display) -> CatalogError {
    CatalogError::Unavailable(error.to_string())
}
