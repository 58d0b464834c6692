//! Stopping in order: gateways and workers are replaced one after the other under load, and
//! nothing that was accepted is lost, nor anything refused where a gateway still stands.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures::future::join_all;
use serde_json::Value;
use system_tests::{Client, Service, System, eventually, within};
use tokio::task::JoinHandle;

use super::stage::{BOUND, HELD, QUICK, Stage, assert_ended_with, backlog_is, figure, worker_name};

/// What is lost comes again after the lease, which is 15 s here: nothing may have to.
const WELL_UNDER_A_LEASE: Duration = Duration::from_secs(7);
/// How long a gateway that was told to stop goes on serving: until everybody has noticed.
const NOTICE: &str = "1s";

/// What stands before the gateways: it sends a request to one that is ready.
struct Balancer {
    clients: [Client; 2],
    ready: [AtomicBool; 2],
}

impl Balancer {
    /// The preferred gateway, or the other one.
    fn client(&self, preferred: usize) -> &Client {
        let ready = self.ready[preferred].load(Ordering::SeqCst);
        &self.clients[if ready { preferred } else { 1 - preferred }]
    }
}

/// Calls again and again.
struct Load {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
    task: JoinHandle<Vec<(String, String)>>,
}

impl Load {
    fn start(balancer: &Arc<Balancer>, stage: &Arc<Stage>, preferred: usize) -> Self {
        let (stop, answered) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
        let (balancer, stage) = (balancer.clone(), stage.clone());
        let (over, count) = (stop.clone(), answered.clone());
        let task = tokio::spawn(async move {
            let mut accepted = Vec::new();
            while !over.load(Ordering::SeqCst) {
                let value = format!("caller-{preferred}-{}", accepted.len());
                let job = call(balancer.client(preferred), &stage, accepted.len(), &value).await;
                accepted.push((job, value));
                count.fetch_add(1, Ordering::SeqCst);
            }
            accepted
        });
        Self { stop, answered, task }
    }

    /// Waits for some more answers.
    async fn goes_on(&self) {
        let before = self.answered.load(Ordering::SeqCst);
        eventually("the load goes on", BOUND, async || {
            assert!(!self.task.is_finished(), "a call failed");
            (self.answered.load(Ordering::SeqCst) >= before + 5).then_some(())
        })
        .await;
    }

    /// Every job and its value.
    async fn stop(self) -> Vec<(String, String)> {
        self.stop.store(true, Ordering::SeqCst);
        within("the end of the load", BOUND, self.task).await.unwrap()
    }
}

/// One job, by turns asynchronous and synchronous; its id. Nothing is ever tried again.
async fn call(client: &Client, stage: &Stage, number: usize, value: &str) -> String {
    if number.is_multiple_of(2) {
        return client.run(QUICK, stage.args(value)).await;
    }
    let answer = client.wait(QUICK, stage.args(value)).await.expect(200);
    assert_eq!(answer.json(), value);
    answer.header("x-job-id").to_owned()
}

async fn replace(service: &Service) {
    let asked = Instant::now();
    let status = service.terminate().await;
    assert!(status.success(), "{}: {status}", service.name());
    figure(&format!("{} ended in order after {:?}", service.name(), asked.elapsed()));
    service.start_again().await;
}

/// The same, noticed by whatever stands before the gateway.
async fn replace_gateway(gateway: &Service, ready: &AtomicBool) {
    let (asked, check) = (Instant::now(), format!("{}/readyz", gateway.admin_url().await));
    let client = Client::new(&gateway.url(), "main", "");
    gateway.ask_to_end();
    eventually("the gateway says that it is not ready", BOUND, async || {
        let answer = reqwest::get(&check).await.ok()?;
        (answer.status() == 503).then_some(())
    })
    .await;
    figure(&format!("{} was not ready any more after {:?}", gateway.name(), asked.elapsed()));
    client.get_path("/api/version").send().await.expect(200).text();
    ready.store(false, Ordering::SeqCst);
    let status = eventually("the gateway's end", BOUND, async || gateway.ended()).await;
    assert!(status.success(), "{}: {status}", gateway.name());
    gateway.kill();
    gateway.start_again().await;
    ready.store(true, Ordering::SeqCst);
}

