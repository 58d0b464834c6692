//! Rows of the queue that were lost come back from the stream, and those without a job go.

use std::time::Duration;

use broker::permissions::GATEWAY;
use job_queue::{Job, QueuedRows, Sweeper, Swept, now_us};
use redis::AsyncCommands;
use redis::aio::MultiplexedConnection;
use test_servers::within;
use tokio_util::sync::CancellationToken;

use crate::stage::{Gateway, RETENTION, Stage, job, nonce, start, workspace};

const ROUND: Duration = Duration::from_secs(60);

struct Scene {
    stage: Stage,
    gateway: Gateway,
    redis: MultiplexedConnection,
    sweeper: Sweeper,
}

impl Scene {
    async fn set() -> Self {
        let stage = Stage::start().await;
        let (gateway, redis) = (stage.gateway().await, stage.redis().await);
        let sweeper = Sweeper::new(stage.nats.broker(GATEWAY).await, stage.records());
        Self { stage, gateway, redis, sweeper }
    }

    /// A round, whoever began one before.
    async fn sweep(&mut self) -> Swept {
        self.redis.del::<_, ()>("hm:sweep:lock").await.expect("valkey answers");
        self.sweeper.round(&[workspace()], ROUND).await.expect("both answer").expect("nobody else sweeps")
    }

    async fn note(&self, jobs: &[Job]) {
        let (rows, writer) = QueuedRows::new(self.gateway.records.clone(), CancellationToken::new());
        for job in jobs {
            rows.note(job.clone());
        }
        drop(rows);
        within("the rows are written", writer).await;
    }

    async fn count(&self) -> u64 {
        self.gateway.records.queued_by(&workspace(), i64::MAX).await.expect("valkey answers")
    }
}

/// A job triggered so many seconds ago.
fn before(seconds: i64) -> Job {
    Job { created_us: now_us() - seconds * 1_000_000, ..job("bash") }
}

fn swept(restored: u64, dropped: u64) -> Swept {
    Swept { restored, dropped, expired: 0 }
}

#[tokio::test]
async fn rows_that_were_lost_come_back_from_the_stream() {
    let mut scene = Scene::set().await;
    assert_eq!(scene.sweep().await, swept(0, 0));
    let mut jobs: Vec<Job> = (0..600).map(|_| before(10)).collect();
    for chunk in jobs.chunks_mut(100) {
        let publishes = chunk.iter_mut().map(|job| scene.gateway.publish(job));
        futures::future::try_join_all(publishes).await.unwrap();
    }
    scene.note(&jobs).await;
    assert_eq!(scene.sweep().await, swept(0, 0), "they have rows");
    redis::cmd("FLUSHALL").exec_async(&mut scene.redis).await.unwrap();
    assert_eq!(scene.count().await, 0);
    assert_eq!(scene.sweep().await, swept(600, 0));
    assert_eq!(scene.count().await, 600);
    let page = scene.gateway.records.list(&workspace(), &job_queue::Filter::default(), None, 0, 1000).await;
    assert_eq!(page.unwrap().rows.len(), 600);
    assert_eq!(scene.sweep().await, swept(0, 0), "once");
}

#[tokio::test]
async fn a_sweep_changes_nothing_about_jobs_that_are_known_or_young() {
    let mut scene = Scene::set().await;
    let (mut runs, mut unlisted, mut young) = (before(10), before(10), before(0));
    for job in [&mut runs, &mut unlisted, &mut young] {
        scene.gateway.publish(job).await.unwrap();
    }
    let worker = proto::InstanceId::random("worker");
    start(&scene.gateway.records, &runs, &worker, &nonce()).await;
    // a record of before there were rows
    scene.note(std::slice::from_ref(&unlisted)).await;
    scene.redis.del::<_, ()>("hm:{demo}:queued").await.unwrap();
    assert_eq!(scene.sweep().await, swept(0, 0));
    let rows: Vec<String> = scene.redis.zrange("hm:{demo}:queued", 0, -1).await.unwrap();
    assert_eq!(rows, [unlisted.id.to_string()]);
}

