//! The handlers that new schedules get, and lists that show jobs.

use serde_json::{Value, json};
use system_tests::{Answer, Client, System, eventually};

use super::{ALARM, CALM, PATH, SCRIPT, jobs_of, schedule, set_up, stop};
use crate::faults::stage::BOUND;

async fn set_default(client: &Client, more: Value) -> Answer {
    let mut sent =
        json!({"handler_type": "error", "override_existing": false, "path": format!("script/{ALARM}")});
    sent.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    client.post("schedules/setdefaulthandler").json(sent).send().await
}

async fn create(client: &Client, path: &str, more: Value) -> Answer {
    let mut sent = json!({"path": path, "schedule": "0 0 12 * * *", "timezone": "UTC", "script_path": SCRIPT,
        "is_flow": false, "args": {}});
    sent.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    client.post("schedules/create").json(sent).send().await
}

async fn shown(client: &Client, path: &str) -> Value {
    client.get_path(&format!("schedules/get/{path}")).send().await.expect(200).json()
}

#[tokio::test]
async fn new_schedules_get_the_defaults_and_others_when_asked() {
    let system = System::start().gateways(2).workers(0).await;
    let (client, _stage) = (system.client(), set_up(&system, "exit 3").await);
    let other = client.at(system.gateway(1));
    let eve = system.member("eve").await;
    client.deploy("u/eve/work", "bash", "echo 1").await;
    create(&eve, "u/eve/before", json!({"script_path": "u/eve/work", "enabled": true})).await.expect(201);
    let more =
        json!({"number_of_occurence": 2, "number_of_occurence_exact": true, "extra_args": {"to": 1.0}});
    set_default(client, more).await.expect(201);
    set_default(client, json!({"handler_type": "recovery", "path": format!("script/{CALM}")}))
        .await
        .expect(201);

    // what is set at one gateway holds at the other
    create(&other, "f/a/silent", json!({})).await.expect(201);
    create(&other, "f/a/none", json!({"on_failure": "", "on_recovery": ""})).await.expect(201);
    create(&other, "f/a/own", json!({"on_failure": format!("script/{CALM}"), "on_recovery": null}))
        .await
        .expect(201);
    let silent = shown(client, "f/a/silent").await;
    for (field, value) in [
        ("on_failure", json!(format!("script/{ALARM}"))),
        ("on_failure_times", json!(2)),
        ("on_failure_exact", json!(true)),
        ("on_failure_extra_args", json!({"to": 1.0})),
        ("on_recovery", json!(format!("script/{CALM}"))),
        ("on_success", Value::Null),
    ] {
        assert_eq!(silent[field], value, "{field} of {silent:#}");
    }
    let none = shown(client, "f/a/none").await;
    assert!(none["on_failure"].is_null() && none["on_recovery"].is_null(), "{none:#}");
    let own = shown(client, "f/a/own").await;
    assert_eq!(
        (&own["on_failure"], &own["on_recovery"]),
        (&json!(format!("script/{CALM}")), &silent["on_recovery"])
    );

    // everybody's: each goes on as whose it was
    let before = shown(client, "u/eve/before").await;
    assert!(before["on_failure"].is_null());
    let said = set_default(client, json!({"override_existing": true, "number_of_occurence": 5})).await;
    let said = said.expect(201).text();
    assert!(said.contains("4 schedules"), "{said}");
    for path in ["u/eve/before", "f/a/silent", "f/a/none", "f/a/own"] {
        let after = shown(&other, path).await;
        let set = (&after["on_failure"], &after["on_failure_times"], &after["on_failure_exact"]);
        assert_eq!(set, (&json!(format!("script/{ALARM}")), &json!(5), &Value::Null), "{path}");
    }
    let after = shown(client, "u/eve/before").await;
    for field in ["permissioned_as", "edited_by", "edited_at", "enabled", "email", "on_recovery"] {
        assert_eq!(after[field], before[field], "{field}");
    }
    // and taken back
    set_default(client, json!({"path": null})).await.expect(201);
    create(client, "f/a/later", json!({})).await.expect(201);
    assert!(shown(client, "f/a/later").await["on_failure"].is_null());
}

