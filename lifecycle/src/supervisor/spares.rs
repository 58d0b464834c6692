//! Supervisors kept ready, so that a job does not wait for an exec.

use std::io;
use std::num::NonZeroUsize;
use std::sync::Arc;

use tokio::sync::{Mutex, Notify, mpsc};
use tokio::task::JoinHandle;

use super::host::{Host, Spare};

/// A small stock of waiting supervisors, refilled in the background.
#[derive(Debug)]
pub struct Spares {
    stock: Mutex<mpsc::Receiver<io::Result<Spare>>>,
    events: Arc<Events>,
    refill: JoinHandle<()>,
}

/// What the refill waits for.
#[derive(Debug, Default)]
struct Events {
    taken: Notify,
    run_over: Notify,
}

impl Spares {
    /// Keeps `ready` supervisors of `host` waiting. Must be called inside a tokio runtime.
    pub fn new(host: Host, ready: NonZeroUsize) -> Arc<Self> {
        let (put, stock) = mpsc::channel(ready.get());
        let events = Arc::new(Events::default());
        let refill = tokio::spawn(refill(host, put, Arc::clone(&events)));
        Arc::new(Self { stock: Mutex::new(stock), events, refill })
    }

    /// A waiting supervisor, or the next one to be ready.
    ///
    /// # Errors
    /// The system has no process or descriptor left.
    pub async fn take(&self) -> io::Result<Spare> {
        let next = self.stock.lock().await.recv().await;
        self.events.taken.notify_one();
        next.unwrap_or_else(|| Err(io::Error::other("the stock of supervisors has ended")))
    }
}

impl Spares {
    /// A run is over, with all that follows from it: a good time to start what it used up.
    pub fn run_over(&self) {
        self.events.run_over.notify_one();
    }
}

impl Drop for Spares {
    fn drop(&mut self) {
        self.refill.abort();
    }
}

/// A full stock holds the next refill back. An error takes a place in it, so that whoever wants
/// a supervisor learns it and a failing system is asked once per wish, not in a loop.
async fn refill(host: Host, put: mpsc::Sender<io::Result<Spare>>, events: Arc<Events>) {
    for _ in 0..put.max_capacity() {
        let Ok(place) = put.reserve().await else { return };
        place.send(host.spare().await);
    }
    while let Ok(place) = put.reserve().await {
        until_due(&put, &events).await;
        place.send(host.spare().await);
    }
}

/// Starting a supervisor takes a core for a millisecond or two, which the script that has just
/// taken one needs. So it waits for that run's end, unless half of the stock is gone.
async fn until_due(put: &mpsc::Sender<io::Result<Spare>>, events: &Events) {
    loop {
        let missing = put.max_capacity().min(put.capacity() + 1);
        if missing * 2 > put.max_capacity() {
            return;
        }
        tokio::select! {
            () = events.run_over.notified() => return,
            () = events.taken.notified() => {}
        }
    }
}
