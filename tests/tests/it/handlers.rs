//! Handlers of schedules: who hears of which ends, once, whoever dies in between.

mod defaults;

use chrono::{DateTime, Utc};
use http::Method;
use ring::digest;
use serde_json::{Value, json};
use system_tests::{Client, System, eventually, within};

use crate::faults::stage::{
    BOUND, HELD, QUICK, Stage, assert_ended_with, backlog, backlog_is, slay, worker_name,
};
use crate::faults::wire::Wire;

const EVERY_SECOND: &str = "* * * * * *";
/// The schedule of every test, and its script.
const PATH: &str = "f/handlers/each";
const SCRIPT: &str = "f/handlers/work";
/// Its handlers.
const ALARM: &str = "f/handlers/alarm";
const CALM: &str = "f/handlers/calm";
const DONE: &str = "f/handlers/done";

/// A script that tells of its start and then does what `ends` says.
async fn deploy(client: &Client, ends: &str) {
    let told = r#"port="$1"
value="$2"
exec 3<>"/dev/tcp/127.0.0.1/$port"
echo "say begin $WM_JOB_ID $WM_WORKER_NAME $value" >&3; read -r _ <&3
"#;
    let before = client.get_path(&format!("scripts/get/p/{SCRIPT}")).send().await;
    let settings =
        if before.status == 200 { json!({"parent_hash": before.json()["hash"]}) } else { json!({}) };
    client.deploy_with(SCRIPT, "bash", &format!("{told}{ends}\n"), settings).await;
}

async fn set_up(system: &System, ends: &str) -> Stage {
    let stage = Stage::set(system).await;
    deploy(system.client(), ends).await;
    for path in [ALARM, CALM, DONE] {
        // what handlers come to is nobody's to hear of
        system.client().deploy(path, "bash", "exit 1").await;
    }
    stage
}

async fn schedule(stage: &Stage, client: &Client, script: &str, more: Value) {
    let mut sent = json!({"path": PATH, "schedule": EVERY_SECOND, "timezone": "UTC", "script_path": script,
        "is_flow": false, "enabled": true, "args": stage.args("tick")});
    sent.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    client.post("schedules/create").json(sent).send().await.expect(201);
}

/// No further job of the schedule, and each end has been heard of.
async fn stop(system: &System) {
    let off = json!({"enabled": false});
    system.client().post(&format!("schedules/setenabled/{PATH}")).json(off).send().await.expect(200);
    // the next tick, the job of the last one, its telling, and the handlers' jobs: in this order
    for _ in 0..2 {
        eventually("no timer is left", BOUND, async || {
            (system.nats().held("TIMERS").await == Some(0)).then_some(())
        })
        .await;
        backlog_is(system, 0).await;
    }
}

/// The jobs of a script, as they ended, oldest first.
async fn jobs_of(client: &Client, script: &str) -> Vec<Value> {
    let rows = client.list(&format!("script_path_exact={script}&per_page=1000")).await;
    let mut jobs = Vec::new();
    for row in rows.iter().rev() {
        jobs.push(client.get(row["id"].as_str().unwrap()).await);
    }
    jobs
}

/// The id of a handler's job, worked out as the documentation says and not by the gateway's code.
fn id_of(kind: &str, job: &str) -> String {
    let text = format!("hookmill handler v1 main {job} {kind}");
    let bytes: [u8; 16] = digest::digest(&digest::SHA256, text.as_bytes()).as_ref()[..16].try_into().unwrap();
    uuid::Builder::from_random_bytes(bytes).into_uuid().to_string()
}

fn ids(jobs: &[Value]) -> Vec<&str> {
    let mut ids: Vec<&str> = jobs.iter().map(|job| job["id"].as_str().unwrap()).collect();
    ids.sort_unstable();
    ids
}

/// The jobs that a kind of handler has of these jobs, if it has heard of each of them once and of nothing else.
fn assert_heard(kind: &str, of: &[&Value], jobs: &[Value]) {
    let mut expected: Vec<String> = of.iter().map(|job| id_of(kind, job["id"].as_str().unwrap())).collect();
    expected.sort_unstable();
    assert_eq!(ids(jobs), expected, "{kind}");
}

fn time(job: &Value, key: &str) -> DateTime<Utc> {
    job[key].as_str().unwrap_or_else(|| panic!("{key} of {job:#}")).parse().unwrap()
}

