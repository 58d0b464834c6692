//! Supervisors that wait, so that a job does not wait for an exec; each is used again and again.

use std::io;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};

use super::host::{Host, Spare};

/// A small stock of waiting supervisors.
#[derive(Debug)]
pub struct Spares {
    host: Host,
    idle: Mutex<Vec<Spare>>,
    keep: usize,
}

impl Spares {
    /// Keeps up to `keep` supervisors of `host` waiting, and starts that many in the background.
    /// Must be called inside a tokio runtime.
    pub fn new(host: Host, keep: NonZeroUsize) -> Arc<Self> {
        let spares = Arc::new(Self { host, idle: Mutex::default(), keep: keep.get() });
        let filled = Arc::clone(&spares);
        tokio::spawn(async move {
            if let Err(error) = filled.fill().await {
                tracing::warn!(%error, "no supervisor could be started ahead of the first job");
            }
        });
        spares
    }

    /// A waiting supervisor, or a new one.
    ///
    /// # Errors
    /// The system has no process or descriptor left.
    pub async fn take(&self) -> io::Result<Spare> {
        let waiting = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        match waiting {
            Some(spare) => Ok(spare),
            None => self.host.spare().await,
        }
    }

    /// Takes back a supervisor whose command has ended; one too many is ended.
    pub fn give_back(&self, spare: Spare) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < self.keep {
            idle.push(spare);
        }
    }

    async fn fill(&self) -> io::Result<()> {
        for _ in 0..self.keep {
            self.give_back(self.host.spare().await?);
        }
        Ok(())
    }
}
