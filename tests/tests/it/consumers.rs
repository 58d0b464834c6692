//! A consumer that delivers no more is seen, and put right, with what an operator has: `hookmill consumers`.

use std::time::Duration;

use broker::names::JOBS_STREAM;
use serde_json::{Value, json};
use system_tests::{Service, System, eventually, program, within};

use crate::faults::stage::{BOUND, HELD, QUICK, Stage, assert_ended_with, backlog_is, worker_name};

const CONSUMER: &str = "w-bash-p1";
/// Longer than this test: what is freed earlier was not freed by a lease that ran out.
const LEASE: &str = "15s";

struct Ended {
    code: i32,
    out: String,
    err: String,
}

impl Ended {
    fn json(&self) -> Value {
        assert_eq!(self.code, 0, "{}", self.err);
        serde_json::from_str(&self.out).unwrap()
    }
}

/// `hookmill consumers …`, as an operator with the password file.
async fn hookmill(system: &System, args: &[&str]) -> Ended {
    let file = system.folder().join("provision-password");
    std::fs::write(&file, system.credentials().nats_password("provision")).unwrap();
    let mut command = tokio::process::Command::new(program("hookmill"));
    command.arg("consumers").args(args).arg("--nats-password-file").arg(&file);
    command.args(["--nats-url", &format!("nats://{}", system.nats().address()), "--output", "json"]);
    let output = command.output().await.unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Ended { code: output.status.code().unwrap(), out: text(output.stdout), err: text(output.stderr) }
}

/// What `list` says of the consumer of Bash jobs.
async fn state(system: &System) -> Value {
    let listed = hookmill(system, &["list", "--over", "1"]).await;
    listed.json().as_array().unwrap().iter().find(|row| row["name"] == CONSUMER).unwrap().clone()
}

async fn shows(system: &System, expected: &str) -> Value {
    eventually(&format!("`{expected}`"), BOUND, async || {
        Some(state(system).await).filter(|row| row["state"] == expected)
    })
    .await
}

/// Any request to JetStream, as the user `provision`.
async fn jetstream(system: &System, subject: &str, what: &Value) -> Value {
    let answer = system.ask_jetstream(subject, what).await;
    assert!(answer["error"].is_null(), "{subject}: {answer}");
    answer
}

fn by_name<'a>(system: &'a System, name: &str) -> (&'a Service, &'a Service) {
    let (one, other) = (system.worker(0), system.worker(1));
    if worker_name(one) == name { (one, other) } else { (other, one) }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_consumer_is_seen_and_made_anew() {
    let system = System::start().workers(2).slots(2).lease(LEASE).await;
    let (stage, client) = (Stage::set(&system).await, system.client());
    let mut held = vec![client.run(HELD, stage.args("held-0")).await];
    let first = stage.begins(1).await.remove(0);
    let (holder, _) = by_name(&system, &first.worker);
    // an operator's mistake: with this a consumer waits for its first message before it delivers the second
    let info = jetstream(&system, &format!("CONSUMER.INFO.{JOBS_STREAM}.{CONSUMER}"), &json!({})).await;
    let mut config = info["config"].clone();
    assert_eq!(config["max_ack_pending"], 20_000);
    config["max_ack_pending"] = json!(1);
    let create =
        format!("CONSUMER.CREATE.{JOBS_STREAM}.{CONSUMER}.{}", config["filter_subject"].as_str().unwrap());
    jetstream(&system, &create, &json!({"stream_name": JOBS_STREAM, "config": config})).await;
    holder.pause();
    held.push(client.run(QUICK, stage.args("behind")).await);

    let row = shows(&system, "full").await;
    assert_eq!(
        (&row["pending"], &row["unacknowledged"], &row["unacknowledged_limit"]),
        (&json!(1), &json!(1), &json!(1))
    );
    let refused = hookmill(&system, &["reset", CONSUMER]).await;
    assert_eq!(refused.code, 2, "{}", refused.out);
    assert!(refused.err.contains("hold 1 messages of w-bash-p1"), "{}", refused.err);
    let reset = hookmill(&system, &["reset", CONSUMER, "--start-again"]).await;
    assert_eq!(reset.json(), json!({"reset": CONSUMER, "made_again": true}), "{}", reset.err);

    within("the job behind it", Duration::from_secs(12), assert_ended_with(client, &held[1], "behind")).await;
    let info = jetstream(&system, &format!("CONSUMER.INFO.{JOBS_STREAM}.{CONSUMER}"), &json!({})).await;
    assert_eq!(info["config"]["max_ack_pending"], 20_000, "it is made as it should be");
    // the job that was held was started once more, and has one end all the same
    stage.let_go(2);
    assert_ended_with(client, &held[0], "held-0").await;
    holder.resume();
    backlog_is(&system, 0).await;
    assert_eq!(client.get(&held[0]).await["attempt"], 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_consumer_and_one_that_nobody_asks() {
    let system = System::start().slots(2).await;
    let (stage, client) = (Stage::set(&system).await, system.client());
    assert_ended_with(client, &client.run(QUICK, stage.args("before")).await, "before").await;
    assert_eq!(state(&system).await["state"], "idle");
    let pause = format!("CONSUMER.PAUSE.{JOBS_STREAM}.{CONSUMER}");
    jetstream(&system, &pause, &json!({"pause_until": "2100-01-01T00:00:00Z"})).await;
    let waits = client.run(QUICK, stage.args("paused")).await;
    let row = shows(&system, "paused").await;
    assert_eq!(row["pending"], 1, "{row}");
    let metrics = eventually("the worker has looked", BOUND, async || {
        let text = reqwest::get(format!("{}/metrics", system.worker(0).admin_url().await)).await.unwrap();
        Some(text.text().await.unwrap())
            .filter(|text| text.contains(r#"consumer_paused{consumer="w-bash-p1"} 1"#))
    });
    let metrics = metrics.await;
    assert!(metrics.contains(r#"job_queue_consumer_pending{consumer="w-bash-p1"} 1"#), "{metrics}");
    assert!(
        metrics.contains(r#"ready_check{check="nats"} 1"#) && metrics.contains("\nready 1\n"),
        "{metrics}"
    );
    let reset = hookmill(&system, &["reset", CONSUMER]).await;
    assert_eq!(reset.code, 0, "{}", reset.err);
    assert_ended_with(client, &waits, "paused").await;

    system.worker(0).kill();
    let alone = client.run(QUICK, stage.args("alone")).await;
    shows(&system, "unasked").await;
    let unknown = hookmill(&system, &["reset", "w-cobol-p1"]).await;
    assert!(unknown.code == 2 && unknown.err.contains("no consumer `w-cobol-p1`"), "{}", unknown.err);
    let reset = hookmill(&system, &["reset", CONSUMER]).await;
    assert_eq!(reset.json(), json!({"reset": CONSUMER, "made_again": false}), "{}", reset.err);
    system.worker(0).start_again().await;
    assert_ended_with(client, &alone, "alone").await;
}
