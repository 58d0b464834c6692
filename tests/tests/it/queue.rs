//! The queue as it is looked at: what runs and what waits, listed, counted, and where a job stands in it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use system_tests::{Client, System, eventually};
use uuid::Uuid;

use crate::gate::Gate;

const BOUND: Duration = Duration::from_secs(10);

/// A script that no worker serves.
const WAITS: &str = "f/a/waits";

async fn system() -> System {
    let system = System::start().slots(1).await;
    system.client().deploy_with(WAITS, "bash", "echo 1", json!({"tag": "gpu"})).await;
    system
}

async fn asks(client: &Client, path: &str) -> Value {
    client.get_path(&format!("jobs/queue/{path}")).send().await.expect(200).json()
}

async fn count(client: &Client) -> u64 {
    let counted = asks(client, "count").await;
    assert_eq!(counted["suspended"], 0, "{counted}");
    counted["database_length"].as_u64().unwrap()
}

/// The rows are written a moment after the webhook's answer.
async fn counts(client: &Client, wanted: u64) {
    let reached = async || (count(client).await == wanted).then_some(());
    eventually(&format!("{wanted} jobs that wait"), BOUND, reached).await;
}

async fn listed(client: &Client, query: &str) -> Vec<String> {
    let rows = asks(client, &format!("list?{query}")).await;
    let rows = rows.as_array().unwrap().clone();
    assert!(rows.iter().all(|row| row["type"] == "QueuedJob"), "{rows:#?}");
    let ids: Vec<String> = rows.iter().map(|row| row["id"].as_str().unwrap().to_owned()).collect();
    let uuids = asks(client, &format!("list_filtered_uuids?{query}")).await;
    assert_eq!(uuids, json!(ids), "{query}");
    ids
}

fn now_ms() -> u128 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()
}

#[tokio::test]
async fn jobs_that_wait_are_counted_listed_and_cancelled() {
    let system = system().await;
    let client = system.client();
    assert_eq!((count(client).await, listed(client, "").await), (0, Vec::new()));
    assert_eq!(asks(client, &format!("position/{}", now_ms())).await, json!({}), "nothing waits");
    let mut ids = Vec::new();
    for n in 0..3 {
        ids.push(client.run(WAITS, json!({"n": n})).await);
    }
    counts(client, 3).await;
    assert_eq!(listed(client, "order_desc=false").await, ids);
    assert_eq!(listed(client, "order_desc=false&per_page=2&page=2").await, ids[2..]);
    let first = client.get_path("jobs/queue/list?per_page=2").send().await.expect(200);
    let rest = listed(client, &format!("per_page=2&cursor={}", first.header("x-next-cursor"))).await;
    assert_eq!(rest, ids[..1]);

    let row = &asks(client, "list?order_desc=false").await[0];
    let whole = client.get(&ids[0]).await;
    for key in ["id", "running", "tag", "created_at", "scheduled_for", "script_path", "job_kind", "canceled"]
    {
        assert_eq!((&row[key], row[key].is_null()), (&whole[key], false), "{key}: {row:#}");
    }
    assert!(row["args"].is_null() && row["logs"].is_null(), "{row:#}");
    let due = asks(client, &format!("scheduled_for/{}", ids[2])).await.as_i64().unwrap();
    let told = chrono_ms(asks(client, "list").await[0]["scheduled_for"].as_str().unwrap());
    assert_eq!(due, told);
    assert_eq!(asks(client, &format!("position/{}", due + 1)).await, json!({"position": 4}));
    assert_eq!(asks(client, "position/0").await, json!({"position": 1}));

    client.cancel(&ids[1], "enough").await;
    assert_eq!(count(client).await, 2);
    assert_eq!(listed(client, "order_desc=false").await, [ids[0].clone(), ids[2].clone()]);
    client.get_path(&format!("jobs/queue/scheduled_for/{}", ids[1])).send().await.expect(404);
    assert_eq!(asks(client, &format!("position/{}", due + 1)).await, json!({"position": 3}));
}

/// Unix ms of an RFC 3339 text.
fn chrono_ms(text: &str) -> i64 {
    chrono::DateTime::parse_from_rfc3339(text).unwrap().timestamp_millis()
}

#[tokio::test]
async fn a_job_that_runs_is_listed_and_not_counted() {
    let system = system().await;
    let client = system.client();
    let gate = Gate::deploy(&system, "f/a/gate").await;
    let runs = client.run("f/a/gate", json!({})).await;
    client.running(&runs).await;
    let (behind, waits) = (client.run("f/a/gate", json!({})).await, client.run(WAITS, json!({})).await);
    counts(client, 2).await;
    let worker = asks(client, "list?running=true").await[0]["worker"].as_str().unwrap().to_owned();
    let all = [&runs, &behind, &waits];
    for (query, expected) in [
        ("order_desc=false", &all[..]),
        ("running=true", &all[..1]),
        ("order_desc=false&running=false&scheduled_for_before_now=true", &all[1..]),
        ("tag=gpu", &all[2..]),
        ("order_desc=false&tag=!gpu,other", &all[..2]),
        ("order_desc=false&script_path_start=f/a/ga,f/b", &all[..2]),
        ("script_path_exact=f/a/waits", &all[2..]),
        ("created_by=nobody", &[]),
        ("order_desc=false&created_by=!nobody", &all),
        (&format!("parent_job={}", Uuid::new_v4()), &[]),
        (&format!("worker={worker}"), &all[..1]),
    ] {
        assert_eq!(json!(listed(client, query).await), json!(expected), "{query}");
    }
    assert!(asks(client, &format!("scheduled_for/{runs}")).await.is_i64());
    gate.open();
    for id in [&runs, &behind] {
        client.end_of(id).await;
    }
    assert_eq!((count(client).await, listed(client, "").await), (1, vec![waits]));
    client.get_path(&format!("jobs/queue/scheduled_for/{runs}")).send().await.expect(404);
}

