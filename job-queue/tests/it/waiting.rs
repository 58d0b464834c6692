//! Waiting callers and watchers: what wakes them, what they do when nothing can, and what
//! they cost.

use std::time::Duration;

use job_queue::{EventKind, EventWatch, Waited};
use proto::JobId;
use test_servers::within;
use tokio::time::Instant;

use crate::stage::{Stage, finish, job, nonce, soon, start, success, workspace};

#[tokio::test]
async fn a_deadline_ends_the_wait_and_not_the_job() {
    let stage = Stage::start().await;
    let gateway = stage.gateway().await;
    let waiter = gateway.completions.wait(JobId::random()).unwrap();
    let deadline = Instant::now() + Duration::from_millis(50);
    let outcome = waiter.ended(&gateway.records, &workspace(), deadline).await.unwrap();
    assert!(matches!(outcome, Waited::Timeout));
    assert_eq!(gateway.completions.waiting(), 0);
}

#[tokio::test]
async fn an_end_whose_completion_was_lost_is_read_at_the_deadline() {
    let stage = Stage::start().await;
    let gateway = stage.gateway().await;
    let job = job("bash");
    let waiter = gateway.completions.wait(job.id).unwrap();
    start(&gateway.records, &job, &proto::InstanceId::random("worker"), &nonce()).await;
    finish(&gateway.records, &job, 1, &success("1")).await;
    let deadline = Instant::now() + Duration::from_millis(50);
    let outcome = waiter.ended(&gateway.records, &job.workspace, deadline).await.unwrap();
    assert!(matches!(outcome, Waited::Ended(end) if end == success("1")));
}

#[tokio::test]
async fn a_broken_link_makes_waiters_and_watchers_look() {
    let mut stage = Stage::start().await;
    let gateway = stage.gateway().await;
    let job = job("bash");
    let mut events = gateway.events.watch(&job.workspace, job.id).await.unwrap();
    within("the watch's beginning", events.changed()).await;
    let waiter = gateway.completions.wait(job.id).unwrap();
    let records = gateway.records.clone();
    let waiting = tokio::spawn(async move {
        let far = Instant::now() + Duration::from_hours(1);
        waiter.ended(&records, &workspace(), far).await
    });
    stage.nats.kill();
    start(&gateway.records, &job, &proto::InstanceId::random("worker"), &nonce()).await;
    finish(&gateway.records, &job, 1, &success("1")).await;
    stage.nats.start_again().await;
    let outcome = within("a look at the record", waiting).await.unwrap().unwrap();
    assert!(matches!(outcome, Waited::Ended(end) if end == success("1")));
    within("a watcher's wake-up", events.changed()).await;
}

#[tokio::test]
async fn a_link_broken_between_the_place_and_the_wait_is_noticed() {
    let mut stage = Stage::start().await;
    let gateway = stage.gateway().await;
    let job = job("bash");
    let waiter = gateway.completions.wait(job.id).unwrap();
    let mut link = gateway.broker.link();
    link.mark_unchanged();
    stage.nats.kill();
    within("the broken link", link.wait_for(|state| *state == broker::Link::Down)).await.unwrap();
    start(&gateway.records, &job, &proto::InstanceId::random("worker"), &nonce()).await;
    finish(&gateway.records, &job, 1, &success("1")).await;
    stage.nats.start_again().await;
    within("the new link", link.wait_for(|state| *state != broker::Link::Down)).await.unwrap();
    let far = Instant::now() + Duration::from_hours(1);
    let outcome = within("a look", waiter.ended(&gateway.records, &job.workspace, far)).await.unwrap();
    assert!(matches!(outcome, Waited::Ended(_)));
}

#[tokio::test]
async fn several_callers_may_wait_for_one_job() {
    let stage = Stage::start().await;
    let (gateway, mut worker) = (stage.gateway().await, stage.worker(&["bash"], 1).await);
    let mut job = job("bash");
    job.reply_to = Some(gateway.completions.instance().clone());
    let gone = gateway.completions.wait(job.id).unwrap();
    let waiters = [gateway.completions.wait(job.id).unwrap(), gateway.completions.wait(job.id).unwrap()];
    drop(gone);
    assert_eq!(gateway.completions.waiting(), 2);
    gateway.publish(&mut job).await.unwrap();
    let delivery = worker.next().await;
    worker.complete(&delivery).await;
    let started = Instant::now();
    for waiter in waiters {
        let far = Instant::now() + Duration::from_hours(1);
        let outcome = within("the end", waiter.ended(&gateway.records, &job.workspace, far)).await.unwrap();
        assert!(matches!(outcome, Waited::Ended(end) if end == success("1")));
    }
    assert!(started.elapsed() < Duration::from_secs(5));
    assert_eq!(gateway.completions.waiting(), 0);
}

