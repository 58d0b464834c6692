//! Finding a queued job by its id: its subject ends in it, whatever tag it waits under and whether it is due.

use async_nats::Message;
use broker::{Broker, names};
use proto::{JobId, WorkspaceId};
use serde_json::json;

use super::{StreamError, delete, direct_get, headers_subject, sequence};
use crate::model::Job;

/// A job as the stream holds it.
#[derive(Debug)]
pub struct QueuedJob {
    /// The envelope, whole.
    pub job: Job,
    /// Where its message lies.
    pub place: Place,
}

/// Where the message of a job lies: a stream, and its sequence there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// It may start.
    Ready(u64),
    /// It waits until it is due.
    Timer(u64),
    /// It is due, and on its way to those that may start.
    Fired(u64),
}

/// Reads single messages of the streams of jobs and timers.
#[derive(Clone)]
pub struct Finder(Broker);

impl Finder {
    /// Over this connection.
    pub fn new(broker: Broker) -> Self {
        Self(broker)
    }

    /// The message of a job, if a stream still holds one; one does until the job's end
    /// is recorded.
    ///
    /// # Errors
    /// NATS is away.
    pub async fn find(&self, workspace: &WorkspaceId, id: JobId) -> Result<Option<QueuedJob>, StreamError> {
        Ok(self.message(workspace, id).await?.as_ref().and_then(read))
    }

    /// Whether a stream holds a message of a job, be it one that cannot be read.
    ///
    /// # Errors
    /// NATS is away.
    pub async fn holds(&self, workspace: &WorkspaceId, id: JobId) -> Result<bool, StreamError> {
        Ok(self.message(workspace, id).await?.is_some())
    }

    async fn message(&self, workspace: &WorkspaceId, id: JobId) -> Result<Option<Message>, StreamError> {
        let (workspace, id) = (workspace.token(), id.to_string());
        let (ready, timer) = (names::job_anywhere(&workspace, &id), names::timer_anywhere(&workspace, &id));
        // it may be moved between the first two looks
        for (stream, filter) in
            [(names::JOBS_STREAM, &ready), (names::TIMERS_STREAM, &timer), (names::JOBS_STREAM, &ready)]
        {
            let found = direct_get(&self.0, stream, &json!({"last_by_subj": filter})).await?;
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    /// Removes the message of a job that has ended without having been pulled.
    ///
    /// # Errors
    /// NATS is away; whoever pulls the message finds the terminal record.
    pub async fn remove(&self, queued: &QueuedJob) -> Result<(), StreamError> {
        let (stream, sequence) = match queued.place {
            Place::Ready(sequence) => (names::JOBS_STREAM, sequence),
            Place::Timer(sequence) | Place::Fired(sequence) => (names::TIMERS_STREAM, sequence),
        };
        delete(&self.0, stream, sequence).await
    }
}

fn read(message: &Message) -> Option<QueuedJob> {
    let headers = message.headers.as_ref()?;
    let sequence = sequence(headers)?;
    let place = match headers_subject(headers)?.split('.').next()? {
        "timer" => Place::Timer(sequence),
        "fire" => Place::Fired(sequence),
        _ => Place::Ready(sequence),
    };
    match Job::decode(&message.payload) {
        Ok(job) => Some(QueuedJob { job, place }),
        Err(error) => {
            tracing::error!(stream.sequence = sequence, %error, "the message of a job cannot be read");
            None
        }
    }
}
