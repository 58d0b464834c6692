//! [`Process`]: what a service gets besides its configuration. It tracks tasks, hears about failures and winds
//! everything down: readiness off → notice → drain → (grace) abort → (short window) drop what is left.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use anyhow::anyhow;
use futures::FutureExt;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::readiness::Readiness;
use crate::shutdown::{Shutdown, StopTiming};

/// Time between the abort and the moment its tasks are dropped, to hand back what they hold.
const ABORT_WINDOW: Duration = Duration::from_secs(2);

/// Time for dropped tasks to end; only one that blocks its thread needs longer.
const DROP_WINDOW: Duration = Duration::from_secs(1);

/// A running service; clones are the same one.
#[derive(Clone, Debug)]
pub struct Process {
    /// When to stop.
    pub shutdown: Shutdown,
    /// Whether to get work.
    pub readiness: Readiness,
    /// What must end before the process does. Prefer [`Process::spawn`], which reports panics.
    pub tasks: TaskTracker,
    name: Arc<str>,
    control: Arc<Control>,
}

#[derive(Debug, Default)]
struct Control {
    stop: CancellationToken,
    reason: OnceLock<StopReason>,
    /// Drops every tracked task.
    cut: CancellationToken,
    failure: Mutex<Option<anyhow::Error>>,
}

/// Why a process stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopReason {
    /// Somebody asked: SIGTERM, SIGINT or [`Process::stop`].
    Asked,
    /// The service's `run` is through.
    Finished,
    /// Something essential failed.
    Failed,
}

impl Process {
    /// A process of its own. It stops when [`Process::stop`] is called, then [`Process::wind_down`] awaited.
    pub fn new(name: &str) -> Self {
        Self {
            shutdown: Shutdown::new(),
            readiness: Readiness::new(),
            tasks: TaskTracker::new(),
            name: Arc::from(name),
            control: Arc::default(),
        }
    }

    /// A process for tests; no signal reaches it.
    pub fn for_tests() -> Self {
        Self::new("test")
    }

    /// One of several services in this process: it stops and fails with the others, and names its latches
    /// `<name>.…`.
    #[must_use]
    pub fn child(&self, name: &str) -> Self {
        let readiness = self.readiness.prefixed(name);
        Self { readiness, name: Arc::from(name), ..self.clone() }
    }

    /// The service's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs a task that the end of the process waits for. A panic in it is logged, nothing more.
    pub fn spawn<F>(&self, name: &'static str, task: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let process = self.clone();
        self.tasks.spawn(async move {
            if let Some(panic) = process.guard(task).await.err() {
                tracing::error!(service.name = %process.name, task.name = name, error = %panic, "task panicked");
            }
        });
    }

    /// Runs a task without which the service is useless: when it panics or ends with an error, the process
    /// stops with exit code 1. To end without an error is fine.
    pub fn spawn_essential<F>(&self, name: &'static str, task: F)
    where
        F: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        let process = self.clone();
        self.tasks.spawn(async move {
            let ended = process.guard(task).await.and_then(|done| done.unwrap_or(Ok(())));
            if let Err(error) = ended {
                process.fail(error.context(format!("{} of {} failed", name, process.name)));
            }
        });
    }

    /// Runs the service itself: as [`Process::spawn_essential`], and the process stops when it is through.
    pub(crate) fn spawn_run<F>(&self, run: F)
    where
        F: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        let process = self.clone();
        self.tasks.spawn(async move {
            match process.guard(run).await.and_then(|done| done.unwrap_or(Ok(()))) {
                Ok(()) => process.stop_for(StopReason::Finished),
                Err(error) => process.fail(error),
            }
        });
    }

    /// Asks for an orderly stop, as a signal does.
    pub fn stop(&self) {
        self.stop_for(StopReason::Asked);
    }

    /// Stops because of an error; the process will end with exit code 1. The first error counts.
    pub fn fail(&self, error: anyhow::Error) {
        let error = self.logged(error);
        let mut failure = self.control.failure.lock().unwrap_or_else(PoisonError::into_inner);
        failure.get_or_insert(error);
        drop(failure);
        self.stop_for(StopReason::Failed);
    }

    /// Logs a failure, once, with its causes.
    pub(crate) fn logged(&self, error: anyhow::Error) -> anyhow::Error {
        tracing::error!(service.name = %self.name, error = format!("{error:#}"), "service failed");
        error
    }

    fn stop_for(&self, reason: StopReason) {
        if self.control.reason.set(reason).is_ok() {
            self.control.stop.cancel();
        }
    }

    /// Waits until somebody asks for the stop, and says why.
    pub async fn stop_requested(&self) -> StopReason {
        self.control.stop.cancelled().await;
        self.control.reason.get().copied().unwrap_or(StopReason::Asked)
    }

    /// Stops in order and waits for every task. It ends at `timing.grace` plus 3 s at the latest.
    /// The error is the first failure of anything essential.
    pub async fn wind_down(&self, timing: StopTiming) -> anyhow::Result<()> {
        self.readiness.stop();
        self.tasks.close();
        tokio::select! {
            biased;
            () = self.ended() => {}
            () = self.escalate(timing) => {}
        }
        let mut failure = self.control.failure.lock().unwrap_or_else(PoisonError::into_inner);
        failure.take().map_or(Ok(()), Err)
    }

    /// Every task has ended, after the drain began.
    async fn ended(&self) {
        self.shutdown.draining().await;
        self.tasks.wait().await;
    }

    async fn escalate(&self, timing: StopTiming) {
        tokio::time::sleep(timing.notice).await;
        tracing::info!(service.name = %self.name, task.count = self.tasks.len(), "draining");
        self.shutdown.drain_token().cancel();
        tokio::time::sleep(timing.grace.saturating_sub(timing.notice)).await;
        let grace_ms = timing.grace.as_millis();
        tracing::warn!(service.name = %self.name, task.count = self.tasks.len(), grace_ms, "grace is over, aborting");
        self.shutdown.abort_token().cancel();
        tokio::time::sleep(ABORT_WINDOW).await;
        tracing::warn!(service.name = %self.name, task.count = self.tasks.len(), "dropping what did not end");
        self.control.cut.cancel();
        if tokio::time::timeout(DROP_WINDOW, self.tasks.wait()).await.is_err() {
            tracing::error!(service.name = %self.name, task.count = self.tasks.len(), "tasks block their threads");
        }
    }

    /// The output of `task`, `None` when it was dropped, or its panic as an error.
    async fn guard<F: Future>(&self, task: F) -> anyhow::Result<Option<F::Output>> {
        // a panic leaves nothing behind but what `task` owned, and that is dropped
        let guarded = AssertUnwindSafe(self.control.cut.run_until_cancelled(task)).catch_unwind();
        guarded.await.map_err(|panic| anyhow!("panicked: {}", panic_text(&*panic)))
    }
}

/// The message of a panic.
fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}

#[cfg(test)]
mod tests;
