//! Idempotency keys: one job, however often, wherever and by how many at once a request is sent; and an honest word
//! to who uses a key twice.

use futures::future::join_all;
use serde_json::{Value, json};
use system_tests::{Answer, Client, System, eventually};

use crate::faults::stage::{BOUND, HELD, QUICK, Stage, backlog_now};

const KEY: &str = "idempotency-key";
const REPLAY: &str = "idempotent-replay";

async fn send(client: &Client, url: &str, key: &str, args: &Value) -> Answer {
    client.post(url).header(KEY, key).json(args).send().await
}

async fn run(client: &Client, path: &str, key: &str, args: &Value) -> Answer {
    send(client, &format!("jobs/run/p/{path}"), key, args).await
}

async fn wait(client: &Client, path: &str, key: &str, args: &Value) -> Answer {
    send(client, &format!("jobs/run_wait_result/p/{path}"), key, args).await
}

fn id(answer: &Answer) -> String {
    answer.header("x-job-id").to_owned()
}

#[tokio::test]
async fn a_key_stands_for_one_job_at_every_gateway_and_for_every_way_to_ask() {
    let system = System::start().gateways(2).await;
    let (stage, here) = (Stage::set(&system).await, system.client());
    let there = here.at(system.gateway(1));
    let args = stage.args("once");
    let first = run(here, QUICK, "k", &args).await.expect(201);
    assert_eq!((first.text(), first.header(REPLAY)), (id(&first), ""));
    for client in [here, &there] {
        let again = run(client, QUICK, "k", &args).await.expect(201);
        assert_eq!((again.text(), again.header(REPLAY)), (id(&first), "true"));
        let waited = wait(client, QUICK, "k", &args).await.expect(200);
        assert_eq!((waited.text().as_str(), id(&waited)), ("\"once\"", id(&first)));
        assert_eq!(waited.header(REPLAY), "true");
    }
    assert_eq!(stage.runs_of(&id(&first)), 1);
    // and in the other order
    let waited = wait(here, QUICK, "w", &args).await.expect(200);
    let queued = run(&there, QUICK, "w", &args).await.expect(201);
    assert_eq!((queued.text(), queued.header(REPLAY)), (id(&waited), "true"));
    assert_eq!(stage.begun().len(), 2);
}

#[tokio::test]
async fn a_key_is_one_callers_for_one_webhook() {
    let system = System::start().await;
    let (stage, admin) = (Stage::set(&system).await, system.client());
    let member = system.member("bob").await;
    let args = stage.args("own");
    let script = admin.get_path(&format!("scripts/get/p/{QUICK}")).send().await.expect(200).json();
    let by_hash = format!("jobs/run/h/{}", script["hash"].as_str().unwrap());
    let mut ids = vec![
        id(&run(admin, QUICK, "k", &args).await.expect(201)),
        id(&run(&member, QUICK, "k", &args).await.expect(201)),
        id(&run(admin, QUICK, "another", &args).await.expect(201)),
        id(&send(admin, &by_hash, "k", &args).await.expect(201)),
    ];
    // another token is the same account's, unless it may do less: then it is one sender's
    let token = admin.make_token(json!({"label": "another"})).await;
    assert_eq!(id(&run(&admin.with_token(&token), QUICK, "k", &args).await.expect(201)), ids[0]);
    for label in ["one", "other"] {
        let token = admin.make_token(json!({"label": label, "scopes": ["jobs:run"]})).await;
        let sender = admin.with_token(&token);
        let sent = run(&sender, QUICK, "k", &stage.args(label)).await.expect(201);
        assert_eq!(sent.header(REPLAY), "");
        assert_eq!(id(&run(&sender, QUICK, "k", &stage.args(label)).await.expect(201)), id(&sent));
        ids.push(id(&sent));
    }
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 6);
}

#[tokio::test]
async fn a_key_with_another_body_is_refused_and_names_its_job() {
    let system = System::start().await;
    let (stage, client) = (Stage::set(&system).await, system.client());
    let first = run(client, QUICK, "k", &stage.args("one")).await.expect(201);
    for url in ["jobs/run/p/f/faults/quick", "jobs/run_wait_result/p/f/faults/quick"] {
        let other = send(client, url, "k", &stage.args("two")).await.expect(422);
        assert_eq!(id(&other), id(&first));
        assert!(other.text().contains("idempotency key") && other.text().contains("another body"));
        let request = client.post(url).header(KEY, "k").header("accept", "application/problem+json");
        let problem = request.json(stage.args("two")).send().await.expect(422).json();
        assert_eq!(
            (&problem["code"], &problem["retryable"]),
            (&json!("idempotency_key_reused"), &json!(false))
        );
    }
    client.end_of(&id(&first)).await;
    assert_eq!(stage.begun().len(), 1);
}

