//! [`main`]: the one order in which every process of ours starts and ends.
//! config (pure) → runtimes → telemetry → admin port → run → wind down → flush.
//!
//! There are two runtimes: the service's work has all cores, and the main thread keeps a small one for signals,
//! probes and the winding down, so that they happen even when the work blocks every thread it has.

use std::convert::Infallible;
use std::io::Write;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::process::ExitCode;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::admin::Admin;
use crate::config::{FromValues, Resolved, Sources, Values, resolve};
use crate::process::{Process, StopReason};
use crate::service::Service;
use crate::shutdown::StopTiming;
use crate::telemetry::{self, Telemetry, TelemetryConfig};

/// The exit code of a process whose configuration is invalid.
const EXIT_CONFIG: u8 = 2;

/// The exit code after a second signal.
const EXIT_SECOND_SIGNAL: i32 = 130;

/// Time for threads that block to end, after everything else has.
const RUNTIME_WINDOW: Duration = Duration::from_secs(1);

/// What every process can be told, whatever it does.
#[derive(Clone, Debug)]
pub struct ProcessConfig {
    /// Where the admin port listens.
    pub admin_listen: SocketAddr,
    /// How long stopping takes.
    pub stop: StopTiming,
    /// Threads of the runtime; by default one for each core.
    pub worker_threads: Option<NonZeroUsize>,
    /// Logs and traces.
    pub telemetry: TelemetryConfig,
}

impl FromValues for ProcessConfig {
    fn from_values(v: &mut Values) -> Self {
        let config = Self {
            admin_listen: v.or(
                "admin-listen",
                "127.0.0.1:0",
                "address of /livez, /readyz, /metrics and /loglevel",
            ),
            stop: StopTiming {
                notice: v.duration("shutdown-notice", "0s", "after SIGTERM: time not ready, yet serving"),
                grace: v.duration(
                    "shutdown-grace",
                    "25s",
                    "after SIGTERM: time until what still runs is aborted",
                ),
            },
            worker_threads: v
                .optional("worker-threads", "threads of the runtime; by default one for each core"),
            telemetry: TelemetryConfig::from_values(v),
        };
        let in_order = config.stop.notice <= config.stop.grace;
        v.check(in_order, "shutdown-notice is longer than shutdown-grace, which it is part of");
        config
    }
}

/// A service's own keys and those of every process.
struct Both<C> {
    own: C,
    process: ProcessConfig,
}

impl<C: FromValues> FromValues for Both<C> {
    fn from_values(values: &mut Values) -> Self {
        Self { own: C::from_values(values), process: ProcessConfig::from_values(values) }
    }
}

/// Runs a service from its arguments to its exit code: 0 it ended well, 1 it failed, 2 its configuration is
/// invalid (all problems are on stderr, and no socket was opened), 130 a second signal ended it at once.
pub fn main<C, F, Fut>(service: &Service, run: F) -> ExitCode
where
    C: FromValues,
    F: FnOnce(C, Process) -> Fut,
    Fut: Future<Output = anyhow::Result<()>> + Send + 'static,
{
    match resolve::<Both<C>>(service, Sources::from_process()) {
        Ok(Resolved::Run(config)) => {
            run_process(service, &config.process, |process| run(config.own, process))
        }
        Ok(Resolved::Print(text)) => {
            // nobody is left to be told when stdout is closed
            let _ = std::io::stdout().write_all(text.as_bytes());
            ExitCode::SUCCESS
        }
        Err(invalid) => {
            let _ = writeln!(std::io::stderr(), "{invalid}");
            ExitCode::from(EXIT_CONFIG)
        }
    }
}

/// The same for a program that has read its configuration by itself: 0 it ended well, 1 it failed.
pub fn run_process<F, Fut>(service: &Service, config: &ProcessConfig, run: F) -> ExitCode
where
    F: FnOnce(Process) -> Fut,
    Fut: Future<Output = anyhow::Result<()>> + Send + 'static,
{
    start(service, config, run).unwrap_or_else(|error| {
        // stderr may be closed; the exit code still tells
        let _ = writeln!(std::io::stderr(), "{}: {error:#}", service.name);
        ExitCode::FAILURE
    })
}

/// The exit code, once there is telemetry to log failures to; an error before that.
fn start<Fut>(
    service: &Service,
    config: &ProcessConfig,
    run: impl FnOnce(Process) -> Fut,
) -> anyhow::Result<ExitCode>
where
    Fut: Future<Output = anyhow::Result<()>> + Send + 'static,
{
    let work = work_runtime(config.worker_threads)?;
    let control = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let telemetry = {
        let _entered = work.enter();
        telemetry::init(service, &config.telemetry)?
    };
    tracing::info!(service.name = service.name, service.version = service.version, "starting");
    let process = Process::new(service.name);
    let begin = || {
        let _entered = work.enter();
        process.spawn_run(run(process.clone()));
    };
    let ended = control.block_on(drive(&process, config, &telemetry, begin));
    tracing::info!(service.name = service.name, ok = ended.is_ok(), "ended");
    telemetry.flush();
    work.shutdown_timeout(RUNTIME_WINDOW);
    Ok(if ended.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn work_runtime(threads: Option<NonZeroUsize>) -> std::io::Result<tokio::runtime::Runtime> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    if let Some(threads) = threads {
        builder.worker_threads(threads.get());
    }
    builder.enable_all().build()
}

/// Runs the service until its process has ended. Failures are logged here or where they happened.
async fn drive(
    process: &Process,
    config: &ProcessConfig,
    telemetry: &Telemetry,
    begin: impl FnOnce(),
) -> anyhow::Result<()> {
    let signals = Signals::new().map_err(|error| process.logged(error.into()))?;
    let admin = Admin::bind(config.admin_listen).map_err(|error| process.logged(error))?;
    let admin = async {
        if let Err(error) = admin.serve(process.readiness.clone(), telemetry).await {
            process.fail(error.context("admin port failed"));
        }
        std::future::pending::<Infallible>().await
    };
    begin();
    tokio::select! {
        ended = stop_in_order(process, config.stop) => ended,
        never = signals.heed(process) => match never {},
        never = admin => match never {},
    }
}

async fn stop_in_order(process: &Process, stop: StopTiming) -> anyhow::Result<()> {
    let timing = match process.stop_requested().await {
        StopReason::Asked => stop,
        // nobody sends us work any more that could notice
        StopReason::Finished | StopReason::Failed => StopTiming { notice: Duration::ZERO, ..stop },
    };
    process.wind_down(timing).await
}

/// The signals that stop a process.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }

    /// The first signal asks for an orderly stop, the second ends the process at once.
    async fn heed(mut self, process: &Process) -> Infallible {
        let signal = self.next().await;
        tracing::info!(signal, "stopping");
        process.stop();
        let signal = self.next().await;
        tracing::warn!(signal, "second signal, ending at once");
        exit_now();
    }
}

#[expect(clippy::exit, reason = "the second signal means: do not wait for anything")]
fn exit_now() -> ! {
    std::process::exit(EXIT_SECOND_SIGNAL)
}
