//! New jobs are refused while there is room still: for what goes on.

use std::time::Duration;

use async_nats::jetstream::stream;
use broker::names;
use broker::permissions::{GATEWAY, PROVISION};
use bytes::Bytes;
use job_queue::{Bounds, Job, Pressure, Refusal, Stream, Tick, Ticks, Unit, now_us};
use test_servers::within;

use crate::stage::{Gateway, Stage, job, soon};

const KIB: u64 = 1024;

fn bounds() -> Bounds {
    Bounds {
        stream_share: "80%".parse().expect("a share"),
        redis_share: "90%".parse().expect("a share"),
        redis_bytes: None,
        timers_bytes: 1024 * KIB,
        args_bytes: 1024 * KIB,
        oldest_waits: None,
    }
}

async fn pressure(stage: &Stage, bounds: Bounds) -> Pressure {
    Pressure::new(&stage.nats.broker(GATEWAY).await, &stage.records(), bounds)
}

/// What a gateway does with a new job.
async fn trigger(gateway: &Gateway, pressure: &Pressure, mut job: Job) -> Result<Job, Refusal> {
    pressure.admit(Some(&job.tag), 1000, job.scheduled_us).await?;
    gateway.publish_with(&mut job, Bytes::from(vec![b' '; 1000])).await.expect("there is room still");
    pressure.note(&job);
    Ok(job)
}

/// Triggers until that is refused.
async fn fill(gateway: &Gateway, pressure: &Pressure, make: impl Fn() -> Job) -> (Vec<Job>, Refusal) {
    let mut taken = Vec::new();
    loop {
        match trigger(gateway, pressure, make()).await {
            Ok(job) => taken.push(job),
            Err(refusal) => return (taken, refusal),
        }
        assert!(taken.len() < 1000, "never refused");
    }
}

/// Waits until a job is admitted, or none is any more.
async fn admits(pressure: &Pressure, tag: &str, yes: bool) -> Option<Refusal> {
    let tag = tag.parse().expect("a tag");
    within("another verdict", async {
        let mut looks = tokio::time::interval(Duration::from_millis(20));
        loop {
            looks.tick().await;
            let verdict = pressure.admit(Some(&tag), 0, None).await;
            if verdict.is_ok() == yes {
                return verdict.err();
            }
        }
    })
    .await
}

fn later(seconds: i64) -> Job {
    Job { scheduled_us: Some(now_us() + seconds * 1_000_000), ..job("bash") }
}

fn full(refusal: &Refusal) -> (Stream, u64, u64, Unit) {
    match refusal {
        Refusal::Stream { stream, used, limit, unit, share } => {
            assert_eq!(share.to_string(), "80%");
            (*stream, *used, *limit, *unit)
        }
        other => panic!("refused for another reason: {other}"),
    }
}

/// So that four fifths are reached, and not by much: what was published within the last second counts.
fn just_reached(used: u64, limit: u64) {
    assert!(used * 5 >= limit * 4, "{used} of {limit}");
    assert!(used * 100 < limit * 83, "{used} of {limit}");
}

#[tokio::test]
async fn a_stream_refuses_new_jobs_and_takes_all_others() {
    let stage = Stage::start().await;
    stage.provision(256 * 1024).await;
    let (gateway, pressure) = (stage.gateway().await, pressure(&stage, bounds()).await);
    let (mut jobs, refusal) = fill(&gateway, &pressure, || job("bash")).await;
    let (stream, used, limit, unit) = full(&refusal);
    assert_eq!((stream, limit, unit), (Stream::Jobs, 256 * KIB, Unit::Bytes));
    just_reached(used, limit);
    // another gateway knows nothing yet, and asks first
    let other = self::pressure(&stage, bounds()).await;
    assert!(trigger(&gateway, &other, job("deno")).await.is_err());
    // what is due later has a stream of its own, but for what is due at once
    assert!(trigger(&gateway, &pressure, later(3600)).await.is_ok());
    assert!(trigger(&gateway, &pressure, later(10)).await.is_err());
    // a job that a timer or a letter brings back does not ask
    let mut back = Job { retries: 1, ..job("bash") };
    gateway
        .publisher
        .publish(&mut back, Bytes::from_static(b"{}"), soon())
        .await
        .expect("there is room for it");

    let mut worker = stage.worker(&["bash"], 1).await;
    jobs.push(back);
    for _ in &jobs {
        let delivery = worker.next().await;
        worker.complete(&delivery).await;
    }
    admits(&pressure, "bash", true).await;
    trigger(&gateway, &pressure, job("bash")).await.expect("there is room");
}

