//! A job's whole life, and what it carries.

use bytes::Bytes;
use job_queue::{
    Args, EndAnswer, JobState, LogChunk, Outcome, PROVISION_DEFAULT_MAX_BYTES, PublishError, Waited,
};
use test_servers::within;

use crate::stage::{Stage, finish, job, process, soon, success, workspace};

#[tokio::test]
async fn provisioning_twice_changes_nothing() {
    let stage = Stage::start().await;
    let gateway = stage.gateway().await;
    let mut kept = job("bash");
    gateway.publish(&mut kept).await.unwrap();
    stage.provision(PROVISION_DEFAULT_MAX_BYTES).await;
    stage.provision(PROVISION_DEFAULT_MAX_BYTES / 2).await;
    assert!(gateway.holds(&kept).await, "a second provisioning keeps the jobs");
}

#[tokio::test]
async fn from_publish_to_settled() {
    let stage = Stage::start().await;
    let (gateway, mut worker) = (stage.gateway().await, stage.worker(&["bash"], 1).await);
    let mut job = job("bash");
    job.reply_to = Some(gateway.completions.instance().clone());
    let waiter = gateway.completions.wait(job.id).unwrap();
    let mut events = gateway.events.watch(&job.workspace, job.id).await.unwrap();
    within("the watch's beginning", events.changed()).await;
    gateway.publish_with(&mut job, Bytes::from_static(b"{\"a\":1e400}")).await.unwrap();
    assert!(gateway.holds(&job).await);

    let delivery = worker.next().await;
    let delivered = delivery.job.as_ref().unwrap();
    assert_eq!(*delivered, job);
    assert_eq!(delivery.number.count, 1);
    assert_eq!(worker.slots.free(), 0, "the delivery holds the slot");
    let attempt = worker.run(delivered).await;
    let chunk = LogChunk { attempt, at: Some(12), text: "hello\n" };
    assert_eq!(worker.records.append_log(&job, &chunk).await.unwrap(), Some(18));
    assert!(gateway.holds(&job).await, "a running job stays in the stream");
    let end = success("{\"b\":1.0}");
    assert!(matches!(finish(&worker.records, &job, attempt, &end).await, EndAnswer::Written));
    delivery.lease.settle(&job, &end, &worker.events).await;
    drop(delivery);
    assert_eq!(worker.slots.free(), 1);

    within("the event", events.changed()).await;
    let outcome =
        within("the completion", waiter.ended(&gateway.records, &job.workspace, soon())).await.unwrap();
    assert!(matches!(outcome, Waited::Ended(told) if told == end));
    assert_eq!(gateway.completions.waiting(), 0);
    stream_is_empty(&stage).await;

    let record = gateway.records.get(&job.workspace, job.id).await.unwrap().unwrap();
    assert_eq!(record.state, JobState::Ended(Outcome::Success));
    assert_eq!((record.attempt, record.worker), (1, Some(worker.id.clone())));
    assert_eq!((record.run_us, record.mem_kib, record.result_len), (Some(1500), Some(2048), Some(9)));
    assert_eq!(record.process, Some(process()));
    assert!(record.started_us.unwrap() >= job.created_us && record.ended_us >= record.started_us);
    assert_eq!(gateway.records.args(&job.workspace, job.id).await.unwrap().unwrap(), &b"{\"a\":1e400}"[..]);
    let log = gateway.records.log_from(&job.workspace, job.id, 0).await.unwrap();
    assert_eq!((log.text.as_str(), log.end, record.log_len), ("job started\nhello\nbye\n", 22, 22));
}

/// Acknowledgements have no answer: asks the server until it has done what it was sent.
async fn stream_is_empty(stage: &Stage) {
    let broker = stage.nats.broker(broker::permissions::PROVISION).await;
    let emptied = async {
        let stream =
            broker.jetstream().get_stream(broker::names::JOBS_STREAM).await.expect("the stream is there");
        while stream.get_info().await.expect("nats-server answers").state.messages > 0 {
            tokio::task::yield_now().await;
        }
    };
    within("an empty stream", emptied).await;
}

