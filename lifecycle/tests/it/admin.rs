//! The admin port of a running process.

use crate::probe::{Probe, http};

#[tokio::test]
async fn probes_metrics_and_unknown_paths() {
    let (_probe, admin) = Probe::up(&[]).await;
    let (status, body) = http(&admin, "GET", "/readyz", "").await;
    assert_eq!(status, 200);
    let expected =
        r#"{"ready":true,"checks":{"probe":{"ready":true,"why":null}},"details":{"mode":"Drain"}}"#;
    assert!(body.contains(expected), "{body}");
    let (status, body) = http(&admin, "GET", "/metrics", "").await;
    assert_eq!(status, 200);
    for part in [
        r#"build_info{service="worker",version="0.0.1"} 1"#,
        "probe_starts_total 1",
        r#"probe_start_seconds_bucket{le="0.002"} 0"#,
        r#"probe_start_seconds_bucket{le="0.004"} 1"#,
    ] {
        assert!(body.contains(part), "no {part} in {body}");
    }
    assert_eq!(http(&admin, "GET", "/nothing", "").await.0, 404);
    assert_eq!(http(&admin, "POST", "/livez", "").await.0, 405);
}

#[tokio::test]
async fn the_log_filter_changes_while_the_process_runs() {
    let (mut probe, admin) = Probe::up(&["--log=warn,probe=info,lifecycle=info"]).await;
    assert!(http(&admin, "GET", "/loglevel", "").await.1.contains("probe=info"));
    for bad in ["", "a=b=c", "probe=loud"] {
        assert_eq!(http(&admin, "PUT", "/loglevel", bad).await.0, 400, "{bad}");
    }
    assert_eq!(http(&admin, "PUT", "/loglevel", &"x".repeat(5000)).await.0, 413);
    assert_eq!(http(&admin, "PUT", "/loglevel", "off").await.0, 200);
    assert!(http(&admin, "GET", "/loglevel", "").await.1.ends_with("\r\n\r\noff\n"));
    probe.signal(rustix::process::Signal::TERM);
    assert_eq!(probe.code().await, Some(0));
    assert!(!probe.log.contains("probe finished its work"), "{}", probe.log);
}

#[tokio::test]
async fn secrets_stay_out_of_the_log() {
    let (mut probe, _) = Probe::up(&["--log=trace"]).await;
    assert!(probe.log.contains("a line for debugging") && probe.log.contains("***"), "{}", probe.log);
    probe.signal(rustix::process::Signal::TERM);
    probe.code().await;
    assert!(!probe.log.contains("planted-secret"), "{}", probe.log);
}

#[tokio::test]
async fn telemetry_may_be_started_twice() {
    let service = lifecycle::Service { name: "test", about: "", version: "0" };
    let mut values = lifecycle::Values::new("cli", lifecycle::Sources::default().arg("--log=off"));
    let config = <lifecycle::telemetry::TelemetryConfig as lifecycle::FromValues>::from_values(&mut values);
    let first = lifecycle::telemetry::init(&service, &config).unwrap();
    // other tests of this binary want plain panics
    drop(std::panic::take_hook());
    let second = lifecycle::telemetry::init(&service, &config).unwrap();
    assert_eq!(second.log_level().current(), "off");
    second.flush();
    first.flush();
}
