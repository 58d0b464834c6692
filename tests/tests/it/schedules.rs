//! Schedules as they are defined: written, read back, refused; not when they fire.

use std::process::Output;
use std::time::Duration;

use futures::future::join_all;
use hookmill::up::tools;
use http::Method;
use serde_json::{Value, json};
use system_tests::{Answer, Client, System, eventually, within};
use tokio::process::Command;

/// What a table may lag behind the store, and more.
const SHOWN_WITHIN: Duration = Duration::from_secs(5);

/// Writes and reads schedules through Windmill's Python client, which has no calls of their own for them.
const PYTHON: &str = r#"
import json, os, sys
from wmill import Windmill
client, ws, sent = Windmill(), os.environ["WM_WORKSPACE"], json.loads(sys.argv[1])
path = sent["path"]
created = client.post(f"/w/{ws}/schedules/create", json=sent)
shown = client.get(f"/w/{ws}/schedules/get/{path}").json()
shown["summary"] = "sent back"
updated = client.post(f"/w/{ws}/schedules/update/{path}", json=shown)
again = client.get(f"/w/{ws}/schedules/get/{path}").json()
ended = [row["jobs"] for row in client.get(f"/w/{ws}/schedules/list_with_jobs").json()]
default = client.post(f"/w/{ws}/schedules/setdefaulthandler", json={"handler_type": "error", "override_existing": False,
    "path": sent["on_failure"], "extra_args": {}, "number_of_occurence": 1, "number_of_occurence_exact": False})
preview = client.post("/schedules/preview", json={"schedule": sent["schedule"], "timezone": sent["timezone"]}).json()
print(json.dumps({"created": [created.status_code, created.text], "shown": shown,
    "updated": [updated.status_code, updated.text], "again": again, "preview": preview,
    "ended": ended, "default": default.status_code}))
"#;

async fn system() -> System {
    let system = System::start().gateways(2).workers(0).await;
    for path in ["f/a/report", "f/a/alarm", "f/a/calm"] {
        system.client().deploy(path, "bash", "echo 1").await;
    }
    system
}

fn least(path: &str) -> Value {
    json!({"path": path, "schedule": "0 0 12 * * *", "timezone": "Europe/Berlin", "script_path": "f/a/report",
        "is_flow": false, "args": {}})
}

fn with(path: &str, more: &Value) -> Value {
    let mut sent = least(path);
    sent.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    sent
}

/// Every field that is taken, none at its default.
fn everything(path: &str) -> Value {
    let more = json!({
        "enabled": true, "args": {"to": "me", "n": 1.0, "list": [1, null]},
        "on_failure": "script/f/a/alarm", "on_failure_times": 3, "on_failure_exact": true, "on_failure_extra_args": {"channel": "ops"},
        "on_recovery": "script/f/a/calm", "on_recovery_times": 2, "on_recovery_extra_args": {"x": 1},
        "on_success": "script/f/a/calm", "on_success_extra_args": {"y": 1.0},
        "no_flow_overlap": true, "summary": "A report", "description": "at noon", "tag": "bash",
        "paused_until": "2030-01-01T00:00:00Z", "retry": {"constant": {"attempts": 2, "seconds": 5}},
        "labels": ["nightly"], "invented_later": {"a": [1.5, null]},
    });
    with(path, &more)
}

async fn create(client: &Client, sent: &Value) -> Answer {
    client.post("schedules/create").json(sent).send().await
}

async fn get(client: &Client, path: &str) -> Value {
    client.get_path(&format!("schedules/get/{path}")).send().await.expect(200).json()
}

async fn exists(client: &Client, path: &str) -> Value {
    client.get_path(&format!("schedules/exists/{path}")).send().await.expect(200).json()
}

async fn set_enabled(client: &Client, path: &str, enabled: bool) -> Answer {
    client.post(&format!("schedules/setenabled/{path}")).json(json!({"enabled": enabled})).send().await
}

async fn listed(client: &Client, query: &str) -> Vec<String> {
    let rows = client.get_path(&format!("schedules/list{query}")).send().await.expect(200).json();
    rows.as_array().unwrap().iter().map(|row| row["path"].as_str().unwrap().to_owned()).collect()
}

fn assert_shows(shown: &Value, sent: &Value) {
    for (field, value) in sent.as_object().unwrap() {
        assert_eq!(&shown[field], value, "{field}: {shown:#}");
    }
    for (field, value) in [
        ("workspace_id", json!("main")),
        ("edited_by", json!("admin")),
        ("email", json!("admin@hookmill.test")),
        ("permissioned_as", json!("u/admin")),
        ("extra_perms", json!({})),
    ] {
        assert_eq!(shown[field], value, "{field}: {shown:#}");
    }
    let edited_at = shown["edited_at"].as_str().unwrap();
    assert!(chrono::DateTime::parse_from_rfc3339(edited_at).is_ok(), "{edited_at}");
    let text = shown.to_string();
    assert!(!text.contains("grant") && !text.contains("generation"), "{text}");
}

