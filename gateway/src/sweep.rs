//! Keeps the rows of queued jobs as the job stream is, whatever became of Redis, and collects large arguments whose job is
//! over; one gateway at a time does.

use std::time::Duration;

use catalog::Catalog;
use job_queue::{Collected, Collector, SweepError, Sweeper, Swept};
use proto::WorkspaceId;
use tokio::time::{Interval, MissedTickBehavior};

/// A round of rows every so often, for ever.
pub(crate) async fn keep(mut sweeper: Sweeper, catalog: Catalog, every: Duration) {
    catalog.ready().await;
    let mut tick = ticks(every);
    loop {
        tick.tick().await;
        round(&mut sweeper, &catalog, turn(every)).await;
    }
}

/// A round of large arguments every so often, for ever.
pub(crate) async fn collect(collector: Collector, every: Duration) {
    let mut tick = ticks(every);
    loop {
        tick.tick().await;
        match collector.round(turn(every)).await {
            Ok(Some(collected)) => tell_collected(collected),
            Ok(None) => {}
            Err(error) => put_off(&error, "large arguments were not collected"),
        }
    }
}

fn ticks(every: Duration) -> Interval {
    let mut tick = tokio::time::interval(every);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    tick
}

/// A little less than until the next tick, or every other round would find the one before.
fn turn(every: Duration) -> Duration {
    every * 9 / 10
}

async fn round(sweeper: &mut Sweeper, catalog: &Catalog, within: Duration) {
    let Ok(workspaces) = catalog.workspaces() else { return };
    let ids: Vec<WorkspaceId> = workspaces.iter().map(|workspace| workspace.id.clone()).collect();
    match sweeper.round(&ids, within).await {
        Ok(Some(swept)) => tell_swept(swept),
        Ok(None) => {}
        Err(error) => put_off(&error, "the rows of queued jobs were not swept"),
    }
}

fn put_off(error: &SweepError, what: &str) {
    tracing::debug!(%error, "{what}");
}

fn tell_swept(swept: Swept) {
    let Swept { restored, dropped, expired } = swept;
    metrics::counter!("gateway_queued_rows_restored_total").increment(restored);
    metrics::counter!("gateway_queued_rows_dropped_total").increment(dropped);
    metrics::counter!("gateway_ended_rows_expired_total").increment(expired);
    if restored + dropped > 0 {
        tracing::info!(restored, dropped, "rows of queued jobs were put right");
    }
}

fn tell_collected(collected: Collected) {
    let Collected { objects, bytes } = collected;
    metrics::counter!("gateway_args_collected_total").increment(objects);
    metrics::counter!("gateway_args_collected_bytes_total").increment(bytes);
    if objects > 0 {
        tracing::info!(objects, bytes, "large arguments whose job is over are gone");
    }
}
