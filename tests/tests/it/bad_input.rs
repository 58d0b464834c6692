//! Bad input: the status, a text that names what is wrong, and nothing half done.

use futures::stream;
use http::Method;
use serde_json::json;
use system_tests::{Client, System};
use uuid::Uuid;

use crate::gate::assert_no_job_but_a_new_one;

/// The bound on a request's body, in bytes.
const BODY_LIMIT: usize = 8 * 1024 * 1024;

async fn system_with_echo() -> System {
    let system = System::start().await;
    system.client().deploy("f/a/size", "python3", "def main(text: str = ''):\n    return len(text)\n").await;
    system
}

#[tokio::test]
async fn what_is_not_there_or_malformed_makes_no_job() {
    let system = system_with_echo().await;
    let client = system.client();
    let json = "application/json";
    let here = "p/f/a/size";
    let table = [
        ("p/f/a/absent", json, "{}", 404, "f/a/absent"),
        ("p/nonsense", json, "{}", 404, "nonsense"),
        ("h/0123456789abcdef", json, "{}", 404, "0123456789abcdef"),
        ("h/0123456789abcde", json, "{}", 400, "16"),
        ("h/0123456789abcdefg", json, "{}", 400, "16"),
        ("h/xyz", json, "{}", 400, "16"),
        (here, json, "{\"a\": tru}", 400, "line 1 column"),
        (here, json, "{\n\"a\": 1,\n}", 400, "line 3 column"),
        (here, json, "{\"a\":1} x", 400, "line 1 column"),
        (here, json, "{\"a\":1,\"b\":2,\"a\":3}", 400, "duplicate key `a`"),
        (here, json, "{\"a\":\"\u{1}\"}", 400, "line 1 column"),
        (here, "image/png", "x", 415, "image/png"),
        (here, "multipart/form-data; boundary=b", "x", 415, "multipart/form-data"),
        ("p/f/a/size?job_id=nonsense", json, "{}", 400, "job_id"),
        ("p/f/a/size?parent_job=nonsense", json, "{}", 400, "parent_job"),
        ("p/f/a/size?tag=", json, "{", 400, "line 1 column"),
        ("p/f/a/size?scheduled_in_secs=soon", json, "{}", 400, "scheduled_in_secs"),
        ("p/f/a/size?cache_ttl=5", json, "{}", 400, "cache_ttl"),
        ("p/f/a/size?include_query=token", json, "{}", 400, "token"),
        ("p/f/a/size?include_header=authorization", json, "{}", 400, "authorization"),
    ];
    for (route, content_type, body, status, named) in table {
        for kind in ["run", "run_wait_result"] {
            let request = client.post(&format!("jobs/{kind}/{route}")).body(content_type, body);
            let answer = request.send().await;
            assert_eq!(answer.status, status, "{kind}/{route} {body}: {}", answer.text());
            assert!(answer.text().contains(named), "{kind}/{route} {body}: {}", answer.text());
            assert!(answer.header("content-type").starts_with("text/plain"), "{kind}/{route} {body}");
        }
    }
    assert_no_job_but_a_new_one(client).await;
}

#[tokio::test]
async fn bytes_that_are_no_text_make_no_job() {
    let system = system_with_echo().await;
    let client = system.client();
    for content_type in ["application/json", "text/plain", "application/x-www-form-urlencoded"] {
        let request = client.post("jobs/run/p/f/a/size").body(content_type, &b"{\"a\":\"\xff\xfe\"}"[..]);
        let answer = request.send().await;
        assert_eq!(answer.status, 400, "{content_type}: {}", answer.text());
    }
    let deep = "[".repeat(200_000);
    let answer = client.post("jobs/run/p/f/a/size").json(format!("{{\"a\":{deep}")).send().await;
    assert_eq!(answer.status, 400, "{}", answer.text());
    assert_no_job_but_a_new_one(client).await;
}

fn body_of(bytes: usize) -> String {
    let frame = "{\"text\":\"\"}".len();
    format!("{{\"text\":\"{}\"}}", "x".repeat(bytes - frame))
}

fn chunked(body: String) -> reqwest::Body {
    let chunks: Vec<_> =
        body.into_bytes().chunks(60_000).map(|chunk| Ok::<_, std::io::Error>(chunk.to_vec())).collect();
    reqwest::Body::wrap_stream(stream::iter(chunks))
}

#[tokio::test]
async fn a_body_of_8_mib_passes_and_one_byte_more_is_413() {
    let system = system_with_echo().await;
    let client = system.client();
    let call = async |body: reqwest::Body| {
        client.post("jobs/run_wait_result/p/f/a/size").body("application/json", body).try_send().await
    };
    let text = BODY_LIMIT - "{\"text\":\"\"}".len();
    for body in [body_of(BODY_LIMIT).into(), chunked(body_of(BODY_LIMIT))] {
        assert_eq!(call(body).await.unwrap().expect(200).text(), text.to_string());
    }
    for body in [body_of(BODY_LIMIT + 1).into(), chunked(body_of(BODY_LIMIT + 1))] {
        let refused = call(body).await.unwrap().expect(413).text();
        assert!(refused.contains("8388608") || refused.contains("8 MiB"), "{refused}");
    }
    let rows = client.list("").await;
    assert_eq!(rows.len(), 2, "only what was accepted: {rows:#?}");
}