#[tokio::test]
async fn what_is_written_at_one_gateway_is_read_at_the_other() {
    let system = system().await;
    let (client, other) = (system.client(), system.client().at(system.gateway(1)));
    let sent = everything("f/a/noon");
    assert_eq!(exists(&other, "f/a/noon").await, json!(false));
    assert_eq!(create(client, &sent).await.expect(201).text(), "f/a/noon");
    assert_eq!(exists(&other, "f/a/noon").await, json!(true));
    let shown = get(&other, "f/a/noon").await;
    assert_shows(&shown, &sent);
    assert_eq!(shown["is_draft"], false);

    // the settings are replaced; the script, and whether it runs, stay
    let edit = json!({"schedule": "0 0 13 * * *", "timezone": "UTC", "args": {"b": 2}});
    other.post("schedules/update/f/a/noon").json(&edit).send().await.expect(200);
    let shown = get(client, "f/a/noon").await;
    assert_shows(&shown, &edit);
    assert_eq!((&shown["script_path"], &shown["enabled"]), (&json!("f/a/report"), &json!(true)));
    assert!(shown["summary"].is_null() && shown["on_failure"].is_null() && shown["labels"].is_null());

    set_enabled(client, "f/a/noon", false).await.expect(200);
    assert_eq!(get(&other, "f/a/noon").await["enabled"], false);
    set_enabled(&other, "f/a/noon", true).await.expect(200);
    assert_eq!(get(client, "f/a/noon").await["enabled"], true);

    client.request(Method::DELETE, "schedules/delete/f/a/noon").send().await.expect(200);
    other.get_path("schedules/get/f/a/noon").send().await.expect(404);
    assert_eq!(exists(&other, "f/a/noon").await, json!(false));
    create(&other, &least("f/a/noon")).await.expect(201);
    assert_eq!(get(client, "f/a/noon").await["enabled"], false, "nothing runs that nobody switched on");
}

#[tokio::test]
async fn lists_are_filtered_and_ordered_by_the_last_edit() {
    let system = system().await;
    let (client, other) = (system.client(), system.client().at(system.gateway(1)));
    for (path, script) in [("f/a/one", "f/a/report"), ("f/b/two", "f/a/alarm"), ("f/a/three", "f/a/report")] {
        create(client, &with(path, &json!({"script_path": script}))).await.expect(201);
    }
    set_enabled(client, "f/a/one", true).await.expect(200);
    let all = ["f/a/one", "f/a/three", "f/b/two"];
    eventually("the other gateway's list", SHOWN_WITHIN, async || {
        (listed(&other, "").await == all).then_some(())
    })
    .await;
    for (query, paths) in [
        ("?path=f/a/alarm", &["f/b/two"][..]),
        ("?script_path=f/a/report", &["f/a/one", "f/a/three"]),
        ("?schedule_path=f/a/three", &["f/a/three"]),
        ("?path_start=f/a/", &["f/a/one", "f/a/three"]),
        ("?is_flow=true", &[]),
        ("?is_flow=false&path=", &all),
        ("?per_page=2", &all[..2]),
        ("?per_page=2&page=2", &all[2..]),
        ("?page=0&per_page=1", &all[..1]),
        ("?page=9", &[]),
    ] {
        assert_eq!(listed(client, query).await, paths, "{query}");
    }
    for filter in ["args", "broad_filter", "summary", "description", "label"] {
        let refused = client.get_path(&format!("schedules/list?{filter}=x")).send().await.expect(400).text();
        assert!(refused.contains(filter), "{refused}");
    }
}

