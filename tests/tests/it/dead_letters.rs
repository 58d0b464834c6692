//! Jobs that are not tried any more: kept whole, listed, and tried again when somebody says so.

use serde_json::{Value, json};
use system_tests::{Client, System, eventually, program};
use uuid::Uuid;

use crate::faults::stage::{BOUND, HELD, QUICK, Stage, backlog_is, slay, worker_name};

async fn letters(client: &Client) -> Vec<Value> {
    let listed = client.get_path("dead_letters/list").send().await.expect(200).json();
    listed.as_array().unwrap().clone()
}

async fn letter(client: &Client) -> Value {
    eventually("a dead letter", BOUND, async || letters(client).await.pop()).await
}

/// A job whose only attempt loses its worker.
async fn dies(system: &System, stage: &Stage, client: &Client, value: &str) -> String {
    dies_of(system, stage, client, stage.args(value)).await
}

async fn dies_of(system: &System, stage: &Stage, client: &Client, args: Value) -> String {
    let begun = stage.begun().len();
    let id = client.run(HELD, args).await;
    let told = stage.begins(begun + 1).await.pop().unwrap();
    let holder = (0..2).map(|number| system.worker(number)).find(|worker| worker_name(worker) == told.worker);
    let holder = holder.unwrap();
    slay(holder).await;
    eventually("its letter", BOUND, async || {
        letters(client).await.iter().any(|letter| letter["job_id"] == id.as_str()).then_some(())
    })
    .await;
    holder.start_again().await;
    id
}

