//! Large arguments stay as long as anything knows their job, and go afterwards, whoever has died in between.

use std::time::Duration;

use async_nats::jetstream::{object_store, stream};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE;
use broker::names;
use broker::permissions::{GATEWAY, PROVISION, WORKER};
use bytes::Bytes;
use job_queue::{
    Args, ArgsStore, CancelAnswer, Collected, Collector, DeadLetter, DeadLetters, DeathReason, Finder, Job,
    PublishError, now_us,
};
use redis::AsyncCommands;
use redis::aio::MultiplexedConnection;
use test_servers::within;

use crate::stage::{Gateway, Stage, Worker, finish, job, soon, success, workspace};
use crate::timers::Moving;

const ROUND: Duration = Duration::from_secs(60);
const LARGE: usize = 300 * 1024;

struct Scene {
    stage: Stage,
    gateway: Gateway,
    redis: MultiplexedConnection,
    collector: Collector,
}

impl Scene {
    /// Nothing is too young to be collected.
    async fn set() -> Self {
        Self::with_grace(Duration::ZERO).await
    }

    async fn with_grace(grace: Duration) -> Self {
        let stage = Stage::start().await;
        let (gateway, redis) = (stage.gateway().await, stage.redis().await);
        let collector = Collector::new(stage.nats.broker(GATEWAY).await, stage.records(), grace);
        Self { stage, gateway, redis, collector }
    }

    /// A round, whoever began one before.
    async fn collect(&mut self) -> Collected {
        self.redis.del::<_, ()>("hm:sweep:lock-args").await.expect("valkey answers");
        self.collector.round(ROUND).await.expect("both answer").expect("nobody else collects")
    }

    async fn publish(&self, mut job: Job) -> Job {
        self.gateway.publish_with(&mut job, large()).await.expect("the job is taken");
        assert!(matches!(job.args, Args::Stored { .. }));
        job
    }

    /// Its record expires at this moment.
    async fn forget(&mut self, job: &Job) {
        let key = format!("hm:{{demo}}:job:{}", job.id);
        assert_eq!(self.redis.del::<_, u64>(key).await.expect("valkey answers"), 1);
    }

    async fn stays(&self, job: &Job) {
        let args = ArgsStore::new(self.gateway.broker.clone()).load(&job.args).await;
        assert_eq!(args.expect("they are there"), large());
    }

    async fn store(&self) -> stream::State {
        let admin = self.stage.nats.broker(PROVISION).await;
        let stream = admin.jetstream().get_stream(names::ARGS_STREAM).await.expect("the stream is there");
        stream.get_info().await.expect("nats-server answers").state
    }

    /// Nothing at all is left, not even a mark.
    async fn is_empty(&self) {
        let state = self.store().await;
        assert_eq!((state.messages, state.bytes), (0, 0));
    }
}

fn large() -> Bytes {
    (0..=250_u8).cycle().step_by(31).take(LARGE).collect()
}

fn collected(objects: u64) -> Collected {
    Collected { objects, bytes: objects * LARGE as u64 }
}

/// Pulls the next job and begins it.
async fn begun(worker: &mut Worker) -> (job_queue::Delivery, u32) {
    let delivery = worker.next().await;
    let attempt = worker.run(delivery.job.as_ref().expect("a readable envelope")).await;
    (delivery, attempt)
}

fn letter_of(job: &Job) -> DeadLetter {
    DeadLetter {
        reason: DeathReason::WorkerLost,
        message: "lost".to_owned(),
        attempts: 3,
        died_us: now_us(),
        last_log: String::new(),
        subject: format!("job.0.bash.p1.demo.{}", job.id),
        envelope: job.encode(),
    }
}

