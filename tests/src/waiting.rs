//! Waiting for an event: an outer bound, and a panic that says what was waited for.

use std::time::Duration;

/// The pause after the first try; it doubles up to [`LONGEST`].
const SHORTEST: Duration = Duration::from_millis(5);
/// The longest pause between two tries.
const LONGEST: Duration = Duration::from_millis(100);

/// Tries until `attempt` yields something: for what can only be asked for.
///
/// # Panics
/// It yields nothing within `bound`.
pub async fn eventually<T>(what: &str, bound: Duration, mut attempt: impl AsyncFnMut() -> Option<T>) -> T {
    let tries = async {
        let mut pause = SHORTEST;
        loop {
            if let Some(value) = attempt().await {
                return value;
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST);
        }
    };
    within(what, bound, tries).await
}

/// The same without lent state, for futures that move between threads: a closure that is
/// `async` by itself is not known to be `Send` for every lifetime.
pub(crate) async fn retried<T, F: Future<Output = Option<T>>>(
    what: &str,
    bound: Duration,
    mut attempt: impl FnMut() -> F,
) -> T {
    let tries = async {
        let mut pause = SHORTEST;
        loop {
            if let Some(value) = attempt().await {
                return value;
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST);
        }
    };
    within(what, bound, tries).await
}

/// What `event` resolves to.
///
/// # Panics
/// It does not within `bound`.
pub async fn within<T>(what: &str, bound: Duration, event: impl Future<Output = T>) -> T {
    let happened = tokio::time::timeout(bound, event).await;
    happened.unwrap_or_else(|_| panic!("not within {bound:?}: {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_tries_until_there_is_something() {
        let mut tries = 0;
        let found = eventually("the third try", Duration::from_secs(5), async || {
            tries += 1;
            (tries == 3).then_some(tries)
        });
        assert_eq!(found.await, 3);
    }

    #[tokio::test]
    #[should_panic(expected = "a miracle")]
    async fn it_gives_up_at_the_bound() {
        eventually("a miracle", Duration::from_millis(20), async || None::<()>).await;
    }

    #[tokio::test]
    #[should_panic(expected = "not within 20ms: an answer")]
    async fn a_try_that_hangs_ends_at_the_bound() {
        eventually("an answer", Duration::from_millis(20), async || {
            std::future::pending::<Option<()>>().await
        })
        .await;
    }
}
