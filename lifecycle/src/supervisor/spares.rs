//! Supervisors kept ready, so that a job does not wait for an exec.

use std::io;
use std::num::NonZeroUsize;
use std::sync::Arc;

use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinHandle;

use super::host::{Host, Spare};

/// A small stock of waiting supervisors, refilled in the background.
#[derive(Debug)]
pub struct Spares {
    stock: Mutex<mpsc::Receiver<io::Result<Spare>>>,
    refill: JoinHandle<()>,
}

impl Spares {
    /// Keeps `ready` supervisors of `host` waiting. Must be called inside a tokio runtime.
    pub fn new(host: Host, ready: NonZeroUsize) -> Arc<Self> {
        let (put, stock) = mpsc::channel(ready.get());
        let refill = tokio::spawn(refill(host, put));
        Arc::new(Self { stock: Mutex::new(stock), refill })
    }

    /// A waiting supervisor, or the next one to be ready.
    ///
    /// # Errors
    /// The system has no process or descriptor left.
    pub async fn take(&self) -> io::Result<Spare> {
        let next = self.stock.lock().await.recv().await;
        next.unwrap_or_else(|| Err(io::Error::other("the stock of supervisors has ended")))
    }
}

impl Drop for Spares {
    fn drop(&mut self) {
        self.refill.abort();
    }
}

/// A full stock holds the next refill back. An error takes a place in it, so that whoever wants
/// a supervisor learns it and a failing system is asked once per wish, not in a loop.
async fn refill(host: Host, put: mpsc::Sender<io::Result<Spare>>) {
    while let Ok(place) = put.reserve().await {
        place.send(host.spare().await);
    }
}
