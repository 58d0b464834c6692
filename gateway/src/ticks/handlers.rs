//! The handlers of schedules. Whoever ends a job of a schedule has a timer fire at once; whoever gets it counts the end,
//! and makes the job of each handler that is to hear of it. A job counts once, and the ids of the handlers' jobs follow
//! from its own: all of it may be repeated, by anybody.

mod args;

use std::num::NonZeroU32;

use catalog::{HandlerKind, Head, Schedule};
use job_queue::{After, CountAnswer, CountRequest, Counted, FiredAfter, Job, PublishError, Record};
use proto::{JobId, WorkspaceId};
use tokio::time::Instant;

use super::{LATER, OFFERED, TickError, WITHIN, job, stored};
use crate::app::App;
use crate::job_id::derived;
use crate::retention::retention;

/// The end of a schedule's job, and what it is for the schedule.
struct News {
    record: Record,
    schedule: Schedule,
    counted: Counted,
}

/// Works off the end of one job.
pub(super) async fn settle(app: &App, fired: FiredAfter) {
    let FiredAfter { after, lease, slot: _slot } = fired;
    let Some(after) = after else {
        tracing::warn!("the end of a schedule's job cannot be read, and is offered to others");
        return lease.hand_back(Some(OFFERED)).await;
    };
    match work_off(app, &after).await {
        Ok(()) => lease.ack().await,
        Err(error) => {
            tracing::warn!(workspace = %after.workspace, job.id = %after.id, %error, "handlers of a schedule wait");
            lease.hand_back(Some(LATER)).await;
        }
    }
}

async fn work_off(app: &App, after: &After) -> Result<(), TickError> {
    let Some(news) = news(app, after).await? else { return Ok(()) };
    for kind in due(&news.counted) {
        make(app, &news, *kind).await?;
    }
    Ok(())
}

/// None where there is nothing to hear of: the schedule is gone, or the job has not ended after all.
async fn news(app: &App, after: &After) -> Result<Option<News>, TickError> {
    let Some(record) = app.records.get(&after.workspace, after.id).await? else { return Ok(None) };
    let Some(path) = record.job.schedule.as_ref() else { return Ok(None) };
    let Some(schedule) = stored(app, &after.workspace, path).await? else { return Ok(None) };
    let settings = &schedule.settings;
    let request = CountRequest {
        workspace: &after.workspace,
        id: after.id,
        schedule: path,
        life: &schedule.life,
        failures: times(settings.on_failure_times),
        exact: settings.on_failure_exact.unwrap_or(false),
        successes: times(settings.on_recovery_times),
    };
    match app.records.count(&request).await? {
        CountAnswer::Counted(counted) => Ok(Some(News { record, schedule, counted })),
        CountAnswer::Open => Ok(None),
    }
}

/// Once where nothing is said.
fn times(said: Option<u32>) -> NonZeroU32 {
    said.and_then(NonZeroU32::new).unwrap_or(NonZeroU32::MIN)
}

/// The kinds of handlers that are to hear of it.
fn due(counted: &Counted) -> &'static [HandlerKind] {
    match counted {
        Counted::Failure { due: true, .. } => &[HandlerKind::Failure],
        Counted::Failure { due: false, .. } => &[],
        Counted::Success { recovered: true, .. } => &[HandlerKind::Recovery, HandlerKind::Success],
        Counted::Success { recovered: false, .. } => &[HandlerKind::Success],
    }
}

/// Makes the job of one handler, once whoever does it. One that cannot be made is not waited for: it would be tried
/// for ever.
async fn make(app: &App, news: &News, kind: HandlerKind) -> Result<(), TickError> {
    let (schedule, id) = (&news.schedule, news.record.job.id);
    let Some(handler) = schedule.settings.handler(kind) else { return Ok(()) };
    let script = handler.script();
    let outcome = match app.catalog.resolve(&schedule.workspace, script).await? {
        None => {
            tracing::warn!(schedule = %schedule.path, job.id = %id, %script, "a handler without its script makes no job");
            "no_script"
        }
        Some(head) => match publish(app, news, kind, &head).await {
            Ok(()) => "job",
            // somebody has made it, and has died before he could say so
            Err(TickError::Publish(PublishError::Duplicate)) => return Ok(()),
            Err(TickError::Publish(PublishError::Refused(why))) => {
                tracing::error!(schedule = %schedule.path, job.id = %id, %script, why, "the job of a handler was refused");
                "refused"
            }
            Err(error) => return Err(error),
        },
    };
    metrics::counter!("gateway_handlers_total", "handler" => kind.as_str(), "outcome" => outcome)
        .increment(1);
    Ok(())
}

async fn publish(app: &App, news: &News, kind: HandlerKind, head: &Head) -> Result<(), TickError> {
    let of = &news.record.job;
    let args = args::of(app, news, kind).await?;
    let mut job = Job {
        parent: Some(of.id),
        trace: of.trace.clone(),
        retention: Some(retention(app, &of.workspace).await),
        ..job::owned(&news.schedule, head, id(&of.workspace, of.id, kind))
    };
    app.publisher.publish(&mut job, args, Instant::now() + WITHIN).await?;
    app.queued_rows.note(job);
    Ok(())
}

fn id(workspace: &WorkspaceId, of: JobId, kind: HandlerKind) -> JobId {
    derived(&format!("hookmill handler v1 {workspace} {of} {}", kind.as_str()))
}
