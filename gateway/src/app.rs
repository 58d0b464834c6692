//! What every request handler shares.

use std::sync::Arc;

use catalog::Catalog;
use job_queue::{
    Afters, ArgsStore, Completions, Control, DeadLetters, Events, Finder, Pressure, Publisher, QueuedRows,
    Records, Ticks,
};

use crate::auth::Authenticator;
use crate::config::Config;
use crate::job_id::JobIds;

/// The gateway's connections and tables. Cheap to clone.
#[derive(Clone)]
pub(crate) struct App(Arc<Parts>);

pub(crate) struct Parts {
    pub(crate) config: Config,
    pub(crate) catalog: Catalog,
    pub(crate) auth: Authenticator,
    pub(crate) records: Records,
    pub(crate) publisher: Publisher,
    pub(crate) pressure: Pressure,
    pub(crate) finder: Finder,
    pub(crate) dead_letters: DeadLetters,
    pub(crate) ticks: Ticks,
    pub(crate) afters: Afters,
    pub(crate) args: ArgsStore,
    pub(crate) completions: Completions,
    pub(crate) events: Events,
    pub(crate) control: Control,
    pub(crate) queued_rows: QueuedRows,
    pub(crate) job_ids: JobIds,
    pub(crate) tasks: tokio_util::task::TaskTracker,
}

impl App {
    pub(crate) fn new(parts: Parts) -> Self {
        Self(Arc::new(parts))
    }
}

impl std::ops::Deref for App {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}
