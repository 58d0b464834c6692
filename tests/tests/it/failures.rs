//! What docs/failures/ says that callers see and that metrics show, page by page.

use serde_json::{Value, json};
use system_tests::{Answer, Client, Service, System, eventually};

use crate::faults::stage::{BOUND, HELD, QUICK, Stage, assert_ended_with, backlog_is, figure};

/// A metric's value at a service, by its name and labels as they are printed; none where it is not there.
async fn metric(service: &Service, name: &str) -> Option<u64> {
    let text =
        reqwest::get(format!("{}/metrics", service.admin_url().await)).await.unwrap().text().await.unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
    line.parse().ok()
}

async fn shows(service: &Service, name: &str, wanted: impl Fn(u64) -> bool) {
    eventually(&format!("{name} of {}", service.name()), BOUND, async || {
        metric(service, name).await.filter(|value| wanted(*value)).map(drop)
    })
    .await;
}

async fn asynchronous(client: &Client, stage: &Stage) -> Answer {
    client.post(&format!("jobs/run/p/{QUICK}")).json(stage.args("seen")).send().await
}

async fn synchronous(client: &Client, stage: &Stage) -> Answer {
    client
        .post(&format!("jobs/run_wait_result/p/{QUICK}?timeout_wait=2"))
        .json(stage.args("seen"))
        .send()
        .await
}

async fn keyed(client: &Client, stage: &Stage) -> Answer {
    let request = client.post(&format!("jobs/run/p/{QUICK}")).header("idempotency-key", "seen");
    request.json(stage.args("seen")).send().await
}

fn told(what: &str, answer: &Answer) {
    let header = |name| answer.header(name).to_owned();
    let (again, job) = (header("retry-after"), header("x-job-id"));
    figure(&format!("{what}: {} retry-after `{again}` x-job-id `{job}`: {}", answer.status, answer.text()));
}

#[tokio::test(flavor = "multi_thread")]
async fn nats_away() {
    let system = System::start().await;
    let stage = Stage::set(&system).await;
    system.nats().kill();
    for service in [system.gateway(0), system.worker(0)] {
        shows(service, r#"ready_check{check="nats"}"#, |value| value == 0).await;
        shows(service, "ready", |value| value == 0).await;
        shows(service, "nats_disconnected_total", |value| value >= 1).await;
    }
    for answer in [asynchronous(system.client(), &stage).await, keyed(system.client(), &stage).await] {
        told("nats away", &answer);
        assert_eq!((answer.status, answer.header("retry-after")), (503, "1"));
        assert!(!answer.header("x-job-id").is_empty());
    }
    told("nats away, sync", &synchronous(system.client(), &stage).await.expect(503));
}

#[tokio::test(flavor = "multi_thread")]
async fn valkey_away() {
    let system = System::start().await;
    let (stage, client) = (Stage::set(&system).await, system.client());
    system.valkey().kill();
    let job = asynchronous(client, &stage).await.expect(201).text();
    for answer in [synchronous(client, &stage).await, keyed(client, &stage).await] {
        told("valkey away", &answer);
        assert_eq!((answer.status, answer.header("retry-after")), (503, "1"));
        assert!(answer.header("x-job-id").is_empty(), "nothing exists");
    }
    for service in [system.gateway(0), system.worker(0)] {
        shows(service, r#"job_queue_store_errors_total{kind="unavailable"}"#, |value| value >= 1).await;
        shows(service, "ready", |value| value == 1).await;
    }
    system.valkey().start_again().await;
    assert_ended_with(client, &job, "seen").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn valkey_at_its_memory_limit() {
    let system = System::start().slots(1).await;
    let (stage, client) = (Stage::set(&system).await, system.client());
    let held = client.run(HELD, stage.args("held")).await;
    stage.begins(1).await;
    system.valkey().administer(&["CONFIG", "SET", "maxmemory", "1mb"]).await.unwrap();
    // what was read of its memory last is a second old at most
    let refused = eventually("new jobs are refused", BOUND, async || {
        let answer = asynchronous(client, &stage).await;
        (answer.status != 201).then_some(answer)
    })
    .await;
    for answer in [refused, synchronous(client, &stage).await, keyed(client, &stage).await] {
        told("memory limit", &answer);
        assert_eq!((answer.status, answer.header("retry-after"), answer.header("x-job-id")), (503, "30", ""));
    }
    stage.let_go(1);
    shows(system.worker(0), r#"job_queue_store_errors_total{kind="unavailable"}"#, |value| value >= 1).await;
    system.valkey().administer(&["CONFIG", "SET", "maxmemory", "0"]).await.unwrap();
    assert_ended_with(client, &held, "held").await;
    let accepted = eventually("a new job is accepted", BOUND, async || {
        Some(asynchronous(client, &stage).await).filter(|answer| answer.status == 201)
    })
    .await;
    assert_ended_with(client, &accepted.text(), "seen").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue() {
    let system = System::start().slots(1).await;
    let (stage, client) = (Stage::set(&system).await, system.client());
    let held = client.run(HELD, stage.args("held")).await;
    stage.begins(1).await;
    let mut config = system.ask_jetstream("STREAM.INFO.JOBS_0", &json!({})).await["config"].clone();
    config["max_bytes"] = json!(2000);
    let changed: Value = system.ask_jetstream("STREAM.UPDATE.JOBS_0", &config).await;
    assert!(changed["error"].is_null(), "{changed}");
    let refused = eventually("the queue is full", BOUND, async || {
        let answer = asynchronous(client, &stage).await;
        (answer.status != 201).then_some(answer)
    })
    .await;
    told("full queue", &refused);
    assert_eq!((refused.status, refused.header("retry-after")), (503, "5"));
    stage.let_go(1);
    assert_ended_with(client, &held, "held").await;
    backlog_is(&system, 0).await;
    asynchronous(client, &stage).await.expect(201);
}

#[tokio::test(flavor = "multi_thread")]
async fn full_disks() {
    let system = System::start().disks().await;
    let (stage, client) = (Stage::set(&system).await, system.client());
    let Some(disk) = system.disk(system.nats()) else {
        figure("NOT TRIED: this process may not mount a disk");
        return;
    };
    asynchronous(client, &stage).await.expect(201);
    backlog_is(&system, 0).await;
    disk.fill();
    let refused = eventually("NATS refuses", BOUND, async || {
        let answer = asynchronous(client, &stage).await;
        (answer.status != 201).then_some(answer)
    })
    .await;
    told("nats disk full", &refused);
    assert_eq!((refused.status, refused.header("retry-after")), (503, "1"));
    disk.empty();
    let answer = asynchronous(client, &stage).await;
    told("nats disk has room again", &answer);
    system.nats().kill();
    system.nats().start_again().await;
    eventually("it is accepted again", BOUND, async || {
        (asynchronous(client, &stage).await.status == 201).then_some(())
    })
    .await;

    let disk = system.disk(system.valkey()).unwrap();
    disk.fill();
    let (sync, by_key) = (synchronous(client, &stage).await, keyed(client, &stage).await);
    told("valkey disk full, sync", &sync);
    told("valkey disk full, keyed", &by_key);
    let ended = eventually("Valkey ends", BOUND, async || system.valkey().ended()).await;
    figure(&format!("valkey disk full: {ended}"));
    disk.empty();
    system.valkey().kill();
    system.valkey().start_again().await;
    assert_ended_with(client, &client.run(QUICK, stage.args("after")).await, "after").await;
    backlog_is(&system, 0).await;
}
