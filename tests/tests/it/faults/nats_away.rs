//! NATS stopped or gone: triggers are refused in time and honestly, and what is sent again
//! under the id of the refusal never makes a second job.

use std::time::{Duration, Instant};

use serde_json::json;
use system_tests::{Answer, Client, Start, System, eventually};

use super::stage::{BOUND, HELD, QUICK, Stage, assert_ended_with, backlog, backlog_is, backlog_now, figure};

/// How soon a refusal is promised.
const PROMISED: Duration = Duration::from_secs(2);
/// What a busy machine may add before the test says so.
const OUTER: Duration = Duration::from_secs(6);

fn system() -> Start {
    System::start().slots(1)
}

/// A trigger that NATS cannot answer; the id of the refusal.
async fn refused(client: &Client, url: &str, stage: &Stage, value: &str) -> String {
    let asked = Instant::now();
    let answer = client.post(url).json(stage.args(value)).send().await.expect(503);
    let after = asked.elapsed();
    figure(&format!("503 after {after:?} (promised: {PROMISED:?}): {url}"));
    assert!(after < OUTER, "{after:?}");
    assert!(answer.header("retry-after").parse::<u64>().is_ok_and(|seconds| seconds >= 1));
    answer
        .header("x-job-id")
        .parse::<uuid::Uuid>()
        .unwrap_or_else(|_| panic!("{:?}", answer.headers))
        .to_string()
}

fn run(path: &str) -> String {
    format!("jobs/run/p/{path}")
}

fn wait(path: &str) -> String {
    format!("jobs/run_wait_result/p/{path}")
}

/// Sends it again under its id, until NATS is there to answer.
async fn again(client: &Client, url: &str, stage: &Stage, value: &str, id: &str) -> Answer {
    eventually("an answer other than 503", BOUND, async || {
        let answer = client.post(&format!("{url}?job_id={id}")).json(stage.args(value)).send().await;
        (answer.status != 503).then_some(answer)
    })
    .await
}

#[tokio::test]
async fn a_trigger_that_a_stopped_nats_reads_later_exists_once() {
    let system = system().await;
    let (stage, client) = (Stage::set(&system).await, system.client());
    client.wait(QUICK, stage.args("before")).await.expect(200).text();
    system.nats().pause();
    assert_eq!(backlog(&system).await, None, "NATS does not answer");
    let queued = refused(client, &run(QUICK), &stage, "queued").await;
    let waited = refused(client, &wait(QUICK), &stage, "waited").await;
    let keyed = uuid::Uuid::now_v7().to_string();
    assert_eq!(refused(client, &format!("{}?job_id={keyed}", run(QUICK)), &stage, "keyed").await, keyed);

    system.nats().resume();
    for (id, value, url) in [(&queued, "queued", run(QUICK)), (&waited, "waited", wait(QUICK))] {
        assert_ended_with(client, id, value).await;
        let answer = again(client, &url, &stage, value, id).await;
        assert!(answer.status == 400 && answer.text().contains("already used"), "{}", answer.text());
        assert_eq!(stage.runs_of(id), 1);
    }
    // refused before anything was sent: its id is free
    assert_eq!(again(client, &run(QUICK), &stage, "keyed", &keyed).await.expect(201).text(), keyed);
    assert_ended_with(client, &keyed, "keyed").await;
    backlog_is(&system, 0).await;
    assert_eq!(stage.begun().len(), 4);
}

#[tokio::test]
async fn a_trigger_that_a_killed_nats_never_read_is_accepted_once() {
    let system = system().await;
    let (stage, admin) = (Stage::set(&system).await, system.client());
    let token = admin.make_token(json!({"label": "hook", "scopes": ["jobs:run"]})).await;
    let hook = admin.with_token(&token);
    hook.wait(QUICK, stage.args("before")).await.expect(200).text();
    // its caller is answered before its message is acknowledged
    backlog_is(&system, 0).await;
    system.nats().pause();
    let admins = refused(admin, &run(QUICK), &stage, "admin").await;
    let hooks = refused(&hook, &run(QUICK), &stage, "hook").await;
    system.nats().kill();
    system.nats().start_again().await;
    assert_eq!(backlog_now(&system).await, 0, "neither ever arrived");

    assert_eq!(again(admin, &run(QUICK), &stage, "admin", &admins).await.expect(201).text(), admins);
    for foreign in [admins.clone(), uuid::Uuid::now_v7().to_string(), uuid::Uuid::new_v4().to_string()] {
        again(&hook, &run(QUICK), &stage, "foreign", &foreign).await.expect(403).text();
    }
    let elsewhere = again(&hook, &run(HELD), &stage, "elsewhere", &hooks).await;
    assert_eq!(elsewhere.status, 403, "the id is for the script it was made for: {}", elsewhere.text());
    assert_eq!(again(&hook, &run(QUICK), &stage, "hook", &hooks).await.expect(201).text(), hooks);
    for (client, id, value) in [(admin, &admins, "admin"), (&hook, &hooks, "hook")] {
        assert_ended_with(admin, id, value).await;
        again(client, &run(QUICK), &stage, value, id).await.expect(400).text();
        assert_eq!(stage.runs_of(id), 1);
    }
    assert_eq!(stage.begun().len(), 3);
}

