//! How a script may end, and that the worker lives on with nothing of the job left.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use system_tests::{Client, System, eventually, lives, processes_of};

/// The bound on a result and on a log, in bytes.
const RESULT_LIMIT: usize = 8 * 1024 * 1024;
const LOG_LIMIT: usize = 2 * 1024 * 1024;

async fn error_of(client: &Client, language: &str, source: &str) -> Value {
    client.deploy("f/a/ends", language, source).await;
    let answer = client.wait("f/a/ends", json!({})).await.expect(422);
    answer.json()["error"].clone()
}

#[tokio::test]
async fn a_process_that_ends_before_main_returned_is_a_failed_job() {
    let system = System::start().await;
    let client = system.client();
    let python = error_of(
        client,
        "python3",
        "import os\ndef main():\n    print('last words', flush=True)\n    os._exit(0)\n",
    )
    .await;
    let deno =
        error_of(client, "deno", "export function main() { console.log('last words'); Deno.exit(0) }").await;
    for error in [python, deno] {
        assert_eq!((&error["name"], &error["exit_code"]), (&json!("ExecutionErr"), &json!(0)), "{error}");
        let message = error["message"].as_str().unwrap();
        assert!(message.contains("before main returned") && message.contains("last words"), "{message}");
    }
    let killed = error_of(client, "python3", "import os\ndef main():\n    os.kill(os.getpid(), 9)\n").await;
    assert_eq!(killed["exit_code"], 137, "{killed}");
    let bash = error_of(client, "bash", "echo last words\nexit 3\n").await;
    assert_eq!(bash["exit_code"], 3, "{bash}");
    assert!(bash["message"].as_str().unwrap().contains("last words"), "{bash}");
    let missing = error_of(client, "python3", "x = 1\n").await;
    assert!(missing["message"].as_str().unwrap().contains("main function is missing"), "{missing}");
    let syntax = error_of(client, "python3", "def main(:\n").await;
    assert_eq!(syntax["name"], "SyntaxError", "{syntax}");
    client.deploy("f/a/ends", "bash", "echo lives").await;
    assert_eq!(client.wait("f/a/ends", json!({})).await.expect(200).text(), "\"lives\"");
}

#[tokio::test]
async fn a_result_over_its_bound_is_a_clear_error_and_one_at_it_passes() {
    let system = System::start().await;
    let client = system.client();
    client.deploy("f/a/large", "python3", "def main(n: int):\n    return 'x' * n\n").await;
    let whole = client.wait("f/a/large", json!({"n": RESULT_LIMIT - 2})).await.expect(200);
    assert_eq!(whole.body.len(), RESULT_LIMIT);
    let error = client.wait("f/a/large", json!({"n": RESULT_LIMIT - 1})).await.expect(422).json();
    let message = error["error"]["message"].as_str().unwrap();
    assert!(message.contains(&RESULT_LIMIT.to_string()), "{message}");
}

#[tokio::test]
async fn what_json_cannot_say_becomes_null() {
    let system = System::start().await;
    let client = system.client();
    let python = "def main():\n    return [float('nan'), float('inf'), {'a': float('-inf')}, None]\n";
    let deno = "export const main = () => [NaN, Infinity, {a: -Infinity}, undefined];";
    for (language, source) in [("python3", python), ("deno", deno)] {
        client.deploy("f/a/odd", language, source).await;
        let answer = client.wait("f/a/odd", json!({})).await.expect(200);
        assert_eq!(answer.json(), json!([null, null, {"a": null}, null]), "{language}");
    }
    for silent in ["true", "exit 0", ":"] {
        client.deploy("f/a/odd", "bash", silent).await;
        assert_eq!(client.wait("f/a/odd", json!({})).await.expect(200).text(), "null", "{silent}");
    }
}

#[tokio::test]
async fn a_log_over_its_bound_is_cut_with_a_mark_and_the_job_goes_on() {
    let system = System::start().await;
    let client = system.client();
    let source =
        "def main():\n    for n in range(60000):\n        print('line', n, 'x' * 80)\n    return 'done'\n";
    client.deploy("f/a/loud", "python3", source).await;
    let answer = client.wait("f/a/loud", json!({})).await.expect(200);
    assert_eq!(answer.text(), "\"done\"");
    let log = client.logs(answer.header("x-job-id")).await;
    assert!((LOG_LIMIT..LOG_LIMIT + 4096).contains(&log.len()), "{}", log.len());
    let end: String = log.chars().rev().take(200).collect::<Vec<_>>().into_iter().rev().collect();
    assert!(end.contains(&LOG_LIMIT.to_string()) || end.contains("2 MiB"), "{end}");
    assert!(log.contains("line 0 x"), "the beginning is kept");
}

