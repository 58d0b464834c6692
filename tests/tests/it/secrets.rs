//! No token is anywhere it could be read: the same search that finds a planted marker in every
//! place finds no token there.

mod places;
mod trace_sink;

use http::Method;
use serde_json::{Value, json};
use system_tests::{Client, Hub, System};

use places::{Places, forms};
use trace_sink::TraceSink;

/// Text that is found wherever it is put.
const MARKER: &str = "marker7f3a9c";

/// Prints, returns and raises all it knows; tells the test its token.
const BLAB: &str = r"
import base64, json, os, socket, urllib.parse

def main(port: int, fail: bool, note: str):
    token = os.environ['WM_TOKEN']
    with socket.create_connection(('127.0.0.1', port)) as hub:
        hub.sendall(('say ' + token + chr(10)).encode())
        hub.recv(6)
    print(note, token, urllib.parse.quote(token, safe=''))
    print(json.dumps(dict(os.environ)))
    if fail:
        raise ValueError(note + ' ' + token)
    return {'note': note, 'token': token, 'env': dict(os.environ)}
";

struct Said {
    texts: Vec<String>,
    job_tokens: Vec<String>,
}

/// Uses `holder`'s token in every way a caller can, well and badly.
async fn use_everywhere(holder: &Client, hub: &Hub) -> Said {
    let (nobody, token) = (holder.anonymous(), holder.token());
    let mut said = Said { texts: Vec::new(), job_tokens: Vec::new() };
    for fail in [false, true] {
        let args = json!({"port": hub.port(), "fail": fail, "note": MARKER});
        let path = format!("jobs/run_wait_result/p/f/a/blab?token={token}&include_query=q&q={MARKER}");
        let answer = nobody.post(&path).header("tracestate", &format!("test={MARKER}"));
        let answer = answer.header("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
        let answer = answer.json(args).send().await.expect(if fail { 422 } else { 200 });
        said.job_tokens.push(hub.said().pop().unwrap());
        let id = answer.header("x-job-id").to_owned();
        said.texts.extend([answer.text(), format!("{:?}", answer.headers)]);
        for part in ["get", "get_logs", "get_args", "completed/get", "completed/get_result", "getupdate"] {
            said.texts.push(holder.get_path(&format!("jobs_u/{part}/{id}")).send().await.expect(200).text());
        }
    }
    for (request, status) in [
        (nobody.post(&format!("jobs/run/p/f/a/{MARKER}?token={token}")), 404),
        (nobody.post(&format!("jobs/run/h/{MARKER}?token={token}")), 400),
        (nobody.post(&format!("jobs/run/p/f/a/blab?token={token}&include_query=token")), 400),
        (nobody.post(&format!("jobs/run/p/f/a/blab?token={token}&include_header=cookie")), 400),
        (nobody.post(&format!("jobs/run/p/f/a/blab?token={token}&job_id={token}")), 400),
        (holder.post(&format!("jobs/run/p/f/a/blab?token={token}x")), 400),
        (holder.post("jobs/run/p/f/a/blab").header("accept", "application/problem+json"), 400),
        (nobody.get_path(&format!("jobs/run/p/f/a/blab?token={token}")), 405),
        (nobody.get_path(&format!("/api/nothing?token={token}")), 404),
        (nobody.request(Method::DELETE, &format!("/api/users/tokens/delete/{token}?token={token}")), 404),
    ] {
        let answer = request.json("{\"a\":").send().await;
        assert_eq!(answer.status, status, "{}", answer.text());
        said.texts.extend([answer.text(), format!("{:?}", answer.headers)]);
    }
    said
}

/// Puts the marker where no request could: into the services' and NATS's logs.
async fn mark_logs(system: &System) {
    let http = reqwest::Client::new();
    for service in system.services() {
        let url = format!("{}/loglevel", service.admin_url().await);
        let answer =
            http.put(url).body(format!("debug,{MARKER}=debug,h2=info,hyper=info")).send().await.unwrap();
        assert!(answer.status().is_success());
    }
    let options = async_nats::ConnectOptions::with_user_and_password(MARKER.into(), "wrong".into());
    assert!(options.connect(system.nats().address().to_string()).await.is_err());
}

async fn listed(client: &Client) -> Vec<String> {
    let mut texts: Vec<String> = client.list("per_page=100").await.iter().map(Value::to_string).collect();
    texts.extend(client.tokens().await.iter().map(Value::to_string));
    texts.push(client.get_path("scripts/get/p/f/a/blab").send().await.expect(200).text());
    texts
}

#[tokio::test]
async fn tokens_are_nowhere() {
    let sink = TraceSink::start().await;
    let system =
        System::start().every_setting("otlp-endpoint", sink.url()).every_setting("log", "debug").await;
    mark_logs(&system).await;
    let client = system.client();
    client.deploy("f/a/blab", "python3", &format!("# {MARKER}\n{BLAB}")).await;
    client.deploy_with("f/a/waits", "bash", "echo", json!({"tag": "nobody"})).await;
    let narrow = json!({"label": MARKER, "scopes": ["jobs:run", "jobs:read", "users:write"]});
    let holder = client.with_token(&client.make_token(narrow).await);
    let mut said = use_everywhere(&holder, system.hub()).await;
    said.texts.extend(listed(client).await);
    // a job that stays in its stream
    let queued = holder.anonymous().post(&format!("jobs/run/p/f/a/waits?token={}", holder.token()));
    queued.json(json!({"note": MARKER})).send().await.expect(201);

    for service in system.services() {
        service.terminate().await;
    }
    system.nats().terminate().await;
    system.valkey().terminate().await;
    let places = Places::of(&system, sink.received(), said.texts);
    places.assert_everywhere(MARKER);
    let mut secrets = vec![client.token().to_owned(), holder.token().to_owned()];
    secrets.extend(said.job_tokens);
    assert_eq!(secrets.len(), 4);
    for secret in &secrets {
        assert!(secret.len() >= 40, "that is no token");
        for form in forms(secret) {
            places.assert_nowhere(&form);
        }
    }
}
