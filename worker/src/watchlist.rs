//! The jobs in this worker's hands, so that a control message finds the one it is about.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use proto::JobId;
use tokio::sync::Notify;

/// Jobs and the bells of their keepers. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Watchlist(Arc<Mutex<HashMap<JobId, Arc<Notify>>>>);

/// One entry; taken off the list when dropped.
pub(crate) struct Entry {
    list: Watchlist,
    id: JobId,
    pub(crate) bell: Arc<Notify>,
}

impl Watchlist {
    pub(crate) fn enter(&self, id: JobId) -> Entry {
        let bell = Arc::new(Notify::new());
        self.lock().insert(id, bell.clone());
        Entry { list: self.clone(), id, bell }
    }

    /// Somebody wants this job looked at.
    pub(crate) fn ring(&self, id: JobId) {
        if let Some(bell) = self.lock().get(&id) {
            bell.notify_one();
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<JobId, Arc<Notify>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let mut list = self.list.lock();
        // a redelivery may have entered the same job again
        if list.get(&self.id).is_some_and(|bell| Arc::ptr_eq(bell, &self.bell)) {
            list.remove(&self.id);
        }
    }
}