#[tokio::test]
async fn a_schedule_that_fails_and_works_again_is_told_of_once_each() {
    let system = System::start().gateways(2).workers(1).slots(1).await;
    let (client, stage) = (system.client(), set_up(&system, "exit 3").await);
    let handlers = json!({
        "on_failure": format!("script/{ALARM}"), "on_failure_times": 3, "on_failure_exact": true,
        "on_failure_extra_args": {"to": [1.0], "failed_times": "mine"},
        "on_recovery": format!("script/{CALM}"), "on_recovery_times": 2,
        "on_success": format!("script/{DONE}"), "on_success_extra_args": {"to": "you"},
    });
    schedule(&stage, client, SCRIPT, handlers).await;
    stage.begins(5).await;
    deploy(client, "echo works").await;
    eventually("it works again", BOUND, async || {
        let ended = jobs_of(client, SCRIPT).await;
        (ended.iter().filter(|job| job["success"] == true).count() >= 4).then_some(())
    })
    .await;
    stop(&system).await;
    let jobs = jobs_of(client, SCRIPT).await;
    let (worked, failed): (Vec<&Value>, Vec<&Value>) = jobs.iter().partition(|job| job["success"] == true);
    assert!(failed.len() >= 5 && worked.len() >= 4, "{} and {}", failed.len(), worked.len());

    let alarms = jobs_of(client, ALARM).await;
    let [alarm] = &alarms[..] else { panic!("one alarm: {alarms:#?}") };
    let of = failed.iter().find(|job| job["id"] == alarm["parent_job"]).unwrap();
    assert_heard("failure", &[of], &alarms);
    assert_eq!(
        alarm["args"],
        json!({"path": SCRIPT, "schedule_path": PATH, "is_flow": false, "job_id": of["id"],
        "error": of["result"]["error"], "failed_times": "mine", "started_at": of["started_at"], "to": [1.0]})
    );
    for (key, expected) in
        [("permissioned_as", json!("u/admin")), ("success", json!(false)), ("schedule_path", Value::Null)]
    {
        assert_eq!(alarm[key], expected, "{key} of {alarm:#}");
    }

    let calms = jobs_of(client, CALM).await;
    let [calm] = &calms[..] else { panic!("one recovery: {calms:#?}") };
    let of = worked.iter().find(|job| job["id"] == calm["parent_job"]).unwrap();
    assert_heard("recovery", &[of], &calms);
    let args = &calm["args"];
    let before = failed.iter().find(|job| job["started_at"] == args["error_started_at"]).unwrap();
    assert!(time(before, "completed_at") > time(failed[2], "started_at"));
    assert_eq!(
        *args,
        json!({"path": SCRIPT, "schedule_path": PATH, "is_flow": false, "job_id": of["id"],
        "error": before["result"]["error"], "error_started_at": before["started_at"],
        "success_result": "works", "success_times": 2, "success_started_at": of["started_at"]})
    );

    let dones = jobs_of(client, DONE).await;
    assert_heard("success", &worked, &dones);
    for done in &dones {
        assert_eq!((&done["args"]["success_result"], &done["args"]["to"]), (&json!("works"), &json!("you")));
    }
}

#[tokio::test]
async fn each_failure_is_told_of_once_whoever_dies() {
    let system = System::start().gateways(2).workers(2).lease("2s").await;
    let (client, stage) = (system.client(), set_up(&system, "exit 3").await);
    schedule(&stage, client, SCRIPT, json!({"on_failure": format!("script/{ALARM}")})).await;
    stage.begins(2).await;
    for number in [0, 1] {
        let before = stage.begun().len();
        system.gateway(number).kill();
        stage.begins(before + 1).await;
        system.gateway(number).start_again().await;
        system.worker(number).kill();
        stage.begins(before + 3).await;
        system.worker(number).start_again().await;
    }
    stop(&system).await;
    let (jobs, alarms) = (jobs_of(client, SCRIPT).await, jobs_of(client, ALARM).await);
    assert!(jobs.len() >= 8 && jobs.iter().all(|job| job["success"] == false), "{}", jobs.len());
    assert_heard("failure", &jobs.iter().collect::<Vec<_>>(), &alarms);
    // how often it had failed by then: each number once
    let mut times: Vec<u64> =
        alarms.iter().map(|job| job["args"]["failed_times"].as_u64().unwrap()).collect();
    times.sort_unstable();
    assert!(times.iter().copied().eq(1..=jobs.len() as u64), "{times:?}");
}

