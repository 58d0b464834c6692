//! Servers that die and come back: what is said meanwhile, and that nothing is lost.

use std::collections::HashSet;
use std::time::Duration;

use broker::names;
use broker::permissions::PROVISION;
use bytes::Bytes;
use job_queue::{JobState, Outcome, PublishError, Records, StoreError};
use proto::JobId;
use redis::AsyncCommands;
use test_servers::within;
use tokio::time::Instant;

use crate::stage::{Gateway, LONG_LEASE, Stage, Worker, eve, finish, job, nonce, start, success, workspace};

const DEADLINE: Duration = Duration::from_millis(800);

/// Publishes while nobody answers.
async fn refused(gateway: &Gateway, job: &mut job_queue::Job) {
    let began = Instant::now();
    let answer = gateway.publisher.publish(job, Bytes::from_static(b"{}"), began + DEADLINE).await;
    assert!(matches!(answer, Err(PublishError::Unanswered(_))), "{answer:?}");
    assert!(began.elapsed() < DEADLINE + Duration::from_millis(200), "{:?}", began.elapsed());
}

/// Completes jobs until all of `ids` have ended.
async fn complete_all(worker: &mut Worker, ids: &HashSet<JobId>) {
    let mut ended = HashSet::new();
    let all = async {
        while ended.len() < ids.len() {
            let delivery = worker.next().await;
            worker.complete(&delivery).await;
            ended.insert(delivery.job.as_ref().expect("a job").id);
        }
    };
    within("the end of all jobs", all).await;
    assert_eq!(ended, *ids);
}

#[tokio::test]
async fn a_killed_nats_loses_no_job() {
    let mut stage = Stage::start().await;
    let gateway = stage.gateway().await;
    let mut worker = stage.leasing_worker(&["bash", "python3"], 3, Duration::from_secs(2)).await;
    let mut ids: HashSet<JobId> = gateway.publish_many("bash", 60).await.into_iter().collect();
    ids.extend(gateway.publish_many("python3", 60).await);
    for _ in 0..20 {
        let delivery = worker.next().await;
        worker.complete(&delivery).await;
    }
    stage.nats.kill();
    let mut meanwhile = job("bash");
    refused(&gateway, &mut meanwhile).await;
    stage.nats.start_again().await;
    again(&gateway, &mut meanwhile).await;
    ids.insert(meanwhile.id);
    let begun: Vec<JobId> = ended_of(&gateway.records, &ids).await;
    let left: HashSet<JobId> = ids.iter().filter(|id| !begun.contains(id)).copied().collect();
    finish_left(&mut worker, left).await;
    assert_eq!(ended_of(&gateway.records, &ids).await.len(), ids.len());
}

/// Until the link is back the same job may be refused again; it is never made twice.
async fn again(gateway: &Gateway, job: &mut job_queue::Job) {
    let published = async {
        while let Err(error) = gateway.publish(job).await {
            match error {
                PublishError::Duplicate => return,
                PublishError::Unanswered(_) => {}
                PublishError::Full | PublishError::NotStored(_) | PublishError::Refused(_) => {
                    panic!("{error}")
                }
            }
        }
    };
    within("the job's acknowledgement", published).await;
}

async fn ended_of(records: &Records, ids: &HashSet<JobId>) -> Vec<JobId> {
    let mut ended = Vec::new();
    for id in ids {
        let record = records.get(&workspace(), *id).await.expect("valkey answers");
        if record.is_some_and(|record| record.state == JobState::Ended(Outcome::Success)) {
            ended.push(*id);
        }
    }
    ended
}

/// Redelivered ends (their acknowledgement was lost) come among the jobs that are left.
async fn finish_left(worker: &mut Worker, mut left: HashSet<JobId>) {
    let all = async {
        while !left.is_empty() {
            let delivery = worker.next().await;
            worker.complete(&delivery).await;
            left.remove(&delivery.job.as_ref().expect("a job").id);
        }
    };
    within("the end of all jobs", all).await;
}

#[tokio::test]
async fn a_job_published_again_after_a_crash_is_stored_once() {
    let mut stage = Stage::start().await;
    let gateway = stage.gateway().await;
    let mut job = job("bash");
    gateway.publish(&mut job).await.unwrap();
    stage.nats.kill();
    stage.nats.start_again().await;
    again(&gateway, &mut job).await;
    let admin = stage.nats.broker(PROVISION).await;
    let stream = admin.jetstream().get_stream(names::JOBS_STREAM).await.unwrap();
    assert_eq!(stream.get_info().await.unwrap().state.messages, 1);
}

#[tokio::test]
async fn a_server_that_hangs_is_not_waited_for() {
    let stage = Stage::start().await;
    let gateway = stage.gateway().await;
    stage.nats.pause();
    refused(&gateway, &mut job("bash")).await;
    let mut large = job("bash");
    let began = Instant::now();
    let args = Bytes::from(vec![b'x'; 300 * 1024]);
    let answer = gateway.publisher.publish(&mut large, args, began + DEADLINE).await;
    assert!(matches!(answer, Err(PublishError::NotStored(_))), "no envelope was sent: {answer:?}");
    stage.nats.resume();
    again(&gateway, &mut job("bash")).await;
}

