//! Stopping in order: gateways and workers are replaced one after the other under load, and
//! nothing that was accepted is lost, nor anything refused where a gateway still stands.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;
use system_tests::{Answer, Client, Service, System, eventually, within};
use tokio::task::JoinHandle;

use super::stage::{BOUND, HELD, QUICK, Stage, assert_ended_with, backlog_is, worker_name};

/// A client's pause before it tries a refused connection again.
const RETRY: Duration = Duration::from_millis(20);

/// A caller at one gateway who calls again and again.
struct Load {
    stop: Arc<AtomicBool>,
    /// Connections that were refused.
    refused: Arc<AtomicUsize>,
    answered: Arc<AtomicUsize>,
    task: JoinHandle<Vec<(String, String)>>,
}

impl Load {
    fn start(client: Client, stage: &Arc<Stage>, name: &'static str) -> Self {
        let (stop, refused) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
        let answered = Arc::<AtomicUsize>::default();
        let caller = Caller { client, stage: stage.clone(), refused: refused.clone() };
        let (over, count) = (stop.clone(), answered.clone());
        let task = tokio::spawn(async move {
            let mut accepted = Vec::new();
            while !over.load(Ordering::SeqCst) {
                let value = format!("{name}-{}", accepted.len());
                accepted.push((caller.one(accepted.len(), &value).await, value));
                count.fetch_add(1, Ordering::SeqCst);
            }
            accepted
        });
        Self { stop, refused, answered, task }
    }

    fn refused(&self) -> usize {
        self.refused.load(Ordering::SeqCst)
    }

    /// Waits for so many more answers.
    async fn goes_on(&self, more: usize) {
        let before = self.answered.load(Ordering::SeqCst);
        eventually("the load goes on", BOUND, async || {
            (self.answered.load(Ordering::SeqCst) >= before + more).then_some(())
        })
        .await;
    }

    /// Every job and its value.
    async fn stop(self) -> Vec<(String, String)> {
        self.stop.store(true, Ordering::SeqCst);
        within("the end of the load", BOUND, self.task).await.unwrap()
    }
}

struct Caller {
    client: Client,
    stage: Arc<Stage>,
    refused: Arc<AtomicUsize>,
}

impl Caller {
    /// One job, by turns asynchronous and synchronous; its id.
    async fn one(&self, number: usize, value: &str) -> String {
        if number % 2 == 0 {
            return self.send("jobs/run/p", value).await.expect(201).text();
        }
        let answer = self.send("jobs/run_wait_result/p", value).await.expect(200);
        assert_eq!(answer.json(), value);
        answer.header("x-job-id").to_owned()
    }

    /// Nothing but a refused connection is tried again.
    async fn send(&self, kind: &str, value: &str) -> Answer {
        let url = format!("{kind}/{QUICK}");
        loop {
            match self.client.post(&url).json(self.stage.args(value)).try_send().await {
                Ok(answer) => return answer,
                Err(error) => assert!(error.is_connect(), "{error:?}"),
            }
            self.refused.fetch_add(1, Ordering::SeqCst);
            tokio::time::sleep(RETRY).await;
        }
    }
}

async fn replace(service: &Service) {
    let asked = Instant::now();
    let status = service.terminate().await;
    assert!(status.success(), "{}: {status}", service.name());
    println!("{} ended in order after {:?}", service.name(), asked.elapsed());
    service.start_again().await;
}

#[tokio::test]
async fn a_rolling_restart_under_load() {
    let system = System::start().gateways(2).workers(2).slots(2).await;
    let stage = Arc::new(Stage::set(&system).await);
    let loads = [(0, "first"), (1, "second")]
        .map(|(number, name)| Load::start(system.client().at(system.gateway(number)), &stage, name));
    for (number, load) in loads.iter().enumerate() {
        load.goes_on(5).await;
        let before = loads[1 - number].refused();
        replace(system.gateway(number)).await;
        loads[1 - number].goes_on(5).await;
        assert_eq!(loads[1 - number].refused(), before, "the other gateway refused nothing");
    }
    let before = loads.each_ref().map(Load::refused);
    for number in [0, 1] {
        replace(system.worker(number)).await;
        loads[number].goes_on(5).await;
    }
    assert_eq!(loads.each_ref().map(Load::refused), before, "workers are none of a caller's business");

    let mut accepted = Vec::new();
    for load in loads {
        accepted.extend(load.stop().await);
    }
    println!("{} jobs during the restarts, {before:?} connections refused", accepted.len());
    for (job, value) in &accepted {
        assert_ended_with(system.client(), job, value).await;
        assert_eq!(stage.runs_of(job), 1);
    }
    backlog_is(&system, 0).await;
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
    stage.let_go(1);
    assert_eq!(within("the answer", BOUND, caller).await.unwrap().expect(200).text(), "\"kept\"");
    let status = eventually("the worker's end", BOUND, async || holder.ended()).await;
    assert!(status.success(), "{status}");
    assert_eq!((&client.get(&job).await["attempt"], stage.begun().len()), (&Value::from(1), 1));
    backlog_is(&system, 0).await;
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
    println!("grace 1 s, lease 15 s: attempt 2 began {after:?} after SIGTERM");
    assert!(after < Duration::from_secs(7), "handed back, not left to the lease of 15 s: {after:?}");
    assert_eq!((&second.job, &second.worker), (&job, &worker_name(other)));
    let status = eventually("the worker's end", BOUND, async || holder.ended()).await;
    assert!(status.success(), "{status}");
    stage.let_go(1);
    assert_eq!(within("the answer", BOUND, caller).await.unwrap().expect(200).text(), "\"kept\"");
    assert_eq!((&client.get(&job).await["attempt"], stage.ended().len()), (&Value::from(2), 1));
    backlog_is(&system, 0).await;
}
