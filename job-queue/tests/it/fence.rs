//! Starting and ending: attempts, the fence, and the one end of a job.

use job_queue::{
    CancelAnswer, DeliveryNumber, EndAnswer, JobState, LogChunk, Outcome, Records, Renewal, StartAnswer, Undo,
};
use proto::InstanceId;
use redis::AsyncCommands;
use test_servers::Valkey;

use crate::stage::{RETENTION, Stage, eve, finish, job, nonce, start, start_by, success};

async fn store() -> (Valkey, Records, InstanceId) {
    let valkey = Valkey::start().await;
    let config = job_queue::RedisConfig { url: valkey.url(), retention: RETENTION.into() };
    (valkey, Records::open(&config).expect("the address is right"), InstanceId::random("worker"))
}

fn attempt_of(answer: &StartAnswer) -> u32 {
    match answer {
        StartAnswer::Run { attempt, .. } => *attempt,
        StartAnswer::Ended(_) | StartAnswer::Exhausted(_) | StartAnswer::Later(_) | StartAnswer::Late => {
            panic!("not run: {answer:?}")
        }
    }
}

#[tokio::test]
async fn the_server_may_not_evict() {
    let stage = Stage::start().await;
    let records = stage.records();
    records.ping().await.unwrap();
    records.check_eviction().await.unwrap();
    let mut redis = stage.redis().await;
    let mut set = redis::cmd("CONFIG");
    set.arg(&["SET", "maxmemory-policy", "allkeys-lru"]);
    set.exec_async(&mut redis).await.unwrap();
    let error = records.check_eviction().await.unwrap_err();
    assert!(error.to_string().contains("allkeys-lru"), "{error}");
}

#[tokio::test]
async fn attempts_are_counted_and_a_repeated_call_counts_once() {
    let (_valkey, records, worker) = store().await;
    let job = job("bash");
    assert_eq!(records.attempt(&job.workspace, job.id).await.unwrap(), 0);
    let first = nonce();
    for _ in 0..3 {
        assert_eq!(attempt_of(&start(&records, &job, &worker, &first).await), 1);
    }
    let log = records.log_from(&job.workspace, job.id, 0).await.unwrap();
    assert_eq!(log.text, "job started\n", "a repeated start logs once");
    assert_eq!(attempt_of(&start(&records, &job, &worker, &nonce()).await), 2);
    assert_eq!(records.attempt(&job.workspace, job.id).await.unwrap(), 2);
}

#[tokio::test]
async fn a_start_taken_back_spends_no_attempt_and_only_its_own() {
    let (_valkey, records, worker) = store().await;
    let job = job("bash");
    let first = nonce();
    assert_eq!(attempt_of(&start(&records, &job, &worker, &first).await), 1);
    assert!(!records.undo_start(&job, (1, &nonce()), Undo::Away).await.unwrap(), "somebody else's start");
    assert!(!records.undo_start(&job, (2, &first), Undo::Away).await.unwrap(), "another attempt");
    assert!(records.undo_start(&job, (1, &first), Undo::Away).await.unwrap());
    // the same call again, after a lost reply: its answer, and no attempt less
    assert!(records.undo_start(&job, (1, &first), Undo::Away).await.unwrap());
    let record = records.get(&job.workspace, job.id).await.unwrap().unwrap();
    assert_eq!((record.state, record.attempt), (JobState::Queued, 0));
    assert_eq!(records.renew(&job.workspace, job.id, 1).await.unwrap(), Renewal::Fenced);
    // the same call, late: it is a start of its own now, and nobody has asked for its end
    assert_eq!(attempt_of(&start(&records, &job, &worker, &first).await), 1);
    finish(&records, &job, 1, &success("1")).await;
    assert!(!records.undo_start(&job, (1, &first), Undo::Away).await.unwrap(), "an end stays");
    let record = records.get(&job.workspace, job.id).await.unwrap().unwrap();
    assert_eq!((record.state, record.attempt), (JobState::Ended(Outcome::Success), 1));
}

