use anyhow::bail;

use super::*;

const TIMING: StopTiming = StopTiming { notice: Duration::from_secs(5), grace: Duration::from_secs(25) };

#[tokio::test(start_paused = true)]
async fn the_steps_come_in_order_and_on_time() {
    let process = Process::for_tests();
    let start = tokio::time::Instant::now();
    let told = Arc::new(Mutex::new(Vec::new()));
    let (watcher, seen) = (process.clone(), Arc::clone(&told));
    process.spawn("stubborn", async move {
        let at = || start.elapsed().as_secs();
        watcher.shutdown.draining().await;
        seen.lock().unwrap().push(("drain", at()));
        watcher.shutdown.aborting().await;
        seen.lock().unwrap().push(("abort", at()));
        std::future::pending::<()>().await;
    });
    let latch = process.readiness.latch("work");
    latch.ready();
    let mut ready = process.readiness.watch();
    assert!(*ready.borrow_and_update());
    process.wind_down(TIMING).await.unwrap();
    assert!(!*ready.borrow_and_update());
    assert_eq!(*told.lock().unwrap(), [("drain", 5), ("abort", 25)]);
    assert_eq!(start.elapsed().as_secs(), 27);
    assert!(process.tasks.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_quick_drain_does_not_wait_for_the_grace() {
    let process = Process::for_tests();
    let start = tokio::time::Instant::now();
    let worker = process.clone();
    process.spawn("worker", async move { worker.shutdown.draining().await });
    process.wind_down(TIMING).await.unwrap();
    assert_eq!(start.elapsed().as_secs(), 5);
    assert!(!process.shutdown.abort_token().is_cancelled());
}

#[tokio::test(start_paused = true)]
async fn the_abort_window_lets_tasks_hand_back() {
    let process = Process::for_tests();
    let (worker, handed_back) = (process.clone(), Arc::new(OnceLock::new()));
    let sent = Arc::clone(&handed_back);
    process.spawn("worker", async move {
        worker.shutdown.aborting().await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        sent.set(()).unwrap();
    });
    process.wind_down(TIMING).await.unwrap();
    assert!(handed_back.get().is_some());
}

#[tokio::test(start_paused = true)]
async fn tasks_started_while_draining_are_awaited_too() {
    let process = Process::for_tests();
    let (outer, ran) = (process.clone(), Arc::new(OnceLock::new()));
    let sent = Arc::clone(&ran);
    process.spawn("parent", async move {
        outer.shutdown.draining().await;
        outer.spawn("child", async move {
            tokio::time::sleep(Duration::from_secs(3)).await;
            sent.set(()).unwrap();
        });
    });
    process.wind_down(TIMING).await.unwrap();
    assert!(ran.get().is_some());
}

#[tokio::test]
async fn an_essential_panic_stops_the_process() {
    let process = Process::for_tests();
    process.child("worker").spawn_essential("puller", async { panic!("out of {}", "cheese") });
    assert_eq!(process.stop_requested().await, StopReason::Failed);
    let error = process.wind_down(TIMING_NONE).await.unwrap_err();
    assert_eq!(format!("{error:#}"), "puller of worker failed: panicked: out of cheese");
}

const TIMING_NONE: StopTiming = StopTiming { notice: Duration::ZERO, grace: Duration::from_secs(25) };

#[tokio::test]
async fn an_essential_error_stops_the_process_and_the_first_counts() {
    let process = Process::for_tests();
    process.fail(anyhow!("first"));
    process.spawn_essential("late", async { bail!("second") });
    assert_eq!(process.stop_requested().await, StopReason::Failed);
    let error = process.wind_down(TIMING_NONE).await.unwrap_err();
    assert_eq!(error.to_string(), "first");
}

#[tokio::test]
async fn other_panics_and_quiet_ends_do_not() {
    let process = Process::for_tests();
    process.spawn("unlucky", async { panic!("once") });
    process.spawn_essential("done", async { Ok(()) });
    process.tasks.close();
    process.tasks.wait().await;
    assert!(!process.control.stop.is_cancelled());
    process.stop();
    assert_eq!(process.stop_requested().await, StopReason::Asked);
    process.wind_down(TIMING_NONE).await.unwrap();
}

#[tokio::test]
async fn children_stop_together() {
    let process = Process::for_tests();
    let (gateway, worker) = (process.child("gateway"), process.child("worker"));
    assert_eq!((gateway.name(), worker.name()), ("gateway", "worker"));
    let latch = gateway.readiness.latch("nats");
    assert!(process.readiness.report()["checks"]["gateway.nats"].is_object());
    drop(latch);
    gateway.stop();
    worker.stop_requested().await;
    process.wind_down(TIMING_NONE).await.unwrap();
    assert!(worker.shutdown.is_draining());
    assert_eq!(worker.shutdown.until_drain(std::future::pending::<()>()).await, None);
}

#[tokio::test]
async fn a_finished_run_stops_the_process_and_a_failed_one_fails_it() {
    let process = Process::for_tests();
    process.spawn_run(async { Ok(()) });
    assert_eq!(process.stop_requested().await, StopReason::Finished);
    let process = Process::for_tests();
    process.spawn_run(async { bail!("no port") });
    assert_eq!(process.stop_requested().await, StopReason::Failed);
    assert_eq!(process.wind_down(TIMING_NONE).await.unwrap_err().to_string(), "no port");
}