#[tokio::test]
async fn large_results_come_by_reference() {
    let stage = Stage::start().await;
    let (gateway, mut worker) = (stage.gateway().await, stage.worker(&["bash"], 1).await);
    for size in [64 * 1024, 64 * 1024 + 1, 4 * 1024 * 1024] {
        let mut job = job("bash");
        job.reply_to = Some(gateway.completions.instance().clone());
        let waiter = gateway.completions.wait(job.id).unwrap();
        gateway.publish(&mut job).await.unwrap();
        let delivery = worker.next().await;
        let attempt = worker.run(&job).await;
        let end = success(&format!("\"{}\"", "x".repeat(size - 2)));
        finish(&worker.records, &job, attempt, &end).await;
        delivery.lease.settle(&job, &end, &worker.events).await;
        let outcome =
            within("the end", waiter.ended(&gateway.records, &job.workspace, soon())).await.unwrap();
        assert!(matches!(outcome, Waited::Ended(told) if told == end), "{size} bytes");
    }
}

#[tokio::test]
async fn large_arguments_travel_byte_for_byte() {
    let stage = Stage::start().await;
    let (gateway, mut worker) = (stage.gateway().await, stage.worker(&["bash"], 1).await);
    for size in [256 * 1024, 256 * 1024 + 1, 5 * 1024 * 1024 + 7] {
        let args = arguments(size);
        let mut job = job("bash");
        gateway.publish_with(&mut job, args.clone()).await.unwrap();
        assert_eq!(matches!(job.args, Args::Stored { .. }), size > 256 * 1024);
        let delivery = worker.next().await;
        let delivered = delivery.job.as_ref().unwrap();
        assert_eq!(worker.args.load(&delivered.args).await.unwrap(), args, "{size} bytes");
        worker.complete(&delivery).await;
        let kept = gateway.records.args(&job.workspace, job.id).await.unwrap();
        assert_eq!(kept.is_some(), size <= 256 * 1024, "stored arguments are not kept twice");
    }
}

/// Not valid text on purpose: nobody on the way may read it.
fn arguments(size: usize) -> Bytes {
    (0..=250_u8).cycle().step_by(31).take(size).collect()
}

#[tokio::test]
async fn lost_arguments_say_so() {
    let stage = Stage::start().await;
    let worker = stage.worker(&["bash"], 1).await;
    let gone = Args::Stored { object: format!("{}/nothing", workspace().token()), size: 9 };
    let error = worker.args.load(&gone).await.unwrap_err();
    assert!(matches!(error, job_queue::ArgsError::Lost { .. }), "{error}");
}

#[tokio::test]
async fn an_id_is_published_once() {
    let stage = Stage::start().await;
    let (gateway, mut worker) = (stage.gateway().await, stage.worker(&[], 1).await);
    let mut job = job("bash");
    gateway.publish(&mut job).await.unwrap();
    let again = gateway.publish(&mut job).await;
    assert!(matches!(again, Err(PublishError::Duplicate)), "{again:?}");
    assert!(worker.jobs.try_recv().is_err(), "a worker without tags gets nothing");
}

#[tokio::test]
async fn a_full_queue_refuses_and_keeps_what_it_has() {
    let stage = Stage::start().await;
    stage.provision(64 * 1024).await;
    let gateway = stage.gateway().await;
    let mut first = job("bash");
    gateway.publish(&mut first).await.unwrap();
    let mut large = job("bash");
    let refused = gateway.publish_with(&mut large, arguments(100 * 1024)).await;
    assert!(matches!(refused, Err(PublishError::Full)), "{refused:?}");
    assert!(gateway.holds(&first).await && !gateway.holds(&large).await);
}
