//! Keeps the rows of queued jobs as the job stream is, whatever became of Redis; one gateway at a time does.

use std::time::Duration;

use catalog::Catalog;
use job_queue::{Sweeper, Swept};
use proto::WorkspaceId;
use tokio::time::MissedTickBehavior;

/// A round every so often, for ever.
pub(crate) async fn keep(mut sweeper: Sweeper, catalog: Catalog, every: Duration) {
    catalog.ready().await;
    let mut tick = tokio::time::interval(every);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        // a little less than until the next tick, or every other round would find the one before
        round(&mut sweeper, &catalog, every * 9 / 10).await;
    }
}

async fn round(sweeper: &mut Sweeper, catalog: &Catalog, within: Duration) {
    let Ok(workspaces) = catalog.workspaces() else { return };
    let ids: Vec<WorkspaceId> = workspaces.iter().map(|workspace| workspace.id.clone()).collect();
    match sweeper.round(&ids, within).await {
        Ok(Some(swept)) => tell(swept),
        Ok(None) => {}
        Err(error) => tracing::debug!(%error, "the rows of queued jobs were not swept"),
    }
}

fn tell(swept: Swept) {
    metrics::counter!("gateway_queued_rows_restored_total").increment(swept.restored);
    metrics::counter!("gateway_queued_rows_dropped_total").increment(swept.dropped);
    if swept != Swept::default() {
        let Swept { restored, dropped } = swept;
        tracing::info!(restored, dropped, "rows of queued jobs were put right");
    }
}
