//! Under which id a job is published, and whether it is at all: ids that callers choose are used once, and an
//! idempotency key stands for one.

use job_queue::{Reservation, Reserved};
use proto::JobId;

use super::{Order, unsure, used};
use crate::app::App;
use crate::auth::Caller;
use crate::error::{ApiError, ApiResult};
use crate::idempotency;
use crate::request::RunParams;
use crate::retention;

/// A key whose job was refused is free again, without anybody's waiting for it.
pub(super) fn release(app: &App, caller: &Caller, reservation: Reservation, id: JobId) {
    let (app, workspace) = (app.clone(), caller.workspace.clone());
    app.tasks.clone().spawn(async move {
        if let Err(error) = app.records.release(&workspace, &reservation, id).await {
            tracing::debug!(job.id = %id, %error, "an idempotency key whose job was refused stays until its end");
        }
    });
}

/// Whether a job is still to be published.
pub(super) enum Claim {
    /// Under this id.
    Free(JobId),
    /// It is there.
    Made(JobId),
}

/// Finds out, and reserves the id where there is a key.
///
/// # Errors
/// The id is used, the key stands for another request, or it cannot be known at the moment.
pub(super) async fn claim(
    app: &App,
    caller: &Caller,
    id: JobId,
    order: &Order,
    params: &RunParams,
) -> ApiResult<Claim> {
    match (&order.reservation, params.job_id) {
        (Some(_), Some(_)) => {
            Err(ApiError::bad_request("job_id: a request with an idempotency key has no other id"))
        }
        (Some(reservation), None) => claim_by_key(app, caller, id, reservation).await,
        (None, Some(_)) if is_known(app, caller, id).await? => Err(used(id)),
        (None, None) if order.wait => {
            // nothing is published for a caller who could not be answered
            app.records.ping().await?;
            Ok(Claim::Free(id))
        }
        (None, _) => Ok(Claim::Free(id)),
    }
}

async fn claim_by_key(app: &App, caller: &Caller, id: JobId, reservation: &Reservation) -> ApiResult<Claim> {
    let remembered = retention::key_memory(app, &caller.workspace).await;
    match app.records.reserve(&caller.workspace, reservation, id, remembered).await? {
        Reserved::First => Ok(Claim::Free(id)),
        Reserved::OtherRequest(first) => Err(idempotency::reused(first)),
        Reserved::Before(first) if is_known(app, caller, first).await? => Ok(Claim::Made(first)),
        // whoever reserved it may have ended before it was published
        Reserved::Before(first) => Ok(Claim::Free(first)),
    }
}

/// Whether a record or the stream knows a job of this id.
async fn is_known(app: &App, caller: &Caller, id: JobId) -> ApiResult<bool> {
    let recorded = app.records.get(&caller.workspace, id).await?.is_some();
    Ok(recorded
        || app.finder.find(&caller.workspace, id).await.map_err(|error| unsure(&error).job(id))?.is_some())
}
