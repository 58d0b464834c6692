//! Jobs that fail and are tried again, by the call's policy or the script's.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use system_tests::{Client, System, eventually};

use crate::faults::stage::{BOUND, Stage, backlog_is};

/// A script that fails until a point in time, in seconds; it tells of each of its attempts.
const UNTIL: &str = "f/retries/until";
const UNTIL_SOURCE: &str = r#"port="$1"
value="$2"
until="$3"
exec 3<>"/dev/tcp/127.0.0.1/$port"
echo "say begin $WM_JOB_ID $WM_WORKER_NAME $value" >&3; read -r _ <&3
echo "try of $value"
if [ "$(date +%s)" -lt "$until" ]; then exit 3; fi
echo "$value"
"#;
const NEVER: i64 = 99_999_999_999;

async fn system(gateways: usize, workers: usize) -> (System, Stage) {
    let system = System::start().gateways(gateways).workers(workers).lease("3s").await;
    let stage = Stage::set(&system).await;
    system.client().deploy(UNTIL, "bash", UNTIL_SOURCE).await;
    (system, stage)
}

fn args(stage: &Stage, value: &str, until: i64) -> Value {
    let mut args = stage.args(value);
    args["until"] = json!(until);
    args
}

fn constant(attempts: u32, seconds: u32) -> String {
    json!({"constant": {"attempts": attempts, "seconds": seconds}}).to_string()
}

fn run(path: &str, retry: &str) -> String {
    let query = url::form_urlencoded::Serializer::new(String::new()).append_pair("retry", retry).finish();
    format!("jobs/run/p/{path}?{query}")
}

async fn trigger(client: &Client, retry: &str, args: Value) -> String {
    client.post(&run(UNTIL, retry)).json(args).send().await.expect(201).text()
}

fn time(attempt: &Value, key: &str) -> DateTime<Utc> {
    attempt[key].as_str().unwrap_or_else(|| panic!("{key} of {attempt:#}")).parse().unwrap()
}

/// It waits for its next try.
async fn waits(client: &Client, id: &str) -> Value {
    eventually("it waits for its next try", BOUND, async || {
        let job = client.get(id).await;
        job["waiting_for"].as_str().is_some_and(|why| why.contains("when it is due")).then_some(job)
    })
    .await
}

#[tokio::test]
async fn a_caller_waits_for_the_last_of_all_tries_and_each_is_shown() {
    let (system, stage) = system(2, 2).await;
    let client = system.client();
    let path = run(UNTIL, &constant(2, 1)).replace("jobs/run/p", "jobs/run_wait_result/p");
    let answer = client.post(&path).json(args(&stage, "never", NEVER)).send().await;
    assert_eq!(answer.status, 422, "{answer:?}");
    let id = answer.header("x-job-id").to_owned();
    assert_eq!(stage.runs_of(&id), 3);
    let job = client.at(system.gateway(1)).get(&id).await;
    assert_eq!(
        (&job["success"], &job["attempt"], &job["is_retry"]),
        (&json!(false), &json!(3), &json!(true))
    );
    let attempts = job["attempts"].as_array().unwrap();
    assert_eq!(attempts.len(), 3, "{job:#}");
    for (number, attempt) in (1..).zip(attempts) {
        assert_eq!((&attempt["attempt"], &attempt["state"]), (&json!(number), &json!("failure")), "{job:#}");
        assert!(time(attempt, "started_at") <= time(attempt, "ended_at"));
        let log = client
            .get_path(&format!("jobs_u/get_logs/{id}?attempt={number}"))
            .send()
            .await
            .expect(200)
            .text();
        assert_eq!(log.matches("try of never").count(), 1, "{log}");
        assert_eq!(log.matches("worker=").count(), 1, "{log}");
    }
    for pair in attempts.windows(2) {
        let pause = time(&pair[1], "started_at") - time(&pair[0], "ended_at");
        assert!(pause >= chrono::TimeDelta::seconds(1), "{pause}: {job:#}");
    }
    assert!(attempts[0]["result"]["error"]["message"].is_string(), "{job:#}");
    assert_eq!(client.logs(&id).await.matches("try of never").count(), 3);
    client.get_path(&format!("jobs_u/get_logs/{id}?attempt=4")).send().await.expect(404);
    client.get_path(&format!("jobs_u/get_logs/{id}?attempt=x")).send().await.expect(400);
    backlog_is(&system, 0).await;
}

#[tokio::test]
async fn a_script_may_say_how_its_jobs_are_tried_again_and_a_call_otherwise() {
    let (system, stage) = system(1, 1).await;
    let client = system.client();
    let setting = json!({"retry": {"constant": {"attempts": 20, "seconds": 1}}});
    client.deploy_with("f/retries/setting", "bash", UNTIL_SOURCE, setting).await;
    let until = Utc::now().timestamp() + 2;
    let id = client.run("f/retries/setting", args(&stage, "later", until)).await;
    let ended = client.end_of(&id).await;
    assert_eq!((&ended["success"], &ended["result"]), (&json!(true), &json!("later")));
    let job = client.get(&id).await;
    let attempts = job["attempts"].as_array().unwrap();
    assert!(attempts.len() >= 2, "{job:#}");
    assert_eq!(attempts.last().unwrap()["state"], "success", "{job:#}");

    let none = run("f/retries/setting", &constant(0, 0));
    let id = client.post(&none).json(args(&stage, "once", NEVER)).send().await.expect(201).text();
    assert_eq!(client.end_of(&id).await["success"], false);
    assert_eq!(stage.runs_of(&id), 1);
    assert_eq!(client.get(&id).await["attempts"], Value::Null);
}

