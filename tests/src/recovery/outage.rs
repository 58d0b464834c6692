//! NATS or Valkey is killed and started again, under a constant load: what its callers feel.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use job_queue::now_us;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{QUICK, Said, Statuses, args, deploy, said, since};
use crate::client::Client;
use crate::data_server::DataServer;
use crate::hub::Hub;
use crate::system::System;
use crate::waiting::eventually;

/// One request each so often; by turns synchronous and asynchronous, by turns at both gateways.
const PACE: Duration = Duration::from_millis(50);
/// The load before the fault, and after the server is back.
const AROUND: Duration = Duration::from_secs(4);
/// The longest that anybody waits for an answer.
const PATIENCE: Duration = Duration::from_secs(90);
/// How long everything that was accepted may take to end.
const ENDS_WITHIN: Duration = Duration::from_secs(90);

/// For so long after its return a server's clients may not have found it yet.
const RETURNS_US: i64 = 2_000_000;

/// Who goes away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Server {
    /// nats-server.
    Nats,
    /// Valkey.
    Valkey,
}

impl Server {
    /// `nats` or `valkey`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Nats => "nats",
            Self::Valkey => "valkey",
        }
    }
}

/// What one outage cost.
#[derive(Clone, Debug)]
pub struct Outage {
    /// From the kill to the moment when the server answers again.
    pub away: Duration,
    /// The longest time in which no job ended.
    pub without_ends: Duration,
    /// The longest time in which no trigger was accepted.
    pub without_triggers: Duration,
    /// The longest that a caller of the synchronous webhook waited for a result.
    pub longest_wait: Duration,
    /// That caller: when the request was sent, its script began and ended, and the answer came, since the kill.
    pub slowest: String,
    /// Answers to requests that were under way when the server went, or came while it was away or within 2 s of its
    /// return.
    pub meanwhile: Statuses,
    /// Answers to all others.
    pub otherwise: Statuses,
    /// Jobs that were accepted, all of which ended with their result.
    pub jobs: usize,
}

/// One request.
#[derive(Clone, Debug)]
struct Call {
    waits: bool,
    sent_us: i64,
    answered_us: i64,
    /// 0: nobody answered.
    status: u16,
    job: String,
    value: String,
}

type Calls = Arc<Mutex<Vec<Call>>>;

/// `rounds` outages, each of them `away`, after which the server is started again.
///
/// # Panics
/// A job that was accepted does not end with its result, or a process does not come back.
pub async fn outages(server: Server, away: Duration, rounds: u32) -> Vec<Outage> {
    let system = System::start().gateways(2).workers(2).slots(4).await;
    deploy(system.client()).await;
    let mut all = Vec::new();
    for round in 0..rounds {
        all.push(outage(&system, server, away, round).await);
    }
    all
}

async fn outage(system: &System, server: Server, away: Duration, round: u32) -> Outage {
    let (calls, stop) = (Calls::default(), CancellationToken::new());
    let load = load(system, &calls, &stop, round);
    tokio::time::sleep(AROUND).await;
    let of: &DataServer = match server {
        Server::Nats => system.nats(),
        Server::Valkey => system.valkey(),
    };
    let gone_us = now_us();
    of.kill();
    // it is away for so long: that is the fault
    tokio::time::sleep(away).await;
    of.start_again().await;
    let back_us = now_us();
    tokio::time::sleep(AROUND).await;
    stop.cancel();
    load.await.expect("the load does not panic");
    let calls = calls.lock().unwrap_or_else(PoisonError::into_inner).clone();
    all_ended(system, &calls).await;
    measured(system.hub(), &calls, (gone_us, back_us))
}

fn load(system: &System, calls: &Calls, stop: &CancellationToken, round: u32) -> JoinHandle<()> {
    let clients = [0, 1].map(|number| system.client().at(system.gateway(number)).unpooled());
    let (calls, stop, hub) = (calls.clone(), stop.clone(), system.hub().clone());
    tokio::spawn(async move {
        let (tasks, mut ticks) = (TaskTracker::new(), tokio::time::interval(PACE));
        for number in 0_usize.. {
            if stop.run_until_cancelled(ticks.tick()).await.is_none() {
                break;
            }
            let (client, calls, value) =
                (clients[number / 2 % 2].clone(), calls.clone(), format!("{round}-{number}"));
            let args = args(&hub, &value);
            tasks.spawn(async move {
                let call = call(&client, number % 2 == 0, value, args).await;
                calls.lock().unwrap_or_else(PoisonError::into_inner).push(call);
            });
        }
        tasks.close();
        tasks.wait().await;
    })
}