/// As `faults::kills` has it for callers that wait.
#[tokio::test]
async fn a_worker_killed_between_an_end_and_its_telling() {
    let system = System::start().workers(2).slots(1).lease("2s").await;
    let (client, stage) = (system.client(), set_up(&system, "exit 3").await);
    system.worker(1).kill();
    let wire = Wire::to(system.nats().address()).await;
    system.worker(0).kill();
    system.worker(0).set("nats-url", &wire.url());
    system.worker(0).start_again().await;
    let more = json!({"no_flow_overlap": true, "on_success": format!("script/{DONE}")});
    schedule(&stage, client, HELD, more).await;
    let run = stage.begins(1).await.remove(0);
    assert_eq!(run.worker, worker_name(system.worker(0)));
    let off = json!({"enabled": false});
    client.post(&format!("schedules/setenabled/{PATH}")).json(off).send().await.expect(200);

    wire.cut_after(0);
    stage.let_go(1);
    assert_ended_with(client, &run.job, "tick").await;
    within("something the worker says is swallowed", BOUND, wire.cut()).await;
    slay(system.worker(0)).await;
    assert_eq!((backlog(&system).await, system.nats().held("TIMERS").await), (Some(1), Some(0)));
    assert!(jobs_of(client, DONE).await.is_empty(), "nobody was told");

    system.worker(1).start_again().await;
    stop(&system).await;
    let job = client.get(&run.job).await;
    assert_eq!(job["attempt"], 1);
    assert_heard("success", &[&job], &jobs_of(client, DONE).await);
    assert_eq!(stage.runs_of(&run.job), 1);
}

#[tokio::test]
async fn jobs_that_end_without_having_run_are_told_of() {
    let system = System::start().workers(2).slots(1).lease("2s").await;
    let (client, stage) = (system.client(), set_up(&system, "exit 3").await);
    for number in [0, 1] {
        system.worker(number).kill();
    }
    schedule(
        &stage,
        client,
        QUICK,
        json!({"no_flow_overlap": true, "on_failure": format!("script/{ALARM}")}),
    )
    .await;
    let queued = eventually("a job that waits", BOUND, async || {
        let rows = client.get_path("jobs/queue/list").send().await.expect(200).json();
        rows.as_array().unwrap().iter().find(|row| row["script_path"] == QUICK).cloned()
    })
    .await;
    let job = queued["id"].as_str().unwrap();
    let off = json!({"enabled": false});
    client.post(&format!("schedules/setenabled/{PATH}")).json(off).send().await.expect(200);
    client.cancel(job, "enough").await;
    let alarm = eventually("the handler's job", BOUND, async || {
        let found = client.get_path(&format!("jobs_u/get/{}", id_of("failure", job))).send().await;
        (found.status == 200).then(|| found.json())
    })
    .await;
    assert_eq!((&alarm["script_path"], &alarm["parent_job"]), (&json!(ALARM), &json!(job)));
    for number in [0, 1] {
        system.worker(number).start_again().await;
    }
    client.end_of(alarm["id"].as_str().unwrap()).await;
    let alarm = client.get(alarm["id"].as_str().unwrap()).await;
    assert_eq!(
        (&alarm["args"]["error"]["name"], &alarm["args"]["failed_times"]),
        (&json!("Canceled"), &json!(1))
    );

    // one that is started as often as it may be: its worker's death ends it
    let source = client.get_path(&format!("scripts/get/p/{HELD}")).send().await.expect(200).json();
    let once = json!({"retry_on_worker_loss": false, "parent_hash": source["hash"]});
    client.deploy_with(HELD, "bash", source["content"].as_str().unwrap(), once).await;
    let gone = client.request(Method::DELETE, &format!("schedules/delete/{PATH}")).send().await;
    gone.expect(200);
    schedule(&stage, client, HELD, json!({"no_flow_overlap": true, "on_failure": format!("script/{ALARM}")}))
        .await;
    let run =
        eventually("it runs", BOUND, async || stage.begun().into_iter().find(|told| told.value == "tick"))
            .await;
    client
        .post(&format!("schedules/setenabled/{PATH}"))
        .json(json!({"enabled": false}))
        .send()
        .await
        .expect(200);
    let holder = usize::from(worker_name(system.worker(1)) == run.worker);
    slay(system.worker(holder)).await;
    stop(&system).await;
    let alarm = client.get(&id_of("failure", &run.job)).await;
    // the schedule that was there before does not count
    assert_eq!(
        (&alarm["args"]["error"]["name"], &alarm["args"]["failed_times"]),
        (&json!("WorkerLost"), &json!(1))
    );
    assert_eq!(jobs_of(client, ALARM).await.len(), 2);
}
