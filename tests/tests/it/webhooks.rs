//! Webhooks as their callers see them.

use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::Method;
use serde_json::{Value, json};
use system_tests::{System, eventually};
use uuid::Uuid;

use crate::gate::{Gate, assert_no_job_but_a_new_one};

/// How long after its deploy another gateway may still run the version before.
const SEEN_WITHIN: Duration = Duration::from_millis(250);

const DOUBLE: &str = "def main(n: int):\n    return n * 2\n";

#[tokio::test]
async fn by_path_and_by_hash_with_header_and_query_at_any_gateway() {
    let system = System::start().gateways(2).workers(2).await;
    let client = system.client();
    let hash = client.deploy("f/a/double", "python3", DOUBLE).await;
    let other = client.at(system.gateway(1));
    let nobody = other.anonymous();
    let token = client.token();
    for (number, route) in ["p/f/a/double", &format!("h/{hash}")].into_iter().enumerate() {
        let args = json!({"n": number + 1});
        let expected = (number + 1) * 2;
        let sync = other.post(&format!("jobs/run_wait_result/{route}")).json(&args).send().await.expect(200);
        assert_eq!(sync.text(), expected.to_string());
        assert_eq!(sync.header("content-type"), "application/json");
        let path = format!("jobs/run_wait_result/{route}?token={token}");
        assert_eq!(nobody.post(&path).json(&args).send().await.expect(200).text(), expected.to_string());
        for id in [
            other.post(&format!("jobs/run/{route}")).json(&args).send().await.expect(201).text(),
            nobody
                .post(&format!("jobs/run/{route}?token={token}"))
                .json(&args)
                .send()
                .await
                .expect(201)
                .text(),
        ] {
            assert_eq!(client.end_of(&id).await["result"], expected, "{route}");
        }
    }
}

#[tokio::test]
async fn a_new_version_is_called_by_path_and_the_old_one_by_its_hash() {
    let system = System::start().gateways(2).await;
    let gateways = [system.client().clone(), system.client().at(system.gateway(1))];
    let mut hashes = Vec::new();
    for version in 0..6 {
        let (here, there) = (&gateways[version % 2], &gateways[(version + 1) % 2]);
        let expected = format!("\"v{version}\"");
        hashes.push(here.deploy("f/a/version", "bash", &format!("echo v{version}")).await);
        let deployed = Instant::now();
        // the gateway that took it knows at once, the others hear of it
        assert_eq!(here.wait("f/a/version", json!({})).await.expect(200).text(), expected);
        eventually("the new version at the other gateway", Duration::from_secs(5), async || {
            let asked = deployed.elapsed();
            let answer = there.wait("f/a/version", json!({})).await.expect(200);
            assert!(answer.text() == expected || asked < SEEN_WITHIN, "{asked:?} after: {}", answer.text());
            (answer.text() == expected).then_some(())
        })
        .await;
    }
    for (version, hash) in hashes.iter().enumerate() {
        let path = format!("jobs/run_wait_result/h/{hash}");
        let answer = gateways[version % 2].post(&path).json("{}").send().await.expect(200);
        assert_eq!(answer.text(), format!("\"v{version}\""), "{hash}");
    }
}

