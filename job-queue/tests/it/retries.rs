//! Tries that fail and are followed by others: what is recorded of them, and that a job is tried again once, whoever
//! dies in between.

use bytes::Bytes;
use job_queue::{
    CancelAnswer, EndAnswer, Job, JobState, NextTry, Passed, Renewal, RetryAnswer, RetryRequest, StartAnswer,
    Undo, now_us,
};

use crate::stage::{ATTEMPTS, Gateway, Stage, Worker, eve, finish, job, soon, success};
use crate::timers::Moving;

const RESULT: Bytes = Bytes::from_static(b"{\"error\":{\"message\":\"no\"}}");

/// The try fails, and the next one is due so many milliseconds from now.
async fn fails(worker: &Worker, job: &Job, attempt: u32, milliseconds: i64) -> RetryAnswer {
    let due_us = now_us() + milliseconds * 1000;
    let request = RetryRequest { job, attempt, result: &RESULT, run_us: 900, last_log: "no\n", due_us };
    worker.records.retry(&request).await.expect("valkey answers")
}

fn next_of(answer: &RetryAnswer) -> NextTry {
    match answer {
        RetryAnswer::Later(next) => *next,
        other => panic!("no other try: {other:?}"),
    }
}

/// What a worker sets the timer of.
fn again(job: &Job, next: NextTry) -> Job {
    Job { scheduled_us: Some(next.due_us), retries: next.retries, ..job.clone() }
}

async fn put_aside(gateway: &Gateway, job: &Job) {
    gateway.publisher.put_aside(job, soon()).await.expect("the timer is set");
}

#[tokio::test]
async fn a_job_is_tried_again_and_keeps_what_each_attempt_was() {
    let stage = Stage::start().await;
    let gateway = stage.gateway().await;
    let _mover = Moving::start(&stage).await;
    let mut worker = stage.worker(&["bash"], 1).await;
    let mut job = job("bash");
    gateway.publish(&mut job).await.unwrap();
    for number in 1..=3 {
        let delivery = worker.next().await;
        let delivered = delivery.job.unwrap();
        assert_eq!(delivered.retries, number - 1);
        assert!(now_us() >= delivered.due_us());
        let attempt = worker.run(&delivered).await;
        assert_eq!(attempt, number);
        if number == 3 {
            let end = finish(&worker.records, &delivered, attempt, &success("3")).await;
            assert!(matches!(end, EndAnswer::Written));
        } else {
            let next = next_of(&fails(&worker, &delivered, attempt, 50).await);
            assert_eq!(next.retries, number);
            put_aside(&gateway, &again(&delivered, next)).await;
        }
        delivery.lease.ack().await;
    }
    let past = gateway.records.attempts(&job.workspace, job.id).await.unwrap();
    let record = gateway.records.get(&job.workspace, job.id).await.unwrap().unwrap();
    assert_eq!((record.attempt, record.retries, past.len()), (3, 2, 2));
    for (number, attempt) in (1..).zip(&past) {
        assert_eq!((attempt.attempt, attempt.passed, attempt.run_us), (number, Passed::Failure, 900));
        assert_eq!(attempt.result.as_ref(), Some(&RESULT));
        assert_eq!(attempt.worker.as_ref(), Some(&worker.id));
        assert!(attempt.started_us <= attempt.ended_us, "{attempt:?}");
        let bounds = (attempt.log_from, attempt.log_to);
        let log = gateway.records.log_part(&job.workspace, job.id, bounds).await.unwrap();
        assert_eq!(log, "job started\nno\n");
    }
    let bounds = (record.log_from, record.log_len);
    let last = gateway.records.log_part(&job.workspace, job.id, bounds).await.unwrap();
    assert_eq!(last, "job started\nbye\n");
}

#[tokio::test]
async fn a_failed_try_is_counted_once_and_only_by_the_attempt_that_counts() {
    let stage = Stage::start().await;
    let worker = stage.worker(&["bash"], 1).await;
    let job = job("bash");
    let attempt = worker.run(&job).await;
    assert!(matches!(fails(&worker, &job, attempt + 1, 10).await, RetryAnswer::Fenced));
    let first = next_of(&fails(&worker, &job, attempt, 60_000).await);
    // a lost reply: the second call is told what the first one has decided
    assert_eq!(next_of(&fails(&worker, &job, attempt, 90_000).await), first);
    assert_eq!(worker.records.attempts(&job.workspace, job.id).await.unwrap().len(), 1);
    let record = worker.records.get(&job.workspace, job.id).await.unwrap().unwrap();
    assert_eq!((record.state, record.retries, record.due_us()), (JobState::Queued, 1, first.due_us));
    assert!(matches!(finish(&worker.records, &job, attempt, &success("1")).await, EndAnswer::Fenced));
    let renewal = worker.records.renew(&job.workspace, job.id, attempt).await.unwrap();
    assert_eq!(renewal, Renewal::Fenced);
}

