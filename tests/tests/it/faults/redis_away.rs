//! Redis gone: what could not be answered is refused before anything exists, what can wait
//! waits without an attempt being counted, and nothing is lost.

use std::time::{Duration, Instant};

use system_tests::{Client, System, within};

use super::stage::{BOUND, HELD, QUICK, Stage, assert_ended_with, backlog, backlog_is, figure};

/// How long the caller who already waits does so.
const WAIT: Duration = Duration::from_secs(4);

#[tokio::test]
async fn jobs_wait_for_redis_and_callers_are_told() {
    let system = System::start().slots(2).lease("2s").await;
    let (stage, client) = (Stage::set(&system).await, system.client());
    let started = Instant::now();
    let caller = {
        let (client, args) = (client.clone(), stage.args("held"));
        let url = format!("jobs/run_wait_result/p/{HELD}?timeout_wait={}", WAIT.as_secs());
        tokio::spawn(async move { client.post(&url).json(args).send().await })
    };
    let held = stage.begins(1).await.remove(0).job;
    system.valkey().kill();
    assert_eq!(system.valkey().info("server").await, None);

    refused(client, &format!("jobs/run_wait_result/p/{QUICK}"), &stage).await;
    let id = uuid::Uuid::now_v7();
    refused(client, &format!("jobs/run/p/{QUICK}?job_id={id}"), &stage).await;
    refused(client, &format!("jobs/run_wait_result/p/{QUICK}?job_id={id}"), &stage).await;
    assert_eq!(backlog(&system).await, Some(1), "nothing was published for them");
    let asked = Instant::now();
    let queued = client.run(QUICK, stage.args("queued")).await;
    figure(&format!("an asynchronous trigger without Redis: 201 after {:?}", asked.elapsed()));
    assert_eq!(backlog(&system).await, Some(2));

    let answer = within("the answer to who already waited", BOUND, caller).await.unwrap().expect(504);
    figure(&format!("who already waited: 504 after {:?} of {WAIT:?}", started.elapsed()));
    assert!(started.elapsed() >= WAIT && started.elapsed() < WAIT + Duration::from_secs(3));
    assert_eq!(answer.header("x-job-id"), held);
    assert!(caller_may_ask_later(&answer.text()), "{}", answer.text());
    assert_eq!((stage.runs_of(&queued), stage.runs_of(&held)), (0, 1), "one waits, one runs on");

    system.valkey().start_again().await;
    let back = Instant::now();
    assert_ended_with(client, &queued, "queued").await;
    figure(&format!("the job that waited ended {:?} after Redis was back", back.elapsed()));
    stage.let_go(1);
    assert_ended_with(client, &held, "held").await;
    for job in [&queued, &held] {
        assert_eq!(client.get(job).await["attempt"], 1);
        assert_eq!(stage.runs_of(job), 1);
    }
    backlog_is(&system, 0).await;
}

async fn refused(client: &Client, url: &str, stage: &Stage) {
    let asked = Instant::now();
    let answer = client.post(url).json(stage.args("refused")).send().await.expect(503);
    figure(&format!("without Redis: 503 after {:?}: {url}", asked.elapsed()));
    assert!(answer.header("retry-after").parse::<u64>().is_ok_and(|seconds| seconds >= 1));
}

fn caller_may_ask_later(text: &str) -> bool {
    text.contains("goes on") && text.contains("get_result_maybe")
}
