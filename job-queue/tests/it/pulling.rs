//! Pulling: never more than there is room for, nothing kept that cannot be run, and nothing
//! lost with a worker.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use broker::names;
use broker::permissions::PROVISION;
use bytes::Bytes;
use job_queue::{Delivery, JobState, Outcome};
use proto::JobId;
use test_servers::within;
use tokio::time::Instant;

use crate::stage::{Gateway, Stage, Worker, workspace};

const TAGS: [&str; 3] = ["bash", "python3", "a tag with spaces.and>dots*"];

fn id(delivery: &Delivery) -> JobId {
    delivery.job.as_ref().expect("a readable envelope").id
}

/// Nothing comes within a short while.
async fn nothing_comes(worker: &mut Worker) {
    let came = tokio::time::timeout(Duration::from_millis(300), worker.jobs.recv()).await;
    assert!(came.is_err(), "a delivery beyond the free slots");
}

async fn all_ended(gateway: &Gateway, ids: &[JobId]) {
    for id in ids {
        let record = gateway.records.get(&workspace(), *id).await.expect("valkey answers").expect("a record");
        assert_eq!(record.state, JobState::Ended(Outcome::Success), "{id}");
    }
}

#[tokio::test]
async fn no_more_is_handed_out_than_there_are_free_slots() {
    let stage = Stage::start().await;
    let (gateway, mut worker) = (stage.gateway().await, stage.worker(&TAGS, 2).await);
    let mut ids = Vec::new();
    for tag in TAGS {
        ids.extend(gateway.publish_many(tag, 20).await);
    }
    let mut held = vec![worker.next().await, worker.next().await];
    nothing_comes(&mut worker).await;
    assert_eq!(worker.slots.free(), 0);
    let mut ran = HashSet::new();
    while let Some(delivery) = held.pop() {
        worker.complete(&delivery).await;
        assert!(ran.insert(id(&delivery)), "a job came twice");
        drop(delivery);
        if ran.len() + held.len() < ids.len() {
            held.push(worker.next().await);
        }
    }
    all_ended(&gateway, &ids).await;
    let attempts = ids.iter().map(async |id| gateway.records.attempt(&workspace(), *id).await.unwrap());
    assert!(futures::future::join_all(attempts).await.iter().all(|attempt| *attempt == 1));
}

#[tokio::test]
async fn what_one_worker_has_no_room_for_another_gets_at_once() {
    let stage = Stage::start().await;
    let gateway = stage.gateway().await;
    for tag in TAGS {
        gateway.publish_many(tag, 2).await;
    }
    let mut full = stage.worker(&TAGS, 1).await;
    let held = full.next().await;
    let mut idle = stage.worker(&TAGS, 10).await;
    let began = Instant::now();
    let rest: HashSet<JobId> =
        [idle.next().await, idle.next().await, idle.next().await, idle.next().await, idle.next().await]
            .iter()
            .map(id)
            .collect();
    assert!(began.elapsed() < Duration::from_secs(10), "well under the lease of a minute");
    assert!(rest.len() == 5 && !rest.contains(&id(&held)));
}

#[tokio::test]
async fn a_worker_that_stops_hands_back_what_it_has_not_begun() {
    let stage = Stage::start().await;
    let gateway = stage.gateway().await;
    let ids = gateway.publish_many("bash", 50).await;
    let mut stopping = stage.worker(&["bash"], 8).await;
    let first = stopping.next().await;
    stopping.stop.cancel();
    within("the puller's end", &mut stopping.puller).await.unwrap();
    stopping.complete(&first).await;
    drop(first);
    while let Some(unbegun) = stopping.jobs.recv().await {
        unbegun.lease.hand_back(None).await;
    }
    assert_eq!(stopping.slots.free(), 8);
    let (mut other, began) = (stage.worker(&["bash"], 4).await, Instant::now());
    for _ in 1..ids.len() {
        let delivery = other.next().await;
        other.complete(&delivery).await;
    }
    assert!(began.elapsed() < Duration::from_secs(10), "well under the lease of a minute");
    all_ended(&gateway, &ids).await;
}

