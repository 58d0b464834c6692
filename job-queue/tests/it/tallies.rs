//! The ends of schedules' jobs: told of by a timer, counted once each, and what follows from their count.

use std::num::NonZeroU32;

use async_nats::jetstream::message::PublishMessage;
use broker::permissions::{GATEWAY, WORKER};
use broker::{Broker, names};
use futures::future::join_all;
use job_queue::{
    After, Afters, CancelAnswer, CountAnswer, CountRequest, Counted, Due, End, FiredAfter, Job, Mover,
    Outcome, Publisher, Records, error_result,
};
use prost::Message;
use proto::{JobId, ScriptPath};
use redis::AsyncCommands;
use test_servers::within;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::stage::{Gateway, Stage, Worker, finish, job, soon, success, workspace};
use crate::timers::all_gone;

fn schedule() -> ScriptPath {
    "f/demo/nightly".parse().expect("a path")
}

fn tick() -> Job {
    Job { schedule: Some(schedule()), ..job("bash") }
}

/// Runs a job of the schedule to its end.
async fn ended(worker: &Worker, end: &End) -> JobId {
    let job = tick();
    let attempt = worker.run(&job).await;
    finish(&worker.records, &job, attempt, end).await;
    job.id
}

fn failure() -> End {
    End { outcome: Outcome::Failure, result: error_result("E", "no") }
}

/// What a schedule says of its handlers.
#[derive(Clone, Copy)]
struct Says {
    failures: u32,
    exact: bool,
    successes: u32,
    life: &'static str,
}

const SAYS: Says = Says { failures: 1, exact: false, successes: 1, life: "first" };

async fn count(records: &Records, id: JobId, says: Says) -> CountAnswer {
    let request = CountRequest {
        workspace: &workspace(),
        id,
        schedule: &schedule(),
        life: says.life,
        failures: NonZeroU32::new(says.failures).expect("a number of times"),
        exact: says.exact,
        successes: NonZeroU32::new(says.successes).expect("a number of times"),
    };
    records.count(&request).await.expect("valkey answers")
}

fn failed(times: u32, due: bool) -> CountAnswer {
    CountAnswer::Counted(Counted::Failure { times, due })
}

fn succeeded(times: u32, recovered: bool, failed: Option<JobId>) -> CountAnswer {
    CountAnswer::Counted(Counted::Success { times, recovered, failed })
}

#[tokio::test]
async fn a_job_counts_once_whoever_counts_it_and_however_often() {
    let stage = Stage::start().await;
    let worker = stage.worker(&["bash"], 1).await;
    let gateways = [stage.records(), stage.records(), stage.records()];
    let first = ended(&worker, &failure()).await;
    let counts = (0..30).map(|n| count(&gateways[n % 3], first, SAYS));
    for answer in join_all(counts).await {
        assert_eq!(answer, failed(1, true));
    }
    let second = ended(&worker, &failure()).await;
    assert_eq!(count(&gateways[0], second, SAYS).await, failed(2, true));
    // what was decided stays, whatever has been counted or written since
    let later = Says { failures: 9, exact: true, ..SAYS };
    assert_eq!(count(&gateways[1], first, later).await, failed(1, true));
}

#[tokio::test]
async fn a_schedule_is_down_after_so_many_failures_and_up_after_so_many_successes() {
    let stage = Stage::start().await;
    let worker = stage.worker(&["bash"], 1).await;
    let says = Says { failures: 3, exact: true, successes: 2, ..SAYS };
    let next = async |end: &End, says: Says| {
        let id = ended(&worker, end).await;
        (id, count(&worker.records, id, says).await)
    };
    let works = success("1");
    assert_eq!(next(&works, says).await.1, succeeded(1, false, None));
    // it fails, but is not down yet
    let (blip, answer) = next(&failure(), says).await;
    assert_eq!(answer, failed(1, false));
    for times in 1..=3 {
        assert_eq!(next(&works, says).await.1, succeeded(times, false, Some(blip)));
    }
    for (times, due) in [(1, false), (2, false), (3, true), (4, false), (5, false)] {
        assert_eq!(next(&failure(), says).await.1, failed(times, due));
    }
    // one success is not enough, and a failure after it begins anew
    assert!(matches!(
        next(&works, says).await.1,
        CountAnswer::Counted(Counted::Success { times: 1, recovered: false, .. })
    ));
    let (last, answer) = next(&failure(), says).await;
    assert_eq!(answer, failed(1, false));
    for (times, recovered) in [(1, false), (2, true), (3, false)] {
        assert_eq!(next(&works, says).await.1, succeeded(times, recovered, Some(last)));
    }
    // each one from the second on
    let each = Says { failures: 2, exact: false, ..says };
    for (times, due) in [(1, false), (2, true), (3, true)] {
        assert_eq!(next(&failure(), each).await.1, failed(times, due));
    }
}

