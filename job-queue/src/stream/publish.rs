//! Publishing a job and waiting, with a deadline, for the stream's word that it has it.

use std::time::Duration;

use async_nats::jetstream::context::{PublishError as JsError, PublishErrorKind};
use async_nats::jetstream::message::PublishMessage;
use broker::Broker;
use bytes::Bytes;
use futures::FutureExt;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::timer::{self, Before, Timer};
use super::{ArgsError, ArgsStore, Place, QueuedJob, is_stored, subject};
use crate::model::{Args, Job, now_us};

/// The job was not, or not certainly, put into the stream.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The stream has this job already: its id was used before.
    #[error("the stream holds a job of this id already")]
    Duplicate,
    /// The stream is full.
    #[error("the queue is full")]
    Full,
    /// Its large arguments could not be stored: the job does not exist.
    #[error("the store of large arguments is not available: {0}")]
    NotStored(String),
    /// No word within the deadline: the job may exist. The same job published again,
    /// under the same id, never makes a second one.
    #[error("NATS did not answer: {0}")]
    Unanswered(String),
    /// The stream refused it for another reason.
    #[error("NATS refused the job: {0}")]
    Refused(String),
}

/// How long an upload may go on that nobody waits for any more.
const UPLOADED_WITHIN: Duration = Duration::from_secs(30);

/// When the stream has taken a message.
enum Taken {
    Now,
    /// It remembers its id.
    Before,
}

/// Puts jobs into the stream.
#[derive(Clone)]
pub struct Publisher {
    broker: Broker,
    args: ArgsStore,
}

impl Publisher {
    /// Over this connection.
    pub fn new(broker: Broker) -> Self {
        Self { args: ArgsStore::new(broker.clone()), broker }
    }

    /// Stores large arguments, publishes the envelope, or sets its timer, and waits for the
    /// acknowledgement, all before `deadline`.
    ///
    /// # Errors
    /// See [`PublishError`]; only [`PublishError::Unanswered`] leaves open whether the job exists.
    pub async fn publish(&self, job: &mut Job, args: Bytes, deadline: Instant) -> Result<(), PublishError> {
        job.args = self.kept(job, args, deadline).await?;
        in_time(&self.broker, deadline, self.send(job)).await
    }

    /// Its arguments as its envelope has them.
    async fn kept(&self, job: &Job, args: Bytes, deadline: Instant) -> Result<Args, PublishError> {
        if !is_stored(args.len()) {
            return Ok(Args::Inline(args));
        }
        let (store, workspace, id) = (self.args.clone(), job.workspace.clone(), job.id);
        let late = |_| PublishError::NotStored("no answer before the deadline".to_owned());
        tokio::time::timeout_at(deadline, self.broker.linked()).await.map_err(late)?;
        // it goes on without us: what half an upload leaves is removed by itself
        let mut upload = tokio::spawn(async move { store.keep(&workspace, id, args).await });
        match tokio::time::timeout_at(deadline, &mut upload).await {
            Ok(kept) => kept.map_err(|lost| PublishError::NotStored(lost.to_string()))?.map_err(not_stored),
            Err(elapsed) => {
                tokio::spawn(clear_up(self.args.clone(), upload));
                Err(late(elapsed))
            }
        }
    }

    /// Puts an envelope back where it was, as it was. `nonce` is the same when the same is tried again.
    ///
    /// # Errors
    /// As [`Self::publish`].
    pub async fn put_back(
        &self,
        subject: &str,
        envelope: Bytes,
        nonce: &str,
        deadline: Instant,
    ) -> Result<(), PublishError> {
        let dedupe_id = format!("again/{subject}/{nonce}");
        in_time(&self.broker, deadline, self.put(subject.to_owned(), envelope, dedupe_id)).await
    }

    /// Puts a job to those that may start, whose timer has fired. `nonce` is the same when the same is tried again.
    ///
    /// # Errors
    /// As [`Self::publish`], with [`PublishError::Duplicate`] where a message of the job is there that is not this one.
    pub(super) async fn make_ready(
        &self,
        subject: &str,
        envelope: Bytes,
        nonce: &str,
        deadline: Instant,
    ) -> Result<(), PublishError> {
        let dedupe_id = format!("again/{subject}/{nonce}");
        let offered = self.offer(subject.to_owned(), envelope, dedupe_id).map(|answer| answer.map(drop));
        in_time(&self.broker, deadline, offered).await
    }

    /// Puts a job aside that is to be tried again, whether a timer of it is there or not.
    ///
    /// # Errors
    /// As [`Self::publish`].
    pub async fn put_aside(&self, job: &Job, deadline: Instant) -> Result<(), PublishError> {
        in_time(&self.broker, deadline, timer::set(&self.broker, Timer::of(job), Before::Whatever)).await
    }

