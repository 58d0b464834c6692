//! Waiting for a server: short pauses between tries, one outer bound, and a panic that says
//! what was waited for.

use std::time::Duration;

/// How long anything may take before a test has failed.
pub(crate) const BOUND: Duration = Duration::from_secs(15);
/// The pause between two tries.
const PAUSE: Duration = Duration::from_millis(5);

/// What `event` resolves to, or a panic that names `what` after 15 s.
///
/// # Panics
/// It did not happen in time.
pub async fn within<T>(what: &str, event: impl Future<Output = T>) -> T {
    let happened = tokio::time::timeout(BOUND, event).await;
    happened.unwrap_or_else(|_| panic!("not within {} s: {what}", BOUND.as_secs()))
}

/// Tries until `attempt` yields something; for what cannot tell by itself when it is ready.
pub(crate) async fn until<T>(what: &str, mut attempt: impl AsyncFnMut() -> Option<T>) -> T {
    let tries = async {
        loop {
            if let Some(value) = attempt().await {
                return value;
            }
            tokio::time::sleep(PAUSE).await;
        }
    };
    within(what, tries).await
}
