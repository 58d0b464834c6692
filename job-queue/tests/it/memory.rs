//! What a run takes in Redis until it expires: `cargo test -p job-queue --test it memory -- --nocapture` tells.

use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt, stream};
use job_queue::{Args, EndRequest, Job, StartAnswer, StartRequest, now_us};
use proto::InstanceId;
use redis::aio::MultiplexedConnection;

use crate::stage::{FIRST, Stage, job, nonce, success};

const RUNS: usize = 5000;

async fn used(redis: &mut MultiplexedConnection) -> u64 {
    let info: String = redis::cmd("INFO").arg("memory").query_async(redis).await.expect("valkey answers");
    let used = info.lines().find_map(|line| line.strip_prefix("used_memory:")).expect("it is told");
    used.trim().parse().expect("a number")
}

/// A run as a worker makes it, its arguments, result and log of so many bytes each.
async fn run(records: &job_queue::Records, bytes: usize) {
    let text = "x".repeat(bytes.saturating_sub(12));
    let args = Args::Inline(Bytes::from(format!("{{\"value\":\"{text}\"}}")));
    let trace = job_queue::Trace { parent: format!("00-{:032x}-{:016x}-01", 7, 9), state: String::new() };
    let job =
        Job { args, trace, retention: Some(Duration::from_hours(168)), created_us: now_us(), ..job("bash") };
    let (worker, first_log) =
        (InstanceId::random("worker"), format!("job={} tag=bash worker=worker-1\n", job.id));
    let nonce = nonce();
    let (isolation, max_attempts) = ("landlock", 5);
    let start = StartRequest {
        job: &job,
        worker: &worker,
        isolation,
        nonce: &nonce,
        delivery: FIRST,
        max_attempts,
        first_log: &first_log,
    };
    let answer = records.start(&start).await.expect("valkey answers");
    let StartAnswer::Run { attempt, .. } = answer else { panic!("not run: {answer:?}") };
    let end = success(&format!("\"{text}\""));
    let request = EndRequest {
        job: &job,
        attempt,
        end: &end,
        run_us: 12_345,
        mem_kib: 10_240,
        process: None,
        last_log: &text,
        retention: None,
    };
    records.end(&request).await.expect("valkey answers");
}

async fn per_run(bytes: usize) -> u64 {
    let stage = Stage::start().await;
    let (records, mut redis) = (stage.records(), stage.redis().await);
    // scripts and buffers are there before
    for _ in 0..50 {
        run(&records, bytes).await;
    }
    let before = used(&mut redis).await;
    stream::iter(0..RUNS).for_each_concurrent(8, |_| run(&records, bytes)).await;
    (used(&mut redis).await - before) / RUNS as u64
}

#[tokio::test]
async fn a_run_takes_what_the_documents_say() {
    let mut told = Vec::new();
    for bytes in [16, 1024] {
        let per_run = per_run(bytes).await;
        let per_gib = (1_u64 << 30) / per_run;
        println!(
            "{bytes} bytes each of arguments, result and log: {per_run} bytes a run, {per_gib} runs per GiB"
        );
        told.push(per_run);
    }
    // docs/operations.md
    assert!(told[0] < 3300, "{told:?}");
    assert!(told[1] < 6600, "{told:?}");
}
