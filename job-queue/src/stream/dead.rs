//! Dead letters: jobs that are not tried any more, whole as they were, until somebody replays or discards them.

use std::time::Duration;

use async_nats::Message;
use async_nats::jetstream::message::PublishMessage;
use broker::{Broker, names};
use bytes::Bytes;
use prost::Message as _;
use proto::job as wire;
use proto::{JobId, WorkspaceId};
use serde_json::json;
use tokio::time::Instant;

use super::batch::batch;
use super::publish::{PublishError, in_time, refused};
use super::{StreamError, delete, direct_get, headers_subject, sequence};
use crate::model::Job;

pub use proto::job::DeathReason;

/// The version of a letter that this code writes, and the only one it reads.
const SCHEMA_VERSION: u32 = 1;

/// How long the server may take for a letter.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// A job that is not tried any more.
#[derive(Clone, Debug, PartialEq)]
pub struct DeadLetter {
    /// Why.
    pub reason: DeathReason,
    /// The same, for people.
    pub message: String,
    /// How often it was started.
    pub attempts: u32,
    /// Unix microseconds.
    pub died_us: i64,
    /// The end of its log.
    pub last_log: String,
    /// Where it waited: its subject of the job stream.
    pub subject: String,
    /// Its envelope, byte for byte.
    pub envelope: Bytes,
}

/// A letter as the stream holds it.
#[derive(Clone, Debug)]
pub struct KeptLetter {
    /// The job it was.
    pub id: JobId,
    /// Its place in the stream: later ones have higher ones.
    pub sequence: u64,
    /// What it says.
    pub letter: DeadLetter,
}

/// A part of a workspace's letters.
#[derive(Clone, Debug, Default)]
pub struct DeadPage {
    /// Oldest first.
    pub letters: Vec<KeptLetter>,
    /// Where the next page begins; none behind the last letter.
    pub next: Option<u64>,
}

/// The stream of dead letters.
#[derive(Clone)]
pub struct DeadLetters(Broker);

impl DeadLetter {
    /// The job, if its envelope can be read and is that of this workspace and id.
    pub fn job(&self, workspace: &WorkspaceId, id: JobId) -> Option<Job> {
        Job::decode(&self.envelope).ok().filter(|job| job.workspace == *workspace && job.id == id)
    }

    /// Of a newer version, or written by nobody of ours.
    fn unknown() -> Self {
        Self {
            reason: DeathReason::Unspecified,
            message: "this version of Hookmill cannot read the letter".to_owned(),
            attempts: 0,
            died_us: 0,
            last_log: String::new(),
            subject: String::new(),
            envelope: Bytes::new(),
        }
    }

    /// Whether its envelope is that of another job: nobody of ours has written such a letter.
    pub fn is_another_jobs(&self, workspace: &WorkspaceId, id: JobId) -> bool {
        Job::decode(&self.envelope).is_ok() && self.job(workspace, id).is_none()
    }

    fn encode(&self) -> Vec<u8> {
        let wire = wire::DeadLetter {
            schema_version: SCHEMA_VERSION,
            reason: self.reason.into(),
            message: self.message.clone(),
            attempts: self.attempts,
            died_at_us: self.died_us,
            last_log: self.last_log.clone(),
            subject: self.subject.clone(),
            envelope: self.envelope.clone(),
        };
        wire.encode_to_vec()
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let wire =
            wire::DeadLetter::decode(bytes).ok().filter(|wire| wire.schema_version == SCHEMA_VERSION)?;
        Some(Self {
            reason: wire.reason(),
            message: wire.message,
            attempts: wire.attempts,
            died_us: wire.died_at_us,
            last_log: wire.last_log,
            subject: wire.subject,
            envelope: wire.envelope,
        })
    }
}

impl DeadLetters {
    /// Over this connection.
    pub fn new(broker: Broker) -> Self {
        Self(broker)
    }

    /// Keeps a letter, and waits for the stream's word that it has it. Safe to repeat: a job has one, the latest. It
    /// goes without an id for the stream's window of duplicates, which would know it still when it has been discarded.
    ///
    /// # Errors
    /// As for a job; nothing, or nothing certain, was kept.
    pub async fn bury(&self, letter: &DeadLetter) -> Result<(), PublishError> {
        let (workspace, job) = names::job_of(&letter.subject)
            .ok_or_else(|| PublishError::Refused(format!("`{}` is no job's subject", letter.subject)))?;
        let subject = names::dead(workspace, job);
        in_time(&self.0, Instant::now() + ANSWER_WITHIN, async {
            let message = PublishMessage::build().payload(letter.encode().into());
            let sent = self.0.jetstream().send_publish(subject, message).await.map_err(refused)?;
            sent.await.map(drop).map_err(refused)
        })
        .await
    }

    /// Letters of a workspace, oldest first, from behind this place on, at most so many.
    ///
    /// # Errors
    /// NATS is away.
    pub async fn page(
        &self,
        workspace: &WorkspaceId,
        behind: u64,
        most: usize,
    ) -> Result<DeadPage, StreamError> {
        let of = names::dead_of(&workspace.token());
        let messages = batch(&self.0, names::DEAD_STREAM, &of, behind, most).await?;
        let next = messages.last().and_then(|message| message.headers.as_ref().and_then(sequence));
        Ok(DeadPage { letters: messages.iter().filter_map(read).collect(), next })
    }

    /// The letter of a job, if it has one.
    ///
    /// # Errors
    /// NATS is away.
    pub async fn find(&self, workspace: &WorkspaceId, id: JobId) -> Result<Option<KeptLetter>, StreamError> {
        let ask = json!({"last_by_subj": names::dead(&workspace.token(), &id.to_string())});
        let found = direct_get(&self.0, names::DEAD_STREAM, &ask).await?;
        Ok(found.as_ref().and_then(read))
    }

    /// Whether a job has a letter, be it one that cannot be read.
    ///
    /// # Errors
    /// NATS is away.
    pub(crate) async fn holds(&self, workspace: &WorkspaceId, id: JobId) -> Result<bool, StreamError> {
        let ask = json!({"last_by_subj": names::dead(&workspace.token(), &id.to_string())});
        Ok(direct_get(&self.0, names::DEAD_STREAM, &ask).await?.is_some())
    }

    /// Removes this letter, not one that the same job may have got since; it is gone afterwards, whoever removed it.
    ///
    /// # Errors
    /// NATS is away.
    pub async fn discard(&self, letter: &KeptLetter) -> Result<(), StreamError> {
        delete(&self.0, names::DEAD_STREAM, letter.sequence).await
    }
}

/// What names no job is passed over; what this version cannot read is shown as that.
fn read(message: &Message) -> Option<KeptLetter> {
    let headers = message.headers.as_ref()?;
    let sequence = sequence(headers)?;
    let Some(id) = headers_subject(headers).and_then(|subject| subject.rsplit('.').next()?.parse().ok())
    else {
        tracing::error!(stream.sequence = sequence, "a dead letter names no job");
        return None;
    };
    let letter = DeadLetter::decode(&message.payload).unwrap_or_else(DeadLetter::unknown);
    Some(KeptLetter { id, sequence, letter })
}