#[tokio::test]
async fn many_at_once_at_two_gateways_make_one_job() {
    let system = System::start().gateways(2).await;
    let (stage, here) = (Stage::set(&system).await, system.client());
    let clients = [here.clone(), here.at(system.gateway(1))];
    let args = stage.args("many");
    let answers = join_all((0..12).map(|number| {
        let (client, args) = (&clients[number % 2], &args);
        async move {
            if number % 3 == 0 {
                wait(client, QUICK, "k", args).await
            } else {
                run(client, QUICK, "k", args).await
            }
        }
    }))
    .await;
    let first = id(&answers[0]);
    assert!(answers.iter().all(|answer| matches!(answer.status, 200 | 201) && id(answer) == first));
    let made = answers.iter().filter(|answer| answer.header(REPLAY).is_empty()).count();
    assert_eq!(made, 1, "one of them has made it");
    client_ended(here, &first).await;
    assert_eq!(stage.begun().len(), 1);
}

async fn client_ended(client: &Client, id: &str) {
    assert_eq!(client.end_of(id).await["success"], true);
}

#[tokio::test]
async fn who_asks_again_while_the_job_runs_waits_for_its_end() {
    let system = System::start().gateways(2).await;
    let (stage, here) = (Stage::set(&system).await, system.client());
    let there = here.at(system.gateway(1));
    let args = stage.args("held");
    let first = id(&run(here, HELD, "k", &args).await.expect(201));
    stage.begins(1).await;
    let waiting = [here.clone(), there.clone()].map(|client| {
        let args = args.clone();
        tokio::spawn(async move { wait(&client, HELD, "k", &args).await })
    });
    // one whose wait runs out is told where the result will be
    let short = "jobs/run_wait_result/p/f/faults/held?timeout_wait=0.2";
    assert_eq!(id(&send(&there, short, "k", &args).await.expect(504)), first);
    stage.let_go(1);
    for answer in waiting {
        let answer = answer.await.unwrap().expect(200);
        assert_eq!((answer.text().as_str(), id(&answer)), ("\"held\"", first.clone()));
    }
    assert_eq!(stage.begun().len(), 1);
}

#[tokio::test]
async fn a_failure_is_answered_again_as_it_was() {
    let system = System::start().await;
    let client = system.client();
    client.deploy("f/a/fails", "python3", "def main():\n    raise ValueError('once')\n").await;
    let first = wait(client, "f/a/fails", "k", &json!({})).await.expect(422);
    let again = wait(client, "f/a/fails", "k", &json!({})).await.expect(422);
    assert_eq!((first.text(), id(&first)), (again.text(), id(&again)));
    assert_eq!((first.header(REPLAY), again.header(REPLAY)), ("", "true"));
}

#[tokio::test]
async fn other_headers_name_a_delivery_too() {
    let system = System::start().gateway_setting("idempotency-headers", "x-github-delivery").await;
    let (stage, client) = (Stage::set(&system).await, system.client());
    let args = stage.args("named");
    let send = async |name: &str| {
        let request = client.post(&format!("jobs/run/p/{QUICK}")).header(name, "delivery-1");
        id(&request.json(&args).send().await.expect(201))
    };
    let first = send("webhook-id").await;
    for name in ["webhook-id", KEY, "x-github-delivery"] {
        assert_eq!(send(name).await, first, "{name}");
    }
    assert_ne!(send("x-other-delivery").await, first);
}

#[tokio::test]
async fn what_is_no_key_makes_no_job() {
    let system = System::start().await;
    let (stage, client) = (Stage::set(&system).await, system.client());
    let args = stage.args("none");
    let long = "x".repeat(256);
    for (key, says) in [("", "empty"), (long.as_str(), "255")] {
        let answer = run(client, QUICK, key, &args).await.expect(400);
        assert!(answer.text().contains(KEY) && answer.text().contains(says), "{}", answer.text());
    }
    let url = format!("jobs/run/p/{QUICK}?job_id={}", uuid::Uuid::now_v7());
    let answer = send(client, &url, "k", &args).await.expect(400);
    assert!(answer.text().contains("job_id"), "{}", answer.text());
    // arguments that were refused have not used the key up
    let request = client.post(&format!("jobs/run/p/{QUICK}")).header(KEY, "k");
    request.body("application/json", "{nope").send().await.expect(400);
    run(client, QUICK, "k", &args).await.expect(201);
}

