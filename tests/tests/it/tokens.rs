//! Tokens: what each may do, and that a revoked one is refused everywhere at once.

use std::time::{Duration, Instant};

use chrono::{SecondsFormat, Utc};
use http::Method;
use serde_json::json;
use system_tests::{Answer, Client, System, eventually};
use uuid::Uuid;

/// Three times what is promised.
const REVOKED_WITHIN: Duration = Duration::from_millis(300);

async fn system() -> System {
    let system = System::start().gateways(2).await;
    system.client().deploy("f/a/one", "bash", "echo one").await;
    system.client().deploy("f/a/two", "bash", "echo two").await;
    system
}

async fn run(client: &Client, path: &str) -> Answer {
    client.post(&format!("jobs/run/p/{path}")).json("{}").send().await
}

async fn narrowed(client: &Client, scopes: &[&str]) -> Client {
    let token = client.make_token(json!({"label": "narrow", "scopes": scopes})).await;
    client.with_token(&token)
}

#[tokio::test]
async fn scopes_are_enforced() {
    let system = system().await;
    let client = system.client();
    for (scopes, one, two) in [
        (&["jobs:run"][..], 201, 201),
        (&["jobs:run:scripts"], 201, 201),
        (&["jobs:run:scripts:f/a/one"], 201, 403),
        (&["jobs:run:scripts:f/a/one,f/a/two"], 201, 201),
        (&["jobs:run:scripts:f/a/*"], 201, 201),
        (&["jobs:run:scripts:f/b/*"], 403, 403),
        (&["jobs:run:flows"], 403, 403),
        (&["jobs:run:flows:f/a/one"], 403, 403),
        (&["run:script/f/a/one"], 201, 403),
        (&["scripts:read"], 403, 403),
    ] {
        let holder = narrowed(client, scopes).await;
        for (path, status) in [("f/a/one", one), ("f/a/two", two)] {
            let answer = run(&holder, path).await;
            assert_eq!(answer.status, status, "{scopes:?} {path}: {}", answer.text());
            if status == 403 {
                let required = format!("jobs:run:scripts:{path}");
                assert!(answer.text().contains(&required), "{scopes:?}: {}", answer.text());
            }
        }
    }
    let narrow = narrowed(client, &["jobs:run:scripts:f/a/one"]).await;
    let write = narrow.try_deploy("f/a/three", "bash", "echo 3", json!({})).await.expect(403).text();
    assert!(write.contains("scripts:write"), "{write}");
    let more = narrow.post("/api/users/tokens/create").json(json!({"label": "more"})).send().await;
    assert_eq!(more.status, 403, "a narrowed token makes no wider one: {}", more.text());
    let odd = client.post("/api/users/tokens/create").json(json!({"scopes": ["everything"]})).send().await;
    assert!(odd.status == 400 && odd.text().contains("everything"), "{} {}", odd.status, odd.text());
}

#[tokio::test]
async fn a_webhook_token_does_not_steer_and_reads_only_its_own_runs() {
    let system = system().await;
    let client = system.client();
    let hook = narrowed(client, &["jobs:run:scripts:f/a/one"]).await;
    let id = Uuid::new_v4();
    for (field, value) in [("job_id", id.to_string()), ("tag", "bash".into()), ("parent_job", id.to_string())]
    {
        for kind in ["run", "run_wait_result"] {
            let path = format!("jobs/{kind}/p/f/a/one?{field}={value}");
            let refused = hook.post(&path).json("{}").send().await.expect(403).text();
            assert!(refused.contains(field), "{refused}");
        }
    }
    for empty in ["parent_job=", "tag=", "job_id="] {
        let path = format!("jobs/run_wait_result/p/f/a/one?{empty}");
        assert_eq!(hook.post(&path).json("{}").send().await.expect(200).text(), "\"one\"");
    }
    let own = run(&hook, "f/a/one").await.expect(201).text();
    assert_eq!(hook.end_of(&own).await["result"], "one");
    assert!(hook.logs(&own).await.contains("one"));
    hook.get(&own).await;
    let others = client.run("f/a/two", json!({})).await;
    for path in ["get", "get_logs", "completed/get_result_maybe"] {
        let answer = hook.get_path(&format!("jobs_u/{path}/{others}")).send().await;
        assert!(matches!(answer.status, 403 | 404), "{path}: {} {}", answer.status, answer.text());
    }
    assert_eq!(hook.post(&format!("jobs_u/queue/cancel/{others}")).send().await.status, 403);
    assert_eq!(hook.get_path("jobs/list").send().await.status, 403);
}

#[tokio::test]
async fn expired_bound_and_read_only_tokens() {
    let system = system().await;
    let client = system.client();
    let soon = Utc::now() + chrono::Duration::milliseconds(1500);
    let expiration = soon.to_rfc3339_opts(SecondsFormat::Millis, true);
    let short = client.with_token(&client.make_token(json!({"expiration": expiration})).await);
    run(&short, "f/a/one").await.expect(201);
    let refused = eventually("the token's end", Duration::from_secs(5), async || {
        let answer = run(&short, "f/a/one").await;
        (answer.status != 201).then_some(answer)
    });
    let refused = refused.await.expect(401);
    assert!(Utc::now() >= soon);
    assert!(refused.text().contains("expired"), "{}", refused.text());

    let bound = client.with_token(&client.make_token(json!({"workspace_id": "main"})).await);
    run(&bound, "f/a/one").await.expect(201);
    let elsewhere = bound.in_workspace("admins").get_path("jobs/list").send().await.expect(403).text();
    assert!(elsewhere.contains("main"), "{elsewhere}");

    let reader = client.with_token(&client.make_token(json!({"read_only": true})).await);
    let id = client.run("f/a/one", json!({})).await;
    assert_eq!(reader.end_of(&id).await["result"], "one");
    assert!(run(&reader, "f/a/one").await.expect(403).text().contains("read-only"));
    reader.try_deploy("f/a/one", "bash", "echo 2", json!({})).await.expect(403);
    reader.post(&format!("jobs_u/queue/cancel/{id}")).send().await.expect(403);
}

