//! What a workspace asks of its scripts' sandboxes. None of these waits after a change: it holds for the next
//! job and the next deploy at every gateway.

use serde_json::{Value, json};
use system_tests::{Answer, Client, System};

const EATS: &str = "def main():\n    kept = []\n    while True: kept.append(bytearray(1 << 20))\n";

async fn edit(client: &Client, sandbox: Value) -> Answer {
    client.post("workspaces/edit_sandbox").json(json!({ "sandbox": sandbox })).send().await
}

async fn settings(client: &Client) -> Value {
    client.get_path("workspaces/get_settings").send().await.expect(200).json()
}

/// A script that reaches the hub, and says so.
fn talks(system: &System) -> String {
    let port = system.hub().port();
    format!("import socket\ndef main(): socket.create_connection(('127.0.0.1', {port})); return 'reached'\n")
}

async fn reaches(client: &Client, path: &str) {
    assert_eq!(client.wait(path, json!({})).await.expect(200).text(), "\"reached\"", "{path}");
}

async fn error(client: &Client, path: &str) -> Value {
    client.wait(path, json!({})).await.expect(422).json()["error"].clone()
}

#[tokio::test]
async fn it_speaks_for_scripts_that_do_not_and_for_no_other_workspace() {
    let system = System::start().gateways(2).await;
    let (client, there) = (system.client(), system.client().at(system.gateway(1)));
    let elsewhere = client.in_workspace("admins");
    let (talks, internet) = (talks(&system), json!({"sandbox": {"network": "internet"}}));
    for client in [client, &elsewhere] {
        client.deploy("f/a/talks", "python3", &talks).await;
        client.deploy("f/a/eats", "python3", EATS).await;
    }
    client.deploy_with("f/a/asks", "python3", &talks, internet).await;
    reaches(client, "f/a/talks").await;

    let sandbox = json!({"network": "none", "memory": 128 << 20});
    edit(client, sandbox.clone()).await.expect(200);
    for client in [client, &there] {
        assert_eq!(error(client, "f/a/talks").await["name"], "PermissionError");
        reaches(client, "f/a/asks").await;
        assert_eq!(settings(client).await["sandbox"], sandbox);
    }
    let memory = error(client, "f/a/eats").await;
    assert_eq!(memory["name"], "MemoryLimit", "{memory}");
    assert!(memory["message"].as_str().unwrap().contains("128 MiB"), "{memory}");
    reaches(&elsewhere, "f/a/talks").await;
    assert_eq!(settings(&elsewhere).await["sandbox"], Value::Null);

    edit(&there, Value::Null).await.expect(200);
    reaches(client, "f/a/talks").await;
    assert_eq!(settings(client).await["sandbox"], Value::Null);
}

#[tokio::test]
async fn its_widest_network_bounds_every_script() {
    let system = System::start().gateways(2).await;
    let (client, there) = (system.client(), system.client().at(system.gateway(1)));
    let internet = json!({"sandbox": {"network": "internet"}});
    client.deploy("f/a/talks", "python3", &talks(&system)).await;
    client.deploy_with("f/a/asks", "python3", &talks(&system), internet.clone()).await;
    reaches(client, "f/a/asks").await;

    edit(client, json!({"network_max": "none"})).await.expect(200);
    let bound = "it asks for the network internet, its workspace allows none at most (network_max)";
    for client in [client, &there] {
        let refused = client.try_deploy("f/a/late", "bash", "echo 1", internet.clone()).await.expect(400);
        assert_eq!(refused.text(), format!("Bad request: the script setting `sandbox`: {bound}"));
        let failed = error(client, "f/a/asks").await;
        assert_eq!((&failed["name"], &failed["message"]), (&json!("ExecutionErr"), &json!(bound)));
        assert_eq!(error(client, "f/a/talks").await["name"], "PermissionError", "the default gives way");
    }
    client.get_path("scripts/get/p/f/a/late").send().await.expect(404);
    client.in_workspace("admins").deploy_with("f/a/late", "bash", "echo 1", internet.clone()).await;

    edit(client, json!({"network_max": "host", "memory": 1_u64 << 40})).await.expect(200);
    let beyond = error(client, "f/a/asks").await;
    let message = beyond["message"].as_str().unwrap();
    assert!(
        message.starts_with("its workspace asks for memory 1099511627776, this worker gives"),
        "{beyond}"
    );
    edit(client, Value::Null).await.expect(200);
    reaches(&there, "f/a/asks").await;
}

