use std::sync::atomic::{AtomicU64, Ordering};

use futures::FutureExt;
use tokio::sync::Notify;
use tokio::time::advance;

use super::*;

const LATELY: Duration = Duration::from_secs(1);

/// What is read, how often it was, and whether an answer may come.
struct Source {
    value: AtomicU64,
    asked: AtomicU64,
    answer: Notify,
}

impl Source {
    fn new(value: u64) -> (Arc<Self>, Lately<u64>) {
        let source =
            Arc::new(Self { value: AtomicU64::new(value), asked: AtomicU64::new(0), answer: Notify::new() });
        let asked = source.clone();
        let ask = move || {
            let source = asked.clone();
            async move {
                source.asked.fetch_add(1, Ordering::Relaxed);
                source.answer.notified().await;
                Some(source.value.load(Ordering::Relaxed)).filter(|value| *value > 0)
            }
            .boxed()
        };
        (source, Lately::new(LATELY, ask))
    }

    fn asked(&self) -> u64 {
        self.asked.load(Ordering::Relaxed)
    }

    /// The answer from now on, and one of them comes.
    fn answers(&self, value: u64) {
        self.value.store(value, Ordering::Relaxed);
        self.answer.notify_one();
    }
}

/// More than ten is too much, more than eight suspicious.
async fn look(lately: &Lately<u64>) -> Result<(), u64> {
    lately.refused(|value, _| *value > 8, |value| (*value > 10).then_some(*value)).await
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_but_the_first_and_all_ask_once() {
    let (source, lately) = Source::new(1);
    source.answers(1);
    assert_eq!(look(&lately).await, Ok(()));
    assert_eq!(source.asked(), 1);
    for _ in 0..3 {
        assert_eq!(look(&lately).now_or_never(), Some(Ok(())));
    }
    advance(LATELY + Duration::from_millis(1)).await;
    for _ in 0..3 {
        assert_eq!(look(&lately).now_or_never(), Some(Ok(())), "it goes by what was read last");
        tokio::task::yield_now().await;
    }
    assert_eq!(source.asked(), 2, "the second question has no answer yet");
    source.answers(11);
    while lately.within(LATELY) != Some(11) {
        tokio::task::yield_now().await;
    }
    assert_eq!(look(&lately).now_or_never(), Some(Err(11)), "refused without a question");
    assert_eq!(source.asked(), 2);
}

#[tokio::test(start_paused = true)]
async fn nobody_is_refused_by_old_news() {
    let (source, lately) = Source::new(11);
    source.answers(11);
    assert_eq!(look(&lately).await, Err(11));
    advance(LATELY + Duration::from_millis(1)).await;
    source.answers(3);
    assert_eq!(look(&lately).await, Ok(()));
    // nor by a suspicion, however young
    advance(LATELY + Duration::from_millis(1)).await;
    source.answers(9);
    assert_eq!(look(&lately).await, Ok(()));
    while lately.within(LATELY) != Some(9) {
        tokio::task::yield_now().await;
    }
    source.answers(10);
    assert_eq!(look(&lately).await, Ok(()));
    source.answers(12);
    assert_eq!(look(&lately).await, Err(12));
    assert_eq!(source.asked(), 5);
}

#[tokio::test(start_paused = true)]
async fn where_nothing_can_be_read_nothing_is_refused() {
    let (source, lately) = Source::new(1);
    let began = Instant::now();
    assert_eq!(look(&lately).await, Ok(()));
    assert_eq!(began.elapsed(), AWAITED, "the first waits, but not for long");
    advance(ANSWER_WITHIN).await;
    while lately.0.taken.borrow().is_none() {
        tokio::task::yield_now().await;
    }
    assert_eq!(look(&lately).now_or_never(), Some(Ok(())), "nobody waits for what did not come");
    assert_eq!(source.asked(), 1);
    tokio::task::yield_now().await;
    source.answers(11);
    while lately.within(LATELY).is_none() {
        tokio::task::yield_now().await;
    }
    assert_eq!(look(&lately).await, Err(11));
}

#[tokio::test(start_paused = true)]
async fn what_was_read_stands_for_a_while_without_answers() {
    let (source, lately) = Source::new(11);
    source.answers(11);
    assert_eq!(look(&lately).await, Err(11));
    for _ in 0..10 {
        advance(ANSWER_WITHIN + LATELY).await;
        assert_eq!(look(&lately).await, Err(11), "nothing was heard since");
    }
    advance(KEPT).await;
    assert_eq!(look(&lately).await, Ok(()), "nothing is known any more");
}