#[tokio::test]
async fn what_cannot_be_read_is_refused_by_name() {
    let system = system().await;
    let client = system.client();
    for (path, status, named) in [
        ("position/soon", 400, "scheduled_for: `soon`"),
        ("position/1.5", 400, "scheduled_for: `1.5`"),
        ("position/9223372036854775807", 400, "scheduled_for"),
        ("scheduled_for/nonsense", 400, "nonsense"),
        ("scheduled_for/0197c1f0-0000-7000-8000-000000000000", 404, "0197c1f0"),
        ("count?all_workspaces=true", 400, "all_workspaces"),
        ("list?all_workspaces=true", 400, "all_workspaces"),
        ("list?job_kinds=script", 400, "job_kinds"),
        ("list?running=perhaps", 400, "running"),
        ("list?page=99999999999999999999999", 400, "page"),
        ("list_filtered_uuids?parent_job=x", 400, "parent_job"),
        ("list_filtered_uuids?args=%7B%7D", 400, "args"),
    ] {
        let answer = client.get_path(&format!("jobs/queue/{path}")).send().await;
        assert_eq!(answer.status, status, "{path}: {}", answer.text());
        assert!(answer.text().contains(named), "{path}: {}", answer.text());
    }
    // far behind the last row is nothing, not an error
    assert!(listed(client, "page=9999999999999999").await.is_empty());
    assert!(client.list("page=9999999999999999").await.is_empty());
    assert_eq!(asks(client, "count?all_workspaces=false").await["database_length"], 0);
}

#[tokio::test]
async fn others_see_what_they_may_read() {
    let system = system().await;
    let client = system.client();
    let bob = system.member("bob").await;
    client.deploy_with("u/admin/own", "bash", "echo 1", json!({"tag": "gpu"})).await;
    let (shared, own) = (client.run(WAITS, json!({})).await, client.run("u/admin/own", json!({})).await);
    counts(client, 2).await;
    assert_eq!(listed(client, "order_desc=false").await, [shared.clone(), own.clone()]);
    assert_eq!(listed(&bob, "").await, std::slice::from_ref(&shared));
    assert!(asks(&bob, &format!("scheduled_for/{shared}")).await.is_i64());
    bob.get_path(&format!("jobs/queue/scheduled_for/{own}")).send().await.expect(404);
    let webhook = client.make_token(json!({"label": "hook", "scopes": ["jobs:run"]})).await;
    let webhook = client.with_token(&webhook);
    for path in ["list", "list_filtered_uuids", "count", "position/1"] {
        webhook.get_path(&format!("jobs/queue/{path}")).send().await.expect(403);
        client.anonymous().get_path(&format!("jobs/queue/{path}")).send().await.expect(401);
    }
    let elsewhere = client.in_workspace("elsewhere");
    assert!(elsewhere.get_path("jobs/queue/count").send().await.status >= 400);
}

#[tokio::test]
async fn a_store_that_has_lost_everything_knows_the_queue_again() {
    let system = System::start().slots(1).gateways(2).gateway_setting("sweep-every", "300ms").await;
    let client = system.client();
    client.deploy_with(WAITS, "bash", "echo 1", json!({"tag": "gpu"})).await;
    let ids = [client.run(WAITS, json!({})).await, client.run(WAITS, json!({})).await];
    counts(client, 2).await;
    let valkey = system.valkey();
    valkey.kill();
    std::fs::remove_dir_all(valkey.folder()).unwrap();
    std::fs::create_dir(valkey.folder()).unwrap();
    valkey.start_again().await;
    eventually("the rows of before", Duration::from_secs(30), async || {
        // 503 at first
        let counted = client.get_path("jobs/queue/count").send().await;
        (counted.status == 200 && counted.json()["database_length"] == 2).then_some(())
    })
    .await;
    assert_eq!(listed(client, "order_desc=false").await, ids);
    client.cancel(&ids[0], "enough").await;
    assert_eq!(listed(client, "").await, ids[1..]);
}

#[tokio::test]
async fn a_job_whose_caller_hung_up_has_its_row() {
    let system = system().await;
    let client = system.client();
    // what back-pressure asks of NATS is known from here on
    client.run(WAITS, json!({})).await;
    counts(client, 1).await;
    system.nats().pause();
    let gone = client.post(&format!("jobs/run/p/{WAITS}")).json(json!({})).send();
    // the caller's patience, within that of the gateway
    assert!(tokio::time::timeout(Duration::from_millis(500), gone).await.is_err(), "nothing answers yet");
    system.nats().resume();
    // by the trigger itself: the sweeper leaves young jobs alone
    let reached = async || (count(client).await == 2).then_some(());
    eventually("the row", Duration::from_secs(4), reached).await;
}