#[tokio::test]
async fn bad_input_is_named_and_writes_nothing() {
    let system = system().await;
    let client = system.client();
    for (more, named) in [
        (json!({"path": null}), "path is missing"),
        (json!({"path": "nonsense"}), "path: "),
        (json!({"script_path": null}), "script_path is missing"),
        (json!({"script_path": "f/a/absent"}), "script_path: there is no script at f/a/absent"),
        (json!({"schedule": null}), "schedule is missing"),
        (json!({"schedule": "* * * * *"}), "5 fields"),
        (json!({"schedule": "0 0 25 * * *"}), "25"),
        (json!({"schedule": "0 0 0 31 2 *"}), "never comes"),
        (json!({"timezone": "Mars/Olympus"}), "Mars/Olympus"),
        (json!({"cron_version": "v1"}), "cron_version"),
        (json!({"is_flow": true}), "flows are not built yet"),
        (json!({"args": 5}), "args"),
        (json!({"on_failure": "flow/f/a/alarm"}), "on_failure: `flow/f/a/alarm`: flows are not built yet"),
        (json!({"on_recovery": "f/a/calm"}), "on_recovery: `f/a/calm`"),
        (json!({"on_success": "script/f/a/absent"}), "on_success: there is no script at f/a/absent"),
        (json!({"ws_error_handler_muted": true}), "ws_error_handler_muted"),
        (json!({"dynamic_skip": "f/a/calm"}), "dynamic_skip"),
        (json!({"retry": {"times": 3}}), "times"),
        (json!({"paused_until": "tomorrow"}), "paused_until"),
        (json!({"args": {"text": "x".repeat(800_000)}}), "786432"),
    ] {
        let answer = create(client, &with("f/a/bad", &more)).await;
        assert_eq!(answer.status, 400, "{named}: {}", answer.text());
        assert!(answer.text().contains(named), "{named}: {}", answer.text());
    }
    assert_eq!(exists(client, "f/a/bad").await, json!(false));
    assert_eq!(exists(client, "nonsense").await, json!(false));
    client.post("schedules/create").json("{").send().await.expect(400);

    create(client, &least("f/a/there")).await.expect(201);
    let again = create(client, &least("f/a/there")).await.expect(400).text();
    assert!(again.contains("f/a/there exists already"), "{again}");
    let moved = client.post("schedules/update/f/a/there").json(least("f/a/elsewhere")).send().await;
    assert!(moved.expect(400).text().contains("f/a/elsewhere"));
    let odd = client.post("schedules/setenabled/f/a/there").json(json!({"on": true})).send().await;
    assert!(odd.expect(400).text().contains("on"));
    for path in ["f/a/absent", "nonsense"] {
        client.post(&format!("schedules/update/{path}")).json(least("f/a/absent")).send().await.expect(404);
        client.get_path(&format!("schedules/get/{path}")).send().await.expect(404);
        set_enabled(client, path, true).await.expect(404);
        let gone = client.request(Method::DELETE, &format!("schedules/delete/{path}")).send().await;
        assert!(gone.expect(404).text().contains(path));
    }
}

#[tokio::test]
async fn who_may_do_what() {
    let system = system().await;
    let client = system.client();
    create(client, &least("f/a/shared")).await.expect(201);
    create(client, &least("u/admin/own")).await.expect(201);
    let eve = system.member("eve").await;
    // a member: reads folders, writes what is their own, and runs only what they may run
    get(&eve, "f/a/shared").await;
    assert!(create(&eve, &least("f/a/hers")).await.expect(403).text().contains("only admins"));
    eve.get_path("schedules/get/u/admin/own").send().await.expect(403);
    set_enabled(&eve, "f/a/shared", true).await.expect(403);
    create(&eve, &least("u/eve/own")).await.expect(201);
    assert_eq!(get(&eve, "u/eve/own").await["permissioned_as"], "u/eve");
    client.deploy("u/admin/secret", "bash", "echo 1").await;
    let foreign = with("u/eve/spy", &json!({"script_path": "u/admin/secret"}));
    assert!(create(&eve, &foreign).await.expect(403).text().contains("u/admin/secret"));
    let mut seen = listed(&eve, "").await;
    seen.sort();
    assert_eq!(seen, ["f/a/shared", "u/eve/own"]);
    // whoever wrote it last is whom it runs as
    set_enabled(client, "u/eve/own", true).await.expect(200);
    assert_eq!(get(client, "u/eve/own").await["permissioned_as"], "u/admin");

    let narrowed = async |scopes: &[&str]| {
        client.with_token(&client.make_token(json!({"label": "narrow", "scopes": scopes})).await)
    };
    for (scopes, reads, writes, lists) in [
        (&["jobs:run:scripts:f/a/report"][..], 403, 403, 403),
        (&["scripts:write"], 403, 403, 403),
        (&["schedules:read"], 200, 403, 200),
        // making one needs the right to run its script, too
        (&["schedules:write"], 200, 403, 200),
        (&["schedules:write", "jobs:run:scripts:f/a/report"], 200, 200, 200),
        (&["schedules:write:f/a/shared", "jobs:run"], 200, 200, 403),
        (&["schedules:write:f/b/*", "jobs:run"], 403, 403, 403),
    ] {
        let holder = narrowed(scopes).await;
        let update = holder.post("schedules/update/f/a/shared").json(least("f/a/shared")).send().await;
        assert_eq!(update.status, writes, "{scopes:?}: {}", update.text());
        let status = async |path: &str| holder.get_path(path).send().await.status;
        assert_eq!(status("schedules/get/f/a/shared").await, reads, "{scopes:?}");
        assert_eq!(status("schedules/list").await, lists, "{scopes:?}");
    }
    // switching off needs no right to run
    set_enabled(&narrowed(&["schedules:write"]).await, "f/a/shared", false).await.expect(200);
    let reader = client.with_token(&client.make_token(json!({"read_only": true})).await);
    get(&reader, "f/a/shared").await;
    assert!(set_enabled(&reader, "f/a/shared", true).await.expect(403).text().contains("read-only"));
    client.anonymous().get_path("schedules/list").send().await.expect(401);
    client.anonymous().post("/api/schedules/preview").json("{}").send().await.expect(401);
    let elsewhere = eve.in_workspace("elsewhere");
    elsewhere.get_path("schedules/get/f/a/shared").send().await.expect(404);
}

