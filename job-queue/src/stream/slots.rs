//! Slots: how many jobs a worker runs at once. A slot is taken before a job is handed
//! out and belongs to it, so that a panic gives it back.

use std::sync::Arc;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

/// All slots of a worker.
#[derive(Clone)]
pub struct Slots {
    permits: Arc<Semaphore>,
    freed: Arc<Notify>,
    total: usize,
}

/// One taken slot; free again when dropped.
pub struct Slot {
    permit: Option<OwnedSemaphorePermit>,
    freed: Arc<Notify>,
}

impl Slots {
    /// So many, all free.
    pub fn new(total: usize) -> Self {
        Self { permits: Arc::new(Semaphore::new(total)), freed: Arc::default(), total }
    }

    /// How many there are.
    pub fn total(&self) -> usize {
        self.total
    }

    /// How many are free.
    pub fn free(&self) -> usize {
        self.permits.available_permits()
    }

    pub(super) fn take(&self) -> Option<Slot> {
        let permit = self.permits.clone().try_acquire_owned().ok()?;
        Some(Slot { permit: Some(permit), freed: self.freed.clone() })
    }

    /// Resolves when a slot was given back since the last call.
    pub(super) async fn freed(&self) {
        self.freed.notified().await;
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        // first free, then told
        self.permit.take();
        self.freed.notify_one();
    }
}
