//! The documented example that calls webhooks with nothing but `fetch`: exactly that file, from
//! outside and as a deployed script.

use std::path::Path;
use std::time::Duration;

use hookmill::up::tools;
use serde_json::{Value, json};
use system_tests::{Client, System, within};
use tokio::process::Command;

const EXAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/examples/call-a-webhook.ts");

const PYTHON: &str = "def main(name: str = 'world'):\n    return {'greeting': f'Hello, {name}!'}\n";

fn assert_called(told: &Value) {
    let greeting = json!({"greeting": "Hello, you!"});
    assert_eq!((&told["waited_for"], &told["looked_up"]), (&greeting, &greeting), "{told}");
    uuid::Uuid::parse_str(told["started"].as_str().unwrap()).unwrap();
}

async fn run_outside(client: &Client, cache: &Path, args: &[&str]) -> std::process::Output {
    let mut command = Command::new(tools::find("deno").unwrap());
    command.args(["run", "--quiet", "--no-remote", "--allow-env", "--allow-net", EXAMPLE]).args(args);
    command.env("BASE_INTERNAL_URL", client.base_url()).env("WM_TOKEN", client.token());
    command.env("WM_WORKSPACE", client.workspace()).env("DENO_DIR", cache).env("DENO_NO_UPDATE_CHECK", "1");
    command.kill_on_drop(true);
    within("the example's end", Duration::from_secs(60), command.output()).await.unwrap()
}

#[tokio::test]
async fn from_outside() {
    let system = System::start().gateways(2).await;
    let client = system.client();
    client.deploy("f/examples/hello", "python3", PYTHON).await;
    let cache = system.folder().join("deno");
    let output = run_outside(client, &cache, &["f/examples/hello", r#"{"name": "you"}"#]).await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_called(&serde_json::from_slice(&output.stdout).unwrap());
    let absent = run_outside(client, &cache, &["f/examples/absent"]).await;
    let said = String::from_utf8_lossy(&absent.stderr);
    assert!(!absent.status.success() && said.contains("404: Not found: "), "{said}");
}

#[tokio::test]
async fn as_a_script() {
    let system = System::start().workers(2).await;
    let client = system.client();
    client.deploy("f/examples/hello", "python3", PYTHON).await;
    client.deploy("f/examples/call", "deno", &std::fs::read_to_string(EXAMPLE).unwrap()).await;
    let args = json!({"path": "f/examples/hello", "args": {"name": "you"}});
    let answer = client.wait("f/examples/call", args).await.expect(200);
    assert_called(&answer.json());
    let id = answer.json()["started"].as_str().unwrap().to_owned();
    let job = client.get(&id).await;
    assert_eq!(job["created_by"], "admin", "{job}");
}