/// `hookmill dead …`, as this client; what it printed.
async fn hookmill(client: &Client, args: &[&str]) -> String {
    let mut command = tokio::process::Command::new(program("hookmill"));
    command.arg("dead").args(args).env("BASE_INTERNAL_URL", client.base_url());
    command.env("WM_TOKEN", client.token()).env("WM_WORKSPACE", client.workspace());
    let output = command.output().await.unwrap();
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

async fn system() -> System {
    let start = System::start().gateways(2).workers(2).slots(1).lease("2s");
    start.worker_setting("max-attempts", 1).await
}

#[tokio::test]
async fn a_job_that_loses_its_worker_each_time_is_kept_and_can_be_tried_again() {
    let system = system().await;
    let (stage, client) = (Stage::set(&system).await, system.client());
    let there = client.at(system.gateway(1));
    let id = dies(&system, &stage, client, "dead").await;
    let job = client.end_of(&id).await;
    assert_eq!((&job["success"], &job["result"]["error"]["name"]), (&json!(false), &json!("WorkerLost")));
    backlog_is(&system, 0).await;

    let listed = letter(&there).await;
    for (key, expected) in [
        ("job_id", json!(id)),
        ("reason", json!("worker_lost")),
        ("attempts", json!(1)),
        ("script_path", json!(HELD)),
        ("created_by", client.get(&id).await["created_by"].clone()),
    ] {
        assert_eq!(listed[key], expected, "{key} of {listed:#}");
    }
    assert!(listed["script_hash"].as_str().is_some_and(|hash| hash.len() == 16), "{listed:#}");
    let whole = there.get_path(&format!("dead_letters/get/{id}")).send().await.expect(200).json();
    assert!(whole["last_log"].as_str().unwrap().contains(&format!("job={id}")), "{whole:#}");

    let new = there.post(&format!("dead_letters/replay/{id}")).send().await.expect(201).text();
    assert_ne!(new, id);
    stage.let_go(1);
    let again = client.end_of(&new).await;
    assert_eq!((&again["success"], &again["result"]), (&json!(true), &json!("dead")));
    assert!(letters(client).await.is_empty());
    client.post(&format!("dead_letters/replay/{id}")).send().await.expect(404);
    assert_eq!(client.get(&id).await["success"], false, "the old one stays what it was");
    backlog_is(&system, 0).await;
}

#[tokio::test]
async fn many_are_chosen_by_a_filter_that_can_be_tried_first() {
    let system = system().await;
    let (stage, client) = (Stage::set(&system).await, system.client());
    let mut ids = Vec::new();
    for value in ["one", "two", "three"] {
        ids.push(dies(&system, &stage, client, value).await);
    }
    let oldest_first: Vec<Value> =
        letters(client).await.iter().map(|letter| letter["job_id"].clone()).collect();
    assert_eq!(json!(oldest_first), json!(ids));
    let page = client.get_path("dead_letters/list?per_page=2").send().await.expect(200);
    assert_eq!(page.json().as_array().unwrap().len(), 2);
    let rest = format!("dead_letters/list?per_page=2&cursor={}", page.header("x-next-cursor"));
    assert_eq!(client.get_path(&rest).send().await.expect(200).json()[0]["job_id"], json!(ids[2]));

    let ask = async |what: &str, filter: Value| {
        client.post(&format!("dead_letters/{what}")).json(filter).send().await.expect(200).json()
    };
    for (filter, count) in [
        (json!({}), 3),
        (json!({"reason": "worker_lost", "script_path": HELD, "died_after": "2026-01-01T00:00:00Z"}), 3),
        (json!({"reason": "unreadable"}), 0),
        (json!({"script_path": "f/a/other"}), 0),
        (json!({"died_before": "2026-01-01T00:00:00Z"}), 0),
    ] {
        let tried = ask("replay?dry_run=true", filter.clone()).await;
        assert_eq!((&tried["matched"], &tried["done"]), (&json!(count), &json!([])), "{filter}");
    }
    let (listed, counted) =
        (hookmill(client, &["list"]).await, hookmill(client, &["replay", "--all", "--dry-run"]).await);
    assert!(ids.iter().all(|id| listed.contains(id.as_str())) && listed.contains(HELD), "{listed}");
    assert_eq!(counted.trim(), "3 would be replayed");
    assert!(hookmill(client, &["show", &ids[0]]).await.contains("last_log"));
    assert!(hookmill(client, &["discard", &ids[0]]).await.contains(&ids[0]));
    let replayed = ask("replay", json!({"script_path": HELD})).await;
    assert_eq!(
        (&replayed["matched"], &replayed["failed"], &replayed["next"]),
        (&json!(2), &json!([]), &json!(null))
    );
    stage.let_go(2);
    for (row, (old, value)) in
        replayed["done"].as_array().unwrap().iter().zip([(&ids[1], "two"), (&ids[2], "three")])
    {
        assert_eq!(row["job_id"], json!(old));
        assert_eq!(client.end_of(row["new_job_id"].as_str().unwrap()).await["result"], value);
    }
    assert!(letters(client).await.is_empty());
}

#[tokio::test]
async fn an_envelope_that_nobody_can_read_is_kept_as_it_is() {
    let system = System::start().await;
    let client = system.client();
    client.deploy("f/a/echo", "bash", "echo here").await;
    let id = Uuid::now_v7().to_string();
    system.put_into_queue(&format!("job.0.bash.p1.main.{id}"), b"no envelope").await;
    let dead = letter(client).await;
    assert_eq!((&dead["job_id"], &dead["reason"]), (&json!(id), &json!("unreadable")), "{dead:#}");
    assert!(dead["message"].as_str().unwrap().contains("not readable"), "{dead:#}");
    backlog_is(&system, 0).await;
    client.wait("f/a/echo", json!({})).await.expect(200);

    // a member does not see what is nobody's
    let member = system.member("bob").await;
    assert!(letters(&member).await.is_empty());
    for verb in ["replay", "discard"] {
        member.post(&format!("dead_letters/{verb}/{id}")).send().await.expect(404);
    }
    // it is as it was, so it dies again
    let again = client.post(&format!("dead_letters/replay/{id}")).send().await.expect(201).text();
    assert_eq!(again, id);
    eventually("the same letter, later", BOUND, async || {
        letters(client).await.pop().filter(|again| again["died_at"] != dead["died_at"])
    })
    .await;
    let discarded = client.post("dead_letters/discard").json(json!({"reason": "unreadable"})).send().await;
    assert_eq!(discarded.expect(200).json()["matched"], 1);
    assert!(letters(client).await.is_empty());
}

#[tokio::test]
async fn whose_job_it_was_decides_and_bad_input_is_named() {
    let system = system().await;
    let (stage, admin) = (Stage::set(&system).await, system.client());
    let bob = system.member("bob").await;
    let admins = dies(&system, &stage, admin, "admin").await;
    let bobs = dies(&system, &stage, &bob, "bob").await;
    assert_eq!(letters(admin).await.len(), 2);
    // of a script that is everybody's to see: not to change
    bob.get_path(&format!("dead_letters/get/{admins}")).send().await.expect(200);
    for verb in ["replay", "discard"] {
        bob.post(&format!("dead_letters/{verb}/{admins}")).send().await.expect(403);
    }
    let filtered = bob.post("dead_letters/discard?dry_run=true").json("{}").send().await.expect(200).json();
    assert_eq!(filtered["matched"], 1);
    // by whom it is tried again decides nothing: it is bob's still
    let new = admin.post(&format!("dead_letters/replay/{bobs}")).send().await.expect(201).text();
    stage.let_go(1);
    assert_eq!(admin.end_of(&new).await["result"], "bob");
    assert_eq!(admin.get(&new).await["created_by"], "bob");

    let reads = admin.make_token(json!({"label": "reads", "scopes": ["scripts:read"]})).await;
    let narrow = admin.with_token(&reads);
    narrow.get_path("dead_letters/list").send().await.expect(403);
    narrow.post(&format!("dead_letters/replay/{admins}")).send().await.expect(404);
    // a sender's token can do something about its own runs, but not come by others' in passing
    let hook = admin.with_token(&admin.make_token(json!({"label": "hook", "scopes": ["jobs:run"]})).await);
    for verb in ["replay", "discard"] {
        hook.post(&format!("dead_letters/{verb}")).json("{}").send().await.expect(403);
    }
    admin.anonymous().get_path("dead_letters/list").send().await.expect(401);
    for (path, body, named) in [
        ("dead_letters/replay/nope", "", "nope"),
        ("dead_letters/replay", "", "filter"),
        ("dead_letters/discard", "{\"reson\": \"x\"}", "reson"),
    ] {
        let answer = admin.post(path).body("application/json", body).send().await.expect(400);
        assert!(answer.text().contains(named), "{path}: {}", answer.text());
    }
    for query in ["per_page=x", "cursor=-1"] {
        admin.get_path(&format!("dead_letters/list?{query}")).send().await.expect(400);
    }
    admin.get_path(&format!("dead_letters/get/{}", Uuid::new_v4())).send().await.expect(404);
}

/// Nothing is lost when there is no room for a letter: the job's message stays until there is.
#[tokio::test]
async fn without_room_for_its_letter_a_job_stays_in_its_queue() {
    let start = System::start().workers(2).slots(1).lease("2s");
    let system = start.worker_setting("max-attempts", 1).worker_setting("bury-again", "500ms").await;
    let (stage, client) = (Stage::set(&system).await, system.client());
    let size = system.resize_dead_letters(1).await;
    let id = client.run(HELD, stage.args("dead")).await;
    let told = stage.begins(1).await.pop().unwrap();
    let workers = [system.worker(0), system.worker(1)];
    let (holder, other) = if worker_name(workers[0]) == told.worker { (0, 1) } else { (1, 0) };
    slay(workers[holder]).await;
    let unreadable = Uuid::now_v7().to_string();
    system.put_into_queue(&format!("job.0.bash.p1.main.{unreadable}"), b"no envelope").await;
    // whoever waits is told, and the job does not run anew
    assert_eq!(client.end_of(&id).await["result"]["error"]["name"], "WorkerLost");
    let refused = async |job: &str| {
        let subject = format!("job.0.bash.p1.main.{job}");
        eventually("its letter is tried again", BOUND, async || {
            let lines = workers[other].log_lines();
            let tries = lines.iter().filter(|line| {
                line["message"] == "a dead letter was not taken" && line["nats.subject"] == subject.as_str()
            });
            (tries.count() >= 2).then_some(())
        })
        .await;
    };
    refused(&id).await;
    refused(&unreadable).await;
    assert!(letters(client).await.is_empty());
    backlog_is(&system, 2).await;
    client.wait(QUICK, stage.args("others go on")).await.expect(200);

    system.resize_dead_letters(size).await;
    eventually("both letters", BOUND, async || (letters(client).await.len() == 2).then_some(())).await;
    backlog_is(&system, 0).await;
    assert_eq!((stage.runs_of(&id), &client.get(&id).await["success"]), (1, &json!(false)));
    let replayed = client.post(&format!("dead_letters/replay/{id}")).send().await.expect(201).text();
    stage.let_go(1);
    assert_eq!(client.end_of(&replayed).await["result"], "dead");
}

/// Large arguments outlive a letter's record, and a replay does not need those of the job that died.
#[tokio::test]
async fn a_letter_keeps_its_large_arguments_and_a_replay_has_its_own() {
    let start = System::start().gateways(2).workers(2).slots(1).lease("2s");
    let start = start.worker_setting("max-attempts", 1).gateway_setting("sweep-every", "300ms");
    let system = start.gateway_setting("args-grace", "2s").await;
    let (stage, client) = (Stage::set(&system).await, system.client());
    let mut large = stage.args("dead");
    large["ballast"] = json!("x".repeat(300_000));
    let objects = async |expected: u64| {
        // each is three chunks, and what they are
        eventually("so many objects", BOUND, async || {
            (system.nats().held("OBJ_ARGS").await == Some(expected * 4)).then_some(())
        })
        .await;
    };
    let ended = client.run(QUICK, large.clone()).await;
    client.end_of(&ended).await;
    let dead = dies_of(&system, &stage, client, large).await;
    backlog_is(&system, 0).await;
    objects(2).await;
    system.valkey().administer(&["FLUSHALL"]).await.unwrap();
    objects(1).await;

    let new = client.post(&format!("dead_letters/replay/{dead}")).send().await.expect(201).text();
    assert!(letters(client).await.is_empty());
    // that of the one that died is nobody's any more
    stage.begins(3).await;
    objects(1).await;
    stage.let_go(1);
    assert_eq!(client.end_of(&new).await["result"], "dead");
    system.valkey().administer(&["FLUSHALL"]).await.unwrap();
    objects(0).await;
}
