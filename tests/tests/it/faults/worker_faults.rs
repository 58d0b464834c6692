//! A worker whose disk has gone: scripts cannot be started, which is no fault of theirs.

use std::path::PathBuf;

use serde_json::json;
use system_tests::{Service, System, eventually, within};

use super::stage::{BOUND, worker_name};

/// The folder in which a worker makes those of its jobs.
fn jobs_folder(system: &System, worker: usize) -> (PathBuf, PathBuf) {
    let folder = system.folder().join(format!("work-{worker}")).join("jobs");
    (folder.clone(), folder.with_extension("gone"))
}

/// What stands in the way of its readiness; empty when nothing does.
async fn unready(worker: &Service) -> String {
    let answer = reqwest::get(format!("{}/readyz", worker.admin_url().await)).await.expect("it answers");
    if answer.status() == 200 { String::new() } else { answer.text().await.expect("a body") }
}

#[tokio::test]
async fn its_jobs_wait_without_an_attempt() {
    let system = System::start().slots(1).await;
    let client = system.client();
    client.deploy("f/a/b", "bash", "echo ran").await;
    let once = json!({"retry_on_worker_loss": false});
    client.deploy_with("f/a/once", "bash", "echo once", once).await;
    let (folder, gone) = jobs_folder(&system, 0);
    std::fs::rename(&folder, &gone).expect("the folder is there");
    let (first, second) = (client.run("f/a/b", json!({})).await, client.run("f/a/once", json!({})).await);
    let worker = system.worker(0);
    eventually("the worker says that it starts nothing", BOUND, async || {
        unready(worker).await.contains("scripts").then_some(())
    })
    .await;
    assert_eq!(client.result_maybe(&first).await["completed"], false);
    std::fs::rename(&gone, &folder).expect("it comes back");
    for (job, result) in [(&first, "ran"), (&second, "once")] {
        assert_eq!(client.end_of(job).await["result"], result);
        assert_eq!(client.get(job).await["attempt"], 1, "{job}");
    }
    eventually("it is ready again", BOUND, async || unready(worker).await.is_empty().then_some(())).await;
}

#[tokio::test]
async fn its_jobs_go_to_another() {
    let system = System::start().workers(2).slots(2).await;
    let client = system.client();
    client.deploy("f/a/b", "bash", "echo ran").await;
    let (folder, gone) = jobs_folder(&system, 0);
    std::fs::rename(&folder, &gone).expect("the folder is there");
    let worker = system.worker(0);
    let calls = async {
        while unready(worker).await.is_empty() {
            let answer = client.wait("f/a/b", json!({})).await.expect(200);
            let job = client.get(answer.header("x-job-id")).await;
            assert_eq!((answer.text().as_str(), &job["attempt"]), ("\"ran\"", &json!(1)));
            assert_eq!(job["worker"], worker_name(system.worker(1)), "{job}");
        }
    };
    within("a job that the broken worker was given", BOUND, calls).await;
}

#[tokio::test]
async fn an_interpreter_that_goes_fails_no_script() {
    let programs = tempfile::Builder::new().prefix("programs-").tempdir_in("/var/tmp").expect("a folder");
    std::fs::set_permissions(programs.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .expect("it is ours");
    let program = programs.path().join("deno");
    std::fs::copy(hookmill::up::tools::find("deno").expect("deno is here"), &program).expect("room for it");
    let system = System::start().slots(1).worker_setting("deno", program.display()).await;
    let client = system.client();
    client.deploy("f/a/ts", "deno", "export function main() { return 'ran'; }").await;
    assert_eq!(client.wait("f/a/ts", json!({})).await.expect(200).text(), "\"ran\"");
    let gone = programs.path().join("gone");
    std::fs::rename(&program, &gone).expect("it is there");
    // more than launchers wait that have it still
    let mut jobs = Vec::new();
    for _ in 0..20 {
        jobs.push(client.run("f/a/ts", json!({})).await);
    }
    let worker = system.worker(0);
    eventually("the worker says that it starts nothing", BOUND, async || {
        unready(worker).await.contains("scripts").then_some(())
    })
    .await;
    let last = jobs.last().expect("there are twenty");
    assert_eq!(client.result_maybe(last).await["completed"], false);
    std::fs::rename(&gone, &program).expect("it comes back");
    for job in &jobs {
        assert_eq!(client.end_of(job).await["result"], "ran");
        assert_eq!(client.get(job).await["attempt"], 1, "no attempt was spent");
    }
}
