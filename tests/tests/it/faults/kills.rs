//! Processes killed while a job is in their hands.

use std::time::Instant;

use serde_json::json;
use system_tests::{Service, System, eventually, lives, processes_of, within};

use super::stage::{BOUND, HELD, Stage, assert_ended_with, backlog, backlog_is, figure, slay, worker_name};
use super::wire::Wire;

fn holder<'a>(system: &'a System, name: &str) -> (&'a Service, &'a Service) {
    let (one, other) = (system.worker(0), system.worker(1));
    if worker_name(one) == name { (one, other) } else { (other, one) }
}

#[tokio::test]
async fn a_worker_killed_mid_job() {
    let system = System::start().workers(2).slots(1).lease("2s").await;
    let (stage, client) = (Stage::set(&system).await, system.client());
    let caller = stage.caller(client, HELD, "kept");
    let first = stage.begins(1).await.remove(0);
    let (holder, other) = holder(&system, &first.worker);
    let family = processes_of(&first.job);
    assert_eq!(family.len(), 3, "the script, its child, and its child in another session");
    assert_ne!(worker_name(other), first.worker);

    slay(holder).await;
    let killed = Instant::now();
    eventually("the end of the killed worker's processes", BOUND, async || {
        (!family.iter().copied().any(lives)).then_some(())
    })
    .await;
    let gone = killed.elapsed();
    let second = stage.begins(2).await.remove(1);
    figure(&format!(
        "worker killed: its processes gone after {gone:?}, attempt 2 began after {:?}",
        killed.elapsed()
    ));
    assert_eq!((&second.job, &second.worker), (&first.job, &worker_name(other)));
    assert_eq!(client.get(&first.job).await["attempt"], 2);

    stage.let_go(1);
    let answer = within("the waiting caller's answer", BOUND, caller).await.unwrap().expect(200);
    assert_eq!((answer.text().as_str(), answer.header("x-job-id")), ("\"kept\"", first.job.as_str()));
    assert_ended_with(client, &first.job, "kept").await;
    let job = client.get(&first.job).await;
    assert_eq!((&job["attempt"], &job["worker"]), (&2.into(), &second.worker.as_str().into()), "{job}");
    backlog_is(&system, 0).await;
    assert_eq!(
        (stage.begun().len(), stage.ended().len(), client.list("per_page=100").await.len()),
        (2, 1, 1)
    );
}

#[tokio::test]
async fn a_worker_killed_with_a_job_that_must_not_run_again() {
    let system = System::start().workers(2).slots(1).lease("2s").await;
    let (stage, client) = (Stage::set(&system).await, system.client());
    let source = client.get_path(&format!("scripts/get/p/{HELD}")).send().await.expect(200).json();
    let settings = json!({"retry_on_worker_loss": false, "parent_hash": source["hash"]});
    client.deploy_with(HELD, "bash", source["content"].as_str().unwrap(), settings).await;
    let caller = stage.caller(client, HELD, "once");
    let first = stage.begins(1).await.remove(0);
    let (holder, _) = holder(&system, &first.worker);

    slay(holder).await;
    let answer = within("the waiting caller's answer", BOUND, caller).await.unwrap().expect(422);
    assert_eq!(answer.json()["error"]["name"], "WorkerLost", "{}", answer.text());
    assert!(answer.text().contains("once at most"), "{}", answer.text());
    let job = client.get(&first.job).await;
    assert_eq!((&job["success"], &job["attempt"]), (&false.into(), &1.into()), "{job}");
    backlog_is(&system, 0).await;
    assert_eq!((stage.begun().len(), stage.ended().len()), (1, 0));
}

#[tokio::test]
async fn a_gateway_killed_mid_wait() {
    let system = System::start().gateways(2).slots(1).await;
    let (stage, client) = (Stage::set(&system).await, system.client());
    let (there, args) = (client.at(system.gateway(1)), stage.args("kept"));
    let url = format!("jobs/run_wait_result/p/{HELD}");
    let caller = tokio::spawn(async move { there.post(&url).json(args).try_send().await });
    let job = stage.begins(1).await.remove(0).job;
    assert!(!caller.is_finished(), "the caller waits at the gateway that is about to be killed");

    slay(system.gateway(1)).await;
    let broken = within("the caller's connection breaks", BOUND, caller).await.unwrap();
    assert!(broken.is_err(), "{broken:?}");
    assert_eq!(client.result_maybe(&job).await["completed"], false, "the job goes on");
    assert_eq!(client.get(&job).await["running"], true);

    stage.let_go(1);
    assert_ended_with(client, &job, "kept").await;
    assert_eq!(client.get(&job).await["attempt"], 1);
    backlog_is(&system, 0).await;
    assert_eq!((stage.begun().len(), stage.ended().len()), (1, 1));
}

#[tokio::test]
async fn a_worker_killed_between_result_and_acknowledgement() {
    let system = System::start().workers(2).slots(1).lease("2s").await;
    let (stage, client) = (Stage::set(&system).await, system.client());
    system.worker(1).kill();
    let wire = Wire::to(system.nats().address()).await;
    system.worker(0).kill();
    system.worker(0).set("nats-url", &wire.url());
    system.worker(0).start_again().await;
    let caller = stage.caller(client, HELD, "kept");
    let run = stage.begins(1).await.remove(0);
    assert_eq!(run.worker, worker_name(system.worker(0)));

    wire.cut_after(0);
    stage.let_go(1);
    assert_ended_with(client, &run.job, "kept").await;
    within("something the worker says is swallowed", BOUND, wire.cut()).await;
    slay(system.worker(0)).await;
    assert_eq!(backlog(&system).await, Some(1), "the end is recorded, and the message is still there");
    assert!(!caller.is_finished(), "the completion was swallowed, too");

    let started = Instant::now();
    system.worker(1).start_again().await;
    let answer = within("the waiting caller's answer", BOUND, caller).await.unwrap().expect(200);
    figure(&format!("after-effects repeated {:?} after another worker was started", started.elapsed()));
    assert_eq!(answer.text(), "\"kept\"");
    backlog_is(&system, 0).await;
    let job = client.get(&run.job).await;
    assert_eq!((&job["attempt"], &job["worker"]), (&1.into(), &run.worker.as_str().into()), "{job}");
    assert_eq!((stage.begun().len(), stage.ended().len()), (1, 1));
}