    /// Pulls a job forward whose timer has not fired; the job as it waits now, or none where it does not wait there (any
    /// more).
    ///
    /// # Errors
    /// As [`Self::publish`].
    pub async fn hasten(&self, queued: &QueuedJob, deadline: Instant) -> Result<Option<Job>, PublishError> {
        let Place::Timer(sequence) = queued.place else { return Ok(None) };
        let job = Job { scheduled_us: Some(now_us()), ..queued.job.clone() };
        // it replaces the timer, so that there is never a second message that could fire later
        match in_time(
            &self.broker,
            deadline,
            timer::set(&self.broker, Timer::of(&job), Before::Message(sequence)),
        )
        .await
        {
            Ok(()) => Ok(Some(job)),
            Err(PublishError::Duplicate) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn put(&self, subject: String, envelope: Bytes, dedupe_id: String) -> Result<(), PublishError> {
        match self.offer(subject, envelope, dedupe_id).await? {
            Taken::Now => Ok(()),
            Taken::Before => Err(PublishError::Duplicate),
        }
    }

    async fn offer(
        &self,
        subject: String,
        envelope: Bytes,
        dedupe_id: String,
    ) -> Result<Taken, PublishError> {
        let message = PublishMessage::build().payload(envelope).message_id(dedupe_id);
        let sent = self.broker.jetstream().send_publish(subject, message).await.map_err(refused)?;
        let ack = sent.await.map_err(refused)?;
        Ok(if ack.duplicate { Taken::Before } else { Taken::Now })
    }

    async fn send(&self, job: &Job) -> Result<(), PublishError> {
        let outcome = if job.due_us() > now_us() {
            let before = Before::Nothing { dedupe_id: Some(dedupe_id(job)) };
            timer::set(&self.broker, Timer::of(job), before).await
        } else {
            let subject = subject(&job.tag, &job.workspace, job.id);
            self.put(subject, job.encode(), dedupe_id(job)).await
        };
        if matches!(outcome, Err(PublishError::Duplicate | PublishError::Full | PublishError::Refused(_))) {
            self.args.drop_kept(&job.args).await;
        }
        outcome
    }
}

/// Removes what an upload stores that nobody waits for any more; what takes longer is left to the collector.
async fn clear_up(store: ArgsStore, mut upload: JoinHandle<Result<Args, ArgsError>>) {
    match tokio::time::timeout(UPLOADED_WITHIN, &mut upload).await {
        Ok(Ok(Ok(kept))) => store.drop_kept(&kept).await,
        Ok(_) => {}
        Err(_) => upload.abort(),
    }
}

/// async-nats may wait without limit while it is disconnected. And what it is handed then leaves with the next link: jobs
/// whose callers were refused long before would all come at once, ahead of those that are accepted. So they are not handed
/// to it.
pub(super) fn in_time<'a>(
    broker: &'a Broker,
    deadline: Instant,
    publishing: impl Future<Output = Result<(), PublishError>> + 'a,
) -> impl Future<Output = Result<(), PublishError>> + 'a {
    tokio::time::timeout_at(deadline, broker.linked().then(move |()| publishing)).map(|answer| {
        answer.unwrap_or_else(|_| {
            Err(PublishError::Unanswered("no acknowledgement before the deadline".to_owned()))
        })
    })
}

/// `<ws>/<job id>/<move>`: ids are global to a stream, and a later move of the same job
/// (a retry, a timer that fired) must not be swallowed under the first one's id.
pub(super) fn dedupe_id(job: &Job) -> String {
    format!("{}/{}/0", job.workspace.token(), job.id)
}

#[expect(clippy::needless_pass_by_value, reason = "the form `map_err` takes")]
fn not_stored(error: ArgsError) -> PublishError {
    PublishError::NotStored(error.to_string())
}

#[expect(clippy::needless_pass_by_value, reason = "the form `map_err` takes")]
pub(super) fn refused(error: JsError) -> PublishError {
    match error.kind() {
        PublishErrorKind::TimedOut | PublishErrorKind::BrokenPipe | PublishErrorKind::MaxAckPending => {
            PublishError::Unanswered(error.to_string())
        }
        // no responders: the server is there, its JetStream is not yet
        PublishErrorKind::StreamNotFound => {
            PublishError::Unanswered("the job stream is not there".to_owned())
        }
        PublishErrorKind::WrongLastMessageId
        | PublishErrorKind::WrongLastSequence
        | PublishErrorKind::MaxPayloadExceeded => PublishError::Refused(error.to_string()),
        PublishErrorKind::Other => other(&error),
    }
}

fn other(error: &JsError) -> PublishError {
    let text = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
    let full = [
        "maximum messages exceeded",
        "maximum bytes exceeded",
        "resource limits exceeded",
        "insufficient resources",
    ];
    if text.contains("maximum messages per subject exceeded") {
        PublishError::Duplicate
    } else if full.iter().any(|phrase| text.contains(phrase)) {
        PublishError::Full
    } else {
        PublishError::Unanswered(format!("{error} ({text})"))
    }
}