#[tokio::test]
async fn they_stay_from_the_queue_until_the_record_expires() {
    let mut scene = Scene::set().await;
    let mut worker = scene.stage.worker(&["bash"], 1).await;
    let job = scene.publish(job("bash")).await;
    assert_eq!(scene.collect().await, collected(0), "it waits");
    let (delivery, attempt) = begun(&mut worker).await;
    assert_eq!(scene.collect().await, collected(0), "it runs");
    scene.forget(&job).await;
    assert_eq!(scene.collect().await, collected(0), "it runs, and Redis has lost it");
    let attempt = worker.run(&job).await.max(attempt);
    let end = success("1");
    finish(&worker.records, &job, attempt, &end).await;
    delivery.lease.settle(&job, &end, &worker.events).await;
    // nobody answers an acknowledgement
    within("its message goes", async {
        while scene.gateway.holds(&job).await {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(scene.collect().await, collected(0), "its record is kept");
    scene.stays(&job).await;
    scene.forget(&job).await;
    assert_eq!(scene.collect().await, collected(1));
    scene.is_empty().await;
    assert_eq!(scene.collect().await, collected(0), "once");
}

#[tokio::test]
async fn they_stay_while_their_job_is_put_aside() {
    let mut scene = Scene::set().await;
    let in_a_year = now_us() + 365 * 24 * 3_600_000_000;
    let aside = scene.publish(Job { scheduled_us: Some(in_a_year), ..job("bash") }).await;
    assert_eq!(scene.collect().await, collected(0));
    scene.stays(&aside).await;
    let finder = Finder::new(scene.gateway.broker.clone());
    let queued = finder.find(&aside.workspace, aside.id).await.unwrap().unwrap();
    assert!(matches!(scene.gateway.cancel(&aside).await, CancelAnswer::Canceled(_)));
    finder.remove(&queued).await.unwrap();
    assert_eq!(scene.collect().await, collected(0), "its record is kept");
    scene.forget(&aside).await;
    assert_eq!(scene.collect().await, collected(1));
}

#[tokio::test]
async fn they_stay_with_a_dead_letter() {
    let mut scene = Scene::set().await;
    let dead = job("bash");
    let letters = DeadLetters::new(scene.gateway.broker.clone());
    let args = ArgsStore::new(scene.gateway.broker.clone());
    let dead = Job { args: args.keep(&workspace(), dead.id, large()).await.unwrap(), ..dead };
    DeadLetters::new(scene.stage.nats.broker(WORKER).await).bury(&letter_of(&dead)).await.unwrap();
    assert_eq!(scene.collect().await, collected(0));
    scene.stays(&dead).await;
    let letter = letters.find(&workspace(), dead.id).await.unwrap().unwrap();
    letters.discard(&letter).await.unwrap();
    assert_eq!(scene.collect().await, collected(1));
    scene.is_empty().await;
}

#[tokio::test]
async fn those_of_a_job_that_was_never_published_go_when_they_are_old() {
    let mut scene = Scene::with_grace(Duration::from_secs(2)).await;
    let args = ArgsStore::new(scene.gateway.broker.clone());
    args.keep(&workspace(), proto::JobId::random(), large()).await.unwrap();
    let stored = tokio::time::Instant::now();
    assert_eq!(scene.collect().await, collected(0), "its job may be on its way");
    within("it is old", async {
        while scene.collect().await == collected(0) {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert!(stored.elapsed() >= Duration::from_millis(1900), "{:?}", stored.elapsed());
    scene.is_empty().await;
}

#[tokio::test]
async fn a_refused_job_leaves_nothing() {
    let scene = Scene::set().await;
    let job = scene.publish(job("bash")).await;
    let kept = scene.store().await;
    let again = scene.gateway.publish_with(&mut job.clone(), large()).await;
    assert!(matches!(again, Err(PublishError::Duplicate)), "{again:?}");
    let state = scene.store().await;
    assert_eq!((state.messages, state.bytes), (kept.messages, kept.bytes));
    scene.stays(&job).await;
}

/// One that the store has no room for: its chunks do not wait for a collector.
#[tokio::test]
async fn an_upload_that_fails_leaves_no_chunk() {
    let mut scene = Scene::set().await;
    let admin = scene.stage.nats.broker(PROVISION).await;
    let config = admin.jetstream().get_stream(names::ARGS_STREAM).await.unwrap();
    let config = config.get_info().await.unwrap().config;
    let small = stream::Config { max_bytes: 1024 * 1024, ..config };
    admin.jetstream().update_stream(&small).await.unwrap();
    let much = Bytes::from(vec![b'x'; 4 * 1024 * 1024]);
    let refused = scene.gateway.publish_with(&mut job("bash"), much).await;
    assert!(matches!(refused, Err(PublishError::NotStored(_))), "{refused:?}");
    assert_eq!(scene.store().await.messages, 1, "what announced it");
    assert_eq!(scene.collect().await, Collected { objects: 1, bytes: 0 });
    scene.is_empty().await;
    scene.publish(job("bash")).await;
}

/// As if its gateway had died: some chunks are there, and nobody says of what.
#[tokio::test]
async fn half_of_an_object_goes() {
    let mut scene = Scene::set().await;
    let name = format!("demo/{}/half", proto::JobId::random());
    let announced = serde_json::json!({
        "name": name, "bucket": names::ARGS_BUCKET, "nuid": "half", "size": 0, "chunks": 0, "deleted": true,
    });
    let name = URL_SAFE.encode(name);
    let jetstream = scene.gateway.broker.jetstream();
    for (subject, payload) in [
        (names::args_meta(&name), Bytes::from(announced.to_string())),
        (names::args_chunk("half"), large()),
        (names::args_chunk("half"), large()),
    ] {
        jetstream.publish(subject, payload).await.unwrap().await.unwrap();
    }
    assert_eq!(scene.store().await.messages, 3);
    assert_eq!(scene.collect().await, Collected { objects: 1, bytes: 0 });
    scene.is_empty().await;
}

/// Uploads whose announcement is collected while they go on find that at their end, and leave nothing.
#[tokio::test]
async fn what_is_collected_while_it_is_stored_leaves_nothing() {
    let mut scene = Scene::set().await;
    let args = ArgsStore::new(scene.gateway.broker.clone());
    let much = Bytes::from(vec![b'x'; 4 * 1024 * 1024]);
    let (workspace, mut failed) = (workspace(), 0);
    for _ in 0..10 {
        let mut keep = std::pin::pin!(args.keep(&workspace, proto::JobId::random(), much.clone()));
        loop {
            tokio::select! {
                kept = &mut keep => {
                    failed += u32::from(kept.is_err());
                    break;
                }
                _ = scene.collect() => {}
            }
        }
    }
    assert!(failed > 0, "none was collected before its end");
    scene.collect().await;
    scene.is_empty().await;
}

/// As if its collector had died in between: no chunk is there any more.
#[tokio::test]
async fn what_is_left_of_an_object_goes() {
    let mut scene = Scene::set().await;
    let args = ArgsStore::new(scene.gateway.broker.clone());
    args.keep(&workspace(), proto::JobId::random(), large()).await.unwrap();
    let admin = scene.stage.nats.broker(PROVISION).await;
    let stream = admin.jetstream().get_stream(names::ARGS_STREAM).await.unwrap();
    stream.purge().filter("$O.ARGS.C.>").await.unwrap();
    assert_eq!(scene.store().await.messages, 1);
    assert_eq!(scene.collect().await, collected(1));
    scene.is_empty().await;
}

#[tokio::test]
async fn nothing_goes_without_the_word_of_redis_and_nats() {
    let mut scene = Scene::set().await;
    let args = ArgsStore::new(scene.gateway.broker.clone());
    let unneeded = args.keep(&workspace(), proto::JobId::random(), large()).await.unwrap();
    scene.stage.valkey.pause();
    scene.collector.round(ROUND).await.unwrap_err();
    scene.stage.valkey.resume();
    scene.redis.del::<_, ()>("hm:sweep:lock-args").await.unwrap();
    scene.stage.nats.pause();
    scene.collector.round(ROUND).await.unwrap_err();
    scene.stage.nats.resume();
    assert_eq!(args.load(&unneeded).await.unwrap(), large());
    assert_eq!(scene.collect().await, collected(1));
}

#[tokio::test]
async fn redis_emptied_costs_only_those_of_jobs_that_had_ended() {
    let mut scene = Scene::set().await;
    let mut worker = scene.stage.worker(&["bash"], 1).await;
    scene.publish(job("bash")).await;
    let delivery = worker.next().await;
    worker.complete(&delivery).await;
    let waits = scene.publish(job("deno")).await;
    assert_eq!(scene.collect().await, collected(0));
    redis::cmd("FLUSHALL").exec_async(&mut scene.redis).await.unwrap();
    assert_eq!(scene.collect().await, collected(1));
    scene.stays(&waits).await;
}

/// From timer to timer to worker, while somebody collects all the time.
#[tokio::test]
async fn a_job_on_its_way_is_always_seen() {
    let mut scene = Scene::set().await;
    let (mut worker, _moving) = (scene.stage.worker(&["bash"], 20).await, Moving::start(&scene.stage).await);
    let due = |number: i64| Some(now_us() + 200_000 + number * 20_000);
    for number in 0..40 {
        scene.publish(Job { scheduled_us: due(number), ..job("bash") }).await;
    }
    let collector =
        Collector::new(scene.stage.nats.broker(GATEWAY).await, scene.stage.records(), Duration::ZERO);
    let mut redis = scene.redis.clone();
    let collecting = tokio::spawn(async move {
        loop {
            redis.del::<_, ()>("hm:sweep:lock-args").await.expect("valkey answers");
            assert_eq!(collector.round(ROUND).await.expect("both answer"), Some(Collected::default()));
        }
    });
    for _ in 0..40 {
        let delivery = worker.next().await;
        scene.stays(delivery.job.as_ref().unwrap()).await;
        worker.complete(&delivery).await;
    }
    assert!(!collecting.is_finished(), "{:?}", collecting.await);
    collecting.abort();
    assert!(collecting.await.unwrap_err().is_cancelled());
    assert_eq!(scene.collect().await, collected(0));
}

#[tokio::test]
async fn a_round_goes_on_where_the_one_before_was_killed() {
    let mut scene = Scene::set().await;
    let args = ArgsStore::new(scene.gateway.broker.clone());
    for _ in 0..5 {
        args.keep(&workspace(), proto::JobId::random(), large()).await.unwrap();
    }
    // behind the second object: all of them took as many messages
    let behind = scene.store().await.last_sequence / 5 * 2;
    scene.redis.set::<_, _, ()>("hm:sweep:args", behind).await.unwrap();
    assert_eq!(scene.collect().await, collected(3));
    assert_eq!(scene.collect().await, collected(2), "and begins anew behind the last");
    scene.is_empty().await;
}

#[tokio::test]
async fn one_collects_at_a_time() {
    let scene = Scene::set().await;
    let other = Collector::new(scene.stage.nats.broker(GATEWAY).await, scene.stage.records(), Duration::ZERO);
    assert!(scene.collector.round(ROUND).await.unwrap().is_some());
    assert_eq!(other.round(ROUND).await.unwrap(), None);
}

/// One of before: objects went by their age, and were made by NATS' client.
#[tokio::test]
async fn an_older_store_is_taken_over() {
    let (nats, valkey) = tokio::join!(test_servers::Nats::start(), test_servers::Valkey::start());
    let stage = Stage { nats, valkey };
    let admin = stage.nats.broker(PROVISION).await;
    let fortnight = Duration::from_hours(14 * 24);
    let older = object_store::Config {
        bucket: names::ARGS_BUCKET.to_owned(),
        max_age: fortnight,
        ..object_store::Config::default()
    };
    admin.jetstream().create_object_store(older).await.unwrap();
    let gateway = stage.nats.broker(GATEWAY).await;
    let store = gateway.jetstream().get_object_store(names::ARGS_BUCKET).await.unwrap();
    let name = |id| format!("demo/{id}/x");
    let mut waiting = job("bash");
    let (gone, deleted) = (name(proto::JobId::random()), name(proto::JobId::random()));
    for object in [&name(waiting.id), &gone, &deleted] {
        store.put(object.as_str(), &mut &large()[..]).await.unwrap();
    }
    store.delete(&deleted).await.unwrap();
    stage.provision(job_queue::PROVISION_DEFAULT_MAX_BYTES).await;
    let config = admin.jetstream().get_stream(names::ARGS_STREAM).await.unwrap().cached_info().config.clone();
    assert_eq!(config.max_age, Duration::ZERO);
    let publisher = job_queue::Publisher::new(gateway.clone());
    publisher.publish(&mut waiting, Bytes::from_static(b"{}"), soon()).await.unwrap();
    let collector = Collector::new(gateway.clone(), stage.records(), Duration::ZERO);
    let found = collector.round(ROUND).await.unwrap().unwrap();
    assert_eq!(found, Collected { objects: 2, bytes: LARGE as u64 });
    let stored = Args::Stored { object: name(waiting.id), size: LARGE as u64 };
    assert_eq!(ArgsStore::new(gateway).load(&stored).await.unwrap(), large());
}