#[tokio::test]
async fn a_job_that_waits_for_its_next_try_is_shown_pulled_forward_and_cancelled() {
    let (system, stage) = system(2, 1).await;
    let (client, other) = (system.client(), system.client().at(system.gateway(1)));
    let id = trigger(client, &constant(2, 3600), args(&stage, "waits", NEVER)).await;
    let job = waits(&other, &id).await;
    assert_eq!(
        (&job["type"], &job["running"], &job["attempt"]),
        (&json!("QueuedJob"), &json!(false), &json!(1))
    );
    assert!(time(&job, "scheduled_for") > Utc::now() + Duration::from_secs(3000), "{job:#}");
    assert_eq!(job["attempts"][0]["state"], "failure", "{job:#}");
    assert!(job["logs"].as_str().unwrap().contains("try of waits"), "{job:#}");
    let run_now = format!("jobs/queue/run_now/{id}");
    // a job whose timer is about to be set is asked for again, as the answer says
    eventually("it is pulled forward", BOUND, async || {
        let answer = other.post(&run_now).send().await;
        assert!(matches!(answer.status, 200 | 503), "{}", answer.text());
        (answer.status == 200).then_some(())
    })
    .await;
    stage.begins(2).await;
    let job = eventually("the second wait", BOUND, async || {
        Some(waits(client, &id).await).filter(|job| job["attempt"] == 2)
    })
    .await;
    assert_eq!(job["attempts"].as_array().unwrap().len(), 2, "{job:#}");
    other.cancel(&id, "enough").await;
    client.end_of(&id).await;
    let job = client.get(&id).await;
    assert_eq!((&job["canceled"], &job["attempt"]), (&json!(true), &json!(2)), "{job:#}");
    assert_eq!(stage.runs_of(&id), 2);
    backlog_is(&system, 0).await;
}

/// A condition is code of the caller's: it says which failures are meant, and reaches nothing.
#[tokio::test]
async fn only_the_failures_that_are_meant_are_tried_again() {
    let (system, stage) = system(1, 1).await;
    let client = system.client();
    let mut seen = 0;
    for (expr, runs, logged) in [
        ("error.exit_code === 3", 2, ""),
        ("result.error.message.includes('try of')", 2, ""),
        ("error.exit_code === 4", 1, ""),
        ("error.nothing.here", 1, "retry_if cannot be told"),
        ("(await fetch('http://127.0.0.1')).ok", 1, "retry_if cannot be told"),
        ("while (true) {}", 1, "retry_if cannot be told"),
        ("(() => { while (true) {} })()", 1, "retry_if cannot be told"),
    ] {
        let policy =
            json!({"constant": {"attempts": 1, "seconds": 0}, "retry_if": {"expr": expr}}).to_string();
        let id = trigger(client, &policy, args(&stage, "x", NEVER)).await;
        client.end_of(&id).await;
        let log = client.logs(&id).await;
        assert_eq!(stage.runs_of(&id), runs, "{expr}: {log}");
        assert!(log.contains(logged), "{expr}: {log}");
        seen += runs;
    }
    assert_eq!(stage.begun().len(), seen);
}

#[tokio::test]
async fn tries_to_come_outlive_everybody() {
    let (system, stage) = system(2, 2).await;
    let client = system.client();
    let mut ids = Vec::new();
    for number in 0..6 {
        let until = Utc::now().timestamp() + 4;
        ids.push(trigger(client, &constant(60, 1), args(&stage, &format!("value-{number}"), until)).await);
    }
    stage.begins(6).await;
    system.worker(0).kill();
    system.nats().kill();
    system.valkey().kill();
    system.gateway(0).kill();
    system.nats().start_again().await;
    system.valkey().start_again().await;
    system.gateway(0).start_again().await;
    system.worker(0).start_again().await;
    for (number, id) in ids.iter().enumerate() {
        let ended = client.at(system.gateway(1)).end_of(id).await;
        assert_eq!((&ended["success"], &ended["result"]), (&json!(true), &json!(format!("value-{number}"))));
        let job = client.at(system.gateway(1)).get(id).await;
        let states: Vec<_> = job["attempts"].as_array().unwrap().iter().map(|one| &one["state"]).collect();
        assert_eq!(states.iter().filter(|state| **state == "success").count(), 1, "{job:#}");
    }
    backlog_is(&system, 0).await;
}

#[tokio::test]
async fn what_is_no_policy_is_named() {
    let (system, stage) = system(1, 1).await;
    let client = system.client();
    for (retry, named) in [
        ("3", "retry"),
        (r#"{"constants":{}}"#, "constants"),
        (r#"{"constant":{"attempts":-1,"seconds":1}}"#, "-1"),
        (r#"{"constant":{"attempts":1001,"seconds":1}}"#, "1000"),
        (r#"{"exponential":{"attempts":1,"multiplier":1,"seconds":0}}"#, "seconds is 0"),
    ] {
        let refused =
            client.post(&run(UNTIL, retry)).json(args(&stage, "x", 0)).send().await.expect(400).text();
        assert!(refused.contains(named), "{retry}: {refused}");
        let setting = json!({"retry": serde_json::from_str::<Value>(retry).unwrap()});
        let refused = client.try_deploy("f/retries/bad", "bash", "echo", setting).await.expect(400).text();
        assert!(refused.contains(named) && refused.contains("retry"), "{retry}: {refused}");
    }
    // a token that is given to a sender runs what it names, not code of the sender's
    let token = client.make_token(json!({"label": "webhook", "scopes": ["jobs:run"]})).await;
    let policy = r#"{"constant":{"attempts":1,"seconds":1},"retry_if":{"expr":"true"}}"#;
    let refused = client.with_token(&token).post(&run(UNTIL, policy)).json(args(&stage, "x", 0)).send().await;
    assert!(refused.expect(403).text().contains("retry_if"));
    assert!(stage.begun().is_empty());
}