#[tokio::test]
async fn a_stream_may_be_full_of_messages_too() {
    let stage = Stage::start().await;
    let context = stage.nats.broker(PROVISION).await.jetstream().clone();
    let config = context.get_stream(names::JOBS_STREAM).await.unwrap().cached_info().config.clone();
    context.update_stream(stream::Config { max_messages: 10, ..config }).await.unwrap();
    let (gateway, pressure) = (stage.gateway().await, pressure(&stage, bounds()).await);
    let (jobs, refusal) = fill(&gateway, &pressure, || job("bash")).await;
    assert_eq!((jobs.len(), full(&refusal)), (8, (Stream::Jobs, 8, 10, Unit::Messages)));
}

#[tokio::test]
async fn jobs_put_aside_have_a_bound_of_their_own() {
    let stage = Stage::start().await;
    let bounds = Bounds { timers_bytes: 64 * KIB, ..bounds() };
    let (gateway, pressure) = (stage.gateway().await, pressure(&stage, bounds).await);
    let (aside, refusal) = fill(&gateway, &pressure, || later(3600)).await;
    let (stream, used, limit, unit) = full(&refusal);
    assert_eq!((stream, limit, unit), (Stream::Timers, 64 * KIB, Unit::Bytes));
    just_reached(used, limit);
    trigger(&gateway, &pressure, job("bash")).await.expect("it is not put aside");
    // one that is tried again, a tick, and one that is pulled forward
    for _ in 0..20 {
        let job = Job { retries: 1, ..later(3600) };
        gateway.publisher.put_aside(&job, soon()).await.expect("it is not refused");
    }
    let ticks = Ticks::new(gateway.broker.clone());
    let tick = Tick {
        workspace: "demo".parse().unwrap(),
        path: "f/demo/nightly".parse().unwrap(),
        generation: "g".to_owned(),
        due_us: now_us() + 3_600_000_000,
        last_us: None,
    };
    ticks.replace(&tick, soon()).await.expect("it is not refused");
    let queued = gateway.finder.find(&aside[0].workspace, aside[0].id).await.unwrap().unwrap();
    assert!(gateway.publisher.hasten(&queued, soon()).await.unwrap().is_some());
}

#[tokio::test]
async fn redis_refuses_before_it_is_full() {
    let stage = Stage::start().await;
    let mut redis = stage.redis().await;
    // what connections come and go with is little beside it
    let mut ballast = redis::cmd("SETRANGE");
    ballast.arg("ballast").arg(20 * 1024 * KIB).arg("x").exec_async(&mut redis).await.unwrap();
    let used = stage.records().memory().await.unwrap();
    assert_eq!(used.limit, None);
    let plain = pressure(&stage, bounds()).await;
    assert!(admits(&plain, "bash", true).await.is_none());
    let small = Bounds { redis_bytes: Some(used.used), ..bounds() };
    let refusal = admits(&pressure(&stage, small).await, "bash", false).await.unwrap();
    assert!(matches!(refusal, Refusal::Memory { limit, .. } if limit == used.used), "{refusal}");

    let limit = async |redis: &mut redis::aio::MultiplexedConnection, bytes: u64| {
        let mut set = redis::cmd("CONFIG");
        set.arg("SET").arg("maxmemory").arg(bytes).exec_async(redis).await.unwrap();
    };
    // nearly full, and nothing is refused by the server itself
    limit(&mut redis, used.used / 95 * 100).await;
    let refusal = admits(&plain, "bash", false).await.unwrap();
    assert!(matches!(refusal, Refusal::Memory { .. }), "{refusal}");
    // what is known already is still told, whatever Redis takes
    let reservation = job_queue::Reservation { key: "k".to_owned(), request: "r".to_owned() };
    let (workspace, id) = (crate::stage::workspace(), proto::JobId::random());
    let records = stage.records();
    assert_eq!(records.reserved(&workspace, &reservation).await.unwrap(), None);
    records.reserve(&workspace, &reservation, id, Duration::from_mins(1)).await.unwrap();
    limit(&mut redis, 1).await;
    assert_eq!(
        records.reserved(&workspace, &reservation).await.unwrap(),
        Some(job_queue::Reserved::Before(id))
    );
    let other = job_queue::Reservation { request: "another".to_owned(), ..reservation };
    assert_eq!(
        records.reserved(&workspace, &other).await.unwrap(),
        Some(job_queue::Reserved::OtherRequest(id))
    );
    limit(&mut redis, 0).await;
    admits(&plain, "bash", true).await;
}

