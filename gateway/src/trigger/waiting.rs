//! Waiting for the end of a job that was triggered.

use job_queue::{StoreError, Waited, Waiter};
use proto::{JobId, WorkspaceId};
use tokio::time::Instant;

use crate::app::App;

/// Waits for a job's end.
pub(crate) enum Waiting {
    /// The job's envelope names this gateway.
    Named(Waiter),
    /// It names whoever triggered it first. The place is one of those that callers may take.
    Beside(Waiter),
}

impl Waiting {
    pub(crate) async fn ended(
        self,
        app: &App,
        workspace: &WorkspaceId,
        id: JobId,
        deadline: Instant,
    ) -> Result<Waited, StoreError> {
        let _place = match self {
            Self::Named(waiter) => return waiter.ended(&app.records, workspace, deadline).await,
            Self::Beside(place) => place,
        };
        // most are sent again when the job has ended
        if let Ok(Some(end)) = app.records.end_of(workspace, id).await {
            return Ok(Waited::Ended(end));
        }
        match tokio::time::timeout_at(deadline, app.events.watch(workspace, id)).await {
            Ok(Ok(watch)) => Ok(watch.ended(&app.records, workspace, id, deadline).await),
            Ok(Err(error)) => Err(StoreError::Unavailable(error.to_string())),
            Err(_) => Ok(Waited::Timeout),
        }
    }
}
