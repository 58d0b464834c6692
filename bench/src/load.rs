//! The closed loop: so many callers, each sends its next request when its last one was answered.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::http_client::{Call, Connection, Reply};
use crate::stats::Spread;

/// How much load.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    /// Callers at once.
    pub(crate) concurrency: usize,
    /// The first requests, which are answered and checked but not measured.
    pub(crate) warm_up: u64,
    /// Measured requests at most.
    pub(crate) count: u64,
    /// No new request after this long.
    pub(crate) limit: Duration,
}

/// What is called: how request `n` looks and which answer is right.
pub(crate) trait Target: Send + Sync + 'static {
    /// The `n`-th request.
    fn call(&self, n: u64) -> Call;

    /// The id of the job that was made, once the answer is right.
    ///
    /// # Errors
    /// The answer is not the one to this request.
    fn check(&self, n: u64, reply: Reply) -> anyhow::Result<String>;
}

/// One answered request.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    /// Which request.
    pub(crate) n: u64,
    /// The job it made.
    pub(crate) job: String,
    /// Unix µs when it was sent.
    pub(crate) sent_us: i64,
    /// From the first byte sent to the last one read.
    pub(crate) took: Duration,
    began: Instant,
}

/// All answered requests of a run, warm-up first.
#[derive(Debug)]
pub(crate) struct Answered {
    samples: Vec<Sample>,
    warm_up: u64,
}

struct Shared<T> {
    addr: SocketAddr,
    plan: Plan,
    target: T,
    next: AtomicU64,
    deadline: Instant,
}

/// Sends the load and checks every answer.
///
/// # Errors
/// A request was not answered, or not with what it has to be.
pub(crate) async fn closed_loop(
    addr: SocketAddr,
    plan: Plan,
    target: impl Target,
) -> anyhow::Result<Answered> {
    let deadline = Instant::now() + plan.limit;
    let shared = Arc::new(Shared { addr, plan, target, next: AtomicU64::new(0), deadline });
    let mut callers = JoinSet::new();
    for _ in 0..plan.concurrency {
        callers.spawn(caller(shared.clone()));
    }
    let mut samples = Vec::new();
    while let Some(ended) = callers.join_next().await {
        samples.extend(ended.context("a caller panicked")??);
    }
    samples.sort_by_key(|sample| sample.n);
    Ok(Answered { samples, warm_up: plan.warm_up })
}

async fn caller<T: Target>(shared: Arc<Shared<T>>) -> anyhow::Result<Vec<Sample>> {
    let mut connection = Connection::open(shared.addr).await?;
    let mut samples = Vec::new();
    while let Some(n) = shared.take() {
        let call = shared.target.call(n);
        let (sent_us, began) = (unix_us(), Instant::now());
        let reply = connection.send(call).await?;
        let took = began.elapsed();
        let job = shared.target.check(n, reply).with_context(|| format!("request {n}"))?;
        samples.push(Sample { n, job, sent_us, took, began });
    }
    Ok(samples)
}

impl<T> Shared<T> {
    fn take(&self) -> Option<u64> {
        if Instant::now() >= self.deadline {
            return None;
        }
        let n = self.next.fetch_add(1, Ordering::Relaxed);
        (n < self.plan.warm_up + self.plan.count).then_some(n)
    }
}

#[cfg(test)]
impl Sample {
    /// A sample of this job.
    pub(crate) fn example(job: &str, sent_us: i64, took_us: u64) -> Self {
        let took = Duration::from_micros(took_us);
        Self { n: 0, job: job.to_owned(), sent_us, took, began: Instant::now() }
    }
}

impl Answered {
    /// Every accepted job, those of the warm-up included.
    pub(crate) fn all(&self) -> &[Sample] {
        &self.samples
    }

    /// Those that count.
    pub(crate) fn measured(&self) -> &[Sample] {
        let first = self.samples.partition_point(|sample| sample.n < self.warm_up);
        &self.samples[first..]
    }

    /// The callers' latencies.
    pub(crate) fn latency(&self) -> Spread {
        Spread::of(self.measured().iter().map(|sample| sample.took))
    }

    /// When the first measured request was sent.
    pub(crate) fn began(&self) -> Option<Instant> {
        self.measured().iter().map(|sample| sample.began).min()
    }

    /// Measured requests a second, from the first one's sending to the last answer.
    pub(crate) fn per_second(&self) -> f64 {
        let ended = self.measured().iter().map(|sample| sample.began + sample.took).max();
        match self.began().zip(ended) {
            Some((began, ended)) => rate(self.measured().len(), ended - began),
            None => 0.0,
        }
    }
}

/// So many in that time, a second.
#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
pub(crate) fn rate(count: usize, time: Duration) -> f64 {
    if time.is_zero() { 0.0 } else { count as f64 / time.as_secs_f64() }
}

/// Now, on the clock that our services write into records.
fn unix_us() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(n: u64, began: Instant, at_ms: u64, took_ms: u64) -> Sample {
        let began = began + Duration::from_millis(at_ms);
        Sample { n, job: String::new(), sent_us: 0, took: Duration::from_millis(took_ms), began }
    }

    #[test]
    fn the_warm_up_is_not_measured() {
        let zero = Instant::now();
        let samples = vec![sample(0, zero, 0, 900), sample(1, zero, 100, 10), sample(2, zero, 110, 90)];
        let answered = Answered { samples, warm_up: 1 };
        assert_eq!((answered.all().len(), answered.measured().len()), (3, 2));
        assert!((answered.latency().p99_ms - 90.0).abs() < 1e-9);
        assert!((answered.per_second() - 20.0).abs() < 0.01, "{}", answered.per_second());
    }

    #[test]
    fn nothing_measured_is_no_rate() {
        let answered = Answered { samples: Vec::new(), warm_up: 5 };
        assert!(answered.per_second() == 0.0 && answered.began().is_none());
    }
}