#[tokio::test]
async fn workers_that_come_and_go_lose_nothing() {
    let stage = Stage::start().await;
    let gateway = stage.gateway().await;
    let ids = gateway.publish_many("bash", 200).await;
    let began = Instant::now();
    let mut ended = 0;
    while ended < ids.len() {
        let mut worker = stage.worker(&["bash"], 3).await;
        let taken = 25.min(ids.len() - ended);
        for _ in 0..taken {
            let delivery = worker.next().await;
            worker.complete(&delivery).await;
        }
        ended += taken;
        worker.stop.cancel();
        while let Some(unbegun) = worker.jobs.recv().await {
            unbegun.lease.hand_back(None).await;
        }
    }
    assert!(began.elapsed() < Duration::from_secs(40), "no lease of a minute ran out");
    all_ended(&gateway, &ids).await;
}

#[tokio::test]
async fn a_panic_gives_the_slot_back() {
    let stage = Stage::start().await;
    let (gateway, mut worker) = (stage.gateway().await, stage.worker(&["bash"], 1).await);
    gateway.publish_many("bash", 2).await;
    let delivery = worker.next().await;
    let first = id(&delivery);
    let task = tokio::spawn(async move {
        let _held = delivery;
        panic!("a test's own panic");
    });
    assert!(task.await.unwrap_err().is_panic());
    assert_ne!(id(&worker.next().await), first);
}