#[tokio::test]
async fn output_without_end_is_killed() {
    let system = System::start().await;
    let error = error_of(system.client(), "bash", "exec cat /dev/zero\n").await;
    let message = error["message"].as_str().unwrap();
    assert!(message.contains("1073741824") || message.contains("GiB"), "{error}");
}

#[tokio::test]
async fn a_script_that_ignores_sigterm_ends_at_its_timeout() {
    let system = System::start().slots(1).await;
    let client = system.client();
    let source = "import signal, time\ndef main():\n    signal.signal(signal.SIGTERM, signal.SIG_IGN)\n    signal.signal(signal.SIGINT, signal.SIG_IGN)\n    print('deaf', flush=True)\n    while True:\n        time.sleep(1)\n";
    client.deploy_with("f/a/deaf", "python3", source, json!({"timeout": 1})).await;
    let answer = client.wait("f/a/deaf", json!({})).await.expect(422);
    let error = &answer.json()["error"];
    assert!(error["message"].as_str().unwrap().contains("timeout"), "{error}");
    assert!(client.logs(answer.header("x-job-id")).await.contains("deaf"));
    client.deploy("f/a/deaf", "bash", "echo lives").await;
    assert_eq!(client.wait("f/a/deaf", json!({})).await.expect(200).text(), "\"lives\"");
}

/// Forks a child and a grandchild with a session of its own, says so, and goes on or returns.
const FAMILY: &str = r"
import ctypes, os, signal, time

def main(returns: bool):
    # so that it is found from outside: its process may have been there before it
    ctypes.CDLL(None).prctl(15, os.environ['WM_JOB_ID'].split('-')[-1].encode())
    os.makedirs('family')
    def leave(name):
        open('family/' + name, 'w').close()
    leave('main')
    if os.fork() == 0:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        if os.fork() == 0:
            os.setsid()
            signal.signal(signal.SIGHUP, signal.SIG_IGN)
            leave('grandchild')
            time.sleep(600)
        leave('child')
        time.sleep(600)
    while len(os.listdir('family')) < 3:
        time.sleep(0.01)
    print('all there', flush=True)
    if returns:
        return 'returned'
    time.sleep(600)
";

#[tokio::test]
async fn children_and_grandchildren_end_with_their_job() {
    let system = System::start().slots(2).await;
    let client = system.client();
    client.deploy_with("f/a/family", "python3", FAMILY, json!({"timeout": 20})).await;
    client.deploy_with("f/a/short", "python3", FAMILY, json!({"timeout": 2})).await;
    let args = |returns: bool| json!({"returns": returns});

    let answer = client.wait("f/a/family", args(true)).await.expect(200);
    assert_eq!(answer.text(), "\"returned\"");
    let returned = answer.header("x-job-id").to_owned();
    let timed_out = client.run("f/a/short", args(false)).await;
    let canceled = client.run("f/a/family", args(false)).await;
    client.logged(&canceled, "all there").await;
    assert_eq!(processes_of(&canceled).len(), 3, "they run before the cancellation");
    client.cancel(&canceled, "enough").await;
    for id in [&timed_out, &canceled] {
        assert_eq!(client.end_of(id).await["success"], false);
    }
    for id in [&timed_out, &canceled] {
        assert_eq!(processes_of(id), Vec::<i32>::new(), "they are left");
    }
    // its answer does not wait for them
    let gone = async || processes_of(&returned).is_empty().then_some(());
    eventually("the end of what a job has left", Duration::from_secs(15), gone).await;
    // those that wait for a job have just a folder `tmp` in them
    let jobs = system.folder().join("work-0/jobs");
    let entries = |path: &Path| std::fs::read_dir(path).map_or(0, Iterator::count);
    let used = || {
        let folders = std::fs::read_dir(&jobs).expect("the work folder").flatten();
        folders.filter(|folder| entries(&folder.path()) > 1).count()
    };
    let gone = async || (used() == 0).then_some(());
    eventually("the end of the jobs' folders", Duration::from_secs(60), gone).await;
}

#[tokio::test]
async fn nothing_of_a_job_outlives_its_worker() {
    let system = System::start().await;
    let client = system.client();
    client.deploy("f/a/family", "python3", FAMILY).await;
    let id = client.run("f/a/family", json!({"returns": false})).await;
    client.logged(&id, "all there").await;
    let pids = processes_of(&id);
    assert_eq!(pids.len(), 3);
    system.worker(0).kill();
    eventually("the end of the worker's scripts", Duration::from_secs(5), async || {
        (!pids.iter().copied().any(lives)).then_some(())
    })
    .await;
}
