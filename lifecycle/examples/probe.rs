//! A small service for the process tests in `tests/it`: it starts and stops the way every service of ours does,
//! and misbehaves on demand.

use std::process::ExitCode;
use std::str::FromStr;

use lifecycle::{FromValues, Process, Secret, Values};

/// Borrows a name of the family, for its environment prefix.
const SERVICE: lifecycle::Service =
    lifecycle::Service { name: "worker", about: "a process to test with", version: "0.0.1" };

/// How the probe behaves.
#[derive(Clone, Copy, Debug)]
enum Mode {
    /// Work until the drain, then finish.
    Drain,
    /// Never end.
    Stubborn,
    /// Block a thread for ever.
    Blocked,
    /// An essential task panics.
    Panic,
    /// `run` itself fails.
    Fail,
    /// `run` itself panics.
    PanicRun,
    /// `run` is through at once.
    Finish,
}

impl FromStr for Mode {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "drain" => Ok(Self::Drain),
            "stubborn" => Ok(Self::Stubborn),
            "blocked" => Ok(Self::Blocked),
            "panic" => Ok(Self::Panic),
            "fail" => Ok(Self::Fail),
            "panic-run" => Ok(Self::PanicRun),
            "finish" => Ok(Self::Finish),
            _ => Err("no such mode"),
        }
    }
}

#[derive(Debug)]
struct Config {
    mode: Mode,
    traceparent: String,
    password: Secret<String>,
}

impl FromValues for Config {
    fn from_values(v: &mut Values) -> Self {
        Self {
            mode: v.or("mode", "drain", "how to behave"),
            traceparent: v.or("traceparent", "", "trace to continue"),
            password: v.secret("password", "a secret to keep"),
        }
    }
}

fn main() -> ExitCode {
    lifecycle::main(&SERVICE, run)
}

async fn run(config: Config, process: Process) -> anyhow::Result<()> {
    let latch = process.readiness.latch("probe");
    process.readiness.detail("mode", format!("{:?}", config.mode));
    metrics::counter!("probe_starts_total").increment(1);
    metrics::histogram!("probe_start_seconds").record(0.003);
    let span = tracing::info_span!("probe-work");
    lifecycle::set_parent(&span, &config.traceparent, "vendor=1");
    span.in_scope(|| tracing::debug_span!("detail").in_scope(traced));
    tracing::debug!(password = %config.password, "a line for debugging");
    latch.ready();
    tracing::info!("probe is up");
    behave(config.mode, &process).await
}

fn traced() {
    let context = lifecycle::current_trace_context();
    let state = context.map(|context| context.tracestate).unwrap_or_default();
    let parent = lifecycle::current_traceparent().unwrap_or_default();
    tracing::info!(trace.parent = parent, trace.state = state, "traced");
}

async fn behave(mode: Mode, process: &Process) -> anyhow::Result<()> {
    match mode {
        Mode::Drain => {
            process.shutdown.draining().await;
            tracing::info!("probe finished its work");
        }
        Mode::Stubborn => std::future::pending().await,
        Mode::Blocked => std::thread::park(),
        Mode::Panic => {
            process.spawn_essential("worm", async { panic!("planted panic") });
            process.shutdown.draining().await;
        }
        Mode::Fail => anyhow::bail!("planted failure"),
        Mode::PanicRun => panic!("planted panic"),
        Mode::Finish => {}
    }
    Ok(())
}
