//! Whether this process may get work. Each dependency holds a [`Latch`]; the process is ready when every latch
//! is, and never again once it shuts down. Probes only read what is stored here: they do no I/O of their own.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Map, Value, json};
use tokio::sync::watch;

/// The readiness of a process; clones share it.
#[derive(Clone, Debug)]
pub struct Readiness {
    prefix: Arc<str>,
    shared: Arc<Shared>,
}

/// One condition of readiness. Dropping it removes the condition.
#[derive(Debug)]
pub struct Latch {
    id: u64,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    ready: watch::Sender<bool>,
}

#[derive(Debug, Default)]
struct State {
    next_id: u64,
    latches: BTreeMap<u64, Check>,
    details: BTreeMap<String, Value>,
    stopping: bool,
}

#[derive(Debug)]
struct Check {
    name: String,
    /// Why it is not ready; `None` when it is.
    why: Option<String>,
}

impl Default for Readiness {
    fn default() -> Self {
        Self::new()
    }
}

impl Readiness {
    /// Not ready until the service has made its first latch: before that it has not said what it needs.
    pub fn new() -> Self {
        let shared = Shared { state: Mutex::default(), ready: watch::Sender::new(false) };
        Self { prefix: Arc::from(""), shared: Arc::new(shared) }
    }

    /// The same readiness, whose new latches and details are named `<prefix>.<name>`.
    #[must_use]
    pub fn prefixed(&self, prefix: &str) -> Self {
        let prefix = format!("{}{prefix}.", self.prefix);
        Self { prefix: Arc::from(prefix), shared: Arc::clone(&self.shared) }
    }

    /// Adds a condition. It is not ready until [`Latch::ready`].
    pub fn latch(&self, name: &str) -> Latch {
        let name = format!("{}{name}", self.prefix);
        let id = self.shared.update(|state| {
            state.next_id += 1;
            let check = Check { name, why: Some("starting".to_owned()) };
            state.latches.insert(state.next_id, check);
            state.next_id
        });
        Latch { id, shared: Arc::clone(&self.shared) }
    }

    /// Plain information for `/readyz` that does not decide readiness.
    pub fn detail(&self, name: &str, value: impl Into<Value>) {
        let name = format!("{}{name}", self.prefix);
        self.shared.update(|state| state.details.insert(name, value.into()));
    }

    /// Whether every latch is ready and the process is not stopping.
    pub fn is_ready(&self) -> bool {
        *self.shared.ready.borrow()
    }

    /// Follows [`Readiness::is_ready`].
    pub fn watch(&self) -> watch::Receiver<bool> {
        self.shared.ready.subscribe()
    }

    /// Waits until the process is ready.
    pub async fn wait_ready(&self) {
        // the sender lives as long as `self`, so waiting cannot fail
        let _ = self.watch().wait_for(|ready| *ready).await;
    }

    /// The body of `/readyz`.
    pub fn report(&self) -> Value {
        let state = self.shared.lock();
        let mut checks = Map::new();
        for check in state.latches.values() {
            add_check(&mut checks, check);
        }
        if state.next_id == 0 {
            checks.insert("process".to_owned(), json!({ "ready": false, "why": "starting" }));
        }
        if state.stopping {
            checks.insert("process".to_owned(), json!({ "ready": false, "why": "stopping" }));
        }
        json!({ "ready": state.is_ready(), "checks": checks, "details": state.details })
    }

    /// Not ready from here on, whatever the latches say.
    pub(crate) fn stop(&self) {
        self.shared.update(|state| state.stopping = true);
    }
}

/// Two latches of one name are one check, ready when both are.
fn add_check(checks: &mut Map<String, Value>, check: &Check) {
    let taken = checks.get(&check.name).is_some_and(|seen| seen["ready"] == json!(false));
    if !taken {
        let value = json!({ "ready": check.why.is_none(), "why": check.why });
        checks.insert(check.name.clone(), value);
    }
}

impl Latch {
    /// The condition holds.
    pub fn ready(&self) {
        self.set(None);
    }

    /// The condition does not hold (any more), and why.
    pub fn not_ready(&self, why: impl Into<String>) {
        self.set(Some(why.into()));
    }

    /// Follows a watched state until its sender is gone: ready while `why_not` finds nothing against it.
    pub async fn follow<T>(
        &self,
        mut state: watch::Receiver<T>,
        why_not: impl Fn(&T) -> Option<&'static str>,
    ) {
        loop {
            let against = why_not(&state.borrow_and_update());
            match against {
                None => self.ready(),
                Some(why) => self.not_ready(why),
            }
            if state.changed().await.is_err() {
                return;
            }
        }
    }

    fn set(&self, why: Option<String>) {
        self.shared.update(|state| {
            if let Some(check) = state.latches.get_mut(&self.id) {
                check.why = why;
            }
        });
    }
}

impl Drop for Latch {
    fn drop(&mut self) {
        self.shared.update(|state| state.latches.remove(&self.id));
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // the state is whole between any two statements, so a panic elsewhere does not spoil it
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the state and tells watchers when readiness changed, in the order of the changes.
    fn update<R>(&self, change: impl FnOnce(&mut State) -> R) -> R {
        let mut state = self.lock();
        let result = change(&mut state);
        let now = state.is_ready();
        self.ready.send_if_modified(|ready| std::mem::replace(ready, now) != now);
        result
    }
}

impl State {
    fn is_ready(&self) -> bool {
        !self.stopping && self.next_id > 0 && self.latches.values().all(|check| check.why.is_none())
    }
}

#[cfg(test)]
mod tests;
