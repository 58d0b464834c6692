//! The two words a process stops with: *drain* (take nothing new, finish what runs) and *abort* (let go now).
//! Who says them, and when, is [`crate::Process`]'s business.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

/// How a process is told to stop; clones hear the same.
#[derive(Clone, Debug, Default)]
pub struct Shutdown {
    drain: CancellationToken,
    abort: CancellationToken,
}

/// How long the steps of stopping take, from the first signal on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StopTiming {
    /// Time for load balancers to notice that we are not ready, before the drain starts.
    pub notice: Duration,
    /// Time until the abort, notice included.
    pub grace: Duration,
}

impl Shutdown {
    /// Not stopping yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Cancelled when the drain starts, for code that wants a token.
    pub fn drain_token(&self) -> &CancellationToken {
        &self.drain
    }

    /// Cancelled when the grace is over.
    pub fn abort_token(&self) -> &CancellationToken {
        &self.abort
    }

    /// Whether nothing new may start.
    pub fn is_draining(&self) -> bool {
        self.drain.is_cancelled()
    }

    /// Waits until nothing new may start.
    pub async fn draining(&self) {
        self.drain.cancelled().await;
    }

    /// Waits until what still runs must be let go. Its tasks are dropped shortly after.
    pub async fn aborting(&self) {
        self.abort.cancelled().await;
    }

    /// The future's output, or `None` when the drain starts first.
    pub async fn until_drain<F: Future>(&self, future: F) -> Option<F::Output> {
        self.drain.run_until_cancelled(future).await
    }
}
