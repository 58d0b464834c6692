//! Processes between their jobs: those that have loaded a script wait here for its next job, those that have loaded
//! nothing for any script of their language. Nobody but the owner of its first job ever gets a process.

mod janitor;
mod shelf;
mod spares;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use lifecycle::supervisor::Lost;
use proto::IsolationMode;
use tokio::sync::Notify;
use tokio::time::Instant;

use self::shelf::Shelf;
use self::spares::Spares;
use super::by_session;
use super::mode::{Origin, Owner};
use super::pads::Pads;
use super::session::{Process, Starting, Terms};
use crate::runtime::Runtime;

pub use self::shelf::Bounds;

/// A process that is just putting things back is waited for so long: it takes less than another one's start.
const RETURN_BOUND: Duration = Duration::from_millis(20);

/// Whose a process is, and how it treats what a job leaves.
type Key = (Owner, IsolationMode);

/// The pool. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Pool(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    pads: Pads,
    search_path: String,
    /// How long a process may wait for its next job.
    idle: Duration,
    state: Mutex<State>,
    spares: Spares,
    /// One more process waits than before, or there is no pool any more.
    came: Arc<Notify>,
    /// Somebody is back, or will not come back.
    returned: Notify,
}

#[derive(Debug)]
struct State {
    shelf: Shelf<Key, Resting>,
    /// How many of each are on their way back.
    returning: HashMap<Key, usize>,
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.came.notify_one();
    }
}

/// How much a pool keeps, and for how long.
pub(super) struct PoolConfig {
    pub(super) bounds: Bounds,
    pub(super) idle: Duration,
    /// Of each language, for any script.
    pub(super) spares: usize,
}

/// One that waits.
#[derive(Debug)]
struct Resting {
    process: Process,
    since: Instant,
}

/// What a job needs of a process.
pub(super) struct Wanted<'a> {
    pub(super) runtime: &'a Arc<dyn Runtime>,
    /// `None` if nobody else may have the process before or after.
    pub(super) owner: Option<&'a Owner>,
    pub(super) mode: IsolationMode,
    pub(super) terms: Terms,
    pub(super) env: &'a [(String, String)],
    /// The environment must be there when the interpreter starts.
    pub(super) from_the_start: bool,
}

impl Wanted<'_> {
    fn key(&self) -> Option<Key> {
        let lasting = self.mode != IsolationMode::Fresh;
        self.owner.filter(|_| lasting).map(|owner| (owner.clone(), self.mode))
    }
}

impl Pool {
    /// An empty one. Must be called inside a tokio runtime.
    pub(super) fn new(pads: Pads, search_path: String, config: &PoolConfig) -> Self {
        let idle = config.idle;
        let state = Mutex::new(State { shelf: Shelf::new(config.bounds), returning: HashMap::new() });
        let (spares, came, returned) = (Spares::of(config.spares), Arc::default(), Notify::new());
        let pool = Self(Arc::new(Shared { pads, search_path, idle, state, spares, came, returned }));
        janitor::start(&pool);
        pool
    }

    /// A process for a job: one that has had jobs of its kind, or one that waits for anybody, or a new one.
    ///
    /// # Errors
    /// None is to be had.
    pub(super) async fn take(&self, wanted: &Wanted<'_>) -> Result<(Process, Origin), Lost> {
        if let Some(key) = wanted.key()
            && let Some(process) = self.returned(&key, &wanted.terms).await
        {
            metrics::counter!("worker_warm_hits_total").increment(1);
            return Ok((process, Origin::Warm));
        }
        let language = wanted.runtime.language();
        metrics::counter!("worker_cold_starts_total", "language" => language.as_str()).increment(1);
        self.0.spares.want(self, wanted);
        if !wanted.from_the_start
            && let Some(process) = self.spare(wanted)
        {
            return Ok((process, Origin::Spare));
        }
        let env = if wanted.from_the_start { wanted.env } else { &[] };
        let process = self.start(wanted.runtime.as_ref(), wanted.terms.clone(), env).await?;
        Ok((process, Origin::Cold))
    }