#[tokio::test]
async fn triggers_while_nats_is_gone_never_run_twice() {
    const JOBS: usize = 4;
    let system = system().await;
    let (stage, client) = (Stage::set(&system).await, system.client());
    client.wait(QUICK, stage.args("before")).await.expect(200).text();
    system.nats().kill();
    let mut ids = Vec::new();
    for number in 0..JOBS {
        let url = if number.is_multiple_of(2) { run(QUICK) } else { wait(QUICK) };
        ids.push(refused(client, &url, &stage, &format!("value-{number}")).await);
    }
    system.nats().start_again().await;

    let mut statuses = Vec::new();
    for (number, id) in ids.iter().enumerate() {
        let answer = again(client, &run(QUICK), &stage, &format!("value-{number}"), id).await;
        assert!(matches!(answer.status, 201 | 400), "{}: {}", answer.status, answer.text());
        statuses.push(answer.status);
    }
    figure(&format!("sent again after the restart: {statuses:?}"));
    for (number, id) in ids.iter().enumerate() {
        assert_ended_with(client, id, &format!("value-{number}")).await;
        assert_eq!((stage.runs_of(id), &client.get(id).await["attempt"]), (1, &json!(1)));
    }
    backlog_is(&system, 0).await;
    assert_eq!(stage.begun().len(), JOBS + 1);
}

#[tokio::test]
async fn a_trigger_without_a_link_to_nats_is_not_sent_when_there_is_one_again() {
    let system = system().await;
    let (stage, client) = (Stage::set(&system).await, system.client());
    client.wait(QUICK, stage.args("before")).await.expect(200).text();
    system.nats().kill();
    eventually("the gateway knows that NATS is gone", BOUND, async || {
        let lines = system.gateway(0).log_lines();
        lines.iter().any(|line| line["message"] == "nats disconnected").then_some(())
    })
    .await;
    let id = refused(client, &run(QUICK), &stage, "refused").await;
    system.nats().start_again().await;

    // over the same connection, and so behind whatever was kept for it
    let after = eventually("a trigger is accepted", BOUND, async || {
        let answer = client.post(&run(QUICK)).json(stage.args("after")).send().await;
        (answer.status == 201).then(|| answer.text())
    })
    .await;
    assert_ended_with(client, &after, "after").await;
    backlog_is(&system, 0).await;
    assert_eq!(stage.runs_of(&id), 0, "its caller was refused");
    client.get_path(&format!("jobs_u/get/{id}")).send().await.expect(404);
}

#[tokio::test]
async fn a_version_that_has_to_be_fetched_is_refused_with_the_id_it_then_runs_under() {
    let system = system().gateways(2).await;
    let (stage, client) = (Stage::set(&system).await, system.client());
    let script = client.get_path(&format!("scripts/get/p/{QUICK}")).send().await.expect(200).json();
    let url = format!("jobs/run/h/{}", script["hash"].as_str().unwrap());
    // the other gateway has the path's head in its table, but has never needed the version
    let other = client.at(system.gateway(1));
    system.nats().pause();
    let id = refused(&other, &url, &stage, "fetched").await;
    system.nats().resume();
    assert_eq!(again(&other, &url, &stage, "fetched", &id).await.expect(201).text(), id);
    assert_ended_with(client, &id, "fetched").await;
    assert_eq!(stage.runs_of(&id), 1);
}

#[tokio::test]
async fn arguments_too_large_for_a_message_are_refused_in_time_and_run_once() {
    let system = system().await;
    let (stage, client) = (Stage::set(&system).await, system.client());
    let mut args = stage.args("large");
    args["more"] = json!("x".repeat(300 * 1024));
    system.nats().pause();
    let asked = Instant::now();
    let answer = client.post(&run(QUICK)).json(&args).send().await.expect(503);
    assert!(asked.elapsed() < OUTER, "{:?}", asked.elapsed());
    // no envelope was sent: there is no job to ask for
    assert_eq!(answer.header("x-job-id"), "", "{}", answer.text());
    assert!(answer.text().contains("large arguments"), "{}", answer.text());
    system.nats().resume();
    let answer = eventually("an answer other than 503", BOUND, async || {
        let answer = client.post(&run(QUICK)).json(&args).send().await;
        (answer.status != 503).then_some(answer)
    })
    .await;
    let id = answer.expect(201).text();
    assert_ended_with(client, &id, "large").await;
    assert_eq!(stage.runs_of(&id), 1);
    assert_eq!(client.list("").await.len(), 1, "the first request made none");
}
