//! The run: for each profile a new installation, the floor, the product, the comparison, the empty queue.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::Parser;
use hookmill::up::profile::Profile;

use crate::args::{Args, Format, Options, Part, Role};
use crate::backlog;
use crate::case::{Mode, Script};
use crate::facts::Facts;
use crate::floor::Floor;
use crate::install::{Install, ours};
use crate::launcher;
use crate::load::{Answered, Plan, closed_loop, rate};
use crate::overhead::Overhead;
use crate::product::Product;
use crate::queue;
use crate::report::{CaseReport, ProfileReport, Report};
use crate::sizes::Length;

/// The size of the job stream, far above what any case leaves waiting.
const QUEUE_BYTES: u64 = 1 << 30;

/// Parses the command line and does what it says. 0 measured, 1 a result was wrong, a job was left or
/// something failed, 2 wrongly used.
pub(crate) fn main() -> ExitCode {
    let Args { role, options } = Args::parse();
    let done = match role {
        None => on_one_thread(measure(options)),
        Some(Role::FloorGateway(args)) => on_all_cores(args.run()),
        Some(Role::FloorWorker(args)) => on_all_cores(args.run()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The load generator: one thread takes less from the two cores than two would.
fn on_one_thread(work: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work)
}

/// The floor's processes: as many threads as the product's have.
fn on_all_cores(work: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(work)
}

async fn measure(options: Options) -> anyhow::Result<()> {
    let parent = data_folder(&options)?;
    let host = Facts::gather(&parent)?;
    let mut report =
        Report { warnings: host.warnings(), host, launcher: Vec::new(), backlog: None, profiles: Vec::new() };
    if options.wants(Part::Launcher) {
        let samples = if options.quick { 20 } else { 300 };
        report.launcher = launcher::measure(&parent, samples).await.context("launcher")?;
    }
    if options.wants(Part::Backlog) {
        let profile = options.profile.unwrap_or(Profile::Durable);
        let found = backlog::measure(&parent, profile, options.backlog, options.quick);
        report.backlog = Some(Box::pin(found).await.context("backlog")?);
    }
    for profile in options.profiles().into_iter().filter(|_| options.wants_webhooks()) {
        let found = Box::pin(on_an_installation(&options, &parent, profile)).await?;
        report.warnings.extend(found.noise(profile));
        report.profiles.push(found);
    }
    print(&options, &report)
}

/// Beside this program: the disk of the checkout, where temporary folders are often in memory.
fn data_folder(options: &Options) -> anyhow::Result<PathBuf> {
    let own = || ours("bench").ok()?.parent().map(PathBuf::from);
    options.data.clone().or_else(own).context("no folder for data: give one with --data")
}

fn print(options: &Options, report: &Report) -> anyhow::Result<()> {
    let text = match options.output {
        Format::Text => report.to_string(),
        Format::Json => serde_json::to_string_pretty(report)? + "\n",
    };
    Ok(std::io::stdout().write_all(text.as_bytes())?)
}

async fn on_an_installation(
    options: &Options,
    parent: &std::path::Path,
    profile: Profile,
) -> anyhow::Result<ProfileReport> {
    let length = Length::of(options.quick, profile, options.profile.is_some());
    let mut install = Install::start(parent, profile, QUEUE_BYTES).await?;
    let measured = tokio::select! {
        measured = everything(options, length, profile, &mut install) => measured,
        _ = tokio::signal::ctrl_c() => Err(anyhow::anyhow!("interrupted")),
    };
    let measured = measured.with_context(|| format!("the logs' ends:\n{}", install.logs()));
    install.stop().await;
    measured
}

async fn everything(
    options: &Options,
    length: Length,
    profile: Profile,
    install: &mut Install,
) -> anyhow::Result<ProfileReport> {
    let (profile, overhead) = (profile.to_string(), Vec::new());
    let mut report = ProfileReport { profile, cases: Vec::new(), overhead, compared: 0, left_in_queue: 0 };
    if options.wants(Part::Floor) {
        let floor = Floor::start(install).await?;
        floor_cases(length, &floor, install, &mut report).await?;
    }
    let product = Product::of(install);
    for script in Script::ALL.into_iter().filter(|script| options.wants(script.part())) {
        product.deploy(script).await?;
        for mode in [Mode::Sync, Mode::Async] {
            for concurrency in length.concurrencies() {
                let plan = length.product(script, mode, concurrency);
                product_case(&product, install, script, mode, plan, &mut report).await?;
            }
        }
    }
    report.left_in_queue = queue::held(install.monitor).await?;
    if report.left_in_queue > 0 {
        bail!("{} messages are left in JOBS_0", report.left_in_queue);
    }
    Ok(report)
}

async fn floor_cases(
    length: Length,
    floor: &Floor,
    install: &Install,
    report: &mut ProfileReport,
) -> anyhow::Result<()> {
    for mode in [Mode::Sync, Mode::Async] {
        for concurrency in length.concurrencies() {
            let plan = length.floor(concurrency);
            let answered = closed_loop(floor.addr(), plan, Floor::webhook(mode)).await;
            let answered = answered.with_context(|| format!("floor, {}, c={concurrency}", mode.name()))?;
            let case = case("floor", mode, plan, &answered, install).await?;
            report.cases.push(case);
        }
    }
    Ok(())
}

async fn product_case(
    product: &Product,
    install: &Install,
    script: Script,
    mode: Mode,
    plan: Plan,
    report: &mut ProfileReport,
) -> anyhow::Result<()> {
    let what = || format!("{}, {}, c={}", script.name(), mode.name(), plan.concurrency);
    let answered =
        closed_loop(product.addr(), plan, product.webhook(script, mode)).await.with_context(what)?;
    report.cases.push(case(script.name(), mode, plan, &answered, install).await.with_context(what)?);
    report.compared += product.compare(script, answered.all()).await.with_context(what)?;
    if mode == Mode::Sync && plan.concurrency == 1 {
        let records = product.records(answered.measured()).await.with_context(what)?;
        report.overhead.push(Overhead::of(script.name(), answered.measured(), &records)?);
    }
    Ok(())
}

/// Waits until everything accepted is worked off, so that no case runs into the next.
async fn case(
    what: &'static str,
    mode: Mode,
    plan: Plan,
    answered: &Answered,
    install: &Install,
) -> anyhow::Result<CaseReport> {
    let empty = queue::until_empty(install.monitor).await?;
    let Some(began) = answered.began() else {
        bail!("nothing was measured within {} s", plan.limit.as_secs())
    };
    let worked_off = rate(answered.measured().len(), empty - began);
    Ok(CaseReport {
        what,
        mode: mode.name(),
        concurrency: plan.concurrency,
        per_second: answered.per_second(),
        latency: answered.latency(),
        worked_off_per_second: (mode == Mode::Async).then_some(worked_off),
    })
}
