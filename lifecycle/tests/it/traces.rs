//! Trace context with and without a collector.

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, HeaderValue, Response, Uri};
use http_body_util::{BodyExt, Full};
use rustix::process::Signal;
use tokio::sync::mpsc;

use crate::probe::Probe;

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

async fn traced(args: &[&str]) -> (String, String) {
    let (probe, _) = Probe::up(args).await;
    let line = probe.log.lines().find(|line| line.contains("\"traced\"")).unwrap();
    let line: serde_json::Value = serde_json::from_str(line).unwrap();
    (line["trace.parent"].as_str().unwrap().to_owned(), line["trace.state"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn without_a_collector_a_trace_is_made_and_passed_on() {
    let (parent, _) = traced(&[]).await;
    let made: lifecycle::trace_context::TraceParent = parent.parse().unwrap();
    assert!(!made.sampled());
    for flags in ["00", "01"] {
        let given = format!("00-{TRACE}-b7ad6b7169203331-{flags}");
        let (parent, state) = traced(&[&format!("--traceparent={given}")]).await;
        assert!(parent.starts_with(&format!("00-{TRACE}-")) && parent.ends_with(flags), "{parent}");
        assert!(!parent.contains("b7ad6b7169203331"), "{parent}");
        assert_eq!(state, "vendor=1");
    }
}

#[tokio::test]
async fn an_invalid_parent_starts_a_new_trace() {
    let zero = format!("--traceparent=00-{}-b7ad6b7169203331-01", "0".repeat(32));
    let (parent, _) = traced(&[&zero]).await;
    parent.parse::<lifecycle::trace_context::TraceParent>().unwrap();
}

#[tokio::test]
async fn the_log_filter_does_not_cut_traces() {
    for filter in ["--log=off,probe=info,lifecycle=info", "--log=trace"] {
        let (parent, _) = traced(&[filter]).await;
        assert_ne!(parent, "", "{filter}");
    }
}

/// A collector that takes everything; the receiver gets path and body of each export.
async fn collector() -> (String, mpsc::UnboundedReceiver<(Uri, Bytes)>) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let export = move |uri: Uri, body: Bytes| async move {
        sender.send((uri, body)).unwrap();
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", HeaderValue::from_static("0"));
        let empty_message =
            Full::new(Bytes::from_static(&[0; 5])).with_trailers(async { Some(Ok(trailers)) });
        let answer = Response::builder().header("content-type", "application/grpc");
        answer.body(Body::new(empty_message)).unwrap()
    };
    let listener = lifecycle::bind("127.0.0.1:0".parse().unwrap(), "listen").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, axum::Router::new().fallback(export)).await });
    (endpoint, receiver)
}

#[tokio::test]
async fn the_last_spans_reach_the_collector_at_the_end() {
    let (endpoint, mut exports) = collector().await;
    let parent = format!("--traceparent=00-{TRACE}-b7ad6b7169203331-01");
    let (mut probe, _) = Probe::up(&["--otlp-endpoint", &endpoint, &parent]).await;
    probe.signal(Signal::TERM);
    assert_eq!(probe.code().await, Some(0), "{}", probe.log);
    assert!(!probe.log.contains("may be lost"), "{}", probe.log);
    let (uri, body) = exports.try_recv().unwrap();
    assert_eq!(uri.path(), "/opentelemetry.proto.collector.trace.v1.TraceService/Export");
    let has = |needle: &[u8]| body.windows(needle.len()).any(|window| window == needle);
    let trace_id = u128::from_str_radix(TRACE, 16).unwrap().to_be_bytes();
    for (what, needle) in [("span", b"probe-work".as_slice()), ("service", b"worker"), ("trace", &trace_id)] {
        assert!(has(needle), "no {what} in the export");
    }
}

#[tokio::test]
async fn a_collector_that_is_away_does_not_hold_the_end() {
    let listener = lifecycle::bind("127.0.0.1:0".parse().unwrap(), "listen").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let (mut probe, _) = Probe::up(&["--otlp-endpoint", &endpoint]).await;
    probe.signal(Signal::TERM);
    assert_eq!(probe.code().await, Some(0), "{}", probe.log);
}
