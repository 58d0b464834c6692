//! What a worker itself takes: little when idle, and no more after a thousand jobs.

use serde_json::json;
use system_tests::{Client, Service, System, eventually};

/// An idle worker, in KiB: the promise.
const IDLE_KIB: u64 = 40 * 1024;

/// Memory of the worker's own, in KiB (proc_pid_status(5)): without the pages of its program, of which a test's
/// build has many and whoever runs it twice has them once.
fn resident(worker: &Service) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", worker.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().trim().parse().unwrap()
}

async fn jobs(client: &Client, count: usize) {
    for _ in 0..count / 50 {
        let calls = (0..50).map(|_| client.wait("f/a/small", json!({"x": "y"})));
        for answer in futures::future::join_all(calls).await {
            answer.expect(200);
        }
    }
}

#[tokio::test]
async fn a_thousand_jobs_leave_it_where_it_was() {
    let system = System::start().await;
    let (client, worker) = (system.client(), system.worker(0));
    let idle = resident(worker);
    assert!(idle < IDLE_KIB, "idle it takes {idle} KiB");
    client.deploy("f/a/small", "bash", "x=\"$1\"\necho \"$x\"").await;
    // connections, threads and what the allocator keeps are there after some hundred
    jobs(client, 1000).await;
    let before = resident(worker);
    jobs(client, 1000).await;
    let within = |after: u64| after * 100 <= before * 105;
    eventually("the memory of before", std::time::Duration::from_secs(30), async || {
        within(resident(worker)).then_some(())
    })
    .await;
    crate::faults::stage::figure(&format!(
        "worker: idle {idle} KiB, {before} after 1,000 jobs, {} after 1,000 more",
        resident(worker)
    ));
}
