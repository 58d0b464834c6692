//! The pull requests of one worker: for each consumer at most one is outstanding. Pure
//! bookkeeping, so that its rules can be tested without a server.

use std::time::Duration;

use tokio::time::Instant;

/// How long the server keeps a request open.
pub(super) const EXPIRES: Duration = Duration::from_secs(30);
/// A request the server has not ended this long after it expired is taken for lost.
const LOST_AFTER: Duration = Duration::from_secs(5);

/// One consumer's request.
#[derive(Debug, Default)]
pub(super) struct Requests {
    /// Numbers this consumer's requests: an answer to an older one changes nothing.
    number: u64,
    outstanding: Option<Outstanding>,
}

#[derive(Debug)]
struct Outstanding {
    /// Messages it may still bring.
    remaining: usize,
    lost_at: Instant,
}

impl Requests {
    /// A new request's number, if none is outstanding and a slot is free.
    pub(super) fn next(&mut self, free: usize, now: Instant) -> Option<u64> {
        let lost = self.outstanding.as_ref().is_some_and(|request| request.lost_at <= now);
        if free == 0 || (self.outstanding.is_some() && !lost) {
            return None;
        }
        self.number += 1;
        self.outstanding = Some(Outstanding { remaining: free, lost_at: now + EXPIRES + LOST_AFTER });
        Some(self.number)
    }

    /// A message came.
    pub(super) fn delivered(&mut self) {
        if let Some(request) = &mut self.outstanding {
            request.remaining -= 1;
            if request.remaining == 0 {
                self.outstanding = None;
            }
        }
    }

    /// The server ended a request.
    pub(super) fn ended(&mut self, number: u64) {
        if number == self.number {
            self.outstanding = None;
        }
    }

    /// The connection was lost, and the request with it.
    pub(super) fn forget(&mut self) {
        self.outstanding = None;
    }

    /// When the request has to be taken for lost.
    pub(super) fn lost_at(&self) -> Option<Instant> {
        self.outstanding.as_ref().map(|request| request.lost_at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_request_at_a_time_for_at_most_the_free_slots() {
        let mut requests = Requests::default();
        let now = Instant::now();
        assert_eq!(requests.next(0, now), None);
        assert_eq!(requests.next(2, now), Some(1));
        assert_eq!(requests.next(2, now), None);
        requests.delivered();
        assert_eq!(requests.next(1, now), None, "one message may still come");
        requests.delivered();
        assert_eq!(requests.next(1, now), Some(2));
    }

    #[tokio::test(start_paused = true)]
    async fn ends_of_older_requests_are_ignored() {
        let mut requests = Requests::default();
        let now = Instant::now();
        requests.next(1, now);
        requests.forget();
        assert_eq!(requests.next(1, now), Some(2));
        requests.ended(1);
        assert_eq!(requests.next(1, now), None);
        requests.ended(2);
        assert_eq!(requests.next(1, now), Some(3));
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_without_an_end_is_lost_in_time() {
        let mut requests = Requests::default();
        requests.next(1, Instant::now());
        tokio::time::advance(EXPIRES).await;
        assert_eq!(requests.next(1, Instant::now()), None);
        tokio::time::advance(LOST_AFTER).await;
        assert_eq!(requests.next(1, Instant::now()), Some(2));
    }
}