#[tokio::test]
async fn what_has_not_ended_does_not_count_and_what_was_cancelled_failed() {
    let stage = Stage::start().await;
    let (gateway, worker) = (stage.gateway().await, stage.worker(&[], 1).await);
    assert_eq!(count(&gateway.records, JobId::random(), SAYS).await, CountAnswer::Open);
    let running = tick();
    worker.run(&running).await;
    assert_eq!(count(&gateway.records, running.id, SAYS).await, CountAnswer::Open);
    let mut queued = tick();
    gateway.publish(&mut queued).await.unwrap();
    assert!(matches!(gateway.cancel(&queued).await, CancelAnswer::Canceled(_)));
    assert_eq!(count(&gateway.records, queued.id, SAYS).await, failed(1, true));
    let ends = gateway.records.latest_ends(&workspace(), &[&schedule()]).await.unwrap();
    assert_eq!((ends[0].len(), ends[0][0].id, ends[0][0].outcome), (1, queued.id, Outcome::Canceled));
}

#[tokio::test]
async fn another_schedule_of_the_same_path_begins_at_nothing() {
    let stage = Stage::start().await;
    let worker = stage.worker(&["bash"], 1).await;
    for times in 1..=2 {
        let id = ended(&worker, &failure()).await;
        assert_eq!(count(&worker.records, id, SAYS).await, failed(times, true));
    }
    let second = Says { life: "second", ..SAYS };
    let id = ended(&worker, &success("1")).await;
    assert_eq!(count(&worker.records, id, second).await, succeeded(1, false, None));
    let ends = worker.records.latest_ends(&workspace(), &[&schedule()]).await.unwrap();
    assert_eq!(ends[0].iter().map(|end| end.id).collect::<Vec<_>>(), [id]);

    let mut redis = stage.redis().await;
    for key in ["hm:{demo}:tally:f=2Fdemo=2Fnightly", "hm:{demo}:ends:f=2Fdemo=2Fnightly"] {
        let seconds: i64 = redis.ttl(key).await.unwrap();
        assert!(seconds > 390 * 86400, "{key}: {seconds}");
    }
    worker.records.forget_tally(&workspace(), &schedule()).await.unwrap();
    let left: Vec<String> = redis.keys("hm:{demo}:*nightly*").await.unwrap();
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test]
async fn the_latest_ends_are_kept() {
    let stage = Stage::start().await;
    let worker = stage.worker(&["bash"], 1).await;
    let mut ids = Vec::new();
    for _ in 0..25 {
        let id = ended(&worker, &success("1")).await;
        count(&worker.records, id, SAYS).await;
        count(&worker.records, id, SAYS).await;
        ids.insert(0, id);
    }
    let other: ScriptPath = "f/demo/other".parse().unwrap();
    let ends = worker.records.latest_ends(&workspace(), &[&other, &schedule()]).await.unwrap();
    assert_eq!((ends.len(), ends[0].len()), (2, 0));
    assert_eq!(ends[1].iter().map(|end| end.id).collect::<Vec<_>>(), ids[..20]);
    assert!(ends[1].iter().all(|end| end.outcome == Outcome::Success && end.took_ms >= 0));
    assert!(worker.records.latest_ends(&workspace(), &[]).await.unwrap().is_empty());
}

/// A gateway's part: what has come due.
struct Listening {
    broker: Broker,
    due: mpsc::UnboundedReceiver<Due>,
    stop: CancellationToken,
    moving: JoinHandle<()>,
}

impl Listening {
    async fn start(stage: &Stage) -> Self {
        let broker = stage.nats.broker(GATEWAY).await;
        let (sender, due) = mpsc::unbounded_channel();
        let mover = Mover::open(broker.clone(), Publisher::new(broker.clone()), sender).await;
        let stop = CancellationToken::new();
        let moving = tokio::spawn(mover.expect("the client is open").run(stop.clone()));
        Self { broker, due, stop, moving }
    }

