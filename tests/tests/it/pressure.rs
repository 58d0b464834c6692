//! Back-pressure: new jobs are refused while there is room still, and all else goes on in what is left.

use serde_json::{Value, json};
use system_tests::{Answer, Client, System, eventually};

use crate::faults::stage::{BOUND, HELD, QUICK, Stage, backlog_is, backlog_now};

/// A script whose tag no worker serves at first.
const UNSERVED: &str = "f/pressure/unserved";
const TAG: &str = "nobodys";

/// A script that fails each time, and tells of it.
const FAILS: &str = "f/pressure/fails";
const FAILS_SOURCE: &str = r#"port="$1"
exec 3<>"/dev/tcp/127.0.0.1/$port"
echo "say begin $WM_JOB_ID $WM_WORKER_NAME tries" >&3; read -r _ <&3
exit 3
"#;

const KIB: usize = 1024;

/// What is said of the full queue.
const FULL: [&str; 2] = ["Queue full: the queue is at 8", "% of 1MiB; new jobs are refused from 80% on"];

async fn set(system: &System) -> Stage {
    let stage = Stage::set(system).await;
    system.client().deploy_with(UNSERVED, "bash", "echo served", json!({"tag": TAG})).await;
    stage
}

fn run(path: &str) -> String {
    format!("jobs/run/p/{path}")
}

async fn keyed(client: &Client, key: &str, args: &Value) -> Answer {
    client.post(&run(UNSERVED)).header("idempotency-key", key).json(args).send().await
}

/// Triggers until that is refused: the jobs that were taken, and the refusal.
async fn fill(client: &Client, url: &str) -> (Vec<String>, Answer) {
    let args = json!({"ballast": "x".repeat(8 * KIB)});
    let mut taken = Vec::new();
    loop {
        let answer = client.post(url).json(&args).send().await;
        match answer.status {
            201 => taken.push(answer.text()),
            _ => return (taken, answer.expect(503)),
        }
        assert!(taken.len() < 1000, "never refused");
    }
}

/// It says what is full and what the bound is, and that the same may be sent again.
fn is_refusal(answer: &Answer, says: &[&str]) {
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert!(says.iter().all(|part| answer.text().contains(part)), "{says:?}: {}", answer.text());
    assert!(answer.header("retry-after").parse::<u32>().is_ok_and(|seconds| seconds > 0), "{answer:?}");
    assert_eq!(answer.header("x-job-id"), "", "there is no job");
}

async fn letters(client: &Client) -> Value {
    client.get_path("dead_letters/list").send().await.expect(200).json()
}

async fn accepts(client: &Client, path: &str) -> String {
    eventually("a trigger is accepted", BOUND, async || {
        let answer = client.post(&run(path)).json("{}").send().await;
        (answer.status == 201).then(|| answer.text())
    })
    .await
}

async fn refused(client: &Client, path: &str) -> Answer {
    eventually("a trigger is refused", BOUND, async || {
        let answer = client.post(&run(path)).json("{}").send().await;
        (answer.status != 201).then_some(answer)
    })
    .await
}

