//! Schedules that run: one job per tick, through every death.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use http::Method;
use ring::digest;
use serde_json::{Value, json};
use system_tests::{Client, System, eventually};
use uuid::Uuid;

use crate::faults::stage::{BOUND, HELD, QUICK, Stage, backlog_is};

const EVERY_SECOND: &str = "* * * * * *";
/// The schedule of every test.
const PATH: &str = "f/ticks/each";

async fn create(client: &Client, stage: &Stage, cron: &str, script: &str, more: Value) {
    let mut sent = json!({"path": PATH, "schedule": cron, "timezone": "UTC", "script_path": script, "is_flow": false,
        "enabled": true, "args": stage.args("tick")});
    sent.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    client.post("schedules/create").json(sent).send().await.expect(201);
}

/// The id of a tick's job, worked out as the documentation says and not by the gateway's code.
fn id_of(tick: DateTime<Utc>) -> Uuid {
    let text = format!("hookmill tick v1 main {PATH} {}", tick.timestamp_micros());
    let bytes: [u8; 16] = digest::digest(&digest::SHA256, text.as_bytes()).as_ref()[..16].try_into().unwrap();
    uuid::Builder::from_random_bytes(bytes).into_uuid()
}

/// The ticks, one a second, of which there were jobs; each job ran once, and each was one of a tick.
fn ticks_that_ran(stage: &Stage, from: DateTime<Utc>) -> Vec<DateTime<Utc>> {
    let begun: Vec<Uuid> = stage.begun().iter().map(|told| told.job.parse().unwrap()).collect();
    let first = DateTime::from_timestamp(from.timestamp(), 0).unwrap();
    let seconds = (Utc::now() - first).num_seconds();
    let ticks: Vec<_> = (0..=seconds)
        .map(|second| first + TimeDelta::seconds(second))
        .filter(|tick| begun.contains(&id_of(*tick)))
        .collect();
    assert_eq!(ticks.len(), begun.len(), "a job of no tick, or one that ran twice: {begun:?}");
    ticks
}

#[tokio::test]
async fn there_is_one_job_per_tick_whoever_fires_it() {
    let system = System::start().gateways(3).workers(2).await;
    let (stage, client) = (Stage::set(&system).await, system.client());
    let from = Utc::now();
    create(client, &stage, EVERY_SECOND, QUICK, json!({})).await;
    stage.begins(4).await;
    let ticks = ticks_that_ran(&stage, from);
    for pair in ticks.windows(2) {
        assert_eq!(pair[1] - pair[0], TimeDelta::seconds(1), "none is missed: {ticks:?}");
    }
    let job = client.get(&id_of(ticks[0]).to_string()).await;
    for (key, expected) in [
        ("schedule_path", json!(PATH)),
        ("trigger_kind", json!("schedule")),
        ("script_path", json!(QUICK)),
        ("permissioned_as", json!("u/admin")),
    ] {
        assert_eq!(job[key], expected, "{key} of {job:#}");
    }
    client.request(Method::DELETE, &format!("schedules/delete/{PATH}")).send().await.expect(200);
    backlog_is(&system, 0).await;
    let ran = stage.begun().len();
    // a tick that was on its way, and none after it
    let later = trigger_in(client, &stage, 3).await;
    client.end_of(&later).await;
    assert!(stage.begun().len() <= ran + 2, "{} after {ran}", stage.begun().len());
}

async fn trigger_in(client: &Client, stage: &Stage, seconds: u32) -> String {
    let path = format!("jobs/run/p/{QUICK}?scheduled_in_secs={seconds}");
    client.post(&path).json(stage.args("later")).send().await.expect(201).text()
}

#[tokio::test]
async fn ticks_go_on_whoever_dies_and_none_makes_two_jobs() {
    let system = System::start().gateways(2).workers(1).await;
    let (stage, client) = (Stage::set(&system).await, system.client());
    let from = Utc::now();
    create(client, &stage, EVERY_SECOND, QUICK, json!({})).await;
    stage.begins(2).await;
    for number in [0, 1, 0] {
        let before = stage.begun().len();
        system.gateway(number).kill();
        stage.begins(before + 2).await;
        system.gateway(number).start_again().await;
    }
    let before = stage.begun().len();
    system.nats().kill();
    system.nats().start_again().await;
    stage.begins(before + 2).await;
    let ticks = ticks_that_ran(&stage, from);
    assert!(ticks.len() >= 8, "{ticks:?}");
}

#[tokio::test]
async fn a_schedule_that_waits_for_its_last_job_has_one_at_a_time() {
    let system = System::start().workers(1).slots(4).await;
    let (stage, client) = (Stage::set(&system).await, system.client());
    create(client, &stage, EVERY_SECOND, HELD, json!({"no_flow_overlap": true})).await;
    stage.begins(1).await;
    // two ticks at least come while the first job runs
    let later = trigger_in(client, &stage, 3).await;
    client.end_of(&later).await;
    assert_eq!(stage.begun().iter().filter(|told| told.value == "tick").count(), 1);
    stage.let_go(1);
    stage.begins(3).await;
    stage.let_go(100);
}

#[tokio::test]
async fn what_is_written_holds_from_then_on() {
    let system = System::start().gateways(2).await;
    let (stage, client) = (Stage::set(&system).await, system.client());
    let other = client.at(system.gateway(1));
    create(client, &stage, "0 0 0 1 1 *", QUICK, json!({})).await;
    let update = async |settings: Value| {
        let mut sent = json!({"timezone": "UTC", "schedule": EVERY_SECOND, "args": stage.args("tick")});
        sent.as_object_mut().unwrap().extend(settings.as_object().unwrap().clone());
        other.post(&format!("schedules/update/{PATH}")).json(sent).send().await.expect(200);
    };
    let until = Utc::now() + Duration::from_secs(3);
    update(json!({"paused_until": until.to_rfc3339()})).await;
    stage.begins(1).await;
    let first = stage.begun().pop().unwrap().job;
    let started: DateTime<Utc> = {
        client.end_of(&first).await;
        client.get(&first).await["started_at"].as_str().unwrap().parse().unwrap()
    };
    assert!(started >= until, "it was paused");
    let enabled = json!({"enabled": false});
    client.post(&format!("schedules/setenabled/{PATH}")).json(enabled).send().await.expect(200);
    let later = trigger_in(client, &stage, 2).await;
    client.end_of(&later).await;
    let ran = stage.begun().len();
    let later = trigger_in(client, &stage, 3).await;
    client.end_of(&later).await;
    assert_eq!(stage.begun().len(), ran + 1, "it is off");
}

/// A gateway that dies between the write and the timer leaves a schedule without one: another gives it one.
#[tokio::test]
async fn a_schedule_without_its_timer_gets_one_when_a_gateway_starts() {
    let system = System::start().gateways(2).await;
    let (stage, client) = (Stage::set(&system).await, system.client());
    create(client, &stage, EVERY_SECOND, QUICK, json!({})).await;
    stage.begins(1).await;
    system.purge_timers().await;
    let ran = stage.begun().len();
    system.gateway(1).kill();
    system.gateway(1).start_again().await;
    eventually("it runs again", BOUND, async || (stage.begun().len() > ran + 2).then_some(())).await;
}
