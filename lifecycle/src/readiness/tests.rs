use super::*;

#[test]
fn ready_when_every_latch_is() {
    let readiness = Readiness::new();
    assert!(!readiness.is_ready(), "nothing was said yet");
    let (nats, redis) = (readiness.latch("nats"), readiness.latch("redis"));
    nats.ready();
    assert!(!readiness.is_ready());
    redis.ready();
    assert!(readiness.is_ready());
    nats.not_ready("disconnected");
    assert!(!readiness.is_ready());
    drop(nats);
    assert!(readiness.is_ready());
}

#[test]
fn stopping_is_final() {
    let readiness = Readiness::new();
    let latch = readiness.latch("nats");
    latch.ready();
    readiness.stop();
    latch.ready();
    assert!(!readiness.is_ready());
    assert_eq!(readiness.report()["checks"]["process"]["why"], "stopping");
}

#[test]
fn the_report_names_checks_and_details() {
    let readiness = Readiness::new();
    let child = readiness.prefixed("gateway").prefixed("inner");
    let latch = child.latch("nats");
    latch.not_ready("no route to host");
    child.detail("sandbox", "namespaces");
    let expected = json!({
        "ready": false,
        "checks": { "gateway.inner.nats": { "ready": false, "why": "no route to host" } },
        "details": { "gateway.inner.sandbox": "namespaces" },
    });
    assert_eq!(readiness.report(), expected);
}

#[test]
fn one_bad_latch_of_a_name_is_enough() {
    for bad_first in [true, false] {
        let readiness = Readiness::new();
        let (first, second) = (readiness.latch("nats"), readiness.latch("nats"));
        let (good, bad) = if bad_first { (second, first) } else { (first, second) };
        good.ready();
        bad.not_ready("lost");
        assert_eq!(readiness.report()["checks"]["nats"], json!({ "ready": false, "why": "lost" }));
    }
}

#[tokio::test]
async fn waiting_ends_when_the_last_latch_is_ready() {
    let readiness = Readiness::new();
    let latch = readiness.latch("nats");
    let waiter = tokio::spawn({
        let readiness = readiness.clone();
        async move { readiness.wait_ready().await }
    });
    tokio::task::yield_now().await;
    assert!(!waiter.is_finished());
    latch.ready();
    waiter.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_changes_end_in_the_last_state() {
    let readiness = Readiness::new();
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..64 {
        let readiness = readiness.clone();
        tasks.spawn(async move {
            let latch = readiness.latch("busy");
            latch.ready();
            latch.not_ready("flapping");
        });
    }
    tasks.join_all().await;
    assert!(readiness.is_ready());
    assert!(*readiness.watch().borrow());
}
