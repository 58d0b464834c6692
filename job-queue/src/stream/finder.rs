//! Finding a queued job by its id: its subject ends in it, whatever tag it waits under.

use async_nats::{Message, StatusCode};
use broker::{Broker, names};
use proto::{JobId, WorkspaceId};
use serde_json::json;

use super::{StreamError, delete, sequence};
use crate::model::Job;

/// A job as the stream holds it.
#[derive(Debug)]
pub struct QueuedJob {
    /// The envelope, whole.
    pub job: Job,
    /// Its place in the stream.
    pub sequence: u64,
}

/// Reads single messages of the job stream.
#[derive(Clone)]
pub struct Finder(Broker);

impl Finder {
    /// Over this connection.
    pub fn new(broker: Broker) -> Self {
        Self(broker)
    }

    /// The message of a job, if the stream still holds one; it does until the job's end
    /// is recorded.
    ///
    /// # Errors
    /// NATS is away.
    pub async fn find(&self, workspace: &WorkspaceId, id: JobId) -> Result<Option<QueuedJob>, StreamError> {
        Ok(self.message(workspace, id).await?.as_ref().and_then(read))
    }

    /// Whether the stream holds a message of a job, be it one that cannot be read.
    ///
    /// # Errors
    /// NATS is away.
    pub async fn holds(&self, workspace: &WorkspaceId, id: JobId) -> Result<bool, StreamError> {
        Ok(self.message(workspace, id).await?.is_some())
    }

    async fn message(&self, workspace: &WorkspaceId, id: JobId) -> Result<Option<Message>, StreamError> {
        let ask = json!({"last_by_subj": names::job_anywhere(&workspace.token(), &id.to_string())});
        let subject = format!("$JS.API.DIRECT.GET.{}", names::JOBS_STREAM);
        let answer =
            self.0.client().request(subject, ask.to_string().into()).await.map_err(StreamError::new)?;
        match answer.status {
            Some(StatusCode::NOT_FOUND) => Ok(None),
            Some(other) => Err(StreamError::new(format!("direct get answered {other}"))),
            None => Ok(Some(answer)),
        }
    }

    /// Removes the message of a job that has ended without having been pulled.
    ///
    /// # Errors
    /// NATS is away; whoever pulls the message finds the terminal record.
    pub async fn remove(&self, queued: &QueuedJob) -> Result<(), StreamError> {
        delete(&self.0, names::JOBS_STREAM, queued.sequence).await
    }
}

fn read(message: &Message) -> Option<QueuedJob> {
    let sequence = message.headers.as_ref().and_then(sequence)?;
    match Job::decode(&message.payload) {
        Ok(job) => Some(QueuedJob { job, sequence }),
        Err(error) => {
            tracing::error!(stream.sequence = sequence, %error, "a message of the job stream cannot be read");
            None
        }
    }
}