#[tokio::test]
async fn a_job_that_was_queued_before_starts_within_it() {
    let system = System::start().slots(1).await;
    let (client, port) = (system.client(), system.hub().port());
    let holds = format!(
        "import socket\n\
        def main():\n    \
            hub = socket.create_connection(('127.0.0.1', {port})).makefile('rw')\n    \
            hub.write('wait gate\\n'); hub.flush(); hub.readline(); hub.write('ok\\n'); hub.flush()\n    \
            socket.create_connection(('127.0.0.1', {port})); return 'reached'\n"
    );
    client.deploy("f/a/holds", "python3", &holds).await;
    client.deploy("f/a/talks", "python3", &talks(&system)).await;
    let holder = client.run("f/a/holds", json!({})).await;
    client.running(&holder).await;
    let queued = client.run("f/a/talks", json!({})).await;
    edit(client, json!({"network_max": "none"})).await.expect(200);
    system.hub().open("gate");
    assert_eq!(client.end_of(&queued).await["result"]["error"]["name"], "PermissionError");
    assert_eq!(client.end_of(&holder).await["result"], "reached", "what runs goes on as it started");
}

#[tokio::test]
async fn settings_that_are_none_are_refused_by_name_and_change_nothing() {
    let system = System::start().workers(0).await;
    let client = system.client();
    let sandbox = json!({"network_max": "internet"});
    edit(client, sandbox.clone()).await.expect(200);
    for (asked, named) in [
        (json!({"memroy": 1}), "memroy"),
        (json!({"memory": 0}), "memory: invalid value: integer `0`"),
        (json!({"memory": -1}), "memory: invalid value: integer `-1`"),
        (json!({"memory": "2GiB"}), "memory: invalid type: string"),
        (json!({"processes": 1e30}), "processes: invalid type"),
        (json!({"network": "all"}), "network: unknown variant `all`"),
        (json!({"network_max": true}), "network_max: "),
        (json!({"network": "host", "network_max": "internet"}), "host is wider than network_max, internet"),
        (json!("none"), "sandbox: "),
        (json!([]), "sandbox: "),
    ] {
        let refused = edit(client, asked.clone()).await.expect(400).text();
        assert!(refused.starts_with("Bad request: ") && refused.contains(named), "{asked}: {refused}");
    }
    for (body, named) in
        [("", "EOF"), ("{}", "sandbox"), ("null", "null"), (r#"{"sandbix":null}"#, "sandbix")]
    {
        let refused = client.post("workspaces/edit_sandbox").json(body).send().await.expect(400).text();
        assert!(refused.contains("invalid settings") && refused.contains(named), "{body}: {refused}");
    }
    assert_eq!(settings(client).await["sandbox"], sandbox);
}

#[tokio::test]
async fn members_read_it_and_only_admins_change_it() {
    let system = System::start().await;
    let (client, eve) = (system.client(), system.member("eve").await);
    let sandbox = json!({"memory": 1 << 30});
    edit(client, sandbox.clone()).await.expect(200);
    assert_eq!(settings(&eve).await["sandbox"], sandbox);
    let refused = edit(&eve, Value::Null).await.expect(403).text();
    assert!(refused.contains("Require Admin privileges"), "{refused}");
    eve.in_workspace("admins").get_path("workspaces/get_settings").send().await.expect(404);
    edit(&eve.in_workspace("admins"), Value::Null).await.expect(404);
    edit(&client.in_workspace("nowhere"), Value::Null).await.expect(404);
    edit(&client.anonymous(), Value::Null).await.expect(401);
    let token = async |of: Value| client.with_token(&client.make_token(of).await);
    for (narrowed, named) in [
        (token(json!({"scopes": ["jobs:run"]})).await, "workspaces:write"),
        (token(json!({"scopes": ["workspaces:read"]})).await, "workspaces:write"),
        (token(json!({"read_only": true})).await, "read-only"),
    ] {
        let refused = edit(&narrowed, Value::Null).await.expect(403).text();
        assert!(refused.contains(named), "{refused}");
    }
    assert_eq!(settings(client).await["sandbox"], sandbox);
}

#[tokio::test]
async fn a_script_that_an_admin_runs_does_not_lift_what_bounds_it() {
    let system = System::start().await;
    let client = system.client();
    let lifts = "import json, os, urllib.error, urllib.request\n\
        def main(path, body):\n    \
            url = os.environ['BASE_INTERNAL_URL'] + '/api/w/main/workspaces/' + path\n    \
            asks = urllib.request.Request(url, body and json.dumps(body).encode())\n    \
            asks.add_header('Authorization', 'Bearer ' + os.environ['WM_TOKEN'])\n    \
            try: return [200, urllib.request.urlopen(asks).read().decode()]\n    \
            except urllib.error.HTTPError as error: return [error.code, error.read().decode()]\n";
    client.deploy("f/a/lifts", "python3", lifts).await;
    let tries = async |path: &str, body: Value| {
        client.wait("f/a/lifts", json!({"path": path, "body": body})).await.expect(200).json()
    };
    let read = tries("get_settings", Value::Null).await;
    assert_eq!(read[0], 200, "{read}");
    let edited = tries("edit_sandbox", json!({"sandbox": {"network_max": "host"}})).await;
    assert_eq!(edited[0], 403, "{edited}");
    assert!(edited[1].as_str().unwrap().contains("a job's token"), "{edited}");
    assert_eq!(settings(client).await["sandbox"], Value::Null);
}