/// Its worker died before it had set the timer, or before it had removed the message.
#[tokio::test]
async fn the_message_of_the_try_before_does_not_start_the_next_one_early() {
    let stage = Stage::start().await;
    let worker = stage.worker(&["bash"], 1).await;
    let job = job("bash");
    let attempt = worker.run(&job).await;
    let next = next_of(&fails(&worker, &job, attempt, 60_000).await);
    match worker.start(&job).await {
        StartAnswer::Later(told) => assert_eq!(told, next),
        other => panic!("{other:?}"),
    }
    // the timer's own message starts it whenever the broker says so: its clock is the one that counts
    assert_eq!(worker.run(&again(&job, next)).await, 2);
}

#[tokio::test]
async fn the_message_of_the_try_before_is_the_next_one_when_that_is_due() {
    let stage = Stage::start().await;
    let worker = stage.worker(&["bash"], 1).await;
    let job = job("bash");
    let attempt = worker.run(&job).await;
    next_of(&fails(&worker, &job, attempt, -1).await);
    assert_eq!(worker.run(&job).await, 2);
}

/// The timer fires while its worker has yet to remove the message of the try before. Were the timer taken for a
/// duplicate of that, nothing would be left of the job.
#[tokio::test]
async fn a_timer_waits_for_the_message_of_the_try_before_to_go() {
    let stage = Stage::start().await;
    let gateway = stage.gateway().await;
    let _mover = Moving::start(&stage).await;
    let mut worker = stage.worker(&["bash"], 2).await;
    let mut job = job("bash");
    gateway.publish(&mut job).await.unwrap();
    let delivery = worker.next().await;
    let attempt = worker.run(&job).await;
    let next = next_of(&fails(&worker, &job, attempt, 0).await);
    put_aside(&gateway, &again(&job, next)).await;
    crate::timers::tried_to_move(&stage).await;
    delivery.lease.ack().await;
    let delivery = worker.next().await;
    assert_eq!(delivery.job.as_ref().unwrap().retries, 1);
    worker.complete(&delivery).await;
    crate::timers::all_gone(&gateway).await;
}

#[tokio::test]
async fn lost_workers_are_counted_for_each_try_anew_and_each_is_kept() {
    let stage = Stage::start().await;
    let worker = stage.worker(&["bash"], 1).await;
    let job = job("bash");
    for number in 1..=ATTEMPTS {
        assert_eq!(worker.run(&job).await, number);
    }
    let next = next_of(&fails(&worker, &job, ATTEMPTS, 0).await);
    let job = again(&job, next);
    for number in 1..=ATTEMPTS {
        assert_eq!(worker.run(&job).await, ATTEMPTS + number);
    }
    let answer = worker.start(&job).await;
    assert!(matches!(answer, StartAnswer::Exhausted(_)), "{answer:?}");
    let record = worker.records.get(&job.workspace, job.id).await.unwrap().unwrap();
    assert_eq!(record.attempt, 2 * ATTEMPTS);
    let past = worker.records.attempts(&job.workspace, job.id).await.unwrap();
    let failed = past.iter().filter(|past| past.passed == Passed::Failure).map(|past| past.attempt);
    assert_eq!((past.len(), failed.collect::<Vec<_>>()), (2 * ATTEMPTS as usize, vec![ATTEMPTS]));
}

#[tokio::test]
async fn a_job_whose_end_was_asked_for_is_not_tried_again() {
    let stage = Stage::start().await;
    let gateway = stage.gateway().await;
    let worker = stage.worker(&["bash"], 1).await;
    let (running, waiting) = (job("bash"), job("bash"));
    let attempt = worker.run(&running).await;
    assert!(matches!(gateway.cancel(&running).await, CancelAnswer::Running(_)));
    let answer = fails(&worker, &running, attempt, 0).await;
    match answer {
        RetryAnswer::Canceled(request) => assert_eq!(request, eve()),
        other => panic!("{other:?}"),
    }

    let attempt = worker.run(&waiting).await;
    let next = next_of(&fails(&worker, &waiting, attempt, 60_000).await);
    put_aside(&gateway, &again(&waiting, next)).await;
    assert!(matches!(gateway.cancel(&waiting).await, CancelAnswer::Canceled(_)));
    let answer = worker.start(&again(&waiting, next)).await;
    assert!(matches!(answer, StartAnswer::Ended(_)), "{answer:?}");
}