#[tokio::test]
async fn without_redis_a_request_with_a_key_is_refused_and_one_without_is_not() {
    let system = System::start().await;
    let (stage, client) = (Stage::set(&system).await, system.client());
    let args = stage.args("away");
    let first = id(&run(client, QUICK, "before", &args).await.expect(201));
    client_ended(client, &first).await;
    system.valkey().kill();
    let refused = run(client, QUICK, "k", &args).await.expect(503);
    assert!(refused.header("retry-after").parse::<u64>().is_ok());
    let unkeyed = client.post(&format!("jobs/run/p/{QUICK}")).json(&args).send().await.expect(201).text();
    system.valkey().start_again().await;
    let made = eventually("Redis is back", BOUND, async || {
        let answer = run(client, QUICK, "k", &args).await;
        (answer.status == 201).then(|| id(&answer))
    })
    .await;
    for job in [&unkeyed, &made] {
        client_ended(client, job).await;
    }
    // what a killed Redis had promised it still knows
    assert_eq!(id(&run(client, QUICK, "before", &args).await.expect(201)), first);
    assert_eq!(stage.begun().len(), 3);
}

#[tokio::test]
async fn a_gateway_killed_before_its_publish_was_acknowledged_leaves_its_job_to_the_next_try() {
    let system = System::start().gateways(2).await;
    let (stage, here) = (Stage::set(&system).await, system.client());
    let there = here.at(system.gateway(1));
    let args = stage.args("orphan");
    wait(here, QUICK, "before", &args).await.expect(200);
    let keys = keys_of(&system).await;
    system.nats().pause();
    let dying = {
        let (here, args) = (here.clone(), args.clone());
        let url = format!("jobs/run/p/{QUICK}");
        tokio::spawn(async move { here.post(&url).header(KEY, "k").json(&args).try_send().await })
    };
    eventually("the key is reserved", BOUND, async || (keys_of(&system).await > keys).then_some(())).await;
    system.gateway(0).kill();
    assert!(
        dying.await.unwrap().map_or(true, |answer| answer.status == 503),
        "its caller is promised nothing"
    );
    // what the gateway had sent nobody reads any more
    system.nats().kill();
    system.nats().start_again().await;
    assert_eq!(backlog_now(&system).await, 0);
    let made = eventually("NATS is back", BOUND, async || {
        let answer = run(&there, QUICK, "k", &args).await;
        (answer.status == 201).then_some(answer)
    })
    .await;
    client_ended(&there, &id(&made)).await;
    let again = run(&there, QUICK, "k", &args).await.expect(201);
    assert_eq!((id(&again), again.header(REPLAY)), (id(&made), "true"));
    assert_eq!(stage.runs_of(&id(&made)), 1);
    assert_eq!(stage.begun().len(), 2);
}

#[tokio::test]
async fn large_arguments_of_many_at_once_are_those_of_one_request() {
    let system = System::start().gateways(2).await;
    let client = system.client();
    client.deploy("f/a/count", "python3", "def main(text: str):\n    return len(text)\n").await;
    let clients = [client.clone(), client.at(system.gateway(1))];
    let args = json!({"text": "x".repeat(400 * 1024)});
    let answers = join_all((0..6).map(|number| wait(&clients[number % 2], "f/a/count", "k", &args))).await;
    let first = id(&answers[0]);
    for answer in answers {
        assert_eq!((answer.status, answer.text().as_str(), id(&answer)), (200, "409600", first.clone()));
    }
}

/// How many keys Redis has.
async fn keys_of(system: &System) -> u64 {
    let text = system.valkey().info("keyspace").await.unwrap_or_default();
    let count = text.split_once("keys=").and_then(|(_, rest)| rest.split(',').next()?.parse().ok());
    count.unwrap_or(0)
}

#[tokio::test]
async fn a_key_is_forgotten_after_its_time() {
    let system = System::start().gateway_setting("idempotency-memory", "1s").await;
    let (stage, client) = (Stage::set(&system).await, system.client());
    let args = stage.args("short");
    let first = id(&run(client, QUICK, "k", &args).await.expect(201));
    let second = eventually("another job", BOUND, async || {
        let answer = run(client, QUICK, "k", &args).await.expect(201);
        Some(id(&answer)).filter(|id| *id != first)
    })
    .await;
    for job in [&first, &second] {
        client_ended(client, job).await;
    }
}
