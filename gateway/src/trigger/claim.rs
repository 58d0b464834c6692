//! Under which id a job is published, and whether it is at all: ids that callers choose are used once, and an
//! idempotency key stands for one.

use job_queue::{Reservation, Reserved};
use proto::JobId;

use super::{Order, scheduled_us, unsure, used};
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
/// The id is used, the key stands for another request, there is no room for new jobs, or it cannot be known at the moment.
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
        (Some(reservation), None) => match admit(app, order, params).await {
            Ok(()) => claim_by_key(app, caller, id, reservation).await,
            // what is there already is no new job
            Err(refused) => made_by_key(app, caller, reservation).await?.map(Claim::Made).ok_or(refused),
        },
        (None, Some(_)) if is_known(app, caller, id).await? => Err(used(id)),
        (None, given) => {
            admit(app, order, params).await?;
            if order.wait && given.is_none() {
                // nothing is published for a caller who could not be answered
                app.records.ping().await?;
            }
            Ok(Claim::Free(id))
        }
    }
}

/// Whether there is room for a new job; nothing of it has been written.
async fn admit(app: &App, order: &Order, params: &RunParams) -> ApiResult<()> {
    let tag = params.tag.as_ref().unwrap_or(&order.runnable.tag);
    Ok(app.pressure.admit(Some(tag), order.args.len(), scheduled_us(params, order.wait)).await?)
}

/// The job that a request with this key has made before.
async fn made_by_key(app: &App, caller: &Caller, reservation: &Reservation) -> ApiResult<Option<JobId>> {
    match app.records.reserved(&caller.workspace, reservation).await? {
        Some(Reserved::OtherRequest(first)) => Err(idempotency::reused(first)),
        Some(Reserved::Before(first)) if is_known(app, caller, first).await? => Ok(Some(first)),
        Some(Reserved::Before(_) | Reserved::First) | None => Ok(None),
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