#[tokio::test]
async fn a_dead_workers_jobs_come_again_after_the_lease() {
    let stage = Stage::start().await;
    let gateway = stage.gateway().await;
    let lease = Duration::from_secs(1);
    let mut dead = stage.leasing_worker(&["bash"], 2, lease).await;
    let ids: HashSet<JobId> = gateway.publish_many("bash", 2).await.into_iter().collect();
    let began = Instant::now();
    let deliveries = [dead.next().await, dead.next().await];
    for delivery in &deliveries {
        assert_eq!(delivery.number.count, 1);
        dead.run(delivery.job.as_ref().unwrap()).await;
    }
    drop(deliveries);
    dead.die().await;
    let mut other = stage.leasing_worker(&["bash"], 2, lease).await;
    let mut came = HashSet::new();
    for _ in 0..2 {
        let delivery = other.next().await;
        assert_eq!(delivery.number.count, 2);
        let attempt = other.run(delivery.job.as_ref().unwrap()).await;
        assert_eq!(attempt, 2);
        came.insert(id(&delivery));
    }
    assert_eq!(came, ids);
    assert!(began.elapsed() + Duration::from_millis(50) >= lease, "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_renewed_lease_outlives_itself() {
    let stage = Stage::start().await;
    let gateway = stage.gateway().await;
    let lease = Duration::from_secs(1);
    let mut holder = stage.leasing_worker(&["bash"], 1, lease).await;
    let mut other = stage.leasing_worker(&["bash"], 1, lease).await;
    gateway.publish_many("bash", 1).await;
    let (delivery, rival) = tokio::select! {
        delivery = holder.next() => (delivery, &mut other),
        delivery = other.next() => (delivery, &mut holder),
    };
    let mut thirds = tokio::time::interval(lease / 3);
    for _ in 0..11 {
        thirds.tick().await;
        delivery.lease.renew(Duration::from_millis(500)).await.unwrap();
        assert!(rival.jobs.try_recv().is_err(), "delivered again in spite of the renewals");
    }
    // and without renewal it comes again
    let again = rival.next().await;
    assert_eq!((id(&again), again.number.count), (id(&delivery), 2));
}

#[tokio::test]
async fn a_renewal_nobody_confirms_fails_in_time() {
    let stage = Stage::start().await;
    let (gateway, mut worker) = (stage.gateway().await, stage.worker(&["bash"], 1).await);
    gateway.publish_many("bash", 1).await;
    let delivery = worker.next().await;
    stage.nats.pause();
    let began = Instant::now();
    let bound = Duration::from_millis(300);
    assert!(delivery.lease.renew(bound).await.is_err());
    assert!(began.elapsed() >= bound && began.elapsed() < Duration::from_secs(2));
    stage.nats.resume();
}

#[tokio::test]
async fn a_delayed_job_comes_after_its_delay() {
    let stage = Stage::start().await;
    let (gateway, mut worker) = (stage.gateway().await, stage.worker(&["bash"], 1).await);
    gateway.publish_many("bash", 1).await;
    let delivery = worker.next().await;
    let (began, delay) = (Instant::now(), Duration::from_millis(500));
    delivery.lease.hand_back(Some(delay)).await;
    drop(delivery);
    let again = worker.next().await;
    assert_eq!(again.number.count, 2);
    assert!(began.elapsed() + Duration::from_millis(20) >= delay, "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_message_that_is_no_job_is_handed_out_as_such() {
    let stage = Stage::start().await;
    let (gateway, mut worker) = (stage.gateway().await, stage.worker(&["bash"], 1).await);
    let id = JobId::random().to_string();
    let subject = names::job_subject("bash", "p1", "demo", &id);
    let sent = gateway.broker.jetstream().publish(subject.clone(), Bytes::from_static(b"\xffno job")).await;
    sent.unwrap().await.unwrap();
    let delivery = worker.next().await;
    assert!(delivery.job.is_err());
    assert_eq!(delivery.subject, subject);
    delivery.lease.ack().await;
    drop(delivery);
    gateway.publish_many("bash", 1).await;
    assert!(worker.next().await.job.is_ok(), "the puller goes on");
}

#[tokio::test]
async fn a_deleted_consumer_is_made_again() {
    let stage = Stage::start().await;
    let (gateway, mut worker) = (stage.gateway().await, stage.worker(&["bash"], 1).await);
    gateway.publish_many("bash", 1).await;
    let delivery = worker.next().await;
    worker.complete(&delivery).await;
    drop(delivery);
    let admin = stage.nats.broker(PROVISION).await;
    let stream = admin.jetstream().get_stream(names::JOBS_STREAM).await.unwrap();
    stream.delete_consumer("w-bash-p1").await.unwrap();
    let ids = gateway.publish_many("bash", 3).await;
    for _ in 0..3 {
        let delivery = worker.next().await;
        worker.complete(&delivery).await;
    }
    all_ended(&gateway, &ids).await;
}

#[tokio::test]
async fn two_workers_share_and_nothing_runs_twice() {
    let stage = Stage::start().await;
    let gateway = stage.gateway().await;
    let (mut one, mut two) = (stage.worker(&TAGS, 2).await, stage.worker(&TAGS, 3).await);
    let mut ids = Vec::new();
    for tag in TAGS {
        ids.extend(gateway.publish_many(tag, 60).await);
    }
    let mut runs: HashMap<JobId, u32> = HashMap::new();
    for _ in 0..ids.len() {
        let (delivery, worker) = tokio::select! {
            delivery = one.next() => (delivery, &one),
            delivery = two.next() => (delivery, &two),
        };
        worker.complete(&delivery).await;
        *runs.entry(id(&delivery)).or_default() += 1;
    }
    assert_eq!(runs.len(), ids.len());
    all_ended(&gateway, &ids).await;
}

#[tokio::test]
async fn a_job_under_anothers_subject_is_not_run() {
    let stage = Stage::start().await;
    let (gateway, mut worker) = (stage.gateway().await, stage.worker(&["bash"], 1).await);
    let (one, other) = (crate::stage::job("bash"), JobId::random());
    let subject = format!("job.0.bash.p1.{}.{other}", workspace().token());
    let sent = gateway.broker.jetstream().publish(subject, one.encode()).await.unwrap();
    sent.await.unwrap();
    let delivery = worker.next().await;
    let error = delivery.job.as_ref().unwrap_err().to_string();
    assert!(error.contains(&one.id.to_string()) && error.contains("elsewhere"), "{error}");
    assert_eq!(delivery.envelope, one.encode());
}
