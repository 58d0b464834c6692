//! The places of waiting callers: by job, several of them for one job where a trigger was
//! repeated. Pure bookkeeping.

use std::collections::HashMap;

use proto::JobId;
use tokio::sync::oneshot;

use super::Signal;

/// Who waits for what.
#[derive(Default)]
pub(super) struct Places {
    by_job: HashMap<JobId, Vec<Place>>,
    taken: usize,
    last: u64,
}

struct Place {
    number: u64,
    sender: oneshot::Sender<Signal>,
}

impl Places {
    /// How many callers wait.
    pub(super) fn taken(&self) -> usize {
        self.taken
    }

    /// A new place: its number, and what it will be told.
    pub(super) fn take(&mut self, id: JobId) -> (u64, oneshot::Receiver<Signal>) {
        let (sender, signal) = oneshot::channel();
        self.last += 1;
        self.taken += 1;
        self.by_job.entry(id).or_default().push(Place { number: self.last, sender });
        (self.last, signal)
    }

    /// Tells everybody who waits for this job, and frees their places.
    pub(super) fn tell(&mut self, id: JobId, signal: &Signal) {
        for place in self.by_job.remove(&id).unwrap_or_default() {
            self.taken -= 1;
            // a waiter that has just left needs no answer
            let _ = place.sender.send(signal.clone());
        }
    }

    /// Frees a place, if it is still taken.
    pub(super) fn leave(&mut self, id: JobId, number: u64) {
        let Some(places) = self.by_job.get_mut(&id) else { return };
        let before = places.len();
        places.retain(|place| place.number != number);
        self.taken -= before - places.len();
        if places.is_empty() {
            self.by_job.remove(&id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_who_waits_for_a_job_is_told() {
        let (mut places, id) = (Places::default(), JobId::random());
        let (_, mut first) = places.take(id);
        let (second, mut gone) = places.take(id);
        let (_, mut other) = places.take(JobId::random());
        places.leave(id, second);
        assert_eq!(places.taken(), 2);
        places.tell(id, &Signal::Look);
        assert!(matches!(first.try_recv(), Ok(Signal::Look)));
        assert!(gone.try_recv().is_err() && other.try_recv().is_err());
        assert_eq!(places.taken(), 1);
    }

    #[test]
    fn a_place_is_freed_once() {
        let (mut places, id) = (Places::default(), JobId::random());
        let (number, _signal) = places.take(id);
        places.tell(id, &Signal::Look);
        places.leave(id, number);
        places.leave(id, number);
        assert_eq!(places.taken(), 0);
    }
}