async fn admin_page(system: &System, path: &str) -> (u16, String) {
    let answer = reqwest::get(format!("{}{path}", system.gateway(0).admin_url().await)).await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

/// From now on the worker serves the tag, too.
async fn serve(system: &System) {
    let worker = system.worker(0);
    worker.set("tags", TAG);
    worker.terminate().await;
    worker.start_again().await;
}

/// At whichever gateway, whoever waits for it, of whatever tag, with whatever key, and out of a letter.
async fn nothing_new_comes_in(system: &System, stage: &Stage, letter: &str) {
    let (client, there) = (system.client(), system.client().at(system.gateway(1)));
    let says = FULL;
    is_refusal(&there.post(&run(UNSERVED)).json("{}").send().await, &says);
    is_refusal(&client.wait(QUICK, stage.args("waited")).await, &says);
    is_refusal(&keyed(client, "new", &json!({})).await, &says);
    let large = json!({"ballast": "x".repeat(300 * KIB)});
    is_refusal(&client.post(&run(UNSERVED)).json(large).send().await, &says);
    assert_eq!(system.nats().held("OBJ_ARGS").await, Some(0), "nothing of it was kept");
    let problem =
        client.post(&run(QUICK)).header("accept", "application/problem+json").json("{}").send().await;
    let problem = problem.expect(503).json();
    assert_eq!((&problem["code"], &problem["retryable"]), (&json!("queue_full"), &json!(true)));
    is_refusal(&client.post(&format!("dead_letters/replay/{letter}")).send().await, &says);
    let many = client.post("dead_letters/replay").json("{}").send().await.expect(200).json();
    assert_eq!((&many["done"], &many["next"]), (&json!([]), &json!("0")), "{many:#}");
    assert!(many["failed"][0]["error"].as_str().unwrap().contains("new jobs are refused"), "{many:#}");
    assert_eq!(letters(client).await[0]["job_id"], letter);
}

/// What is there already is told of, and can be cancelled.
async fn what_is_there_goes_on(client: &Client, first: &str, taken: &str) {
    let again = keyed(client, "before", &json!({})).await.expect(201);
    assert_eq!((again.text(), again.header("idempotent-replay")), (first.to_owned(), "true"));
    keyed(client, "before", &json!({"another": "body"})).await.expect(422);
    assert_eq!(client.get(taken).await["type"], "QueuedJob");
    let used = format!("{}?job_id={}", run(UNSERVED), taken);
    client.post(&used).json("{}").send().await.expect(400);
    client.cancel(taken, "no longer needed").await;
    assert_eq!(client.end_of(taken).await["completed"], true);
}

#[tokio::test]
async fn a_queue_that_fills_up_refuses_triggers_and_goes_on_with_all_else() {
    let system = System::start().gateways(2).queue_bytes(1024 * 1024).await;
    let (stage, client) = (set(&system).await, system.client());
    let there = client.at(system.gateway(1));
    client.deploy(FAILS, "bash", FAILS_SOURCE).await;
    let retry = url::form_urlencoded::Serializer::new(String::new())
        .append_pair("retry", &json!({"constant": {"attempts": 500, "seconds": 1}}).to_string())
        .finish();
    let tried = client.post(&format!("{}?{retry}", run(FAILS))).json(stage.args("")).send().await;
    let tried = tried.expect(201).text();
    let tick = json!({"path": "f/pressure/each", "schedule": "* * * * * *", "timezone": "UTC", "script_path": QUICK,
        "is_flow": false, "enabled": true, "args": stage.args("tick")});
    client.post("schedules/create").json(tick).send().await.expect(201);
    let first = keyed(client, "before", &json!({})).await.expect(201).text();

    let later = format!("{}?scheduled_in_secs=3600", run(UNSERVED));
    let mut aside = Vec::new();
    for _ in 0..5 {
        let sent = client.post(&later).json(json!({"ballast": "x".repeat(8 * KIB)})).send().await;
        aside.push(sent.expect(201).text());
    }

    let letter = uuid::Uuid::now_v7().to_string();
    system.put_into_queue(&format!("job.0.bash.p1.main.{letter}"), b"no envelope").await;
    eventually("a dead letter", BOUND, async || (letters(client).await[0]["job_id"] == letter).then_some(()))
        .await;

    let (taken, refusal) = fill(client, &run(UNSERVED)).await;
    let says = FULL;
    is_refusal(&refusal, &says);
    // timers that fire go on: now it is not only just full
    for id in &aside {
        client.post(&format!("jobs/queue/run_now/{id}")).send().await.expect(200);
    }
    let held = eventually("they are among the jobs that may start", BOUND, async || {
        let held = backlog_now(&system).await;
        (held >= (taken.len() + aside.len()) as u64).then_some(held)
    })
    .await;
    nothing_new_comes_in(&system, &stage, &letter).await;
    what_is_there_goes_on(client, &first, &taken[0]).await;
    // what is put aside has another stream; retries and ticks go on
    client.post(&later).json("{}").send().await.expect(201);
    let before = stage.begun();
    eventually("two more tries and two more ticks", BOUND, async || {
        let begun = stage.begun().split_off(before.len());
        let of = |value| begun.iter().filter(|told| told.value == value).count();
        (of("tries") >= 2 && of("tick") >= 2).then_some(())
    })
    .await;
    is_refusal(&client.post(&run(UNSERVED)).json("{}").send().await, &says);
    let (status, ready) = admin_page(&system, "/readyz").await;
    assert_eq!(status, 200, "a full queue is no dead gateway: {ready}");
    let (_, figures) = admin_page(&system, "/metrics").await;
    for figure in [
        "job_queue_refused_total{reason=\"jobs_size\"}",
        "job_queue_stream_bytes{stream=\"jobs\"}",
        "job_queue_stream_limit_bytes{stream=\"jobs\"} 1048576",
        "job_queue_redis_memory_bytes",
    ] {
        assert!(figures.contains(figure), "{figure}: {figures}");
    }
    assert!(held > 60, "{held} jobs of 9 KiB in 1 MiB");

    client.cancel(&tried, "it never ends").await;
    client
        .post("schedules/setenabled/f/pressure/each")
        .json(json!({"enabled": false}))
        .send()
        .await
        .expect(200);
    serve(&system).await;
    for id in [&first, taken.last().unwrap(), &aside[0]] {
        assert_eq!(client.end_of(id).await["success"], true);
    }
    backlog_is(&system, 0).await;
    // the key stood for nothing, not for a request either
    let after = keyed(client, "new", &json!({"another": "body"})).await.expect(201);
    assert_eq!(after.header("idempotent-replay"), "");
    client.end_of(&after.text()).await;
    assert_eq!(there.wait(QUICK, stage.args("waited")).await.expect(200).json(), "waited");
}

#[tokio::test]
async fn a_tag_whose_jobs_wait_too_long_takes_no_new_ones() {
    let system = System::start().gateway_setting("refuse-when-oldest-waits", "1s").await;
    let (stage, client) = (set(&system).await, system.client());
    let first = accepts(client, UNSERVED).await;
    let says = ["Overloaded: the oldest job with tag nobodys has been waiting for", "refused above 1s"];
    is_refusal(&refused(client, UNSERVED).await, &says);
    client.wait(QUICK, stage.args("others go on")).await.expect(200);
    assert_eq!(client.get(&first).await["type"], "QueuedJob");
    let (_, figures) = admin_page(&system, "/metrics").await;
    assert!(figures.contains("job_queue_refused_total{reason=\"oldest_wait\"}"), "{figures}");
    assert!(figures.contains("job_queue_oldest_wait_seconds"), "{figures}");

    serve(&system).await;
    client.end_of(&first).await;
    let next = accepts(client, UNSERVED).await;
    client.end_of(&next).await;
    // a job that runs does not wait
    let held = client.run(HELD, stage.args("held")).await;
    stage.begins(2).await;
    let waited = std::time::Instant::now();
    eventually("more than the bound has passed", BOUND, async || {
        client.wait(QUICK, stage.args("beside")).await.expect(200);
        (waited.elapsed().as_secs() >= 2).then_some(())
    })
    .await;
    stage.let_go(1);
    client.end_of(&held).await;
}

#[tokio::test]
async fn jobs_put_aside_are_refused_by_their_own_bound() {
    let system = System::start().gateway_setting("timers-limit", "256KiB").await;
    let (stage, client) = (set(&system).await, system.client());
    let (taken, refusal) = fill(client, &format!("{}?scheduled_in_secs=3600", run(UNSERVED))).await;
    is_refusal(
        &refusal,
        &["jobs that are put aside are at 8", "% of 256KiB; new jobs are refused from 80% on"],
    );
    client.wait(QUICK, stage.args("at once")).await.expect(200);
    client.post(&format!("jobs/queue/run_now/{}", taken[0])).send().await.expect(200);
    serve(&system).await;
    assert_eq!(client.end_of(&taken[0]).await["success"], true);
    // those that are gone make room
    for id in taken.iter().skip(1) {
        client.cancel(id, "no longer needed").await;
    }
    let aside = format!("{}?scheduled_in_secs=3600", run(UNSERVED));
    eventually("one is put aside", BOUND, async || {
        (client.post(&aside).json("{}").send().await.status == 201).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_redis_that_runs_out_of_memory_refuses_triggers_before_it_does() {
    let system = System::start().await;
    let (stage, client) = (set(&system).await, system.client());
    let done = client.run(QUICK, stage.args("done")).await;
    client.end_of(&done).await;
    let administer = async |command: &[&str]| system.valkey().administer(command).await.unwrap();
    // most of it is ours to know: what the services use comes and goes
    let ballast = 32 * KIB * KIB;
    administer(&["SETRANGE", "ballast", &ballast.to_string(), "x"]).await;
    administer(&["CONFIG", "SET", "maxmemory", &(ballast / 92 * 100).to_string()]).await;
    let says = ["Overloaded: the run store's memory is at 9", "new jobs are refused from 90% on"];
    is_refusal(&refused(client, QUICK).await, &says);
    is_refusal(&client.wait(QUICK, stage.args("waited")).await, &says);
    assert_eq!(client.get(&done).await["success"], true);
    let (status, _) = admin_page(&system, "/readyz").await;
    assert_eq!(status, 200);
    administer(&["CONFIG", "SET", "maxmemory", "0"]).await;
    eventually("a trigger runs", BOUND, async || {
        let answer = client.wait(QUICK, stage.args("after")).await;
        (answer.status == 200).then_some(())
    })
    .await;
}
