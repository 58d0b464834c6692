//! What a worker itself takes: little when idle, and no more after a thousand jobs.

use serde_json::json;
use system_tests::{Client, Service, System};

/// An idle worker, in KiB: the promise.
const IDLE_KIB: u64 = 40 * 1024;

/// How often a thousand jobs are run at most: a leak of a twentieth in each would have added a fifth by then.
const ROUNDS: usize = 5;

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
    // connections, threads and what the allocator keeps are there after some hundred, but for a thread or two that
    // come with a crowd: each takes 1.6 MiB once. What is lost with every job is lost in every round
    jobs(client, 1000).await;
    let mut after = vec![resident(worker)];
    while after.len() < ROUNDS && !stays(&after) {
        jobs(client, 1000).await;
        after.push(resident(worker));
    }
    crate::faults::stage::figure(&format!("worker: idle {idle} KiB, then after each 1,000 jobs {after:?}"));
    assert!(stays(&after), "idle {idle} KiB, then after each 1,000 jobs {after:?}");
}

/// Whether the last thousand jobs have left it where it was, within a twentieth.
fn stays(after: &[u64]) -> bool {
    after.last_chunk().is_some_and(|[before, after]| after * 100 <= before * 105)
}
