//! What a long queue costs: the acceptance of new triggers, what is asked about jobs, and the draining, beside the
//! same with a short one, in one installation. No worker serves the jobs' tag but while the draining is measured.

mod memory;
mod reads;
mod report;

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};
use hookmill::up::profile::Profile;

use crate::case::Script;
use crate::install::Install;
use crate::load::{Answered, Plan, Sample, closed_loop, rate};
use crate::product::Product;
use crate::queue;
use crate::stats::Spread;

use report::Acceptance;
pub(crate) use report::BacklogReport;

/// The tag of every job of this part.
const TAG: &str = "backlog";

/// What one queued job takes of the job stream at most, in bytes; gateways refuse at 80 % of its size.
const JOB_BYTES: u64 = 2048;

/// What a stream for no backlog at all is given, in bytes.
const STREAM_BYTES: u64 = 1 << 30;

/// Callers at once while the queue is filled.
const FILLERS: usize = 32;

/// How long filling may take, a million jobs at a durable 300 a second.
const FILL_WITHIN: Duration = Duration::from_hours(1);

/// How much is measured of each.
#[derive(Clone, Copy, Debug)]
struct Amounts {
    /// One after the other, and many at once, so often in turn.
    rounds: usize,
    /// Triggers by one caller.
    alone: u64,
    /// Triggers by 16.
    together: u64,
    /// Calls of each question.
    asked: u64,
}

/// Callers of the acceptance's rate.
const TOGETHER: usize = 16;

impl Amounts {
    fn of(quick: bool) -> Self {
        if quick {
            Self { rounds: 2, alone: 20, together: 100, asked: 20 }
        } else {
            Self { rounds: 4, alone: 250, together: 1000, asked: 400 }
        }
    }

    /// What the acceptance leaves in the queue.
    fn accepted(self) -> u64 {
        self.rounds as u64 * (self.alone + self.together)
    }
}

/// Measures a queue of `size` jobs.
///
/// # Errors
/// A trigger or a question was not answered as it has to be, a result was wrong, or jobs are missing.
pub(crate) async fn measure(
    parent: &Path,
    profile: Profile,
    size: u64,
    quick: bool,
) -> anyhow::Result<BacklogReport> {
    let mut install = Install::start(parent, profile, STREAM_BYTES + size * JOB_BYTES).await?;
    let measured = tokio::select! {
        measured = Box::pin(on(&mut install, profile, size, Amounts::of(quick))) => measured,
        _ = tokio::signal::ctrl_c() => Err(anyhow::anyhow!("interrupted")),
    };
    let measured = measured.with_context(|| format!("the logs' ends:\n{}", install.logs()));
    install.stop().await;
    measured
}

async fn on(
    install: &mut Install,
    profile: Profile,
    size: u64,
    amounts: Amounts,
) -> anyhow::Result<BacklogReport> {
    let product = Product::of(install);
    product.deploy_backlog(TAG).await?;
    let memory_before = memory::of(install).await?;
    let (empty, short) = accept(&product, amounts).await.context("with an empty queue")?;
    let drained_short = drain(install, amounts.accepted()).await.context("draining the short queue")?;
    let mut compared = product.compare(Script::Bash, &short).await?;

    let filled = fill(&product, size).await.context("filling the queue")?;
    reads::until_all_rows(&product, size).await?;
    let (full, more) = accept(&product, amounts).await.context("with a full queue")?;
    let queued = queue::held(install.monitor).await?;
    if queued != size + more.len() as u64 {
        bail!("{queued} jobs are in the queue instead of {}", size + more.len() as u64);
    }
    let reads = reads::ask(&product, filled.all(), amounts.asked).await?;
    let memory = memory::beside(memory_before, memory::of(install).await?);
    let drained_long = drain(install, amounts.accepted()).await.context("draining the long queue")?;
    // in the order of their acceptance, but for those that were under way at once
    let ended = usize::try_from(amounts.accepted())? / 2;
    compared += product.compare(Script::Bash, &filled.all()[..ended.min(filled.all().len())]).await?;
    Ok(BacklogReport {
        profile: profile.to_string(),
        queued,
        filled_per_second: filled.per_second(),
        empty,
        full,
        drained_short,
        drained_long,
        reads,
        memory,
        compared,
    })
}

/// Rate and latency of asynchronous triggers that nobody works off, and the jobs.
async fn accept(product: &Product, amounts: Amounts) -> anyhow::Result<(Acceptance, Vec<Sample>)> {
    let (mut alone, mut rates, mut jobs) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..amounts.rounds {
        let one = trigger(product, 1, amounts.alone).await?;
        alone.extend(one.measured().iter().map(|sample| sample.took));
        let many = trigger(product, TOGETHER, amounts.together).await?;
        rates.push(many.per_second());
        jobs.extend(one.all().iter().chain(many.all()).cloned());
    }
    rates.sort_by(f64::total_cmp);
    let per_second = rates.get(rates.len() / 2).copied().unwrap_or(0.0);
    Ok((Acceptance { latency: Spread::of(alone), per_second }, jobs))
}

async fn fill(product: &Product, size: u64) -> anyhow::Result<Answered> {
    let filled = trigger(product, FILLERS, size).await?;
    if filled.all().len() as u64 != size {
        bail!("only {} of {size} jobs within {} s", filled.all().len(), FILL_WITHIN.as_secs());
    }
    Ok(filled)
}

async fn trigger(product: &Product, concurrency: usize, count: u64) -> anyhow::Result<Answered> {
    let plan = Plan { concurrency, warm_up: 0, count, limit: FILL_WITHIN };
    closed_loop(product.addr(), plan, product.backlog_webhook()).await
}

/// Lets a worker work off so many, and says how many it does in a second once it is at it.
async fn drain(install: &mut Install, jobs: u64) -> anyhow::Result<f64> {
    let before = queue::held(install.monitor).await?;
    install.start_worker_for(TAG).await?;
    let began = queue::until_at_most(install.monitor, before - jobs / 10).await?;
    let ended = queue::until_at_most(install.monitor, before - jobs * 9 / 10).await?;
    let done = usize::try_from(began.held - ended.held)?;
    queue::until_at_most(install.monitor, before - jobs).await?;
    install.stop_last().await;
    Ok(rate(done, ended.at - began.at))
}