#[tokio::test]
async fn of_many_creates_of_one_path_one_is_done() {
    let system = system().await;
    let clients = [system.client().clone(), system.client().at(system.gateway(1))];
    let creates = (0..10).map(|n| {
        let (client, sent) = (&clients[n % 2], with("f/a/one", &json!({"summary": n.to_string()})));
        async move { create(client, &sent).await }
    });
    let answers = join_all(creates).await;
    let made: Vec<usize> = (0..10).filter(|n| answers[*n].status == 201).collect();
    assert_eq!(made.len(), 1, "{answers:?}");
    assert!(answers.iter().all(|answer| matches!(answer.status, 201 | 400)), "{answers:?}");
    assert_eq!(get(&clients[1], "f/a/one").await["summary"], made[0].to_string());
    // of switches at once each is done, and the last one holds
    let switches = (0..6).map(|n| set_enabled(&clients[n % 2], "f/a/one", n % 2 == 0));
    let answers = join_all(switches).await;
    assert!(answers.iter().all(|answer| answer.status == 200), "{answers:?}");
    assert_eq!(get(&clients[0], "f/a/one").await["summary"], made[0].to_string());
}

#[tokio::test]
async fn the_next_times_are_previewed() {
    let system = System::start().workers(0).await;
    let client = system.client();
    let preview = async |body: Value| client.post("/api/schedules/preview").json(body).send().await;
    let noon = json!({"schedule": "0 0 12 24 12 *", "timezone": "Europe/Berlin", "cron_version": "v2"});
    let times = preview(noon).await.expect(200).json();
    let times: Vec<&str> = times.as_array().unwrap().iter().map(|time| time.as_str().unwrap()).collect();
    assert_eq!(times.len(), 5, "{times:?}");
    assert!(times.iter().all(|time| time.ends_with("-12-24T11:00:00Z")), "{times:?}");
    assert!(times.is_sorted());
    for (body, named) in [
        (json!({"schedule": "0 0 12 * * *"}), "timezone is missing"),
        (json!({"timezone": "UTC"}), "schedule is missing"),
        (json!({"schedule": "0 12 * * *", "timezone": "UTC"}), "5 fields"),
        (json!({"schedule": "0 0 0 30 2 *", "timezone": "UTC"}), "never comes"),
        (json!({"schedule": "0 0 12 * * *", "timezone": "Berlin"}), "Berlin"),
        (json!({"schedule": "0 0 12 * * *", "timezone": "UTC", "cron_version": "v1"}), "cron_version"),
    ] {
        let refused = preview(body).await.expect(400).text();
        assert!(refused.contains(named), "{refused}");
    }
}

async fn python(client: &Client, sent: &Value) -> Output {
    let mut command = Command::new(tools::find("python3").unwrap());
    command.args(["-c", PYTHON, &sent.to_string()]);
    command.env("PYTHONPATH", tools::python_sdk().unwrap()).env("PYTHONDONTWRITEBYTECODE", "1");
    command.env("BASE_INTERNAL_URL", client.base_url()).env("WM_TOKEN", client.token());
    command.env("WM_WORKSPACE", client.workspace()).env("NO_PROXY", "127.0.0.1").kill_on_drop(true);
    within("the program's end", Duration::from_secs(60), command.output()).await.unwrap()
}

#[tokio::test]
async fn windmills_python_client_writes_and_reads_every_field() {
    let system = system().await;
    let sent = everything("f/a/noon");
    let output = python(system.client(), &sent).await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut told: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(told["created"], json!([201, "f/a/noon"]));
    assert_eq!(told["updated"], json!([200, "f/a/noon"]));
    assert_eq!((&told["ended"], &told["default"]), (&json!([[]]), &json!(201)));
    assert_eq!(told["preview"].as_array().unwrap().len(), 5);
    assert_shows(
        &told["shown"],
        &with("f/a/noon", &{
            let mut first = sent.clone();
            first["summary"] = json!("sent back");
            first
        }),
    );
    // what was shown can be sent back, and says the same
    let edited_at = told["again"]["edited_at"].take();
    assert_ne!(edited_at, told["shown"]["edited_at"].take());
    assert_eq!(told["again"], told["shown"]);
}