#[tokio::test]
async fn a_job_id_is_used_once() {
    let system = System::start().gateways(2).await;
    let client = system.client();
    client.deploy("f/a/one", "bash", "echo one").await;
    let id = Uuid::new_v4();
    let path = format!("jobs/run/p/f/a/one?job_id={id}");
    assert_eq!(client.post(&path).json("{}").send().await.expect(201).text(), id.to_string());
    let again = async |client: &Client| {
        let refused = client.post(&path).json("{}").send().await.expect(400).text();
        assert!(refused.contains(&format!("job_id {id} is already used")), "{refused}");
    };
    again(client).await;
    client.end_of(&id.to_string()).await;
    again(client).await;
    again(&client.at(system.gateway(1))).await;
    let sync = format!("jobs/run_wait_result/p/f/a/one?job_id={id}");
    assert_eq!(client.post(&sync).json("{}").send().await.status, 400);
    assert_eq!(client.list("").await.len(), 1);
    assert_eq!(client.list("script_path_exact=f/a/one").await[0]["attempt"], 1);
}

#[tokio::test]
async fn of_many_requests_with_one_job_id_one_is_accepted() {
    let system = System::start().gateways(2).await;
    let client = system.client();
    client.deploy("f/a/one", "bash", "echo one").await;
    let clients = [client.clone(), client.at(system.gateway(1))];
    let id = Uuid::new_v4();
    let calls = (0..16).map(|n| {
        let request = clients[n % 2].post(&format!("jobs/run/p/f/a/one?job_id={id}")).json("{}");
        async move { request.send().await.status }
    });
    let mut statuses = futures::future::join_all(calls).await;
    statuses.sort_unstable();
    let mut expected = vec![201];
    expected.resize(16, 400);
    assert_eq!(statuses, expected);
    assert_eq!(client.end_of(&id.to_string()).await["result"], "one");
}

#[tokio::test]
async fn a_script_that_cannot_be_is_refused_whole() {
    let system = System::start().await;
    let client = system.client();
    let refused = async |path: &str, language: &str, settings| {
        client.try_deploy(path, language, "x", settings).await.expect(400).text()
    };
    let text = refused("f/a/b", "rust", json!({})).await;
    for part in ["rust", "python3", "deno", "bash"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(refused("f/a/b", "klingon", json!({})).await.contains("klingon"));
    assert!(refused("no path", "bash", json!({})).await.contains("no path"));
    assert!(refused("f/a/b", "bash", json!({"timeout": 0})).await.contains("timeout"));
    assert!(refused("f/a/b", "bash", json!({"concurrent_limit": 3})).await.contains("concurrent_limit"));
    assert!(refused("f/a/b", "bash", json!({"lock": "x==1"})).await.contains("lock"));
    let named = refused("f/a/b", "bash", json!({"retry_on_worker_loss": "never"})).await;
    assert!(named.contains("retry_on_worker_loss") && named.contains("never"), "{named}");
    assert!(
        refused("f/a/b", "bash", json!({"parent_hash": "0123456789abcdef", "auto_parent": false}))
            .await
            .contains("parent")
    );
    let broken = client.post("scripts/create").json("{\"path\": \"f/a/b\"").send().await.expect(400).text();
    assert!(broken.contains("line 1 column"), "{broken}");
    client.get_path("scripts/get/p/f/a/b").send().await.expect(404);
    client
        .deploy_with(
            "f/a/b",
            "bash",
            "echo 1",
            json!({"concurrent_limit": 0, "cache_ttl": null, "priority": 0}),
        )
        .await;
}

#[tokio::test]
async fn unknown_jobs_routes_and_workspaces_are_named() {
    let system = System::start().await;
    let client = system.client();
    let id = Uuid::new_v4();
    for (method, path, status, named) in [
        (Method::GET, format!("jobs_u/get/{id}"), 404, id.to_string()),
        (Method::GET, format!("jobs_u/get_logs/{id}"), 404, id.to_string()),
        (Method::GET, format!("jobs_u/completed/get/{id}"), 404, id.to_string()),
        (Method::GET, format!("jobs_u/completed/get_result/{id}"), 404, id.to_string()),
        (Method::POST, format!("jobs_u/queue/cancel/{id}"), 404, id.to_string()),
        (Method::GET, "jobs_u/get/nonsense".to_owned(), 400, "nonsense".to_owned()),
        (Method::GET, "jobs/list?running=perhaps".to_owned(), 400, "running".to_owned()),
        (Method::GET, "jobs/list?label=x".to_owned(), 400, "label".to_owned()),
        (Method::GET, "/api/nothing".to_owned(), 404, String::new()),
        (Method::DELETE, "jobs/list".to_owned(), 405, String::new()),
    ] {
        let answer = client.request(method, &path).send().await;
        assert_eq!(answer.status, status, "{path}: {}", answer.text());
        assert!(answer.text().contains(&named), "{path}: {}", answer.text());
    }
    let maybe = client.result_maybe(&id.to_string()).await;
    assert_eq!(maybe["completed"], false);
    let elsewhere = client.in_workspace("nowhere").get_path("jobs/list").send().await.expect(404);
    assert!(elsewhere.text().contains("nowhere"), "{}", elsewhere.text());
}

#[tokio::test]
async fn errors_are_problem_json_where_it_is_asked_for() {
    let system = System::start().await;
    let request = system.client().post("jobs/run/p/f/a/absent").header("accept", "application/problem+json");
    let answer = request.json("{}").send().await.expect(404);
    assert_eq!(answer.header("content-type"), "application/problem+json");
    let problem = answer.json();
    assert_eq!((&problem["status"], &problem["retryable"]), (&json!(404), &json!(false)));
    assert!(problem["detail"].as_str().unwrap().contains("f/a/absent"));
}