#[tokio::test]
async fn a_hundred_faults_of_workers_are_an_attempt() {
    let (_valkey, records, worker) = store().await;
    let job = job("bash");
    for fault in 1..=100 {
        let nonce = nonce();
        assert_eq!(attempt_of(&start(&records, &job, &worker, &nonce).await), 1, "fault {fault}");
        assert!(records.undo_start(&job, (1, &nonce), Undo::Fault).await.unwrap());
    }
    let second = nonce();
    assert_eq!(attempt_of(&start(&records, &job, &worker, &second).await), 2);
    // what is away is no fault
    assert!(records.undo_start(&job, (2, &second), Undo::Away).await.unwrap());
    assert_eq!(attempt_of(&start(&records, &job, &worker, &nonce()).await), 2);
}

#[tokio::test]
async fn one_delivery_too_many_ends_the_job_in_one_step() {
    let (_valkey, records, worker) = store().await;
    let job = job("bash");
    for attempt in 1..=3 {
        assert_eq!(attempt_of(&start(&records, &job, &worker, &nonce()).await), attempt);
    }
    let StartAnswer::Exhausted(end) = start(&records, &job, &worker, &nonce()).await else {
        panic!("not exhausted")
    };
    assert_eq!(end.outcome, Outcome::Failure);
    assert!(std::str::from_utf8(&end.result).unwrap().contains("started 3 times"));
    assert_eq!(records.end_of(&job.workspace, job.id).await.unwrap().unwrap(), end);
    let record = records.get(&job.workspace, job.id).await.unwrap().unwrap();
    assert_eq!((record.state, record.attempt), (JobState::Ended(Outcome::Failure), 3));
    let late = start(&records, &job, &worker, &nonce()).await;
    assert!(
        matches!(late, StartAnswer::Exhausted(told) if told == end),
        "its letter may not have been written"
    );
}

#[tokio::test]
async fn one_that_was_to_end_is_left_to_its_worker_who_ends_it_so() {
    let (_valkey, records, worker) = store().await;
    let job = job("bash");
    for attempt in 1..=3 {
        assert_eq!(attempt_of(&start(&records, &job, &worker, &nonce()).await), attempt);
    }
    let marked = records.cancel(&job.workspace, job.id, &eve(), None, None).await.unwrap();
    assert!(matches!(marked, CancelAnswer::Running(_)), "{marked:?}");
    let again = start(&records, &job, &worker, &nonce()).await;
    assert!(matches!(again, StartAnswer::Run { attempt: 4, cancel_asked: true, .. }), "{again:?}");
}

#[tokio::test]
async fn a_job_that_ended_starts_no_more() {
    let (_valkey, records, worker) = store().await;
    let job = job("bash");
    let first = nonce();
    let attempt = attempt_of(&start(&records, &job, &worker, &first).await);
    let end = success("{\"kept\": 1e400}");
    finish(&records, &job, attempt, &end).await;
    for call in [first, nonce()] {
        let again = start(&records, &job, &worker, &call).await;
        assert!(matches!(again, StartAnswer::Ended(told) if told == end));
    }
}

#[tokio::test]
async fn an_older_attempt_can_do_nothing() {
    let (_valkey, records, worker) = store().await;
    let job = job("bash");
    start(&records, &job, &worker, &nonce()).await;
    start(&records, &job, &worker, &nonce()).await;
    let chunk = LogChunk { attempt: 1, at: None, text: "from the dead" };
    assert_eq!(records.append_log(&job, &chunk).await.unwrap(), None);
    assert_eq!(records.renew(&job.workspace, job.id, 1).await.unwrap(), Renewal::Fenced);
    assert_eq!(records.renew(&job.workspace, job.id, 2).await.unwrap(), Renewal::Go);
    for attempt in [0, 1, 3] {
        let answer = finish(&records, &job, attempt, &success("\"stale\"")).await;
        assert!(matches!(answer, EndAnswer::Fenced), "{answer:?}");
    }
    let end = success("\"right\"");
    assert!(matches!(finish(&records, &job, 2, &end).await, EndAnswer::Written));
    assert_eq!(records.end_of(&job.workspace, job.id).await.unwrap().unwrap(), end);
    let late = LogChunk { attempt: 2, at: None, text: "after the end" };
    assert_eq!(records.append_log(&job, &late).await.unwrap(), None);
    let stale = finish(&records, &job, 1, &success("\"stale\"")).await;
    assert!(matches!(stale, EndAnswer::Ended(told) if told == end));
}