#[tokio::test]
async fn who_may_set_a_default_and_what_is_none() {
    let system = System::start().workers(0).await;
    let (client, _stage) = (system.client(), set_up(&system, "exit 3").await);
    let eve = system.member("eve").await;
    assert!(set_default(&eve, json!({})).await.expect(403).text().contains("Admin"));
    set_default(&client.anonymous(), json!({})).await.expect(401);
    for (scopes, status) in [
        (json!(["schedules:read", "jobs:run"]), 403),
        (json!(["schedules:write:f/a/x", "jobs:run"]), 403),
        (json!(["schedules:write"]), 403),
        (json!(["schedules:write", "jobs:run"]), 201),
    ] {
        let token = client.make_token(json!({"label": "narrow", "scopes": scopes})).await;
        let answer = set_default(&client.with_token(&token), json!({})).await;
        assert_eq!(answer.status, status, "{scopes}: {}", answer.text());
    }
    for (more, named) in [
        (json!({"path": "script/f/a/absent"}), "path: there is no script at f/a/absent"),
        (json!({"path": format!("flow/{ALARM}")}), "flows are not built yet"),
        (json!({"handler_type": "odd"}), "odd"),
        (json!({"workspace_handler_muted": true}), "workspace_handler_muted"),
    ] {
        let refused = set_default(client, more).await.expect(400).text();
        assert!(refused.contains(named), "{refused}");
    }
    // a schedule is not made with a default that its maker may not run
    client.deploy("u/admin/alarm", "bash", "echo 1").await;
    client.deploy("u/eve/work", "bash", "echo 1").await;
    set_default(client, json!({"path": "script/u/admin/alarm"})).await.expect(201);
    let refused = create(&eve, "u/eve/one", json!({"script_path": "u/eve/work"})).await;
    assert!(refused.expect(403).text().contains("u/admin/alarm"));
    create(&eve, "u/eve/one", json!({"script_path": "u/eve/work", "on_failure": ""})).await.expect(201);
}

#[tokio::test]
async fn schedules_are_listed_with_the_jobs_that_have_ended() {
    let system = System::start().gateways(2).workers(1).slots(1).await;
    let (client, stage) = (system.client(), set_up(&system, "exit 3").await);
    create(client, "f/a/never", json!({})).await.expect(201);
    schedule(&stage, client, SCRIPT, json!({})).await;
    stage.begins(2).await;
    super::deploy(client, "echo works").await;
    eventually("it works again", BOUND, async || {
        jobs_of(client, SCRIPT).await.iter().any(|job| job["success"] == true).then_some(())
    })
    .await;
    stop(&system).await;
    let list = async |query: &str| {
        client.get_path(&format!("schedules/list_with_jobs{query}")).send().await.expect(200).json()
    };
    let rows = list("").await;
    assert_eq!(rows.as_array().unwrap().len(), 2, "{rows:#}");
    // the one edited last first
    let (row, never) = (&rows[0], &rows[1]);
    assert_eq!((&row["path"], &row["script_path"]), (&json!(PATH), &json!(SCRIPT)));
    assert_eq!((&never["path"], &never["jobs"]), (&json!("f/a/never"), &json!([])));
    let mut expected: Vec<(Value, Value)> =
        jobs_of(client, SCRIPT).await.iter().map(|job| (job["id"].clone(), job["success"].clone())).collect();
    let mut jobs: Vec<(Value, Value)> = row["jobs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|job| (job["id"].clone(), job["success"].clone()))
        .collect();
    assert!(
        row["jobs"].as_array().unwrap().iter().all(|job| job["duration_ms"].as_i64() >= Some(0)),
        "{row:#}"
    );
    for ids in [&mut expected, &mut jobs] {
        ids.sort_by_key(|(id, _)| id.to_string());
    }
    assert_eq!(jobs, expected);
    assert_eq!(list("?per_page=1&page=2").await[0]["path"], "f/a/never");
    let eve = system.member("eve").await;
    create(client, "u/admin/own", json!({})).await.expect(201);
    let seen = eve.get_path("schedules/list_with_jobs").send().await.expect(200).json();
    assert!(seen.as_array().unwrap().iter().all(|row| row["path"] != "u/admin/own"), "{seen:#}");
}