#[tokio::test]
async fn a_revoked_token_is_refused_at_every_gateway_at_once() {
    let system = system().await;
    let client = system.client();
    for round in 0..5 {
        let token = client.make_token(json!({"label": format!("round {round}")})).await;
        let holders = [0, 1].map(|gateway| client.with_token(&token).at(system.gateway(gateway)));
        for holder in &holders {
            holder.get_path("/api/users/whoami").send().await.expect(200);
        }
        client.revoke(&token).await;
        let revoked = Instant::now();
        for holder in &holders {
            let answer = eventually("the refusal", Duration::from_secs(5), async || {
                let answer = holder.get_path("/api/users/whoami").send().await;
                (answer.status != 200).then_some(answer)
            });
            assert_eq!(answer.await.status, 401);
            assert!(revoked.elapsed() < REVOKED_WITHIN, "round {round}: {:?}", revoked.elapsed());
        }
    }
}

#[tokio::test]
async fn tokens_are_shown_once_and_listed_by_their_beginning() {
    let system = system().await;
    let client = system.client();
    let made = json!({"label": "webhook-x", "scopes": ["jobs:run:scripts:f/a/one"], "workspace_id": "main"});
    let token = client.make_token(made).await;
    assert!(token.starts_with("hkm_") && token.len() == 40, "{} characters", token.len());
    let rows = client.tokens().await;
    let row = rows.iter().find(|row| row["token_prefix"] == token[..10]).unwrap();
    assert_eq!((&row["label"], &row["workspace_id"]), (&json!("webhook-x"), &json!("main")));
    assert_eq!((&row["scopes"], &row["read_only"]), (&json!(["jobs:run:scripts:f/a/one"]), &json!(false)));
    assert!(!json!(rows).to_string().contains(&token));
    let id = run(&client.with_token(&token), "f/a/one").await.expect(201).text();
    client.end_of(&id).await;
    assert_eq!(client.get(&id).await["created_by"], "webhook-x");
    client.revoke(&token).await;
    assert!(client.tokens().await.iter().all(|row| row["token_prefix"] != token[..10]));
    let again = client.request(Method::DELETE, &format!("/api/users/tokens/delete/{}", &token[..10]));
    again.send().await.expect(404);
}

#[tokio::test]
async fn who_has_no_token_is_told_how_to_send_one() {
    let system = system().await;
    let client = system.client();
    let nobody = client.anonymous();
    let wrong = format!("hkm_{}", "0".repeat(36));
    for request in [
        nobody.post("jobs/run/p/f/a/one"),
        nobody.get_path("jobs/list"),
        nobody.post("scripts/create"),
        nobody.get_path("/api/users/tokens/list"),
        nobody.post("jobs/run/p/f/a/absent"),
        nobody.post("jobs/run/p/f/a/one?token="),
        nobody.post(&format!("jobs/run/p/f/a/one?token={wrong}")),
        nobody.post("jobs/run/p/f/a/one").header("cookie", &format!("token={wrong}")),
        nobody.post("jobs/run/p/f/a/one").header("authorization", "Basic YTpi"),
        client.with_token(&wrong).post("jobs/run/p/f/a/one"),
        client.with_token("nonsense").post("jobs/run/p/f/a/one"),
        client.with_token(&"x".repeat(5000)).post("jobs/run/p/f/a/one"),
    ] {
        let shown = format!("{request:?}");
        let answer = request.send().await;
        assert_eq!(answer.status, 401, "{shown}: {}", answer.text());
        assert!(answer.header("www-authenticate").starts_with("Bearer"), "{shown}");
        assert!(!answer.text().contains(&wrong), "{}", answer.text());
    }
    let two = format!("jobs/run/p/f/a/one?token={wrong}");
    let differ = client.post(&two).json("{}").send().await.expect(400).text();
    assert!(differ.contains("differ") && !differ.contains(&wrong), "{differ}");
    let same = format!("jobs/run/p/f/a/one?token={}", client.token());
    let id = client.post(&same).json("{}").send().await.expect(201).text();
    client.end_of(&id).await;
    assert_eq!(client.list("").await.len(), 1);
}

#[tokio::test]
async fn cookies_do_less() {
    let system = system().await;
    let client = system.client();
    let cookie = format!("other=1; token={}", client.token());
    let nobody = client.anonymous();
    let sync = "jobs/run_wait_result/p/f/a/one";
    let post = |path: &str| nobody.post(path).header("cookie", &cookie).json("{}");
    assert_eq!(post(sync).send().await.expect(200).text(), "\"one\"");
    assert_eq!(post(sync).header("sec-fetch-site", "same-origin").send().await.status, 200);
    assert_eq!(post(sync).header("sec-fetch-site", "cross-site").send().await.status, 403);
    assert_eq!(post(sync).header("origin", "http://evil.example").send().await.status, 403);
    assert_eq!(nobody.get_path(sync).header("cookie", &cookie).send().await.status, 401);
    assert_eq!(nobody.request(Method::HEAD, sync).header("cookie", &cookie).send().await.status, 401);
    nobody.get_path("jobs/list").header("cookie", &cookie).send().await.expect(200);
    assert_eq!(client.list("").await.len(), 2);
}
