//! Jobs that are put aside until they are due.

use std::time::Duration;

use async_nats::jetstream::message::PublishMessage;
use broker::names;
use broker::permissions::{GATEWAY, PROVISION};
use bytes::Bytes;
use job_queue::{
    CancelAnswer, Job, JobState, Mover, Outcome, Place, PublishError, Publisher, StartAnswer, now_us,
};
use test_servers::within;
use tokio_util::sync::CancellationToken;

use crate::stage::{Gateway, Stage, Worker, eve, job, soon};

/// One of the processes that move jobs whose time has come; it stops when this is dropped.
pub(crate) struct Moving(CancellationToken);

impl Moving {
    pub(crate) async fn start(stage: &Stage) -> Self {
        let broker = stage.nats.broker(GATEWAY).await;
        let (ticks, _none) = tokio::sync::mpsc::unbounded_channel();
        let mover = Mover::open(broker.clone(), Publisher::new(broker), ticks).await;
        let mover = mover.expect("the client is open");
        let stop = CancellationToken::new();
        tokio::spawn(mover.run(stop.clone()));
        Self(stop)
    }
}

impl Drop for Moving {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

fn later(tag: &str, milliseconds: i64) -> Job {
    Job { scheduled_us: Some(now_us() + milliseconds * 1000), ..job(tag) }
}

/// Puts a job aside for so long.
async fn set(gateway: &Gateway, milliseconds: i64) -> Job {
    let mut job = later("bash", milliseconds);
    gateway.publish(&mut job).await.expect("the timer is set");
    job
}

/// The next job that a worker gets.
async fn next(worker: &mut Worker) -> Job {
    let delivery = worker.next().await;
    worker.complete(&delivery).await;
    delivery.job.expect("a readable envelope")
}

async fn place(gateway: &Gateway, job: &Job) -> Option<Place> {
    let found = gateway.finder.find(&job.workspace, job.id).await.expect("nats-server answers");
    found.map(|found| found.place)
}

/// Nothing is left of any timer, and no job.
pub(crate) async fn all_gone(gateway: &Gateway) {
    for stream in [names::TIMERS_STREAM, names::JOBS_STREAM] {
        let gone = async {
            loop {
                let asked = gateway.broker.client().request(
                    format!("$JS.API.DIRECT.GET.{stream}"),
                    r#"{"seq":1,"next_by_subj":">"}"#.into(),
                );
                match asked.await.expect("nats-server answers").status {
                    Some(status) if status == async_nats::StatusCode::NOT_FOUND => return,
                    _ => tokio::task::yield_now().await,
                }
            }
        };
        within(&format!("{stream} is empty"), gone).await;
    }
}

#[tokio::test]
async fn a_job_starts_once_when_it_is_due_whoever_moves_it() {
    let stage = Stage::start().await;
    let gateway = stage.gateway().await;
    let _movers = [Moving::start(&stage).await, Moving::start(&stage).await, Moving::start(&stage).await];
    let mut worker = stage.worker(&["bash"], 10).await;
    let mut waiting = Vec::new();
    for number in 0..20 {
        waiting.push(set(&gateway, 1000 + number * 50).await);
    }
    assert!(matches!(place(&gateway, &waiting[0]).await, Some(Place::Timer(_))));
    for _ in 0..20 {
        let job = next(&mut worker).await;
        let place = waiting.iter().position(|other| other.id == job.id).expect("each one once");
        let put_aside = waiting.swap_remove(place);
        assert_eq!(job, put_aside);
        assert!(now_us() >= job.due_us(), "{} µs early", job.due_us() - now_us());
    }
    all_gone(&gateway).await;
}

#[tokio::test]
async fn what_is_due_already_waits_nowhere() {
    let stage = Stage::start().await;
    let gateway = stage.gateway().await;
    let job = set(&gateway, -1000).await;
    assert!(matches!(place(&gateway, &job).await, Some(Place::Ready(_))));
}

#[tokio::test]
async fn an_id_is_put_aside_once() {
    let stage = Stage::start().await;
    let gateway = stage.gateway().await;
    let first = set(&gateway, 3_600_000).await;
    let before = place(&gateway, &first).await;
    let mut second = Job { scheduled_us: Some(now_us() + 1_000_000), ..first.clone() };
    let again = gateway.publish(&mut second).await;
    assert!(matches!(again, Err(PublishError::Duplicate)), "{again:?}");
    assert_eq!(place(&gateway, &first).await, before);
}

#[tokio::test]
async fn a_job_is_pulled_forward() {
    let stage = Stage::start().await;
    let gateway = stage.gateway().await;
    let _mover = Moving::start(&stage).await;
    let mut worker = stage.worker(&["bash"], 1).await;
    let job = set(&gateway, 3_600_000).await;
    let queued = gateway.finder.find(&job.workspace, job.id).await.unwrap().unwrap();
    assert!(gateway.publisher.hasten(&queued, soon()).await.unwrap().is_some());
    let started = next(&mut worker).await;
    assert_eq!(started.id, job.id);
    assert!(started.due_us() <= now_us(), "it says when it became due");
    assert!(gateway.publisher.hasten(&queued, soon()).await.unwrap().is_none(), "it is not there any more");
    all_gone(&gateway).await;
}

#[tokio::test]
async fn a_cancelled_job_does_not_start_though_its_timer_fires() {
    let stage = Stage::start().await;
    let gateway = stage.gateway().await;
    let _mover = Moving::start(&stage).await;
    let mut worker = stage.worker(&["bash"], 1).await;
    let (removed, fires) = (set(&gateway, 700).await, set(&gateway, 800).await);
    for job in [&removed, &fires] {
        let answer = gateway.cancel(job).await;
        assert!(matches!(answer, CancelAnswer::Canceled(_)), "{answer:?}");
    }
    let queued = gateway.finder.find(&removed.workspace, removed.id).await.unwrap().unwrap();
    gateway.finder.remove(&queued).await.unwrap();
    let delivery = worker.next().await;
    let job = delivery.job.as_ref().unwrap();
    assert_eq!(job.id, fires.id, "a timer that was removed does not fire");
    let answer = worker.start(job).await;
    assert!(matches!(answer, StartAnswer::Ended(_)), "{answer:?}");
}

/// The record of a cancelled job outlives its timer, which a gateway that died may have left.
#[tokio::test]
async fn the_end_of_a_cancelled_job_is_known_when_its_timer_would_have_fired() {
    let stage = Stage::start().await;
    let gateway = stage.gateway().await;
    let ahead = Duration::from_hours(24 * 400);
    let job = set(&gateway, i64::try_from(ahead.as_millis()).unwrap()).await;
    let queued = gateway.finder.find(&job.workspace, job.id).await.unwrap().unwrap();
    gateway.records.cancel(&job.workspace, job.id, &eve(), Some(&queued.job), None).await.unwrap();
    let record = gateway.records.get(&job.workspace, job.id).await.unwrap().unwrap();
    assert_eq!(record.state, JobState::Ended(Outcome::Canceled));
    let mut redis = stage.redis().await;
    let left: i64 =
        redis::cmd("TTL").arg(format!("hm:{{demo}}:job:{}", job.id)).query_async(&mut redis).await.unwrap();
    assert!(Duration::from_secs(left.unsigned_abs()) > ahead, "{left} s");
}

#[tokio::test]
async fn timers_outlive_a_killed_nats_and_those_that_were_due_meanwhile_fire_at_once() {
    let mut stage = Stage::start().await;
    let gateway = stage.gateway().await;
    let _mover = Moving::start(&stage).await;
    let mut worker = stage.worker(&["bash"], 2).await;
    let (overdue, ahead) = (set(&gateway, 500).await, set(&gateway, 3000).await);
    stage.nats.kill();
    let passes = async {
        while now_us() <= overdue.due_us() {
            tokio::task::yield_now().await;
        }
    };
    within("its time passes", passes).await;
    stage.nats.start_again().await;
    assert_eq!(next(&mut worker).await.id, overdue.id);
    assert_eq!(next(&mut worker).await.id, ahead.id);
    all_gone(&gateway).await;
}

#[tokio::test]
async fn a_full_stream_of_jobs_makes_due_jobs_wait_and_loses_none() {
    let stage = Stage::start().await;
    let gateway = stage.gateway().await;
    let mut filling = Vec::new();
    stage.provision(8 * 1024).await;
    loop {
        let mut job = job("bash");
        match gateway.publish(&mut job).await {
            Ok(()) => filling.push(job.id),
            Err(PublishError::Full) => break,
            Err(other) => panic!("{other}"),
        }
    }
    let due = set(&gateway, 300).await;
    let _mover = Moving::start(&stage).await;
    let fired = async {
        while !matches!(place(&gateway, &due).await, Some(Place::Fired(_))) {
            tokio::task::yield_now().await;
        }
    };
    within("the timer has fired", fired).await;
    let mut worker = stage.worker(&["bash"], 1).await;
    for _ in 0..filling.len() {
        assert_ne!(next(&mut worker).await.id, due.id);
    }
    assert_eq!(next(&mut worker).await.id, due.id);
    all_gone(&gateway).await;
}

/// Whoever moved it before died before the timer was acknowledged.
#[tokio::test]
async fn a_move_that_is_repeated_makes_no_second_job() {
    let stage = Stage::start().await;
    let gateway = stage.gateway().await;
    let job = set(&gateway, 400).await;
    let moved = gateway.publisher.put_back(&subject(&job), job.encode(), "the first mover", soon()).await;
    moved.expect("the stream takes it");
    let _mover = Moving::start(&stage).await;
    let waits = async {
        while timer_of(&gateway, &job).await {
            tokio::task::yield_now().await;
        }
    };
    within("the timer is gone", waits).await;
    let mut worker = stage.worker(&["bash"], 1).await;
    assert_eq!(next(&mut worker).await.id, job.id);
    all_gone(&gateway).await;
}

/// Workers may set timers, of jobs they have seen: such a timer must not become another job.
#[tokio::test]
async fn a_timer_of_one_job_does_not_make_another() {
    let stage = Stage::start().await;
    let gateway = stage.gateway().await;
    let _mover = Moving::start(&stage).await;
    let (forged, other) = (job("bash"), job("bash"));
    let timer = PublishMessage::build()
        .payload(other.encode())
        .header("Nats-Schedule", "@at 2020-01-01T00:00:00Z")
        .header("Nats-Schedule-Target", names::fire("demo", &forged.id.to_string()).as_str())
        .header("Hookmill-Job-Subject", subject(&other).as_str());
    let sent = gateway.broker.jetstream().send_publish(names::timer("demo", &forged.id.to_string()), timer);
    sent.await.unwrap().await.unwrap();
    all_gone(&gateway).await;
    assert!(!gateway.holds(&other).await && !gateway.holds(&forged).await);
}

/// A mover has come to a timer, and could not move it.
pub(crate) async fn tried_to_move(stage: &Stage) {
    let broker = stage.nats.broker(PROVISION).await;
    let subject = format!("$JS.API.CONSUMER.INFO.{}.{}", names::TIMERS_STREAM, names::FIRE_CONSUMER);
    let tried = async {
        loop {
            let answer =
                broker.client().request(subject.clone(), "".into()).await.expect("nats-server answers");
            let info: serde_json::Value = serde_json::from_slice(&answer.payload).expect("JSON");
            if info["num_redelivered"].as_u64() > Some(0) {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    within("a move that was tried", tried).await;
}

/// A timer may be set for one job, and fire into the place of another.
#[tokio::test]
async fn a_timer_that_fires_into_anothers_place_is_dropped() {
    let stage = Stage::start().await;
    let gateway = stage.gateway().await;
    let _mover = Moving::start(&stage).await;
    let (own, other) = (job("bash"), job("bash"));
    for forged in [None, Some(names::timer("demo", &other.id.to_string()))] {
        let timer = PublishMessage::build()
            .payload(other.encode())
            .header("Nats-Schedule", "@at 2020-01-01T00:00:00Z")
            .header("Nats-Schedule-Target", names::fire("demo", &other.id.to_string()).as_str())
            .header("Hookmill-Job-Subject", subject(&other).as_str());
        let timer = match &forged {
            Some(scheduler) => timer.header("Nats-Scheduler", scheduler.as_str()),
            None => timer,
        };
        let sent = gateway.broker.jetstream().send_publish(names::timer("demo", &own.id.to_string()), timer);
        // a server that refuses it is as good
        let _ = sent.await.unwrap().await;
        all_gone(&gateway).await;
        assert!(!gateway.holds(&other).await, "{forged:?}");
    }
}

fn subject(job: &Job) -> String {
    names::job_subject(&job.tag.token(), "p1", &job.workspace.token(), &job.id.to_string())
}

/// Whether a job has a timer, fired or not.
async fn timer_of(gateway: &Gateway, job: &Job) -> bool {
    let filter = names::timer_anywhere(&job.workspace.token(), &job.id.to_string());
    let ask = serde_json::json!({"last_by_subj": filter}).to_string();
    let subject = format!("$JS.API.DIRECT.GET.{}", names::TIMERS_STREAM);
    let answer = gateway.broker.client().request(subject, ask.into()).await.expect("nats-server answers");
    answer.status.is_none()
}

/// Its arguments are kept once, and go when it is refused.
#[tokio::test]
async fn large_arguments_wait_with_their_job() {
    let stage = Stage::start().await;
    let gateway = stage.gateway().await;
    let _mover = Moving::start(&stage).await;
    let mut worker = stage.worker(&["bash"], 1).await;
    let args = Bytes::from(format!("{{\"a\":\"{}\"}}", "x".repeat(700_000)));
    let mut job = later("bash", 500);
    gateway.publish_with(&mut job, args.clone()).await.unwrap();
    let started = next(&mut worker).await;
    assert_eq!(worker.args.load(&started.args).await.unwrap(), args);
}