async fn call(client: &Client, waits: bool, value: String, args: serde_json::Value) -> Call {
    let verb = if waits { "run_wait_result" } else { "run" };
    let request = client.post(&format!("jobs/{verb}/p/{QUICK}")).json(args);
    let sent_us = now_us();
    let (status, job) = match tokio::time::timeout(PATIENCE, request.try_send()).await {
        Ok(Ok(answer)) if answer.status == 201 => (201, answer.text()),
        Ok(Ok(answer)) => (answer.status, answer.header("x-job-id").to_owned()),
        Ok(Err(_)) | Err(_) => (0, String::new()),
    };
    Call { waits, sent_us, answered_us: now_us(), status, job, value }
}

impl Call {
    fn accepted(&self) -> bool {
        matches!(self.status, 200 | 201)
    }
}

async fn all_ended(system: &System, calls: &[Call]) {
    for call in calls.iter().filter(|call| call.accepted()) {
        let end = system.client().end_of(&call.job).await;
        assert!(end["success"] == true && end["result"] == call.value.as_str(), "{call:?}: {end}");
    }
    // one that was refused may be a job all the same: it is over before the next round
    eventually("nothing waits or runs", ENDS_WITHIN, async || {
        let count = system.client().get_path("jobs/queue/count").send().await;
        (count.status == 200 && count.json()["database_length"] == 0).then_some(())
    })
    .await;
}

fn measured(hub: &Hub, calls: &[Call], (gone_us, back_us): (i64, i64)) -> Outage {
    let began_us = calls.iter().map(|call| call.sent_us).min().unwrap_or(gone_us);
    let said = said(hub);
    let ends = said.iter().filter(|said| said.ended && said.at_us >= began_us).map(|said| said.at_us);
    let accepted = calls.iter().filter(|call| call.accepted());
    // a caller who waits is accepted when the answer comes: for triggers those count who do not
    let triggers = accepted.clone().filter(|call| !call.waits).map(|call| call.answered_us);
    let slowest =
        accepted.clone().filter(|call| call.waits).max_by_key(|call| call.answered_us - call.sent_us);
    let during = |call: &&Call| call.answered_us >= gone_us && call.sent_us < back_us + RETURNS_US;
    let (meanwhile, otherwise) = calls.iter().partition(during);
    Outage {
        away: since(gone_us, back_us),
        without_ends: longest_gap(ends.collect()),
        without_triggers: longest_gap(triggers.collect()),
        longest_wait: slowest.map_or(Duration::ZERO, |call| since(call.sent_us, call.answered_us)),
        slowest: slowest.map_or_else(String::new, |call| told(call, &said, gone_us)),
        meanwhile: statuses(meanwhile),
        otherwise: statuses(otherwise),
        jobs: accepted.count(),
    }
}

fn told(call: &Call, said: &[Said], gone_us: i64) -> String {
    let at = |us: i64| format!("{:+} ms", (us - gone_us) / 1000);
    let of_it = said.iter().filter(|said| said.job == call.job);
    let said: Vec<String> = of_it
        .map(|said| format!("{} {}", if said.ended { "ended" } else { "begun" }, at(said.at_us)))
        .collect();
    format!(
        "job {}: sent {}, {}, answered {}",
        call.job,
        at(call.sent_us),
        said.join(", "),
        at(call.answered_us)
    )
}

fn statuses(calls: Vec<&Call>) -> Statuses {
    let mut statuses = Statuses::new();
    for call in calls {
        *statuses.entry(call.status).or_default() += 1;
    }
    statuses
}

fn longest_gap(mut times: Vec<i64>) -> Duration {
    times.sort_unstable();
    times.windows(2).map(|pair| since(pair[0], pair[1])).max().unwrap_or_default()
}