    /// The next end of a job; none where this version cannot read it.
    async fn next(&mut self) -> FiredAfter {
        match within("the timer", self.due.recv()).await.expect("the mover runs") {
            Due::After(fired) => fired,
            Due::Tick(_) => panic!("no end of a job"),
        }
    }

    /// Works off what it has begun, and no more; the timers that are left.
    async fn left(self) -> Vec<String> {
        self.stop.cancel();
        within("the mover's end", self.moving).await.expect("it does not panic");
        let (mut left, mut from) = (Vec::new(), 1);
        loop {
            let ask = format!(r#"{{"seq":{from},"next_by_subj":">"}}"#);
            let subject = format!("$JS.API.DIRECT.GET.{}", names::TIMERS_STREAM);
            let answer =
                self.broker.client().request(subject, ask.into()).await.expect("nats-server answers");
            let Some(headers) = answer.headers.filter(|_| answer.status.is_none()) else { return left };
            left.push(headers.get("Nats-Subject").expect("its subject").to_string());
            from =
                headers.get("Nats-Sequence").expect("its place").as_str().parse::<u64>().expect("a number")
                    + 1;
        }
    }
}

#[tokio::test]
async fn an_end_is_told_of_until_it_is_settled() {
    let stage = Stage::start().await;
    let gateway = stage.gateway().await;
    let mut listening = Listening::start(&stage).await;
    // with a worker's rights, and with a gateway's
    let tellers =
        [Afters::new(stage.nats.broker(WORKER).await), Afters::new(stage.nats.broker(GATEWAY).await)];
    let job = tick();
    let expected = Some(After { workspace: job.workspace.clone(), id: job.id });
    for afters in &tellers {
        afters.tell(&crate::stage::job("bash"), soon()).await.unwrap();
        afters.tell(&job, soon()).await.unwrap();
        let fired = listening.next().await;
        assert_eq!(fired.after, expected);
        // whoever has it dies, or hands it back: it comes again
        fired.lease.hand_back(None).await;
        let fired = listening.next().await;
        assert_eq!(fired.after, expected);
        fired.lease.ack().await;
        all_gone(&gateway).await;
    }
    assert!(listening.due.try_recv().is_err(), "a job of no schedule is told of to nobody");
}

/// Sets a timer that is due, of any kind.
async fn set(gateway: &Gateway, kind: &str, id: &str, payload: Vec<u8>) {
    let timer = PublishMessage::build()
        .payload(payload.into())
        .header("Nats-Schedule", "@at 2020-01-01T00:00:00Z")
        .header("Nats-Schedule-Target", format!("fire.0.{kind}.demo.{id}").as_str());
    let sent = gateway.broker.jetstream().send_publish(format!("timer.0.{kind}.demo.{id}"), timer);
    sent.await.expect("it is sent").await.expect("the timer is set");
}

#[tokio::test]
async fn forged_ends_are_dropped_and_what_is_of_a_newer_version_stays() {
    let stage = Stage::start().await;
    let gateway = stage.gateway().await;
    let mut listening = Listening::start(&stage).await;
    let (own, other) = (JobId::random().to_string(), JobId::random().to_string());
    let wire = proto::job::After { schema_version: 1, workspace: "demo".into(), job_id: other };
    set(&gateway, "after", &own, wire.encode_to_vec()).await;
    all_gone(&gateway).await;

    set(&gateway, "later", "x", Vec::new()).await;
    let fired = async {
        let ask = r#"{"last_by_subj":"fire.0.later.demo.x"}"#;
        let subject = format!("$JS.API.DIRECT.GET.{}", names::TIMERS_STREAM);
        while gateway.broker.client().request(subject.clone(), ask.into()).await.unwrap().status.is_some() {
            tokio::task::yield_now().await;
        }
    };
    within("a timer of an unknown kind", fired).await;
    let newer = proto::job::After { schema_version: 2, job_id: own.clone(), ..wire };
    set(&gateway, "after", &own, newer.encode_to_vec()).await;
    // which comes behind the other one
    let fired = listening.next().await;
    assert_eq!(fired.after, None);
    fired.lease.ack().await;
    drop(fired);
    assert_eq!(listening.left().await, ["fire.0.later.demo.x"]);
}
