//! What runs under the load. Each script tells the hub that it begins and ends: with its job,
//! its attempt (which only its token knows), a name of this run alone, and the time.

use serde_json::{Value, json};

use crate::client::Client;

/// A script that works as long as it is told, and returns its value and its run's name.
pub(super) const WORKS: &str = "f/chaos/works";
/// The same, but it may be started once only.
pub(super) const ONCE: &str = "f/chaos/once";
/// A script that fails.
pub(super) const FAILS: &str = "f/chaos/fails";
/// A script with arguments of any size.
pub(super) const LARGE: &str = "f/chaos/large";

const LINE: &str = r#"port="$1"
value="$2"
work="$3"
exec 3<>"/dev/tcp/127.0.0.1/$port"
nonce="$RANDOM$RANDOM$RANDOM$$"
say() { echo "say $1 $WM_JOB_ID $WM_TOKEN $nonce ${EPOCHREALTIME/./} $WM_WORKER_NAME $value" >&3; read -r _ <&3; }
say begin
sleep "$work" 3>&-
say end
"#;

const PYTHON: &str = r#"import os, socket, time, uuid

def main(port: int, value: str, text: str):
    hub = socket.create_connection(("127.0.0.1", port)).makefile("rw")
    nonce = uuid.uuid4().hex
    def say(what):
        told = [what, os.environ["WM_JOB_ID"], os.environ["WM_TOKEN"], nonce, str(time.time_ns() // 1000)]
        print("say", *told, os.environ["WM_WORKER_NAME"], value, file=hub, flush=True)
        hub.readline()
    say("begin")
    say("end")
    return f"{value}/{nonce}/{len(text)}"
"#;

/// Deploys all of them.
pub(super) async fn deploy(client: &Client) {
    let works = format!("{LINE}echo \"$value/$nonce\"\n");
    client.deploy(WORKS, "bash", &works).await;
    client.deploy_with(ONCE, "bash", &works, json!({"retry_on_worker_loss": false})).await;
    client.deploy(FAILS, "bash", &format!("{LINE}exit 3\n")).await;
    client.deploy(LARGE, "python3", PYTHON).await;
}

/// Arguments of the Bash scripts.
pub(super) fn args(port: u16, value: &str, work_ms: u64) -> Value {
    json!({"port": port, "value": value, "work": format!("{}.{:03}", work_ms / 1000, work_ms % 1000)})
}

/// Arguments of [`LARGE`].
pub(super) fn large_args(port: u16, value: &str, size: usize) -> Value {
    json!({"port": port, "value": value, "text": "x".repeat(size)})
}