/// An attempt that waits for auth-service after all is not one.
#[tokio::test]
async fn a_start_that_is_taken_back_leaves_the_next_try_to_come() {
    let stage = Stage::start().await;
    let worker = stage.worker(&["bash"], 1).await;
    let job = job("bash");
    let attempt = worker.run(&job).await;
    let job = again(&job, next_of(&fails(&worker, &job, attempt, 0).await));
    let nonce = crate::stage::nonce();
    let answer = crate::stage::start(&worker.records, &job, &worker.id, &nonce).await;
    assert!(matches!(answer, StartAnswer::Run { attempt: 2, retries: 1, .. }), "{answer:?}");
    assert!(worker.records.undo_start(&job, (2, &nonce), Undo::Away).await.unwrap());
    assert_eq!(worker.run(&job).await, 2);
}

/// The message knows, too, how often the job has failed: were the record's word alone believed, the next timer could
/// be taken for the one that has fired.
#[tokio::test]
async fn a_record_that_is_lost_while_a_try_waits_does_not_count_anew() {
    let stage = Stage::start().await;
    let worker = stage.worker(&["bash"], 1).await;
    let job = job("bash");
    let attempt = worker.run(&job).await;
    let next = next_of(&fails(&worker, &job, attempt, 0).await);
    redis::cmd("FLUSHALL").exec_async(&mut stage.redis().await).await.unwrap();
    let job = again(&job, next);
    let answer = worker.start(&job).await;
    assert!(matches!(answer, StartAnswer::Run { attempt: 1, retries: 1, .. }), "{answer:?}");
    assert_eq!(next_of(&fails(&worker, &job, 1, 0).await).retries, 2);
}

/// However often it is tried, a job's log is bounded: the oldest text goes, and offsets stay what they are.
#[tokio::test]
async fn the_log_of_many_tries_is_bounded() {
    let stage = Stage::start().await;
    let worker = stage.worker(&["bash"], 1).await;
    let job = job("bash");
    let text = "x".repeat(1024 * 1024);
    for _ in 0..8 {
        let attempt = worker.run(&job).await;
        let due_us = now_us() - 1;
        let request =
            RetryRequest { job: &job, attempt, result: &RESULT, run_us: 1, last_log: &text, due_us };
        next_of(&worker.records.retry(&request).await.unwrap());
    }
    let record = worker.records.get(&job.workspace, job.id).await.unwrap().unwrap();
    let log = worker.records.log_from(&job.workspace, job.id, 0).await.unwrap();
    assert!(record.log_len > 8 * 1024 * 1024 && log.text.len() < 5 * 1024 * 1024, "{}", log.text.len());
    assert_eq!(log.end, record.log_len);
    let past = worker.records.attempts(&job.workspace, job.id).await.unwrap();
    let text_of = async |bounds| worker.records.log_part(&job.workspace, job.id, bounds).await.unwrap();
    assert_eq!(text_of((past[7].log_from, past[7].log_to)).await, format!("job started\n{text}"));
    assert_eq!(text_of((past[0].log_from, past[0].log_to)).await, "");
}

/// Nobody pays for the attempts of a job longer than for the job.
#[tokio::test]
async fn attempts_expire_with_their_job_and_are_bounded() {
    let stage = Stage::start().await;
    let worker = stage.worker(&["bash"], 1).await;
    let job = job("bash");
    for _ in 0..120 {
        let attempt = worker.run(&job).await;
        next_of(&fails(&worker, &job, attempt, -1).await);
    }
    let past = worker.records.attempts(&job.workspace, job.id).await.unwrap();
    assert_eq!((past.len(), past[0].attempt, past[99].attempt), (100, 21, 120));
    let attempt = worker.run(&job).await;
    finish(&worker.records, &job, attempt, &success("1")).await;
    let mut redis = stage.redis().await;
    let key = format!("hm:{{demo}}:att:{}", job.id);
    let left: i64 = redis::cmd("TTL").arg(key).query_async(&mut redis).await.unwrap();
    assert!(left > 0, "{left}");
}
