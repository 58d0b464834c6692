//! Jobs as they are looked at: waiting, running, ended, cancelled, listed.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};
use system_tests::{System, eventually};

use crate::gate::Gate;

#[tokio::test]
async fn a_job_that_no_worker_serves_waits_and_says_for_what() {
    let system = System::start().slots(1).await;
    let client = system.client();
    client.deploy_with("f/a/special", "bash", "echo special", json!({"tag": "gpu"})).await;
    let id = client.run("f/a/special", json!({"n": 1})).await;
    let job = client.get(&id).await;
    assert_eq!(
        (&job["type"], &job["running"], &job["tag"]),
        (&json!("QueuedJob"), &json!(false), &json!("gpu"))
    );
    let waits = job["waiting_for"].as_str().unwrap();
    assert!(waits.contains("gpu") && waits.contains("none is running"), "{waits}");
    assert_eq!(job["args"], json!({"n": 1}));
    let worker = system.worker(0);
    worker.terminate().await;
    worker.set("tags", "gpu");
    worker.start_again().await;
    assert_eq!(client.end_of(&id).await["result"], "special");
}

#[tokio::test]
async fn a_job_behind_a_full_worker_waits_for_a_slot() {
    let system = System::start().slots(1).await;
    let client = system.client();
    let gate = Gate::deploy(&system, "f/a/gate").await;
    let first = client.run("f/a/gate", json!({})).await;
    client.running(&first).await;
    let second = client.run("f/a/gate", json!({})).await;
    let job = client.get(&second).await;
    let waits = job["waiting_for"].as_str().unwrap();
    assert!(waits.contains("a free slot of the one worker for tag `bash`"), "{waits}");
    let first_job = client.get(&first).await;
    assert_eq!((&first_job["running"], &first_job["waiting_for"]), (&json!(true), &Value::Null));
    gate.open();
    for id in [first, second] {
        assert_eq!(client.end_of(&id).await["result"], "through");
    }
}

#[tokio::test]
async fn queued_and_running_jobs_are_cancelled() {
    let system = System::start().slots(1).gateways(2).await;
    let client = system.client();
    let gate = Gate::deploy(&system, "f/a/gate").await;
    let running = client.run("f/a/gate", json!({})).await;
    client.running(&running).await;
    let queued = client.run("f/a/gate", json!({})).await;
    let last = client.run("f/a/gate", json!({})).await;
    let other = client.at(system.gateway(1));
    for (id, reason) in [(&queued, "not needed"), (&running, "too slow")] {
        assert_eq!(other.cancel(id, reason).await, *id);
        let end = client.end_of(id).await;
        let error = &end["result"]["error"];
        assert_eq!(
            (&end["success"], &error["name"], &error["reason"]),
            (&json!(false), &json!("Canceled"), &json!(reason))
        );
        assert!(error["message"].as_str().unwrap().contains(reason), "{error}");
        let job = client.get(id).await;
        assert_eq!((&job["canceled"], &job["canceled_reason"]), (&json!(true), &json!(reason)), "{job}");
        assert!(other.cancel(id, "again").await.contains("already completed"));
    }
    gate.open();
    assert_eq!(client.end_of(&last).await["result"], "through");
}

#[tokio::test]
async fn a_worker_that_is_told_to_end_hands_its_job_on_at_once() {
    let system = System::start().worker_setting("shutdown-grace", "500ms").await;
    let client = system.client();
    let gate = Gate::deploy(&system, "f/a/gate").await;
    let id = client.run("f/a/gate", json!({})).await;
    client.running(&id).await;
    let worker = system.worker(0);
    assert!(worker.terminate().await.success());
    worker.start_again().await;
    // long before the lease of 15 s has run out
    eventually("the second attempt", Duration::from_secs(5), async || {
        (client.get(&id).await["attempt"] == 2).then_some(())
    })
    .await;
    gate.open();
    assert_eq!(client.end_of(&id).await["result"], "through");
}

#[tokio::test]
async fn a_waiting_caller_hears_of_the_cancellation() {
    let system = System::start().gateways(2).await;
    let client = system.client().clone();
    let _shut = Gate::deploy(&system, "f/a/gate").await;
    let id = uuid::Uuid::new_v4().to_string();
    let path = format!("jobs/run_wait_result/p/f/a/gate?job_id={id}");
    let waiting = tokio::spawn({
        let client = client.clone();
        async move { client.post(&path).json("{}").send().await }
    });
    client.running(&id).await;
    client.at(system.gateway(1)).cancel(&id, "enough").await;
    let answer = waiting.await.unwrap().expect(422);
    assert_eq!(answer.json()["error"]["name"], "Canceled");
}