#[tokio::test]
async fn the_asynchronous_answer() {
    let system = System::start().await;
    let client = system.client();
    client.deploy("f/a/double", "python3", DOUBLE).await;
    for (query, status) in [("", 201), ("?status=200", 200), ("?status=202", 202), ("?status=201", 201)] {
        let path = format!("jobs/run/p/f/a/double{query}");
        let answer = client.post(&path).json(r#"{"n":4}"#).send().await.expect(status);
        assert!(answer.header("content-type").starts_with("text/plain"), "{answer:?}");
        let id: Uuid = answer.text().parse().unwrap();
        assert_eq!(answer.header("x-job-id"), id.to_string());
        let location = answer.header("location");
        assert_eq!(location, format!("/api/w/main/jobs_u/get/{id}"));
        assert_eq!(client.end_of(&id.to_string()).await, ended(8), "{query}");
        let job = client.get_path(location).send().await.expect(200).json();
        assert_eq!((&job["type"], &job["id"]), (&json!("CompletedJob"), &json!(id)));
    }
    let refused = client.post("jobs/run/p/f/a/double?status=204").json("{}").send().await.expect(400);
    assert!(refused.text().contains("status"), "{}", refused.text());
}

fn ended(result: impl Into<Value>) -> Value {
    json!({"started": true, "success": true, "completed": true, "result": result.into()})
}

#[tokio::test]
async fn head_and_options_make_no_job_and_get_runs_its_payload() {
    let system = System::start().await;
    let client = system.client();
    let hash = client.deploy("f/a/double", "python3", DOUBLE).await;
    for route in ["run/p/f/a/double", "run_wait_result/p/f/a/double", &format!("run/h/{hash}")] {
        let path = format!("jobs/{route}");
        let head = client.request(Method::HEAD, &path).send().await.expect(200);
        assert!(head.body.is_empty());
        let options = client.anonymous().request(Method::OPTIONS, &path);
        let options = options.header("webhook-request-origin", "events.example").send().await.expect(200);
        assert_eq!(options.header("access-control-allow-origin"), "*");
        assert_eq!(options.header("webhook-allowed-origin"), "events.example");
    }
    assert_eq!(client.get_path("jobs/run/p/f/a/double").send().await.status, 405);
    assert_no_job_but_a_new_one(client).await;
    let payload = STANDARD.encode(r#"{"n":21}"#);
    let payload: String = url::form_urlencoded::byte_serialize(payload.as_bytes()).collect();
    let path = format!("jobs/run_wait_result/p/f/a/double?payload={payload}");
    assert_eq!(client.get_path(&path).send().await.expect(200).text(), "42");
}

#[tokio::test]
async fn a_result_may_choose_its_answer() {
    let system = System::start().await;
    let client = system.client();
    client.deploy("f/a/echo", "python3", "def main(of):\n    return of\n").await;
    let answer = async |of: Value| client.wait("f/a/echo", json!({"of": of})).await;
    let page = answer(json!({"windmill_status_code": 203, "windmill_content_type": "text/html",
        "windmill_headers": {"X-Own": "yes", "Set-Cookie": "a=b", "Connection": "close"}, "result": "<p>hi</p>"}));
    let page = page.await.expect(203);
    assert_eq!((page.text().as_str(), page.header("content-type")), ("<p>hi</p>", "text/html"));
    assert_eq!((page.header("x-own"), page.header("set-cookie")), ("yes", ""));
    assert_eq!(page.header("content-security-policy"), "sandbox");
    assert_eq!(page.header("x-content-type-options"), "nosniff");
    let nothing = answer(json!({"windmill_headers": {"x-own": "yes"}})).await.expect(204);
    assert!(nothing.body.is_empty());
    assert_eq!(answer(json!({"result": {"a": 1}})).await.expect(200).json(), json!({"a": 1}));
    let wrong = answer(json!({"windmill_status_code": 1000})).await.expect(500);
    assert!(wrong.text().contains("windmill_status_code 1000"), "{}", wrong.text());
    assert_eq!(answer(Value::Null).await.expect(200).text(), "null");
}

#[tokio::test]
async fn a_script_that_fails_is_422_with_its_error() {
    let system = System::start().await;
    let client = system.client();
    client.deploy("f/a/boom", "python3", "def main():\n    raise ValueError('no such thing')\n").await;
    let answer = client.wait("f/a/boom", json!({})).await.expect(422);
    let error = &answer.json()["error"];
    assert_eq!((&error["name"], &error["message"]), (&json!("ValueError"), &json!("no such thing")));
    assert!(error["stack"].as_str().unwrap().contains("main"), "{error}");
    let end = client.end_of(answer.header("x-job-id")).await;
    assert_eq!((&end["success"], &end["result"]["error"]["name"]), (&json!(false), &json!("ValueError")));
}

#[tokio::test]
async fn a_wait_that_runs_out_is_504_and_the_job_goes_on() {
    let system = System::start().await;
    let client = system.client();
    let gate = Gate::deploy(&system, "f/a/gate").await;
    let path = "jobs/run_wait_result/p/f/a/gate?timeout_wait=0.2";
    let answer = client.post(path).json("{}").send().await.expect(504);
    let id = answer.header("x-job-id").to_owned();
    assert!(answer.text().contains(&id), "{}", answer.text());
    let location = answer.header("location").to_owned();
    assert_eq!(client.get_path(&location).send().await.expect(200).json()["completed"], false);
    gate.open();
    assert_eq!(client.end_of(&id).await, ended("through"));
    assert_eq!(client.get_path(&location).send().await.expect(200).json()["result"], "through");
}

#[tokio::test]
async fn a_wait_that_runs_out_cancels_when_asked_to() {
    let system = System::start().await;
    let client = system.client();
    let _shut = Gate::deploy(&system, "f/a/gate").await;
    let path = "jobs/run_wait_result/p/f/a/gate?timeout_wait=0.3&cancel_on_timeout=true";
    let answer = client.post(path).json("{}").send().await.expect(504);
    let end = client.end_of(answer.header("x-job-id")).await;
    assert_eq!((&end["success"], &end["result"]["error"]["name"]), (&json!(false), &json!("Canceled")));
}

#[tokio::test]
async fn a_caller_that_hangs_up_leaves_its_job_unless_it_wants_it_cancelled() {
    let system = System::start().slots(2).await;
    let client = system.client();
    let gate = Gate::deploy(&system, "f/a/gate").await;
    let (stays, goes) = (Uuid::new_v4().to_string(), Uuid::new_v4().to_string());
    let call = |query: String| {
        let client = client.clone();
        tokio::spawn(async move {
            let path = format!("jobs/run_wait_result/p/f/a/gate?{query}");
            client.post(&path).json("{}").send().await
        })
    };
    let calls = [
        (call(format!("job_id={stays}")), &stays),
        (call(format!("job_id={goes}&cancel_on_disconnect=true")), &goes),
    ];
    for (call, id) in calls {
        client.running(id).await;
        call.abort();
        assert!(call.await.unwrap_err().is_cancelled());
    }
    let end = client.end_of(&goes).await;
    assert_eq!(end["result"]["error"]["name"], "Canceled", "{end}");
    assert_eq!(client.result_maybe(&stays).await["completed"], false);
    gate.open();
    assert_eq!(client.end_of(&stays).await, ended("through"));
}

#[tokio::test]
async fn two_hundred_callers_at_once_get_their_own_result() {
    let system = System::start().gateways(2).workers(2).slots(4).await;
    let client = system.client();
    client.deploy("f/a/echo", "bash", "n=\"$1\"\necho \"got $n\"\n").await;
    let clients = [client.clone(), client.at(system.gateway(1))];
    let calls = (0..200).map(|n| {
        let client = &clients[n % 2];
        async move { (n, client.wait("f/a/echo", json!({"n": n})).await.expect(200).text()) }
    });
    for (n, text) in futures::future::join_all(calls).await {
        assert_eq!(text, format!("\"got {n}\""));
    }
    let rows = eventually("all rows", Duration::from_secs(10), async || {
        let rows = client.list("per_page=1000").await;
        (rows.len() == 200).then_some(rows)
    });
    let rows = rows.await;
    let workers: std::collections::BTreeSet<&str> =
        rows.iter().filter_map(|row| row["worker"].as_str()).collect();
    assert_eq!(workers.len(), 2, "{workers:?}");
    assert!(rows.iter().all(|row| row["attempt"] == 1));
}
