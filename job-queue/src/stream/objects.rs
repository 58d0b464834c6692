//! Objects of the argument store, in the form of NATS' object stores: chunks, and a message that says what they are. Made
//! here so that no death leaves chunks that nobody knows of, and removed so that nothing at all is left.
//!
//! Before its first chunk an object is *announced*, as one that is deleted: readers find none, a collector finds its
//! chunks. What is announced becomes the object when all chunks are stored, unless it has been collected meanwhile.

use async_nats::HeaderValue;
use async_nats::Message;
use async_nats::header::{NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, NATS_ROLLUP};
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::object_store::{ObjectInfo, ObjectOptions};
use async_nats::jetstream::response::Response;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use broker::{Broker, names};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use proto::{JobId, WorkspaceId, subject};
use ring::digest;
use serde::Deserialize;
use serde_json::{Value, json};

use super::batch::batch;
use super::{StreamError, ask_api, direct_get, headers_subject, sequence};

/// Bytes of a chunk, as NATS' own clients have it.
const CHUNK: usize = 128 * 1024;

/// What is said of an object, and where it is said.
#[derive(Clone, Debug)]
pub(crate) struct StoredObject {
    pub(crate) name: String,
    /// When it was said, by the server's clock, Unix microseconds.
    pub(crate) stored_us: i64,
    /// Bytes of its chunks; 0 of one that is only announced.
    pub(crate) bytes: usize,
    /// Announced only, or deleted in the way of NATS' clients.
    pub(crate) unfinished: bool,
    nuid: String,
    subject: String,
    sequence: u64,
}

impl StoredObject {
    /// Whose it is; none: nobody of ours has named it.
    pub(crate) fn owner(&self) -> Option<(WorkspaceId, JobId)> {
        let (workspace, rest) = self.name.split_once('/')?;
        let (job, _) = rest.split_once('/')?;
        Some((subject::decode(workspace)?.parse().ok()?, job.parse().ok()?))
    }

    fn read(message: &Message) -> Option<Self> {
        let headers = message.headers.as_ref()?;
        let (sequence, subject) = (sequence(headers)?, headers_subject(headers)?.to_owned());
        let at = DateTime::parse_from_rfc3339(headers.get("Nats-Time-Stamp")?.as_str()).ok()?;
        let info: ObjectInfo = serde_json::from_slice(&message.payload).ok()?;
        // it becomes part of a subject by which chunks are removed
        let safe = !info.nuid.is_empty() && info.nuid.bytes().all(|byte| byte.is_ascii_alphanumeric());
        safe.then(|| Self {
            name: info.name,
            stored_us: at.timestamp_micros(),
            bytes: info.size,
            unfinished: info.deleted,
            nuid: info.nuid,
            subject,
            sequence,
        })
    }
}

/// A part of the store.
pub(crate) struct ObjectsPage {
    /// In the order in which they were stored.
    pub(crate) objects: Vec<StoredObject>,
    /// Behind which place the next part begins; none where there were no more.
    pub(crate) next: Option<u64>,
}

/// At most so many objects behind a place in the store.
pub(crate) async fn objects(broker: &Broker, behind: u64, most: usize) -> Result<ObjectsPage, StreamError> {
    let messages = batch(broker, names::ARGS_STREAM, &names::args_meta(">"), behind, most).await?;
    let next = messages.last().and_then(|message| message.headers.as_ref().and_then(sequence));
    Ok(ObjectsPage { objects: messages.iter().filter_map(StoredObject::read).collect(), next })
}

/// What the server's clock shows: the ages of what it holds are told by it.
pub(crate) async fn server_time(broker: &Broker) -> Result<DateTime<Utc>, StreamError> {
    let answer = ask(broker, "INFO", &json!({})).await?;
    let time = answer["ts"].as_str().and_then(|time| DateTime::parse_from_rfc3339(time).ok());
    time.map(|time| time.to_utc()).ok_or_else(|| StreamError::new("the server does not tell its time"))
}

/// Stores an object. `nuid` is what its chunks are found by, new for each.
pub(super) async fn put(broker: &Broker, name: &str, nuid: &str, bytes: Bytes) -> Result<(), StreamError> {
    let subject = meta_subject(name);
    let announced = publish(broker, &subject, meta(name, nuid, None)?, Some(0), false).await?;
    let announced = announced.await?;
    let filled = fill(broker, &subject, name, nuid, bytes, announced).await;
    if filled.is_err() {
        // if the collector was here before the last of them, nothing tells of these any more
        remove_chunks(broker, nuid).await?;
    }
    filled
}

