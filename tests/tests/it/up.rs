//! `hookmill up` and the command line, as somebody with a terminal uses them.

mod machine;

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};
use system_tests::{eventually, program};

use crate::gate::ApiGate;
use machine::{Machine, alive, descendants};

/// What is promised between a start and its first screen, with room for a busy machine.
const READY_WITHIN: Duration = Duration::from_secs(10);

#[tokio::test]
async fn the_first_screen_says_all_there_is_to_know_and_sigterm_ends_it() {
    let machine = Machine::new();
    let mut up = machine.up(&["--port", "0"]).await;
    assert!(up.took < READY_WITHIN, "{:?}", up.took);
    assert!(up.screen.contains(&up.url) && up.screen.contains("workspace main"), "{}", up.screen);
    let token = up.token.clone().expect("the first screen shows the token");

    let pasted = machine.shell(&up.line("Try")).await;
    assert_eq!(pasted.out.trim(), r#"{"greeting":"Hello, you!"}"#, "{pasted:?}");

    let env = machine.folder().join(".hookmill/env");
    assert_eq!(std::fs::metadata(&env).unwrap().permissions().mode() & 0o777, 0o600);
    let sourced =
        machine.shell("source .hookmill/env && echo $BASE_INTERNAL_URL $WM_WORKSPACE $WM_TOKEN").await;
    assert_eq!(sourced.out.trim(), format!("{} main {token}", up.url));
    let stored = machine.shell(&format!("grep -rl '{token}' .hookmill")).await;
    assert_eq!(stored.out.trim(), ".hookmill/env", "the token is stored hashed");

    assert_eq!(machine.scripts_folder().exists(), rustix::process::geteuid().is_root());
    let children = descendants(up.process.id());
    assert!(children.len() >= 2, "nats-server, Valkey and their supervisors: {children:?}");
    up.process.signal(Signal::TERM);
    let status = up.process.end_within(Duration::from_secs(35)).await;
    assert!(status.success(), "{status}");
    assert!(!children.into_iter().any(alive), "a child is left");
    assert!(!machine.scripts_folder().exists(), "the scripts' folder of root is left");
}

/// As in a container, whose root may neither make namespaces nor mount.
#[tokio::test]
async fn root_that_may_make_no_namespaces_runs_scripts_all_the_same() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let machine = Machine::new();
    let mut less = std::process::Command::new("setpriv");
    less.args(["--bounding-set", "-sys_admin", "--inh-caps", "-sys_admin"]).arg(program("hookmill"));
    let up = machine.up_by(less, &["--port", "0"]).await;
    let client = up.client();
    client.deploy("f/a/one", "bash", "id -u").await;
    let ran = client.wait("f/a/one", json!({})).await.expect(200);
    let job = client.get(ran.header("x-job-id")).await;
    assert_eq!((&job["isolation"], &job["success"]), (&json!("landlock"), &json!(true)), "{job:#}");
    assert_ne!(ran.text(), "\"0\"");
}

#[tokio::test]
async fn a_port_or_folder_that_is_taken_is_a_clear_error() {
    let machine = Machine::new();
    let up = machine.up(&["--port", "0"]).await;
    let port = up.url.rsplit(':').next().unwrap();
    let taken = machine.hookmill(&["up", "--port", port, "--data", "other"]).await;
    assert_eq!(taken.code, 2, "{taken:?}");
    assert!(taken.err.contains(port) && taken.err.contains("--port"), "{taken:?}");
    let held = machine.hookmill(&["up", "--port", "0"]).await;
    assert_eq!(held.code, 2, "{held:?}");
    assert!(held.err.contains("in use by another `hookmill up`"), "{held:?}");
}

#[tokio::test]
async fn ctrl_c_leaves_nothing_running_and_the_next_start_has_everything() {
    let machine = Machine::new();
    let mut first = machine.up(&["--port", "0"]).await;
    let kept = machine.leave_work(&first).await;
    let gate = ApiGate::deploy(&first.client(), "f/a/gate").await;
    let running = first.client().run("f/a/gate", json!({})).await;
    first.client().logged(&running, "waiting").await;
    let children = descendants(first.process.id());
    let names: Vec<String> = children.iter().map(|pid| machine::name(*pid)).collect();
    assert!(names.iter().any(|name| name == "bash"), "the script: {names:?}");
    // a terminal's Ctrl-C reaches everything that hookmill has not put into a group of its own
    first.process.signal_group(Signal::INT);
    let status = first.process.end_within(Duration::from_secs(35)).await;
    assert!(status.success(), "{status}");
    assert!(!children.into_iter().any(alive), "a child is left");
    let second = machine.find_work(&kept).await;
    gate.open(&second.client()).await;
    assert_eq!(second.client().end_of(&running).await["result"], "through", "it was handed back");
    assert_eq!(second.client().get(&running).await["attempt"], 2);
}