#[tokio::test]
async fn many_publishers_get_their_answer_while_nobody_answers() {
    let mut stage = Stage::start().await;
    let gateway = stage.gateway().await;
    stage.nats.kill();
    let mut jobs: Vec<_> = (0..3000).map(|_| job("bash")).collect();
    let began = Instant::now();
    let asked = jobs
        .iter_mut()
        .map(|job| gateway.publisher.publish(job, Bytes::from_static(b"{}"), began + DEADLINE));
    let answers = futures::future::join_all(asked).await;
    assert!(answers.iter().all(|answer| matches!(answer, Err(PublishError::Unanswered(_)))));
    assert!(began.elapsed() < DEADLINE + Duration::from_secs(1), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_stream_that_is_not_there_is_no_answer() {
    let nats = test_servers::Nats::start().await;
    let broker = nats.broker(broker::permissions::GATEWAY).await;
    let publisher = job_queue::Publisher::new(broker);
    let answer =
        publisher.publish(&mut job("bash"), Bytes::from_static(b"{}"), Instant::now() + DEADLINE).await;
    assert!(matches!(answer, Err(PublishError::Unanswered(_))), "{answer:?}");
}

#[tokio::test]
async fn a_puller_that_was_there_first_gets_its_jobs() {
    let mut stage = Stage::start().await;
    stage.nats.stop().await;
    let gateway_config = stage.nats.broker_config(broker::permissions::WORKER);
    let broker = broker::Broker::connect(gateway_config).await.unwrap();
    let config = job_queue::PullerConfig {
        worker: proto::InstanceId::random("worker"),
        tags: vec!["bash".parse().unwrap()],
        lease: LONG_LEASE,
    };
    let puller = job_queue::Puller::open(broker, config, job_queue::Slots::new(1)).await.unwrap();
    let (sender, mut jobs) = tokio::sync::mpsc::unbounded_channel();
    let running = tokio::spawn(puller.run(sender, tokio_util::sync::CancellationToken::new()));
    stage.nats.start_again().await;
    let gateway = stage.gateway().await;
    let ids = gateway.publish_many("bash", 1).await;
    let delivery = within("the delivery", jobs.recv()).await.unwrap();
    assert_eq!(delivery.job.unwrap().id, ids[0]);
    running.abort();
}

#[tokio::test]
async fn a_puller_hands_out_after_nats_came_back() {
    let mut stage = Stage::start().await;
    let (gateway, mut worker) = (stage.gateway().await, stage.worker(&["bash"], 2).await);
    for _ in 0..3 {
        let ids: HashSet<JobId> = gateway.publish_many("bash", 5).await.into_iter().collect();
        complete_all(&mut worker, &ids).await;
        stage.nats.stop().await;
        stage.nats.start_again().await;
        again(&gateway, &mut job("python3")).await;
    }
}

async fn unavailable<T: std::fmt::Debug>(call: impl Future<Output = Result<T, StoreError>>) {
    let began = Instant::now();
    let answer = call.await;
    assert!(matches!(answer, Err(StoreError::Unavailable(_))), "{answer:?}");
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
}

async fn back(records: &Records) {
    let answered = async { while records.ping().await.is_err() {} };
    within("the store's answer", answered).await;
}

#[tokio::test]
async fn a_killed_store_says_so_and_comes_back_with_what_it_had() {
    let mut stage = Stage::start().await;
    let (records, worker) = (stage.records(), proto::InstanceId::random("worker"));
    let (ended, running) = (job("bash"), job("bash"));
    start(&records, &ended, &worker, &nonce()).await;
    finish(&records, &ended, 1, &success("1")).await;
    start(&records, &running, &worker, &nonce()).await;
    synced(&stage).await;
    stage.valkey.kill();
    for _ in 0..3 {
        unavailable(records.get(&workspace(), ended.id)).await;
        unavailable(records.cancel(&workspace(), ended.id, &eve(), None, None)).await;
        unavailable(records.end_of(&workspace(), ended.id)).await;
    }
    stage.valkey.start_again().await;
    back(&records).await;
    assert_eq!(records.end_of(&workspace(), ended.id).await.unwrap(), Some(success("1")));
    assert_eq!(records.attempt(&workspace(), running.id).await.unwrap(), 1);
    // the server has forgotten the scripts
    finish(&records, &running, 1, &success("2")).await;
    assert_eq!(records.end_of(&workspace(), running.id).await.unwrap(), Some(success("2")));
}

/// With a sync a second, even a write that was answered may wait in the process for the
/// sync before it; a write after it that is on disk has all before it on disk.
async fn synced(stage: &Stage) {
    let mut redis = stage.redis().await;
    redis.set::<_, _, ()>("written", "last").await.expect("valkey answers");
    let mut wait = redis::cmd("WAITAOF");
    wait.arg(&[1, 0, 5000]);
    let (synced, _): (i64, i64) = wait.query_async(&mut redis).await.expect("valkey answers");
    assert_eq!(synced, 1);
}

#[tokio::test]
async fn a_store_that_hangs_is_not_waited_for() {
    let stage = Stage::start().await;
    let records = stage.records();
    records.ping().await.unwrap();
    stage.valkey.pause();
    unavailable(records.ping()).await;
    let workspace = workspace();
    let asked = (0..200).map(|_| records.get(&workspace, JobId::random()));
    let began = Instant::now();
    for answer in futures::future::join_all(asked).await {
        assert!(matches!(answer, Err(StoreError::Unavailable(_))), "{answer:?}");
    }
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    stage.valkey.resume();
    back(&records).await;
}

#[tokio::test]
async fn a_store_that_was_never_there_is_unavailable_and_then_there() {
    let mut stage = Stage::start().await;
    stage.valkey.stop().await;
    let records = stage.records();
    unavailable(records.ping()).await;
    stage.valkey.start_again().await;
    back(&records).await;
}
