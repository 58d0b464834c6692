//! Supervisors that wait, so that a job does not wait for an exec; each is used again and again.

use std::io;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};

use super::host::{Host, Spare};
use super::running::Running;
use ::supervisor::wire::Spec;

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
        let spares = Arc::new(Self::empty(host, keep));
        let filled = Arc::clone(&spares);
        tokio::spawn(async move {
            if let Err(error) = filled.fill().await {
                tracing::warn!(%error, "no supervisor could be started ahead of the first job");
            }
        });
        spares
    }

    /// A stock of those that come back, without any at first.
    pub fn empty(host: Host, keep: NonZeroUsize) -> Self {
        Self { host, idle: Mutex::default(), keep: keep.get() }
    }

    /// Hands the command to a waiting supervisor, or to a new one. One that was killed while it waited is
    /// passed over.
    ///
    /// # Errors
    /// As [`Spare::start`] of a new one; the system has no process left.
    pub async fn start(&self, spec: Spec) -> io::Result<Running> {
        while let Some(spare) = self.waiting() {
            match spare.start(spec.clone()).await {
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                    tracing::warn!("a supervisor was gone before it had a command");
                }
                other => return other,
            }
        }
        self.host.spare().await?.start(spec).await
    }

    fn waiting(&self) -> Option<Spare> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop()
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