#[tokio::test]
async fn a_tag_whose_oldest_job_waits_refuses_new_ones() {
    const BOUND: Duration = Duration::from_millis(300);
    let stage = Stage::start().await;
    let bounds = Bounds { oldest_waits: Some(BOUND), ..bounds() };
    let (gateway, pressure) = (stage.gateway().await, pressure(&stage, bounds).await);
    // nobody has ever served the tag
    for _ in 0..2 {
        trigger(&gateway, &pressure, job("bash")).await.expect("nothing waits yet");
    }
    let refusal = admits(&pressure, "bash", false).await.unwrap();
    let Refusal::Waits { tag, waited, bound } = &refusal else { panic!("{refusal}") };
    assert_eq!((tag.as_str(), *bound), ("bash", BOUND));
    assert!(*waited > BOUND && *waited < Duration::from_mins(1), "{waited:?}");
    trigger(&gateway, &pressure, job("deno")).await.expect("it waits for others");
    trigger(&gateway, &pressure, later(3600)).await.expect("it does not wait yet");

    let mut worker = stage.worker(&["bash"], 1).await;
    let first = worker.next().await;
    // a job that runs waits for nobody: the second one does
    assert!(admits(&pressure, "bash", false).await.is_some());
    worker.complete(&first).await;
    drop(first);
    let second = worker.next().await;
    admits(&pressure, "bash", true).await;
    worker.complete(&second).await;
    drop(second);

    // the next one waits anew, behind what the consumer has handed out already
    let third = trigger(&gateway, &pressure, job("bash")).await.expect("nothing waits");
    assert_eq!(worker.next().await.job.unwrap().id, third.id);
    worker.die().await;
    trigger(&gateway, &pressure, job("bash")).await.expect("nothing waits");
    assert!(matches!(admits(&pressure, "bash", false).await, Some(Refusal::Waits { .. })));
}

/// Without an answer nothing speaks against a job: it is NATS that refuses it then.
#[tokio::test]
async fn who_cannot_ask_does_not_refuse() {
    let mut stage = Stage::start().await;
    let bounds = Bounds { redis_bytes: Some(1), oldest_waits: Some(Duration::from_nanos(1)), ..bounds() };
    let pressure = pressure(&stage, bounds).await;
    stage.nats.pause();
    stage.valkey.kill();
    let tag = "bash".parse().unwrap();
    within("the first verdict", pressure.admit(Some(&tag), 0, None)).await.unwrap();
    stage.valkey.start_again().await;
    stage.nats.resume();
    let refusal = admits(&pressure, "bash", false).await.unwrap();
    assert!(matches!(refusal, Refusal::Memory { .. }), "{refusal}");
}

#[tokio::test]
async fn large_arguments_are_refused_where_their_store_fills_up_and_others_are_not() {
    let stage = Stage::start().await;
    let bounds = Bounds { args_bytes: 2048 * KIB, ..bounds() };
    let (gateway, pressure) = (stage.gateway().await, pressure(&stage, bounds).await);
    let large = 300 * 1024;
    let refusal = loop {
        if let Err(refusal) = pressure.admit(None, large, None).await {
            break refusal;
        }
        let mut job = job("bash");
        gateway.publish_with(&mut job, Bytes::from(vec![b' '; large])).await.expect("a fifth is left");
        pressure.note(&job);
    };
    let Refusal::Stream { stream: Stream::Args, used, limit, .. } = refusal else { panic!("{refusal:?}") };
    assert!(limit == 2048 * KIB && used * 100 >= limit * 80, "{used} of {limit}");
    pressure.admit(None, 1000, None).await.expect("small ones do not go there");
}