#[tokio::test]
async fn a_rolling_restart_under_load() {
    let system =
        System::start().gateways(2).workers(2).slots(2).gateway_setting("shutdown-notice", NOTICE).await;
    let stage = Arc::new(Stage::set(&system).await);
    let clients = [0, 1].map(|number| system.client().at(system.gateway(number)));
    let balancer = Arc::new(Balancer { clients, ready: [true, true].map(AtomicBool::new) });
    let loads = [0, 1].map(|preferred| Load::start(&balancer, &stage, preferred));
    for number in [0, 1] {
        join_all(loads.iter().map(Load::goes_on)).await;
        replace_gateway(system.gateway(number), &balancer.ready[number]).await;
    }
    for number in [0, 1] {
        join_all(loads.iter().map(Load::goes_on)).await;
        replace(system.worker(number)).await;
    }
    join_all(loads.iter().map(Load::goes_on)).await;

    let mut accepted = Vec::new();
    for load in loads {
        accepted.extend(load.stop().await);
    }
    figure(&format!("{} jobs during the restarts, no call failed", accepted.len()));
    for (job, value) in &accepted {
        assert_ended_with(system.client(), job, value).await;
        assert_eq!(stage.runs_of(job), 1);
    }
    let settled = Instant::now();
    backlog_is(&system, 0).await;
    assert!(settled.elapsed() < WELL_UNDER_A_LEASE, "an acknowledgement was lost: {:?}", settled.elapsed());
    assert_eq!(stage.ended().len(), accepted.len());
}

/// The worker of the job that runs, and the other one.
async fn holder<'a>(system: &'a System, stage: &Stage) -> (&'a Service, &'a Service, String) {
    let run = stage.begins(1).await.remove(0);
    let (one, other) = (system.worker(0), system.worker(1));
    if worker_name(one) == run.worker { (one, other, run.job) } else { (other, one, run.job) }
}

#[tokio::test]
async fn a_terminated_worker_finishes_within_its_grace() {
    let system = System::start().workers(2).slots(1).await;
    let (stage, client) = (Stage::set(&system).await, system.client());
    let caller = stage.caller(client, HELD, "kept");
    let (holder, _, job) = holder(&system, &stage).await;
    holder.ask_to_end();
    eventually("the worker drains", BOUND, async || drains(holder).then_some(())).await;
    assert!(holder.ended().is_none() && !caller.is_finished(), "it waits for its script");
    let released = Instant::now();
    stage.let_go(1);
    assert_eq!(within("the answer", BOUND, caller).await.unwrap().expect(200).text(), "\"kept\"");
    backlog_is(&system, 0).await;
    assert!(released.elapsed() < WELL_UNDER_A_LEASE, "its last words were lost: {:?}", released.elapsed());
    let status = eventually("the worker's end", BOUND, async || holder.ended()).await;
    assert!(status.success(), "{status}");
    assert_eq!((&client.get(&job).await["attempt"], stage.begun().len()), (&Value::from(1), 1));
}

/// Whether the worker takes no more work.
fn drains(worker: &Service) -> bool {
    worker.log_lines().iter().any(|line| line["message"] == "draining")
}

#[tokio::test]
async fn a_script_beyond_the_grace_runs_again_at_once() {
    let system = System::start().workers(2).slots(1).worker_setting("shutdown-grace", "1s").await;
    let (stage, client) = (Stage::set(&system).await, system.client());
    let caller = stage.caller(client, HELD, "kept");
    let (holder, other, job) = holder(&system, &stage).await;
    let asked = Instant::now();
    holder.ask_to_end();
    let second = stage.begins(2).await.remove(1);
    let after = asked.elapsed();
    figure(&format!("grace 1 s, lease 15 s: attempt 2 began {after:?} after SIGTERM"));
    assert!(after < WELL_UNDER_A_LEASE, "handed back, not left to the lease of 15 s: {after:?}");
    assert_eq!((&second.job, &second.worker), (&job, &worker_name(other)));
    let status = eventually("the worker's end", BOUND, async || holder.ended()).await;
    assert!(status.success(), "{status}");
    stage.let_go(1);
    assert_eq!(within("the answer", BOUND, caller).await.unwrap().expect(200).text(), "\"kept\"");
    assert_eq!((&client.get(&job).await["attempt"], stage.ended().len()), (&Value::from(2), 1));
    backlog_is(&system, 0).await;
}
