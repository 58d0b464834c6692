//! Jobs that are triggered now and start later.

use std::time::{Duration, Instant};

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Value, json};
use system_tests::{Client, System, eventually};

use crate::faults::stage::{BOUND, QUICK, Stage, backlog_is};

/// Triggers the quick script with a query.
async fn trigger(client: &Client, stage: &Stage, value: &str, query: &str) -> String {
    let path = format!("jobs/run/p/{QUICK}?{query}");
    client.post(&path).json(stage.args(value)).send().await.expect(201).text()
}

fn time(job: &Value, key: &str) -> DateTime<Utc> {
    let text = job[key].as_str().unwrap_or_else(|| panic!("{key} of {job:#}"));
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// It ended well, and did not start before it was due.
async fn ran_when_due(client: &Client, id: &str, due: DateTime<Utc>) {
    client.end_of(id).await;
    let ended = client.get(id).await;
    assert_eq!(ended["success"], true, "{ended:#}");
    assert!(time(&ended, "started_at") >= due, "due {due}: {ended:#}");
}

#[tokio::test]
async fn a_job_starts_when_it_is_due_and_shows_when_that_is() {
    let system = System::start().gateways(2).await;
    let (stage, client) = (Stage::set(&system).await, system.client());
    let before = Utc::now();
    let id = trigger(client, &stage, "later", "scheduled_in_secs=3").await;
    let shown = client.at(system.gateway(1)).get(&id).await;
    assert_eq!((&shown["type"], &shown["running"]), (&json!("QueuedJob"), &json!(false)));
    let due = time(&shown, "scheduled_for");
    assert!((before..Utc::now() + Duration::from_secs(3)).contains(&due), "{shown:#}");
    assert!(due >= before + Duration::from_secs(3), "{shown:#}");
    assert!(shown["waiting_for"].as_str().unwrap().contains("when it is due"), "{shown:#}");
    assert_eq!(client.result_maybe(&id).await["completed"], false);

    let at = Utc::now() + Duration::from_millis(1500);
    let text = at.to_rfc3339_opts(SecondsFormat::Millis, true);
    let sooner = trigger(client, &stage, "sooner", &format!("scheduled_for={text}")).await;
    ran_when_due(client, &sooner, text.parse().unwrap()).await;
    ran_when_due(client, &id, due).await;
    assert_eq!((stage.runs_of(&id), stage.runs_of(&sooner)), (1, 1));
}

#[tokio::test]
async fn what_is_in_the_past_or_waited_for_starts_at_once() {
    let system = System::start().await;
    let (stage, client) = (Stage::set(&system).await, system.client());
    let id = trigger(client, &stage, "past", "scheduled_for=2020-01-01T00:00:00Z").await;
    client.end_of(&id).await;
    // the contract: of no account where a caller waits
    let path = format!("jobs/run_wait_result/p/{QUICK}?scheduled_in_secs=3600");
    assert_eq!(client.post(&path).json(stage.args("waited")).send().await.expect(200).json(), "waited");
}

#[tokio::test]
async fn a_job_is_pulled_forward() {
    let system = System::start().gateways(2).await;
    let (stage, client) = (Stage::set(&system).await, system.client());
    let id = trigger(client, &stage, "now", "scheduled_in_secs=3600").await;
    let run_now = format!("jobs/queue/run_now/{id}");
    assert_eq!(client.at(system.gateway(1)).post(&run_now).send().await.expect(200).text(), id);
    let ended = client.end_of(&id).await;
    assert_eq!(ended["result"], "now", "{ended:#}");
    assert!(client.post(&run_now).send().await.expect(200).text().contains("already completed"));
    client.post(&format!("jobs/queue/run_now/{}", uuid::Uuid::new_v4())).send().await.expect(404);
    client.post("jobs/queue/run_now/nothing").send().await.expect(400);
    backlog_is(&system, 0).await;
}

#[tokio::test]
async fn who_may_not_cancel_a_job_may_not_pull_it_forward() {
    let system = System::start().await;
    let (stage, client) = (Stage::set(&system).await, system.client());
    let id = trigger(client, &stage, "mine", "scheduled_in_secs=3600").await;
    let run_now = format!("jobs/queue/run_now/{id}");
    let stranger = system.member("stranger").await;
    let refused = stranger.post(&run_now).send().await;
    assert!([403, 404].contains(&refused.status), "{refused:?}");
    client.anonymous().post(&run_now).send().await.expect(401);
    assert_eq!(client.get(&id).await["running"], false);
}

#[tokio::test]
async fn a_job_that_was_put_aside_is_cancelled() {
    let system = System::start().gateways(2).await;
    let (stage, client) = (Stage::set(&system).await, system.client());
    let id = trigger(client, &stage, "never", "scheduled_in_secs=2").await;
    let canceled = Instant::now();
    client.at(system.gateway(1)).cancel(&id, "changed my mind").await;
    client.end_of(&id).await;
    let ended = client.get(&id).await;
    assert!(canceled.elapsed() < Duration::from_millis(1900), "it ended at once");
    assert_eq!((&ended["canceled"], &ended["canceled_reason"]), (&json!(true), &json!("changed my mind")));
    let later = trigger(client, &stage, "later", "scheduled_in_secs=3").await;
    client.end_of(&later).await;
    assert_eq!((stage.runs_of(&id), stage.runs_of(&later)), (0, 1));
}

/// The same request again, with the same key or the same id, makes no second job while the first waits.
#[tokio::test]
async fn a_trigger_that_is_repeated_is_put_aside_once() {
    let system = System::start().gateways(2).await;
    let (stage, client) = (Stage::set(&system).await, system.client());
    let other = client.at(system.gateway(1));
    let path = format!("jobs/run/p/{QUICK}?scheduled_in_secs=2");
    let keyed = async |client: &Client| {
        let request = client.post(&path).header("idempotency-key", "once").json(stage.args("keyed"));
        request.send().await.expect(201).text()
    };
    let id = keyed(client).await;
    assert_eq!(keyed(&other).await, id);
    let chosen = uuid::Uuid::new_v4().to_string();
    let path = format!("{path}&job_id={chosen}");
    assert_eq!(client.post(&path).json(stage.args("chosen")).send().await.expect(201).text(), chosen);
    let again = other.post(&path).json(stage.args("chosen")).send().await.expect(400).text();
    assert!(again.contains("already used"), "{again}");
    for id in [&id, &chosen] {
        client.end_of(id).await;
        assert_eq!(stage.runs_of(id), 1);
    }
}

#[tokio::test]
async fn what_cannot_be_put_aside_is_named() {
    let system = System::start().await;
    let (stage, client) = (Stage::set(&system).await, system.client());
    for (query, named) in [
        ("scheduled_for=tomorrow", "scheduled_for"),
        ("scheduled_for=9999-12-31T00:00:00Z", "scheduled_for"),
        ("scheduled_in_secs=-1", "scheduled_in_secs"),
        ("scheduled_in_secs=99999999999", "scheduled_in_secs"),
        ("scheduled_in_secs=1.5", "scheduled_in_secs"),
    ] {
        let path = format!("jobs/run/p/{QUICK}?{query}");
        let refused = client.post(&path).json(stage.args("never")).send().await.expect(400).text();
        assert!(refused.contains(named), "{query}: {refused}");
    }
    // however far ahead, large arguments wait with their job
    let large = json!({"value": "x".repeat(300_000)});
    let path = format!("jobs/run/p/{QUICK}?scheduled_in_secs={}", 400 * 24 * 3600);
    client.post(&path).json(large).send().await.expect(201);
    backlog_is(&system, 0).await;
}

/// Every process dies while jobs wait; all of them start, once, when they are due.
#[tokio::test]
async fn jobs_that_wait_outlive_everybody() {
    let system = System::start().gateways(2).workers(2).lease("3s").await;
    let (stage, client) = (Stage::set(&system).await, system.client());
    let mut promised = Vec::new();
    for number in 0..12_u64 {
        let query = format!("scheduled_in_secs={}", 1 + number % 6);
        let due = Utc::now() + Duration::from_secs(1 + number % 6);
        promised.push((trigger(client, &stage, &format!("value-{number}"), &query).await, due));
    }
    system.nats().kill();
    system.valkey().kill();
    system.gateway(0).kill();
    system.gateway(1).kill();
    system.nats().start_again().await;
    system.valkey().start_again().await;
    system.gateway(0).start_again().await;
    eventually("the gateway answers", BOUND, async || {
        (client.get_path("users/whoami").send().await.status == 200).then_some(())
    })
    .await;
    for (id, due) in &promised {
        ran_when_due(client, id, *due).await;
        assert_eq!(stage.runs_of(id), 1, "{id}");
    }
    backlog_is(&system, 0).await;
}