#[tokio::test]
async fn a_job_never_started_cannot_end() {
    let (_valkey, records, _) = store().await;
    let answer = finish(&records, &job("bash"), 1, &success("1")).await;
    assert!(matches!(answer, EndAnswer::Fenced), "{answer:?}");
}

#[tokio::test]
async fn the_same_end_may_be_told_twice() {
    let (_valkey, records, worker) = store().await;
    let job = job("bash");
    let attempt = attempt_of(&start(&records, &job, &worker, &nonce()).await);
    for _ in 0..2 {
        assert!(matches!(finish(&records, &job, attempt, &success("1")).await, EndAnswer::Written));
    }
    let log = records.log_from(&job.workspace, job.id, 0).await.unwrap();
    assert_eq!(log.text, "job started\nbye\n", "the last text is there once");
}

#[tokio::test]
async fn of_two_ends_at_once_exactly_one_wins() {
    let (_valkey, records, worker) = store().await;
    for round in 0..100 {
        let job = job("bash");
        let attempt = attempt_of(&start(&records, &job, &worker, &nonce()).await);
        let ends = [success(&format!("\"a{round}\"")), success(&format!("\"b{round}\""))];
        let other = records.clone();
        let (a, b) =
            tokio::join!(finish(&records, &job, attempt, &ends[0]), finish(&other, &job, attempt, &ends[1]));
        let kept = records.end_of(&job.workspace, job.id).await.unwrap().unwrap();
        match (a, b) {
            (EndAnswer::Written, EndAnswer::Ended(told)) => assert!(told == ends[0] && kept == told),
            (EndAnswer::Ended(told), EndAnswer::Written) => assert!(told == ends[1] && kept == told),
            both => panic!("round {round}: {both:?}"),
        }
    }
}

#[tokio::test]
async fn every_key_expires_after_the_end_and_none_before() {
    let stage = Stage::start().await;
    let (gateway, mut redis) = (stage.gateway().await, stage.redis().await);
    let (records, worker) = (stage.records(), InstanceId::random("worker"));
    let mut job = job("bash");
    gateway.publish_with(&mut job, "{\"a\":1}".into()).await.unwrap();
    let attempt = attempt_of(&start(&records, &job, &worker, &nonce()).await);
    let names = ["job", "log", "arg", "res"].map(|kind| format!("hm:{{demo}}:{kind}:{}", job.id));
    for name in &names[..3] {
        assert_eq!(redis.pttl::<_, i64>(name).await.unwrap(), -1, "{name} is there and does not expire");
    }
    finish(&records, &job, attempt, &success("1")).await;
    let most = i64::try_from(RETENTION.as_millis()).unwrap();
    for name in &names {
        let left: i64 = redis.pttl(name).await.unwrap();
        assert!((most - 60_000..=most).contains(&left), "{name}: {left} ms");
    }
    // nothing of the job is left elsewhere but its rows in the two indexes
    let all: Vec<String> = redis.keys(format!("*{}*", job.id)).await.unwrap();
    assert_eq!(all.len(), names.len(), "{all:?}");
    assert_eq!(redis.zcard::<_, i64>("hm:{demo}:running").await.unwrap(), 0);
}

#[tokio::test]
async fn a_delivery_that_comes_late_takes_the_job_from_nobody() {
    let (_valkey, records, first) = store().await;
    let (job, second) = (job("bash"), InstanceId::random("worker"));
    let delivered = |sequence, count| DeliveryNumber { sequence, count };
    // the second delivery was faster than the first, which the network had held
    let running = start_by(&records, &job, &second, &nonce(), delivered(7, 2)).await;
    assert_eq!(attempt_of(&running), 1);
    let late = start_by(&records, &job, &first, &nonce(), delivered(7, 1)).await;
    assert!(matches!(late, StartAnswer::Late), "{late:?}");
    // whoever comes after is a redelivery; so is the same number, by a server that has lost its counts
    assert_eq!(attempt_of(&start_by(&records, &job, &first, &nonce(), delivered(7, 2)).await), 2);
    // another message of the job begins at 1
    assert_eq!(attempt_of(&start_by(&records, &job, &first, &nonce(), delivered(8, 1)).await), 3);
}