/// The chunks, then the word that they are all there, unless the object is gone meanwhile. Chunks themselves expect
/// nothing: a replicated stream would refuse a second expectation of one subject while the first is on its way.
async fn fill(
    broker: &Broker,
    subject: &str,
    name: &str,
    nuid: &str,
    bytes: Bytes,
    announced: u64,
) -> Result<(), StreamError> {
    let mut stored = Vec::with_capacity(bytes.len().div_ceil(CHUNK));
    for from in (0..bytes.len()).step_by(CHUNK) {
        let chunk = bytes.slice(from..bytes.len().min(from + CHUNK));
        stored.push(publish(broker, &names::args_chunk(nuid), chunk, None, false).await?);
    }
    // all of them: while one is on its way nobody may clear up behind the others
    let stored = futures::future::join_all(stored).await;
    stored.into_iter().collect::<Result<Vec<u64>, _>>()?;
    let whole = meta(name, nuid, Some(&bytes))?;
    publish(broker, subject, whole, Some(announced), true).await?.await.map(drop)
}

/// Whether the store has the whole object, by the word of whoever leads the stream: a replica that answers in his place
/// may not have heard of it yet.
pub(super) async fn is_whole(broker: &Broker, name: &str) -> Result<bool, StreamError> {
    let question = json!({"last_by_subj": meta_subject(name)});
    let subject = format!("$JS.API.STREAM.MSG.GET.{}", names::ARGS_STREAM);
    match ask_api::<Last>(broker, subject, &question.to_string()).await? {
        Ok(last) => Ok(!last.info()?.deleted),
        Err(error) if error.code() == 404 => Ok(false),
        Err(error) => Err(StreamError::new(error)),
    }
}

#[derive(Deserialize)]
struct Last {
    message: LastMessage,
}

#[derive(Deserialize)]
struct LastMessage {
    data: String,
}

impl Last {
    fn info(&self) -> Result<ObjectInfo, StreamError> {
        let bytes = STANDARD.decode(&self.message.data).map_err(StreamError::new)?;
        serde_json::from_slice(&bytes).map_err(StreamError::new)
    }
}

/// Removes all there is of an object, if it is there.
pub(super) async fn remove_named(broker: &Broker, name: &str) -> Result<(), StreamError> {
    let found = direct_get(broker, names::ARGS_STREAM, &json!({"last_by_subj": meta_subject(name)})).await?;
    match found.as_ref().and_then(StoredObject::read) {
        Some(object) => remove(broker, &object).await,
        None => Ok(()),
    }
}

/// Removes all there is of an object; whoever dies in between leaves what tells of the rest.
pub(crate) async fn remove(broker: &Broker, object: &StoredObject) -> Result<(), StreamError> {
    remove_chunks(broker, &object.nuid).await?;
    // not what may have been said of it since
    ask(broker, "PURGE", &json!({"filter": object.subject, "seq": object.sequence + 1})).await.map(drop)
}

async fn remove_chunks(broker: &Broker, nuid: &str) -> Result<(), StreamError> {
    ask(broker, "PURGE", &json!({"filter": names::args_chunk(nuid)})).await.map(drop)
}

fn meta_subject(name: &str) -> String {
    names::args_meta(&URL_SAFE.encode(name))
}

fn meta(name: &str, nuid: &str, bytes: Option<&Bytes>) -> Result<Bytes, StreamError> {
    let digest = bytes.map(|bytes| digest::digest(&digest::SHA256, bytes));
    let size = bytes.map_or(0, Bytes::len);
    let info = ObjectInfo {
        name: name.to_owned(),
        description: None,
        metadata: std::collections::HashMap::new(),
        headers: None,
        options: Some(ObjectOptions { max_chunk_size: Some(CHUNK), link: None }),
        bucket: names::ARGS_BUCKET.to_owned(),
        nuid: nuid.to_owned(),
        size,
        chunks: size.div_ceil(CHUNK),
        modified: None,
        digest: digest.map(|digest| format!("SHA-256={}", URL_SAFE.encode(digest))),
        deleted: bytes.is_none(),
    };
    serde_json::to_vec(&info).map(Bytes::from).map_err(StreamError::new)
}

/// Sends a message that is stored only if the last one of its subject is still the expected one; resolves twice, when it is
/// on its way and when it is stored, then to its sequence.
async fn publish(
    broker: &Broker,
    subject: &str,
    payload: Bytes,
    expected: Option<u64>,
    replaces: bool,
) -> Result<impl Future<Output = Result<u64, StreamError>> + use<>, StreamError> {
    let mut message = PublishMessage::build().payload(payload);
    if let Some(sequence) = expected {
        message = message.header(NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, HeaderValue::from(sequence));
    }
    if replaces {
        message = message.header(NATS_ROLLUP, "sub");
    }
    let sent =
        broker.jetstream().send_publish(subject.to_owned(), message).await.map_err(StreamError::new)?;
    Ok(async move { sent.await.map(|ack| ack.sequence).map_err(StreamError::new) })
}

/// Asks for something of the stream under the store.
async fn ask(broker: &Broker, what: &str, how: &Value) -> Result<Value, StreamError> {
    let subject = format!("$JS.API.STREAM.{what}.{}", names::ARGS_STREAM);
    let answer = broker.client().request(subject, how.to_string().into()).await.map_err(StreamError::new)?;
    match serde_json::from_slice::<Response<Value>>(&answer.payload).map_err(StreamError::new)? {
        Response::Ok(said) => Ok(said),
        Response::Err { error } => Err(StreamError::new(error)),
    }
}
