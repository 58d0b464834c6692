//! How a process ends: signals, failures, exit codes.

use rustix::process::Signal;

use crate::probe::{Probe, finish, http};

#[tokio::test]
async fn sigterm_and_sigint_drain() {
    for signal in [Signal::TERM, Signal::INT] {
        let (mut probe, _) = Probe::up(&["--mode=drain"]).await;
        probe.signal(signal);
        probe.line("probe finished its work").await;
        assert_eq!(probe.code().await, Some(0), "{}", probe.log);
    }
}

#[tokio::test]
async fn readiness_goes_before_the_drain_and_the_probes_still_answer() {
    let (mut probe, admin) = Probe::up(&["--mode=drain", "--shutdown-notice=20s"]).await;
    assert_eq!(http(&admin, "GET", "/readyz", "").await.0, 200);
    probe.signal(Signal::TERM);
    probe.line("stopping").await;
    let (status, body) = http(&admin, "GET", "/readyz", "").await;
    assert_eq!(status, 503);
    assert!(body.contains(r#""process":{"ready":false,"why":"stopping"}"#), "{body}");
    assert_eq!(http(&admin, "GET", "/livez", "").await.0, 200);
    assert!(!probe.log.contains("draining"));
}

#[tokio::test]
async fn a_second_signal_ends_at_once() {
    let (mut probe, _) = Probe::up(&["--mode=stubborn", "--shutdown-grace=1h"]).await;
    probe.signal(Signal::TERM);
    probe.line("draining").await;
    probe.signal(Signal::INT);
    assert_eq!(probe.code().await, Some(130), "{}", probe.log);
}

#[tokio::test]
async fn the_grace_bounds_a_stubborn_service() {
    let (mut probe, _) = Probe::up(&["--mode=stubborn", "--shutdown-grace=50ms"]).await;
    probe.signal(Signal::TERM);
    probe.line("grace is over, aborting").await;
    probe.line("dropping what did not end").await;
    assert_eq!(probe.code().await, Some(0), "{}", probe.log);
}

#[tokio::test]
async fn a_blocked_thread_cannot_hold_the_process() {
    let (mut probe, admin) =
        Probe::up(&["--mode=blocked", "--worker-threads=1", "--shutdown-grace=50ms"]).await;
    assert_eq!(http(&admin, "GET", "/livez", "").await.0, 200);
    probe.signal(Signal::TERM);
    assert!(probe.code().await.is_some(), "{}", probe.log);
}

#[tokio::test]
async fn failures_end_with_code_1_and_are_logged_once() {
    for (mode, text) in [
        ("--mode=panic", "worm of worker failed: panicked: planted panic"),
        ("--mode=fail", "planted failure"),
        ("--mode=panic-run", "panicked: planted panic"),
    ] {
        let ended = finish(&[mode], &[]).await;
        assert_eq!(ended.code, Some(1), "{mode}: {}", ended.stderr);
        let failures =
            ended.stderr.lines().filter(|line| line.contains("service failed")).collect::<Vec<_>>();
        assert!(failures.len() == 1 && failures[0].contains(text), "{mode}: {}", ended.stderr);
    }
}

#[tokio::test]
async fn a_panic_is_a_log_line() {
    let ended = finish(&["--mode=panic"], &[]).await;
    assert!(ended.stderr.lines().all(|line| line.starts_with('{')), "{}", ended.stderr);
    let line = ended.stderr.lines().find(|line| line.contains("\"panicked\"")).unwrap();
    assert!(line.contains("planted panic") && line.contains("probe.rs"), "{line}");
}

#[tokio::test]
async fn a_service_that_is_through_ends_well() {
    let ended = finish(&["--mode=finish"], &[]).await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
}

#[tokio::test]
async fn a_taken_admin_port_is_a_clear_failure() {
    let (_probe, admin) = Probe::up(&[]).await;
    let ended = finish(&["--admin-listen", &admin], &[]).await;
    assert_eq!(ended.code, Some(1));
    let port = admin.rsplit(':').next().unwrap();
    let text =
        format!("port {port} on 127.0.0.1 is taken by another program; choose another with --admin-listen");
    assert!(ended.stderr.contains(&text), "{}", ended.stderr);
}