    async fn start(
        &self,
        runtime: &dyn Runtime,
        terms: Terms,
        env: &[(String, String)],
    ) -> Result<Process, Lost> {
        let Some(sessions) = by_session::of(runtime) else {
            return Err(Lost::Io(std::io::Error::other("scripts of this language are commands")));
        };
        let plan = sessions.start();
        let starting = Starting { plan, terms, search_path: &self.0.search_path, env };
        Process::start(&self.0.pads, starting).await
    }

    fn spare(&self, wanted: &Wanted<'_>) -> Option<Process> {
        while let Some(process) = self.0.spares.take(wanted.runtime.language()) {
            if process.terms == wanted.terms && process.is_well() {
                return Some(process);
            }
            dismiss(process, "terms");
        }
        None
    }

    /// One that waits, or that will in a moment.
    async fn returned(&self, key: &Key, terms: &Terms) -> Option<Process> {
        let bound = tokio::time::sleep(RETURN_BOUND);
        tokio::pin!(bound);
        loop {
            let returned = self.0.returned.notified();
            if let Some(process) = self.waiting(key, terms) {
                return Some(process);
            }
            if !self.state(|state| state.returning.contains_key(key)) {
                return None;
            }
            tokio::select! {
                () = returned => {}
                () = &mut bound => return None,
            }
        }
    }

    fn waiting(&self, key: &Key, terms: &Terms) -> Option<Process> {
        while let Some(Resting { process, .. }) = self.state(|state| state.shelf.take(key)) {
            if process.terms == *terms && process.is_well() {
                self.show();
                return Some(process);
            }
            dismiss(process, "terms");
        }
        None
    }

    /// Takes a process back whose job is answered: it waits for the next one, once nothing of the last is left.
    pub(super) fn give_back(&self, mut process: Process, owner: &Owner, mode: IsolationMode) {
        let (pool, key) = (self.clone(), (owner.clone(), mode));
        self.state(|state| *state.returning.entry(key.clone()).or_default() += 1);
        process.stays();
        let returning = Returning { pool, key };
        tokio::spawn(async move {
            match process.recover().await {
                Ok(()) => returning.pool.put(&returning.key, process),
                Err(spent) => {
                    tracing::debug!(why = %spent.text, script.version = %returning.key.0.version, "a process takes no more jobs");
                    count(spent.why);
                    process.end(Duration::ZERO).await;
                }
            }
            drop(returning);
        });
    }

    /// Whether nobody is on the way back.
    pub(super) fn is_at_rest(&self) -> bool {
        self.state(|state| state.returning.is_empty())
    }

    fn put(&self, key: &Key, process: Process) {
        let size = process.size_kib();
        let resting = Resting { process, since: Instant::now() };
        let (_, gone) = self.state(|state| state.shelf.put(key.clone(), resting, size));
        for old in gone {
            dismiss(old.process, "bounds");
        }
        self.show();
        self.0.came.notify_one();
    }

    /// For whoever watches the metrics.
    fn show(&self) {
        let (count, kib) = self.state(|state| state.shelf.size());
        #[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
        let (count, bytes) = (count as f64, (kib * 1024) as f64);
        metrics::gauge!("worker_warm_processes").set(count);
        metrics::gauge!("worker_warm_bytes").set(bytes);
    }

    fn state<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.0.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Counted for as long as a process is on its way back.
struct Returning {
    pool: Pool,
    key: Key,
}

impl Drop for Returning {
    fn drop(&mut self) {
        self.pool.state(|state| {
            if let Some(count) = state.returning.get_mut(&self.key) {
                *count -= 1;
                if *count == 0 {
                    state.returning.remove(&self.key);
                }
            }
        });
        self.pool.0.returned.notify_waiters();
    }
}

fn count(why: &'static str) {
    metrics::counter!("worker_evictions_total", "why" => why).increment(1);
}

/// Ends a process that waits no longer.
fn dismiss(process: Process, why: &'static str) {
    count(why);
    if let Ok(runtime) = tokio::runtime::Handle::try_current() {
        runtime.spawn(process.retire());
    }
}
