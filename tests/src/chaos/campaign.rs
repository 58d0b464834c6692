//! One system, one load, one plan, one judgement.

use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fs, io};

use job_queue::now_us;
use tokio::time::Instant;

use super::fault::{EACH, Fault};
use super::ledger::Ledger;
use super::load::{Caller, Load};
use super::plan::Plan;
use super::report::Report;
use super::scripts;
use super::strike::Hand;
use super::ticks;
use super::verify::{Evidence, violations};
use crate::client::Client;
use crate::link::Link;
use crate::system::System;

/// One request each so often.
const PACE: Duration = Duration::from_millis(160);
/// How old large arguments are that are collected: more than a request may be on its way, whatever is wrong.
const ARGS_GRACE: &str = "10s";
/// How long a job is a worker's without renewal.
const LEASE: &str = "2s";
/// How long a synchronous caller waits.
const WAITS: &str = "40s";
/// The load before the first fault.
const RUN_UP: Duration = Duration::from_secs(2);
/// No step is shorter than this many seconds, on average: so many a plan needs.
const SECONDS_PER_STEP: u64 = 2;

/// What is to be done.
#[must_use = "nothing happens until it runs"]
#[derive(Clone, Debug)]
pub struct Campaign {
    seed: u64,
    faults: Vec<Fault>,
    steps: usize,
    time: Option<Duration>,
    worker: &'static str,
    bug: Option<String>,
    pace: Duration,
    logs: Option<PathBuf>,
}

impl Campaign {
    /// Every fault once, in the order of this seed.
    pub fn new(seed: u64) -> Self {
        let faults = Fault::all();
        Self {
            seed,
            steps: faults.len(),
            faults,
            time: None,
            worker: "worker",
            bug: None,
            pace: PACE,
            logs: None,
        }
    }

    /// Only these faults, each once.
    pub fn faults(self, faults: Vec<Fault>) -> Self {
        Self { steps: faults.len(), faults, ..self }
    }

    /// So many of its faults; each again, in another order, if there are more than faults.
    pub fn steps(self, steps: usize) -> Self {
        Self { steps, ..self }
    }

    /// Half as many requests, for several campaigns at once.
    pub fn gently(self) -> Self {
        Self { pace: self.pace * 2, ..self }
    }

    /// Faults until this time is over.
    pub fn lasts(self, time: Duration) -> Self {
        let steps = usize::try_from(time.as_secs() / SECONDS_PER_STEP).unwrap_or(usize::MAX);
        Self { steps: steps.max(1), time: Some(time), ..self }
    }

    /// Workers of this program, with this bug planted.
    pub fn planted(self, worker: &'static str, bug: &str) -> Self {
        Self { worker, bug: Some(bug.to_owned()), ..self }
    }

    /// Keeps what all processes have logged in this folder.
    pub fn logs(self, logs: Option<PathBuf>) -> Self {
        Self { logs, ..self }
    }

    /// What will be done, in this order.
    pub fn plan(&self) -> Plan {
        Plan::of(self.seed, &self.faults, self.steps)
    }

    /// Does it, with a word on each fault to `tell`.
    ///
    /// # Panics
    /// The system does not start, or a process does not come back.
    pub async fn run(self, tell: impl Fn(&str)) -> Report {
        let system = self.system().await;
        scripts::deploy(system.client()).await;
        let ledger = Ledger::default();
        let callers: [Link; EACH] =
            std::array::from_fn(|number| Link::to(address(&system.gateway(number).url())));
        let clients = callers.each_ref().map(|link| {
            Client::new(
                &format!("http://{}", link.address()),
                system.client().workspace(),
                system.client().token(),
            )
            .unpooled()
        });
        let caller = Caller { clients, ledger: ledger.clone(), port: system.hub().port() };
        ticks::begin(system.client(), caller.port).await;
        let load = Load::start(caller, self.seed, self.pace);
        let hand = Hand { system: &system, ledger: ledger.clone(), callers };
        tokio::time::sleep(RUN_UP).await;
        self.strike(&hand, tell).await;
        load.stop().await;
        ticks::end(system.client()).await;
        let evidence = Evidence::gather(&system, &ledger).await;
        if let Some(logs) = &self.logs {
            copy(&system.folder().join("log"), logs).expect("the folder for logs can be written");
        }
        Report::of(self.seed, &evidence, violations(&evidence))
    }

    async fn system(&self) -> System {
        let start = System::start().gateways(EACH).workers(EACH).slots(3).lease(LEASE).linked().disks();
        let start = start.gateway_setting("wait-default", WAITS).worker_program(self.worker);
        let start = start.gateway_setting("sweep-every", "1s").gateway_setting("args-grace", ARGS_GRACE);
        match &self.bug {
            Some(bug) => start.worker_variable("PLANTED_BUG", bug).await,
            None => start.await,
        }
    }

    async fn strike(&self, hand: &Hand<'_>, tell: impl Fn(&str)) {
        let begun = Instant::now();
        for (number, step) in self.plan().steps.iter().enumerate() {
            if self.time.is_some_and(|time| begun.elapsed() >= time) {
                return;
            }
            let from = now_us();
            hand.step(step).await;
            let (took, at) = ((now_us() - from) / 1000, from / 1000);
            tell(&format!("{:6.1?} {:3}. {} ({at} and {took} ms)", begun.elapsed(), number + 1, step.fault));
        }
    }
}

fn address(url: &str) -> std::net::SocketAddr {
    url.trim_start_matches("http://").parse().expect("a gateway's address")
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        fs::copy(entry.path(), to.join(entry.file_name()))?;
    }
    Ok(())
}
