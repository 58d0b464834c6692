//! Waiting costs nothing: with 500 callers waiting, NATS and Redis count as many messages and
//! commands as with one. What a worker and a running job cost by themselves (renewals, signs of
//! life) is measured first; its largest single step is the jitter of a window's two ends.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use futures::future::join_all;
use system_tests::{System, eventually};
use tokio::task::JoinHandle;
use tokio::time::{interval, sleep_until};

use super::stage::{BOUND, HELD, Stage, backlog_is, figure};

/// How long is counted, both times.
const WINDOW: Duration = Duration::from_secs(20);
/// How many wait in the end.
const CALLERS: usize = 500;
/// How many come at once: that many a machine with other work takes in time.
const AT_ONCE: usize = 50;
/// How many of them are answered before the rest hangs up: one slot runs them all.
const ANSWERED: usize = 20;

/// What the servers have counted.
#[derive(Clone, Copy, Debug)]
struct Counted {
    nats: u64,
    redis: u64,
}

impl Counted {
    async fn now(system: &System) -> Self {
        let varz = system.nats().monitoring("/varz").await.expect("NATS answers");
        let nats = varz["in_msgs"].as_u64().unwrap() + varz["out_msgs"].as_u64().unwrap();
        let text = system.valkey().info("commandstats").await.expect("Valkey answers");
        Self { nats, redis: calls(&text).values().sum() }
    }

    fn since(self, before: Self) -> Self {
        Self { nats: self.nats - before.nats, redis: self.redis - before.redis }
    }

    fn most(self, other: Self) -> Self {
        Self { nats: self.nats.max(other.nats), redis: self.redis.max(other.redis) }
    }
}

/// Calls of each command, without those by which this test asks.
fn calls(commandstats: &str) -> BTreeMap<&str, u64> {
    let entry = |line| -> Option<(&str, u64)> {
        let (name, rest) = str::strip_prefix(line, "cmdstat_")?.split_once(":calls=")?;
        let own = matches!(name, "info" | "auth" | "hello" | "select" | "ping" | "client|setinfo");
        (!own).then_some((name, rest.split(',').next()?.parse().ok()?))
    };
    commandstats.lines().filter_map(entry).collect()
}

#[tokio::test]
async fn five_hundred_waiting_callers_cost_as_much_as_one() {
    let system = System::start().slots(1).gateway_setting("wait-default", "5m").await;
    let (stage, client) = (Stage::set(&system).await, system.client());
    let mut callers = vec![stage.caller(client, HELD, "value-0")];
    stage.begins(1).await;
    let (one, jitter) = background(&system).await;

    while callers.len() < CALLERS {
        let next = callers.len()..CALLERS.min(callers.len() + AT_ONCE);
        callers.extend(next.map(|number| stage.caller(client, HELD, &format!("value-{number}"))));
        backlog_is(&system, callers.len() as u64).await;
    }
    eventually("rows of all jobs in the listing", BOUND, async || {
        (client.list(&format!("per_page={CALLERS}")).await.len() == CALLERS).then_some(())
    })
    .await;
    let many = window(&system).await;
    figure(&format!("in {WINDOW:?}: 1 caller {one:?}, {CALLERS} callers {many:?}, jitter {jitter:?}"));
    assert!(callers.iter().all(|caller| !caller.is_finished()), "all of them waited all the time");
    assert_eq!(stage.begun().len(), 1);
    assert!(one.nats > 0 && one.redis > 0, "the counters count: {one:?}");
    assert!(jitter.nats < 50 && jitter.redis < 100, "a background that hides nothing: {jitter:?}");
    assert!(one.nats.abs_diff(many.nats) <= 2 * jitter.nats, "{one:?} {many:?} {jitter:?}");
    assert!(one.redis.abs_diff(many.redis) <= 2 * jitter.redis, "{one:?} {many:?} {jitter:?}");

    // they did wait for an answer
    stage.let_go(ANSWERED);
    let answers = eventually("the first answers", BOUND, async || {
        let (done, _): (Vec<_>, Vec<_>) = callers.iter().partition(|caller| caller.is_finished());
        (done.len() >= ANSWERED).then_some(())
    });
    answers.await;
    let (done, rest): (Vec<_>, Vec<_>) = callers.into_iter().partition(JoinHandle::is_finished);
    rest.iter().for_each(JoinHandle::abort);
    for answer in join_all(done).await {
        assert!(answer.unwrap().expect(200).text().starts_with("\"value-"));
    }
}

async fn window(system: &System) -> Counted {
    let before = Counted::now(system).await;
    sleep_until((Instant::now() + WINDOW).into()).await;
    Counted::now(system).await.since(before)
}

/// The window with one caller, and the largest step within a tenth of a second.
async fn background(system: &System) -> (Counted, Counted) {
    let (begin, mut ticks) = (Instant::now(), interval(Duration::from_millis(100)));
    let first = Counted::now(system).await;
    let (mut last, mut jitter) = (first, Counted { nats: 0, redis: 0 });
    while begin.elapsed() < WINDOW {
        ticks.tick().await;
        let now = Counted::now(system).await;
        jitter = jitter.most(now.since(last));
        last = now;
    }
    (last.since(first), jitter)
}