#[tokio::test]
async fn logs_and_updates_are_read_while_the_job_runs() {
    let system = System::start().gateways(2).await;
    let client = system.client();
    let gate = Gate::deploy(&system, "f/a/gate").await;
    let id = client.run("f/a/gate", json!({})).await;
    let other = client.at(system.gateway(1));
    let log = other.logged(&id, "waiting").await;
    assert_eq!(client.result_maybe(&id).await["completed"], false, "it still runs");
    let update = async |offset: usize| {
        let path = format!("jobs_u/getupdate/{id}?running=true&log_offset={offset}");
        client.get_path(&path).send().await.expect(200).json()
    };
    let first = update(0).await;
    assert!(first["new_logs"].as_str().unwrap().contains("waiting"), "{first}");
    let offset = usize::try_from(first["log_offset"].as_u64().unwrap()).unwrap();
    assert_eq!(offset, log.len());
    assert!(client.get_path(&format!("jobs_u/completed/get/{id}")).send().await.status == 404);
    gate.open();
    client.end_of(&id).await;
    let last = update(offset).await;
    assert_eq!(last["completed"], true, "{last}");
    assert_eq!(last["new_logs"], "through\n", "{last}");
    let job = client.get_path(&format!("jobs_u/completed/get/{id}")).send().await.expect(200).json();
    assert!(job["logs"].as_str().unwrap().ends_with("through\n"), "{job}");
    assert!(job["duration_ms"].as_i64().unwrap() >= 0 && job["worker"].is_string(), "{job}");
}

#[tokio::test]
async fn listings_are_newest_first_and_go_on_by_cursor() {
    let system = System::start().await;
    let client = system.client();
    client.deploy("f/a/quick", "bash", "echo 1").await;
    client.deploy("f/b/other", "bash", "echo 2").await;
    let gate = Gate::deploy(&system, "f/a/gate").await;
    let mut ids = Vec::new();
    for n in 0..12 {
        let path = if n % 3 == 0 { "f/b/other" } else { "f/a/quick" };
        ids.push(client.run(path, json!({})).await);
    }
    ids.push(client.run("f/a/gate", json!({})).await);
    for id in &ids[..12] {
        client.end_of(id).await;
    }
    client.running(&ids[12]).await;
    ids.reverse();
    let names =
        |rows: &[Value]| rows.iter().map(|row| row["id"].as_str().unwrap().to_owned()).collect::<Vec<_>>();
    eventually("every row", Duration::from_secs(10), async || {
        (names(&client.list("per_page=100").await) == ids).then_some(())
    })
    .await;
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = client.get_path(&format!("jobs/list?per_page=5&cursor={cursor}")).send().await.expect(200);
        seen.extend(names(page.json().as_array().unwrap()));
        cursor = page.header("x-next-cursor").to_owned();
        if cursor.is_empty() {
            break;
        }
    }
    assert_eq!(seen, ids);
    assert_eq!(names(&client.list("running=true").await), ids[..1]);
    assert_eq!(client.list("script_path_exact=f/b/other").await.len(), 4);
    assert_eq!(names(&client.list("per_page=5&page=2").await), ids[5..10]);
    let distinct: BTreeSet<&String> = ids.iter().collect();
    assert_eq!(distinct.len(), 13);
    gate.open();
}

#[tokio::test]
async fn a_script_is_told_who_it_is_and_nothing_of_the_worker() {
    let system = System::start().await;
    let client = system.client();
    let source = "import os\ndef main():\n    return [dict(os.environ), os.getcwd()]\n";
    let hash = client.deploy("u/admin/env", "python3", source).await;
    let answer = client.wait("u/admin/env", json!({})).await.expect(200);
    let result = answer.json();
    let env = &result[0];
    for (name, value) in [
        ("WM_WORKSPACE", "main"),
        ("WM_JOB_PATH", "u/admin/env"),
        ("WM_JOB_ID", answer.header("x-job-id")),
        ("WM_USERNAME", "admin"),
        ("WM_EMAIL", "admin@hookmill.test"),
        ("WM_PERMISSIONED_AS", "u/admin"),
        ("WM_RUNNABLE_ID", &hash),
        ("BASE_INTERNAL_URL", client.base_url()),
        ("WM_FLOW_JOB_ID", ""),
    ] {
        assert_eq!(env[name], value, "{name}");
    }
    let names: Vec<&String> = env.as_object().unwrap().keys().collect();
    assert!(!names.iter().any(|name| name.starts_with("HOOKMILL")), "{names:?}");
    let folder = std::path::Path::new(result[1].as_str().unwrap());
    let gone = async || (!folder.exists()).then_some(());
    eventually("the end of the job's folder", Duration::from_secs(60), gone).await;
}
