//! A long-lived child of ours: nats-server or Valkey under `hookmill up`.

use std::time::Duration;

use super::running::{Ended, Lost, Running};

/// A running service. Dropping it ends it as losing us would: SIGTERM, its grace, SIGKILL.
#[derive(Debug)]
pub struct ServiceHandle {
    running: Running,
}

impl ServiceHandle {
    pub(super) fn new(running: Running) -> Self {
        Self { running }
    }

    /// Waits until the main process runs; its id.
    ///
    /// # Errors
    /// It could not be started.
    pub async fn started(&mut self) -> Result<i32, Lost> {
        self.running.control.started().await
    }

    /// Waits until it has ended and nothing of it is left. Safe to drop and call again.
    ///
    /// # Errors
    /// It could not be started, or its supervisor is gone.
    pub async fn exited(&mut self) -> Result<Ended, Lost> {
        self.running.control.exited().await
    }

    /// SIGTERM, then SIGKILL after `grace`; returns when nothing of it is left.
    ///
    /// # Errors
    /// As [`ServiceHandle::exited`].
    pub async fn stop(mut self, grace: Duration) -> Result<Ended, Lost> {
        self.running.control.kill_gently(grace);
        self.exited().await
    }
}
