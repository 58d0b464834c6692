//! Scripts in their sandbox, in the whole system: what is out of their reach, what they may ask for, and
//! that every job says how strongly it was confined.

mod workspace;

use serde_json::{Value, json};
use system_tests::{Client, System};

/// Says which of the ports answer.
const KNOCK: &str = "ports=\"$1\"\nopen=''\nfor port in $ports; do\n  (exec 3<>/dev/tcp/127.0.0.1/$port) 2> /dev/null && open=\"$open $port\"\ndone\necho \"open:$open\"\n";

fn port(url: &str) -> String {
    url.rsplit(':').next().unwrap().trim_end_matches('/').to_owned()
}

/// NATS, Valkey, auth-service, and the admin ports of worker and gateway.
async fn services(system: &System) -> Vec<String> {
    let admin = [system.worker(0), system.gateway(0), system.auth()];
    let mut ports = vec![system.nats().address().port().to_string()];
    ports.push(system.valkey().address().port().to_string());
    ports.push(port(&system.auth().url()));
    for service in admin {
        ports.push(port(&service.admin_url().await));
    }
    ports
}

async fn knocks(client: &Client, ports: &[String]) -> String {
    client.deploy("f/a/knocks", "bash", KNOCK).await;
    client.wait("f/a/knocks", json!({"ports": ports.join(" ")})).await.expect(200).text()
}

#[tokio::test]
async fn our_services_are_out_of_reach_but_for_the_gateway() {
    let system = System::start().await;
    let gateway = port(&system.gateway(0).url());
    let mut ports = services(&system).await;
    ports.push(gateway.clone());
    assert_eq!(knocks(system.client(), &ports).await, format!("\"open: {gateway}\""));
}

#[tokio::test]
async fn with_the_network_of_the_host_they_are_there() {
    let open = System::start().worker_setting("network", "host").worker_setting("network-max", "host");
    let system = open.await;
    let ports = services(&system).await;
    assert_eq!(knocks(system.client(), &ports).await, format!("\"open: {}\"", ports.join(" ")));
}

#[tokio::test]
async fn a_job_and_its_worker_say_how_strongly_it_is_confined() {
    for level in ["process", "landlock", "namespaces"] {
        let system = System::start().worker_setting("sandbox-level", level);
        let system = system.worker_setting("sandbox-minimum", "process").await;
        let client = system.client();
        client.deploy("f/a/one", "bash", "echo 1").await;
        let id = client.wait("f/a/one", json!({})).await.expect(200).header("x-job-id").to_owned();
        assert_eq!(client.get(&id).await["isolation"], level);
        let ready = reqwest::get(format!("{}/readyz", system.worker(0).admin_url().await)).await.unwrap();
        let ready: Value = serde_json::from_str(&ready.text().await.unwrap()).unwrap();
        assert!(ready.to_string().contains(&format!("\"level\":\"{level}\"")), "{ready}");
    }
}

#[tokio::test]
async fn a_script_asks_for_its_own_limits_and_network() {
    let system = System::start().await;
    let client = system.client();
    let error = async |settings: Value, source: &str| {
        client.deploy_with("f/a/asks", "python3", source, json!({ "sandbox": settings })).await;
        client.wait("f/a/asks", json!({})).await.expect(422).json()["error"].clone()
    };
    let eats = "def main():\n    kept = []\n    while True: kept.append(bytearray(1 << 20))\n";
    let memory = error(json!({"memory": 128 << 20}), eats).await;
    assert_eq!(memory["name"], "MemoryLimit", "{memory}");
    assert!(memory["message"].as_str().unwrap().contains("128 MiB"), "{memory}");

    let port = system.hub().port();
    let talks =
        format!("import socket\ndef main(): socket.create_connection(('127.0.0.1', {port})); return 1\n");
    let none = error(json!({"network": "none"}), &talks).await;
    assert_eq!(none["name"], "PermissionError", "{none}");
    client.deploy("f/a/asks", "python3", &talks).await;
    client.wait("f/a/asks", json!({})).await.expect(200).text();

    for (settings, named) in
        [(json!({"memory": 1_u64 << 40}), "memory"), (json!({"network": "host"}), "host")]
    {
        let refused = error(settings, "def main(): return 1\n").await;
        let message = refused["message"].as_str().unwrap();
        assert!(message.contains(named) && message.contains("at most"), "{refused}");
    }
    for (settings, named) in [
        (json!({"memroy": 1}), "memroy"),
        (json!({"memory": 0}), "nonzero"),
        (json!({"network": "all"}), "all"),
        (json!("none"), "object"),
    ] {
        let settings = json!({ "sandbox": settings });
        let answer = client.try_deploy("f/a/bad", "bash", "echo 1", settings).await.expect(400);
        assert!(answer.text().contains("sandbox") && answer.text().contains(named), "{}", answer.text());
    }
}
