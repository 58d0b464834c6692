//! Idempotency keys: each stands for one job for as long as it is remembered. The id is reserved before the job
//! is published, so that callers with the same key, at whichever gateway, publish the same one.

use std::time::Duration;

use proto::{JobId, WorkspaceId};

use super::keys;
use super::{Records, StoreError};

/// A key, and what came with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reservation {
    /// The digest of the key, and of whose and for what it is.
    pub key: String,
    /// The digest of the request.
    pub request: String,
}

/// What a key stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reserved {
    /// The job of this call: nobody had the key.
    First,
    /// A job that may have been published, or not yet.
    Before(JobId),
    /// The job of another request.
    OtherRequest(JobId),
}

impl Records {
    /// Has the key stand for job `id` from now on, unless it stands for one already. The same call repeated answers
    /// as the first one did.
    ///
    /// # Errors
    /// The store is away; nothing is known.
    pub async fn reserve(
        &self,
        workspace: &WorkspaceId,
        reservation: &Reservation,
        id: JobId,
        remembered: Duration,
    ) -> Result<Reserved, StoreError> {
        let mut script = self.scripts.reserve.prepare_invoke();
        script.key(keys::reservation(workspace, &reservation.key));
        script.arg(id.to_string()).arg(&reservation.request).arg(remembered.as_secs().max(1));
        let (holder, request): (String, String) = self.invoke(&script).await?;
        let holder = job_id(&holder)?;
        Ok(if request != reservation.request {
            Reserved::OtherRequest(holder)
        } else if holder == id {
            Reserved::First
        } else {
            Reserved::Before(holder)
        })
    }

    /// What a key stands for, if anything, without having it stand for something.
    ///
    /// # Errors
    /// The store is away; nothing is known.
    pub async fn reserved(
        &self,
        workspace: &WorkspaceId,
        reservation: &Reservation,
    ) -> Result<Option<Reserved>, StoreError> {
        let mut ask = redis::cmd("HMGET");
        ask.arg(keys::reservation(workspace, &reservation.key)).arg("id").arg("request");
        let (holder, request): (Option<String>, Option<String>) = self.connection.query(&ask).await?;
        let Some((holder, request)) = holder.zip(request) else { return Ok(None) };
        let holder = job_id(&holder)?;
        Ok(Some(if request == reservation.request {
            Reserved::Before(holder)
        } else {
            Reserved::OtherRequest(holder)
        }))
    }

    /// Takes a key back that was reserved for job `id`, which certainly was not published; whether it was. A key of
    /// which somebody else has been told meanwhile stays, as they may have published the job.
    ///
    /// # Errors
    /// The store is away; the key stays, or not.
    pub async fn release(
        &self,
        workspace: &WorkspaceId,
        reservation: &Reservation,
        id: JobId,
    ) -> Result<bool, StoreError> {
        let mut script = self.scripts.release.prepare_invoke();
        script.key(keys::reservation(workspace, &reservation.key)).arg(id.to_string());
        self.invoke(&script).await
    }
}

fn job_id(text: &str) -> Result<JobId, StoreError> {
    text.parse().map_err(|_| StoreError::Answer(format!("unexpected: {text}")))
}
