//! A gateway whose dependencies are all away: what it can answer by itself, and that it
//! never takes "away" for "not allowed". Everything with dependencies is in `tests/`.

#![expect(clippy::unwrap_used, reason = "a test's helpers fail the test")]

use std::time::{Duration, Instant};

use lifecycle::config::{Resolved, Sources, resolve};
use lifecycle::{Process, Service, StopTiming};
use proto::Bearer;
use reqwest::{Client, Method, Response, StatusCode};

/// A running gateway; stopped at the end of the test.
struct Lonely {
    base: String,
    client: Client,
    process: Process,
}

impl Lonely {
    async fn start() -> Self {
        let dead = dead_address().await;
        let service = Service { name: "gateway", about: "", version: "0" };
        let sources = Sources::default()
            .env("HOOKMILL_GATEWAY_NATS_URL", format!("nats://{dead}"))
            .env("HOOKMILL_GATEWAY_NATS_PASSWORD", "x")
            .env("HOOKMILL_GATEWAY_REDIS_URL", format!("redis://{dead}"))
            .env("HOOKMILL_GATEWAY_AUTH_URL", format!("http://{dead}"))
            .env("HOOKMILL_GATEWAY_AUTH_CREDENTIAL", "x".repeat(40));
        let Ok(Resolved::Run(config)) = resolve::<gateway::Config>(&service, sources) else {
            panic!("the configuration is complete")
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let process = Process::for_tests();
        process.spawn_essential("gateway", gateway::run_on(listener, config, process.clone()));
        Self { base, client: Client::new(), process }
    }

    async fn ask(&self, method: Method, path: &str, token: Option<&str>) -> Response {
        let mut request = self.client.request(method, format!("{}{path}", self.base));
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        request.send().await.unwrap()
    }

    async fn stop(self) {
        let timing = StopTiming { notice: Duration::ZERO, grace: Duration::from_secs(5) };
        self.process.wind_down(timing).await.unwrap();
    }
}

/// A loopback address nobody listens on.
async fn dead_address() -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap().to_string()
}

/// Every operation of the OpenAPI document: method, path with its parameters filled in.
fn operations() -> Vec<(Method, String)> {
    let document = gateway::document();
    let paths = document["paths"].as_object().unwrap();
    let fill = |path: &str| {
        path.replace("{workspace}", "main")
            .replace("{path}", "f/a/b")
            .replace("{hash}", "00ff00ff00ff00ff")
            .replace("{id}", "0197c1f0-0000-7000-8000-000000000000")
            .replace("{token_prefix}", "hkm_abcdef")
    };
    let of = |(path, item): (&String, &serde_json::Value)| {
        let methods = item.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
        let path = fill(path);
        methods.into_iter().map(move |method| (method.to_uppercase().parse().unwrap(), path.clone()))
    };
    paths.iter().flat_map(of).collect()
}

/// What anybody may ask.
fn is_public(path: &str) -> bool {
    matches!(path, "/api/version" | "/api/openapi.json")
}

#[tokio::test]
async fn every_documented_operation_is_served_and_wants_a_token() {
    let gateway = Lonely::start().await;
    let operations = operations();
    assert!(operations.len() >= 20, "{}", operations.len());
    for (method, path) in operations {
        let answer = gateway.ask(method.clone(), &path, None).await;
        if is_public(&path) {
            assert_eq!(answer.status(), StatusCode::OK, "{method} {path}");
            continue;
        }
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED, "{method} {path}");
        assert_eq!(answer.headers()["www-authenticate"], "Bearer", "{method} {path}");
        assert!(answer.text().await.unwrap().starts_with("Unauthorized: no token"), "{method} {path}");
    }
    gateway.stop().await;
}

#[tokio::test]
async fn auth_away_is_503_in_time_and_never_401() {
    let gateway = Lonely::start().await;
    let token = Bearer::generate().unwrap();
    for path in ["/api/users/whoami", "/api/w/main/jobs/list"] {
        let started = Instant::now();
        let answer = gateway.ask(Method::GET, path, Some(token.expose())).await;
        assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE, "{path}");
        assert_eq!(answer.headers()["retry-after"], "1", "{path}");
        assert!(started.elapsed() < Duration::from_secs(6), "three times the promise of 2 s");
    }
    gateway.stop().await;
}

#[tokio::test]
async fn what_cannot_be_a_token_is_refused_without_asking_anybody() {
    let gateway = Lonely::start().await;
    let mut typo = Bearer::generate().unwrap().expose().to_owned();
    typo.replace_range(5..6, if &typo[5..6] == "x" { "y" } else { "x" });
    for token in ["x", "hkm_short", &typo, &"a".repeat(10_000)] {
        let answer = gateway.ask(Method::GET, "/api/users/whoami", Some(token)).await;
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED, "{token}");
        let text = answer.text().await.unwrap();
        assert!(!text.contains(token) || token == "x", "the token is not repeated: {text}");
    }
    let differ = gateway.client.get(format!("{}/api/users/whoami?token=b", gateway.base)).bearer_auth("a");
    assert_eq!(differ.send().await.unwrap().status(), StatusCode::BAD_REQUEST);
    gateway.stop().await;
}

#[tokio::test]
async fn misses_are_text_and_preflights_need_no_token() {
    let gateway = Lonely::start().await;
    let run = "/api/w/main/jobs/run/p/f/a/b";
    for (method, path, status) in [
        (Method::GET, "/api/nothing", StatusCode::NOT_FOUND),
        (Method::GET, "/", StatusCode::NOT_FOUND),
        (Method::DELETE, run, StatusCode::METHOD_NOT_ALLOWED),
        (Method::GET, run, StatusCode::METHOD_NOT_ALLOWED),
    ] {
        let answer = gateway.ask(method.clone(), path, None).await;
        assert_eq!(answer.status(), status, "{method} {path}");
        assert!(
            answer.headers()["content-type"].to_str().unwrap().starts_with("text/plain"),
            "{method} {path}"
        );
    }
    let request = gateway.client.request(Method::OPTIONS, format!("{}{run}", gateway.base));
    let answer = request.header("webhook-request-origin", "events.example").send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(answer.headers()["access-control-allow-origin"], "*");
    assert_eq!(answer.headers()["webhook-allowed-origin"], "events.example");
    gateway.stop().await;
}

#[tokio::test]
async fn problem_details_where_they_are_asked_for() {
    let gateway = Lonely::start().await;
    let request = gateway.client.get(format!("{}/api/users/whoami", gateway.base));
    let answer = request.header("accept", "application/problem+json").send().await.unwrap();
    assert_eq!(answer.headers()["content-type"], "application/problem+json");
    let problem: serde_json::Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
    assert_eq!(problem["code"], "unauthenticated");
    assert_eq!(problem["retryable"], false);
    assert_eq!(problem["status"], 401);
    gateway.stop().await;
}
