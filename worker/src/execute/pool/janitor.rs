//! Sees to processes that wait for long: they are stopped, and after a while ended. Woken by time, never by looking.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::{Pool, dismiss};

/// A process that has had no job for so long is stopped: nothing of it runs until the next. Jobs that come faster do
/// not pay for it.
const FREEZE_AFTER: Duration = Duration::from_secs(1);

/// Starts it; it ends with the pool.
pub(super) fn start(pool: &Pool) {
    let (came, pool) = (Arc::clone(&pool.0.came), Arc::downgrade(&pool.0));
    tokio::spawn(async move {
        // turns before this one are stopped already
        let mut stopped = 0;
        while let Some(pool) = pool.upgrade() {
            let due = see_to(&Pool(pool), &mut stopped);
            match due {
                Some(due) => tokio::time::sleep_until(due).await,
                None => came.notified().await,
            }
        }
    });
}

/// Does what is due; when to look again, `None` for when somebody comes.
fn see_to(pool: &Pool, stopped: &mut u64) -> Option<Instant> {
    let now = Instant::now();
    let idle = pool.0.idle;
    let mut old = Vec::new();
    let due = pool.state(|state| {
        while state.shelf.oldest().is_some_and(|(_, resting)| resting.since + idle <= now) {
            old.extend(state.shelf.pop_oldest().map(|(_, resting)| resting.process));
        }
        let mut freeze_at = None;
        while let Some((turn, resting)) = state.shelf.from(*stopped) {
            if resting.since + FREEZE_AFTER > now {
                freeze_at = Some(resting.since + FREEZE_AFTER);
                break;
            }
            resting.process.freeze();
            *stopped = turn + 1;
        }
        let end_at = state.shelf.oldest().map(|(_, resting)| resting.since + idle);
        freeze_at.into_iter().chain(end_at).min()
    });
    if !old.is_empty() {
        pool.show();
    }
    for process in old {
        dismiss(process, "idle");
    }
    due
}
