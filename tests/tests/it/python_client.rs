//! Windmill's Python client, unmodified, from outside and inside a script: the same program.

use std::time::Duration;

use hookmill::up::tools;
use serde_json::{Value, json};
use system_tests::{Client, System, within};
use tokio::process::Command;

const PROGRAM: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/clients/python_client.py");

const DOUBLE: &str = "def main(n: int):\n    return n * 2 if n < 100 else None\n";

const ENDLESS: &str = "import time\ndef main():\n    while True:\n        time.sleep(1)\n";

async fn system() -> (System, String) {
    let system = System::start().gateways(2).workers(2).await;
    let hash = system.client().deploy("f/a/double", "python3", DOUBLE).await;
    system.client().deploy("f/a/endless", "python3", ENDLESS).await;
    (system, hash)
}

fn assert_all_of_it(told: &Value) {
    for (key, expected) in [
        ("by_path", json!(2)),
        ("by_hash", json!(4)),
        ("by_path_async", json!("COMPLETED")),
        ("by_hash_async", json!("COMPLETED")),
        ("later", json!(["COMPLETED", 10])),
        ("got", json!(6)),
        ("job", json!("f/a/double")),
        ("canceled", json!(["RUNNING", true, "COMPLETED", "enough"])),
        ("user", json!("admin@hookmill.test")),
        ("version", json!("CE v1.584.0")),
        ("get_version", json!("CE v1.584.0")),
    ] {
        assert_eq!(told[key], expected, "{key}: {told:#}");
    }
    assert!(told["failure"].as_str().unwrap().contains("TypeError"), "{told:#}");
    assert_eq!(told["whoami"]["email"], "admin@hookmill.test", "{told:#}");
}

async fn run_outside(client: &Client, hash: &str) -> Value {
    let mut command = Command::new(tools::find("python3").unwrap());
    command.args([PROGRAM, "f/a/double", hash, "f/a/endless"]);
    command.env("PYTHONPATH", tools::python_sdk().unwrap()).env("PYTHONDONTWRITEBYTECODE", "1");
    command.env("BASE_INTERNAL_URL", client.base_url()).env("WM_TOKEN", client.token());
    command.env("WM_WORKSPACE", client.workspace()).env("NO_PROXY", "127.0.0.1").kill_on_drop(true);
    let output = within("the program's end", Duration::from_secs(90), command.output()).await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[tokio::test]
async fn outside() {
    let (system, hash) = system().await;
    assert_all_of_it(&run_outside(system.client(), &hash).await);
}

#[tokio::test]
async fn inside_a_script() {
    let (system, hash) = system().await;
    let client = system.client();
    client.deploy("f/a/inside", "python3", &std::fs::read_to_string(PROGRAM).unwrap()).await;
    let args = json!({"path": "f/a/double", "hash": hash, "endless": "f/a/endless"});
    let answer = client.wait("f/a/inside", args).await.expect(200);
    assert_all_of_it(&answer.json());
}

#[tokio::test]
async fn it_is_the_client_that_windmill_publishes() {
    let sdk = tools::python_sdk().expect("`make test` fetches it");
    let version = std::fs::read_dir(sdk).unwrap().flatten().map(|entry| entry.file_name());
    let names: Vec<String> = version.map(|name| name.to_string_lossy().into_owned()).collect();
    assert!(names.contains(&"wmill-1.850.0.dist-info".to_owned()), "{names:?}");
}
