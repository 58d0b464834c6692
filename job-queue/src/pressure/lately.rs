//! A reading that is renewed by those who need it, never by a clock: whoever finds it old has it read anew, once for
//! all who do, and goes on with what there is.

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use tokio::sync::{Semaphore, watch};
use tokio::time::Instant;

/// How long a question may take; then nothing is known.
const ANSWER_WITHIN: Duration = Duration::from_secs(1);

/// How long somebody waits for it who must know; then he goes by what was read before.
const AWAITED: Duration = Duration::from_millis(500);

/// How long what was read counts while questions are not answered; then nothing is known, and nothing speaks against a job.
const KEPT: Duration = Duration::from_secs(30);

/// When it was last asked for, and what was read.
#[derive(Clone, Copy)]
struct Taken<T> {
    at: Instant,
    /// The last answer, and when that was asked for; none: there was none for long.
    answer: Option<(Instant, T)>,
}

impl<T: Copy> Taken<T> {
    fn value(self) -> Option<T> {
        self.answer.filter(|(at, _)| at.elapsed() <= KEPT).map(|(_, value)| value)
    }
}

/// One reading, shared. Cheap to clone.
pub(super) struct Lately<T>(Arc<Inner<T>>);

type Ask<T> = Box<dyn Fn() -> BoxFuture<'static, Option<T>> + Send + Sync>;

struct Inner<T> {
    ask: Ask<T>,
    /// What is not older than this is not asked for anew.
    lately: Duration,
    taken: watch::Sender<Option<Taken<T>>>,
    /// One permit: that of whoever asks.
    turn: Arc<Semaphore>,
}

impl<T> Clone for Lately<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T: Copy + Send + Sync + 'static> Lately<T> {
    /// Nothing is asked yet.
    pub(super) fn new(
        lately: Duration,
        ask: impl Fn() -> BoxFuture<'static, Option<T>> + Send + Sync + 'static,
    ) -> Self {
        let (ask, turn) = (Box::new(ask), Arc::new(Semaphore::new(1)));
        Self(Arc::new(Inner { ask, lately, taken: watch::Sender::new(None), turn }))
    }

    /// Refuses by what was read lately, after asking where nothing was; goes on at once where what was read last,
    /// however long ago, gives no cause for suspicion now, and where nothing can be read for long.
    ///
    /// # Errors
    /// What the judge says.
    pub(super) async fn refused<R>(
        &self,
        suspect: impl Fn(&T, Duration) -> bool,
        judge: impl Fn(&T) -> Option<R>,
    ) -> Result<(), R> {
        let last = *self.0.taken.borrow();
        if let Some(taken) = last {
            let value = taken.value();
            let age = taken.answer.map_or(Duration::ZERO, |(at, _)| at.elapsed());
            let old = taken.at.elapsed() > self.0.lately;
            // after a question without an answer it is asked again, and nobody waits for that
            if value.as_ref().is_none_or(|value| !suspect(value, age)) {
                if old {
                    self.ask();
                }
                return Ok(());
            }
            if let Some(refusal) = value.as_ref().filter(|_| !old).and_then(&judge) {
                return Err(refusal);
            }
        }
        match self.anew().await.as_ref().and_then(judge) {
            Some(refusal) => Err(refusal),
            None => Ok(()),
        }
    }

    /// What was read last, if that was not long ago.
    pub(super) fn within(&self, age: Duration) -> Option<T> {
        let answer = self.0.taken.borrow().and_then(|taken| taken.answer);
        answer.filter(|(at, _)| at.elapsed() <= age).map(|(_, value)| value)
    }

    /// Whether somebody has asked within this time.
    pub(super) fn was_asked_within(&self, age: Duration) -> bool {
        let idle = self.0.turn.available_permits() > 0;
        !idle || self.0.taken.borrow().is_some_and(|taken| taken.at.elapsed() <= age)
    }

    async fn anew(&self) -> Option<T> {
        let mut news = self.0.taken.subscribe();
        self.ask();
        // who gets no answer goes by the one before
        let _ = tokio::time::timeout(AWAITED, news.changed()).await;
        let taken = *news.borrow();
        taken.and_then(Taken::value)
    }

    /// Asks in the background, unless somebody does.
    fn ask(&self) {
        let Ok(turn) = self.0.turn.clone().try_acquire_owned() else { return };
        let inner = self.0.clone();
        tokio::spawn(async move {
            let at = Instant::now();
            let value = tokio::time::timeout(ANSWER_WITHIN, (inner.ask)()).await.ok().flatten();
            // before it is told: whoever finds the turn taken is told afterwards
            drop(turn);
            inner.taken.send_modify(|taken| {
                let before = taken.and_then(|taken| taken.answer);
                *taken = Some(Taken { at, answer: value.map(|value| (at, value)).or(before) });
            });
        });
    }
}

#[cfg(test)]
mod tests;
