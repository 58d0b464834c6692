//! Waiting for a dependency that is away: no attempt is spent and nothing is lost, the job
//! stays in this worker's hands as long as its lease does.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};

use crate::keeper::Keeper;

/// Whether it is worth asking again.
pub(crate) trait Transient {
    fn is_transient(&self) -> bool;
}

impl Transient for job_queue::StoreError {
    fn is_transient(&self) -> bool {
        matches!(self, Self::Unavailable(_))
    }
}

impl Transient for catalog::CatalogError {
    fn is_transient(&self) -> bool {
        matches!(self, Self::Unavailable(_))
    }
}

impl Transient for job_queue::ArgsError {
    fn is_transient(&self) -> bool {
        matches!(self, Self::Unavailable(_))
    }
}

impl Transient for tonic::Status {
    fn is_transient(&self) -> bool {
        proto::ErrorCode::from_grpc(self.code()).retryable()
    }
}

/// Why something was not done.
#[derive(Debug)]
pub(crate) enum GaveUp<E> {
    /// The lease ran out, or the worker stops: somebody else will do it.
    NotOurs,
    /// It cannot be done.
    Failed(E),
}

/// The longest pause between two questions, to which chance adds as much again: whoever waits for a job feels it after
/// the dependency is back.
const LONGEST_PAUSE: Duration = Duration::from_millis(400);

/// Asks until there is an answer, an error that stays, or the job is not ours any more.
pub(crate) async fn ask<T, E, F, Fut>(keeper: &Keeper, what: &str, ask: F) -> Result<T, GaveUp<E>>
where
    E: Transient + std::fmt::Display,
    F: Fn() -> Fut,
    Fut: Future<Output = Result<T, E>>,
{
    let mut pauses = ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(50))
        .with_max_delay(LONGEST_PAUSE)
        .without_max_times()
        .with_jitter()
        .build();
    loop {
        match ask().await {
            Ok(answer) => return Ok(answer),
            Err(error) if error.is_transient() => {
                tracing::warn!(dependency = what, %error, "waiting for a dependency");
                let pause = pauses.next().unwrap_or(LONGEST_PAUSE);
                if !keeper.hold(pause).await {
                    return Err(GaveUp::NotOurs);
                }
            }
            Err(error) => return Err(GaveUp::Failed(error)),
        }
    }
}
