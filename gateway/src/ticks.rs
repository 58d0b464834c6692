//! Firing schedules. Each enabled schedule has one timer at the broker, of its next tick. Whoever gets one that has
//! fired makes the tick's job, whose id follows from schedule and tick, and then sets the timer of the next: all of it
//! may be repeated, by anybody. So may what follows when the job has ended ([`handlers`]).

mod handlers;
mod job;

use std::sync::Arc;
use std::time::Duration;

use catalog::{CatalogError, Schedule};
use chrono::{DateTime, Utc};
use futures::StreamExt;
use job_queue::{Due, FiredTick, PublishError, StoreError, StreamError, Tick};
use proto::{ScriptPath, WorkspaceId};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::app::App;

/// How long the broker may take for one answer.
const WITHIN: Duration = Duration::from_secs(2);
/// When a tick that could not be worked off is tried again.
const LATER: Duration = Duration::from_secs(2);
/// When one that this version cannot read is offered again, to a newer one.
const OFFERED: Duration = Duration::from_secs(30);
/// How often it is looked whether each schedule has its timer: one that was written by a gateway that died has none.
const LOOK_EVERY: Duration = Duration::from_mins(1);
/// Schedules looked at together.
const TOGETHER: usize = 16;

/// What stands in the way; the same is tried again.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TickError {
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    #[error(transparent)]
    Stream(#[from] StreamError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Publish(#[from] PublishError),
}

/// Works off what has come due until its sender is gone.
pub(crate) async fn work_off_due(app: App, mut due: mpsc::UnboundedReceiver<Due>) {
    while let Some(due) = due.recv().await {
        let app = app.clone();
        app.tasks.clone().spawn(async move {
            match due {
                Due::Tick(fired) => settle(&app, fired).await,
                Due::After(fired) => handlers::settle(&app, fired).await,
            }
        });
    }
}

async fn settle(app: &App, fired: FiredTick) {
    let FiredTick { tick, lease, slot: _slot } = fired;
    let Some(tick) = tick else {
        tracing::warn!("a tick of a schedule cannot be read, and is offered to others");
        return lease.hand_back(Some(OFFERED)).await;
    };
    match work_off(app, &tick).await {
        Ok(()) => lease.ack().await,
        Err(error) => {
            tracing::warn!(workspace = %tick.workspace, schedule = %tick.path, %error, "a tick waits");
            lease.hand_back(Some(LATER)).await;
        }
    }
}

/// Makes the tick's job and sets the timer of the next one. A tick of a schedule that was written again since, is
/// switched off or is gone is void: what is written sets its own timer.
async fn work_off(app: &App, tick: &Tick) -> Result<(), TickError> {
    let Some(schedule) = stored(app, &tick.workspace, &tick.path).await? else { return Ok(()) };
    if !schedule.enabled || schedule.generation != tick.generation {
        return Ok(());
    }
    let last_us = if job::overlaps(app, &schedule, tick).await? {
        metrics::counter!("gateway_ticks_total", "outcome" => "overlap").increment(1);
        tick.last_us
    } else {
        job::make(app, &schedule, tick).await?;
        Some(tick.due_us)
    };
    // ticks that were missed while nothing fired are not made up for, but for this one
    match next(&schedule, DateTime::from_timestamp_micros(tick.due_us), last_us) {
        Some(next) => Ok(app.ticks.follow(&next, Instant::now() + WITHIN).await?),
        None => Ok(()),
    }
}

/// A schedule as it is stored, whatever the table says: its timer must fit what was written last.
async fn stored(
    app: &App,
    workspace: &WorkspaceId,
    path: &ScriptPath,
) -> Result<Option<Schedule>, CatalogError> {
    let read = app.catalog.read::<Schedule>(&Schedule::key_of(workspace, path)).await?;
    Ok(read.and_then(|(_, schedule)| schedule))
}

/// The next tick after now, after `behind` and after the schedule's pause; none where it never comes again.
fn next(schedule: &Schedule, behind: Option<DateTime<Utc>>, last_us: Option<i64>) -> Option<Tick> {
    let settings = &schedule.settings;
    let after = [Some(Utc::now()), behind, settings.paused_until].into_iter().flatten().max()?;
    // it was checked when it was written
    let cadence = settings.cadence().ok()?;
    Some(Tick {
        workspace: schedule.workspace.clone(),
        path: schedule.path.clone(),
        generation: schedule.generation.clone(),
        due_us: cadence.next_after(after)?.timestamp_micros(),
        last_us,
    })
}

/// A schedule was written, or deleted: its timer follows what is stored by now. What was not done is done within a
/// minute ([`keep`]).
pub(crate) async fn rearm(app: &App, workspace: &WorkspaceId, path: &ScriptPath) -> Result<(), TickError> {
    let before = app.ticks.next(workspace, path).await?;
    let stored = stored(app, workspace, path).await?.filter(|schedule| schedule.enabled);
    let last_us = before.as_ref().and_then(|tick| tick.last_us);
    match stored.as_ref().and_then(|schedule| next(schedule, None, last_us)) {
        Some(next) => app.ticks.replace(&next, Instant::now() + WITHIN).await?,
        None if before.is_some() => app.ticks.remove(workspace, path).await?,
        None => {}
    }
    Ok(())
}

/// Sees to it that each enabled schedule has its timer, again and again.
pub(crate) async fn keep(app: App) {
    app.catalog.ready().await;
    let mut times = tokio::time::interval(LOOK_EVERY);
    times.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        times.tick().await;
        let Ok(schedules) = app.catalog.all_schedules() else { continue };
        let enabled = schedules.into_iter().filter(|schedule| schedule.enabled);
        let looks: Vec<_> = enabled.map(|schedule| mend(app.clone(), schedule)).collect();
        futures::stream::iter(looks).buffer_unordered(TOGETHER).collect::<()>().await;
    }
}

async fn mend(app: App, schedule: Arc<Schedule>) {
    let (workspace, path) = (&schedule.workspace, &schedule.path);
    let mended = async {
        let tick = app.ticks.next(workspace, path).await?;
        if tick.is_some_and(|tick| tick.generation == schedule.generation) {
            return Ok(());
        }
        tracing::info!(%workspace, schedule = %path, "a schedule without its timer gets one");
        rearm(&app, workspace, path).await
    };
    if let Err(error) = mended.await {
        tracing::warn!(%workspace, schedule = %path, %error, "it is not known whether a schedule has its timer");
    }
}