#[tokio::test]
async fn rows_without_a_job_go_and_those_that_are_not_due_stay() {
    let mut scene = Scene::set().await;
    let (mut waits, gone, recent, later) = (before(100), before(100), before(10), before(-100));
    scene.gateway.publish(&mut waits).await.unwrap();
    scene.note(&[waits.clone(), gone.clone(), recent.clone(), later.clone()]).await;
    assert_eq!(scene.sweep().await, swept(0, 1));
    let mut rows: Vec<String> = scene.redis.zrange("hm:{demo}:queued", 0, -1).await.unwrap();
    let mut expected = [waits, recent, later].map(|job| job.id.to_string());
    rows.sort();
    expected.sort();
    assert_eq!(rows, expected);
}

#[tokio::test]
async fn a_round_is_bounded_and_the_next_goes_on() {
    let mut scene = Scene::set().await;
    let mut waiting: Vec<Job> = (0..100).map(|_| before(200)).collect();
    futures::future::try_join_all(waiting.iter_mut().map(|job| scene.gateway.publish(job))).await.unwrap();
    let gone: Vec<Job> = (0..2100).map(|_| before(100)).collect();
    scene.note(&waiting).await;
    scene.note(&gone).await;
    let rounds = [scene.sweep().await, scene.sweep().await, scene.sweep().await];
    assert_eq!(rounds, [swept(0, 1900), swept(0, 200), swept(0, 0)]);
    assert_eq!(scene.count().await, 100);
}

#[tokio::test]
async fn the_record_of_a_job_that_is_nowhere_expires_unless_it_is_somewhere_after_all() {
    let mut scene = Scene::set().await;
    let gone = before(100);
    let key = format!("hm:{{demo}}:job:{}", gone.id);
    scene.note(std::slice::from_ref(&gone)).await;
    assert_eq!(scene.redis.ttl::<_, i64>(&key).await.unwrap(), -1);
    assert_eq!(scene.sweep().await, swept(0, 1));
    let left: i64 = scene.redis.ttl(&key).await.unwrap();
    assert!(
        (RETENTION.as_secs().cast_signed() - 5..=RETENTION.as_secs().cast_signed()).contains(&left),
        "{left}"
    );
    let rows: i64 = scene.redis.zcard("hm:{demo}:expiry").await.unwrap();
    assert_eq!(rows, 1, "its row of the listings goes with it");
    // its stream comes back, and a worker gets it
    let worker = proto::InstanceId::random("worker");
    start(&scene.gateway.records, &gone, &worker, &nonce()).await;
    assert_eq!(scene.redis.ttl::<_, i64>(&key).await.unwrap(), -1);
}

#[tokio::test]
async fn one_sweeps_at_a_time() {
    let mut scene = Scene::set().await;
    let mut other = Sweeper::new(scene.stage.nats.broker(GATEWAY).await, scene.stage.records());
    let workspaces = [workspace()];
    assert!(scene.sweeper.round(&workspaces, ROUND).await.unwrap().is_some());
    assert_eq!(other.round(&workspaces, ROUND).await.unwrap(), None);
    assert_eq!(scene.sweeper.round(&workspaces, ROUND).await.unwrap(), None);
    let left: i64 = scene.redis.pttl("hm:sweep:lock").await.unwrap();
    assert!(left > 0, "whoever dies while sweeping is followed");
}

#[tokio::test]
async fn rows_of_jobs_that_are_put_aside_come_back_and_stay() {
    let mut scene = Scene::set().await;
    let mut aside = Job { scheduled_us: Some(job_queue::now_us() + 3_600_000_000), ..before(10) };
    scene.gateway.publish(&mut aside).await.unwrap();
    assert_eq!(scene.sweep().await, swept(1, 0));
    let rows: Vec<(String, f64)> = scene.redis.zrange_withscores("hm:{demo}:queued", 0, -1).await.unwrap();
    #[expect(clippy::cast_precision_loss, reason = "microseconds are below 2^53")]
    let expected = (aside.id.to_string(), aside.due_us() as f64);
    assert_eq!(rows, [expected]);
    assert_eq!(scene.sweep().await, swept(0, 0));
}