#[tokio::test]
async fn a_gateway_takes_so_many_waiters_and_says_how_many() {
    let stage = Stage::start().await;
    let gateway = stage.gateway_for(2).await;
    let id = JobId::random();
    let held = [gateway.completions.wait(id).unwrap(), gateway.completions.wait(JobId::random()).unwrap()];
    for another in [id, JobId::random()] {
        let refused = gateway.completions.wait(another).err().unwrap();
        assert!(refused.to_string().starts_with("2 callers"), "{refused}");
    }
    drop(held);
    assert!(gateway.completions.wait(id).is_ok());
}

#[tokio::test]
async fn whatever_happens_after_the_watch_began_is_told() {
    let stage = Stage::start().await;
    let (gateway, worker) = (stage.gateway().await, stage.worker(&[], 1).await);
    for _ in 0..50 {
        let id = JobId::random();
        let mut watch = gateway.events.watch(&workspace(), id).await.unwrap();
        within("the beginning", watch.changed()).await;
        worker.events.tell(&workspace(), id, EventKind::Ended).await;
        within("the event", watch.changed()).await;
    }
}

#[tokio::test]
async fn watchers_of_one_job_share_and_others_hear_nothing() {
    let stage = Stage::start().await;
    let (gateway, worker) = (stage.gateway().await, stage.worker(&[], 1).await);
    let (job, other) = (JobId::random(), JobId::random());
    let mut watches = Vec::new();
    for _ in 0..3 {
        watches.push(gateway.events.watch(&workspace(), job).await.unwrap());
    }
    let mut elsewhere = gateway.events.watch(&workspace(), other).await.unwrap();
    for watch in watches.iter_mut().chain([&mut elsewhere]) {
        within("the watch's beginning", watch.changed()).await;
    }
    drained(&mut watches).await;
    worker.events.tell(&workspace(), job, EventKind::Ended).await;
    for watch in &mut watches {
        within("an event", watch.changed()).await;
    }
    let quiet = tokio::time::timeout(Duration::from_millis(100), elsewhere.changed()).await;
    assert!(quiet.is_err(), "another job's event");
    unsubscribes(&stage, watches).await;
}

/// Takes what is left of the beginnings: each of several watchers wakes the others, too.
async fn drained(watches: &mut [EventWatch]) {
    for watch in watches {
        while tokio::time::timeout(Duration::from_millis(100), watch.changed()).await.is_ok() {}
    }
}

async fn unsubscribes(stage: &Stage, watches: Vec<EventWatch>) {
    let before = stage.nats.connection_stats().await.subscriptions;
    drop(watches);
    let dropped = async {
        while stage.nats.connection_stats().await.subscriptions >= before {
            tokio::task::yield_now().await;
        }
    };
    within("the end of the subscription", dropped).await;
}

#[tokio::test]
async fn waiting_costs_no_command() {
    let stage = Stage::start().await;
    let gateway = stage.gateway().await;
    gateway.records.ping().await.unwrap();
    let mut waiting = tokio::task::JoinSet::new();
    for _ in 0..200 {
        let waiter = gateway.completions.wait(JobId::random()).unwrap();
        let records = gateway.records.clone();
        waiting.spawn(async move { waiter.ended(&records, &workspace(), soon()).await });
    }
    let worker = stage.worker(&["bash", "python3"], 4).await;
    within("a quiet server", quiet(&stage)).await;
    let (nats, valkey) = (stage.nats.connection_stats().await, stage.valkey.command_count().await);
    let three_seconds = tokio::time::timeout(Duration::from_secs(3), waiting.join_next()).await;
    assert!(three_seconds.is_err(), "nobody is woken");
    assert_eq!(gateway.completions.waiting(), 200);
    assert_eq!(stage.nats.connection_stats().await, nats);
    assert_eq!(stage.valkey.command_count().await, valkey);
    drop(worker);
}

/// Until the server has had nothing to do for a while: connections and consumers are made.
async fn quiet(stage: &Stage) {
    let mut before = stage.nats.connection_stats().await;
    loop {
        let pause = tokio::time::timeout(Duration::from_millis(300), std::future::pending::<()>());
        assert!(pause.await.is_err());
        let now = stage.nats.connection_stats().await;
        if now == before {
            return;
        }
        before = now;
    }
}