#[tokio::test]
async fn kill_9_leaves_nothing_running_and_the_next_start_has_everything() {
    let machine = Machine::new();
    let mut first = machine.up(&["--port", "0"]).await;
    let kept = machine.leave_work(&first).await;
    let api = first.client();
    let source = "import os, time\ndef main():\n    if os.fork() == 0:\n        os.setsid()\n    print('asleep', flush=True)\n    time.sleep(600)\n";
    api.deploy("f/a/sleeps", "python3", source).await;
    let running = api.run("f/a/sleeps", json!({})).await;
    api.logged(&running, "asleep").await;
    let children = descendants(first.process.id());
    let names: Vec<String> = children.iter().map(|pid| machine::name(*pid)).collect();
    for program in ["nats-server", "valkey-server", "python3"] {
        assert!(names.iter().any(|name| name.starts_with(program)), "{program}: {names:?}");
    }
    first.process.signal(Signal::KILL);
    first.process.end_within(Duration::from_secs(5)).await;
    eventually("the end of every child", Duration::from_secs(10), async || {
        (!children.iter().copied().any(alive)).then_some(())
    })
    .await;
    machine.find_work(&kept).await;
}

#[tokio::test]
async fn the_verbs() {
    let machine = Machine::new();
    let up = machine.up(&["--port", "0"]).await;
    let path = program("hookmill").display().to_string();
    let hookmill = async |args: &str| machine.shell(&format!("source .hookmill/env && {path} {args}")).await;
    machine.write("double.py", "def main(n: int):\n    print('doubling', n)\n    return n * 2\n");
    let pushed = hookmill("script push double.py --path f/tools/double").await;
    assert_eq!(pushed.code, 0, "{pushed:?}");
    let good = hookmill(r#"run f/tools/double -d '{"n": 21}' --wait"#).await;
    assert_eq!((good.code, good.out.trim()), (0, "42"), "{good:?}");
    assert!(good.err.contains("doubling 21"), "{good:?}");
    let bad = hookmill(r#"run f/tools/double -d '{"n": null}' --wait -o json"#).await;
    assert_eq!(bad.code, 1, "{bad:?}");
    let told: Value = serde_json::from_str(&bad.out).unwrap();
    assert_eq!((&told["success"], &told["result"]["error"]["name"]), (&json!(false), &json!("TypeError")));

    let queued = hookmill(r#"run f/tools/double -d '{"n": 4}'"#).await;
    let id = queued.out.trim();
    let logs = hookmill(&format!("logs {id} --follow")).await;
    let logs = if logs.code == 0 {
        logs
    } else {
        up.client().logged(id, "doubling 4").await;
        hookmill(&format!("logs {id}")).await
    };
    assert!(logs.out.contains("doubling 4"), "{logs:?}");

    let made = hookmill("token create --label ci --scope jobs:run -o json").await;
    assert_eq!(made.code, 0, "{made:?}");
    let made: Value = serde_json::from_str(&made.out).unwrap();
    let token = made["token"].as_str().unwrap();
    let list = hookmill("token list -o json").await;
    assert!(list.out.contains(&token[..10]) && !list.out.contains(token), "{list:?}");
    let revoked = hookmill(&format!("token revoke {}", &token[..10])).await;
    assert_eq!(revoked.code, 0, "{revoked:?}");
    let refused = hookmill(&format!("run f/tools/double --token {token}")).await;
    assert!(refused.code == 1 && refused.err.contains("Unauthorized"), "{refused:?}");

    for (args, code) in [
        ("run f/tools/absent", 1),
        ("run f/tools/double -d '{'", 2),
        ("run", 2),
        ("logs nonsense", 2),
        ("--base-url http://127.0.0.1:9 run f/tools/double", 3),
    ] {
        let answer = hookmill(args).await;
        assert_eq!(answer.code, code, "{args}: {answer:?}");
        assert!(
            !answer.err.is_empty() && !answer.err.contains(up.token.as_deref().unwrap()),
            "{args}: {answer:?}"
        );
    }
}
