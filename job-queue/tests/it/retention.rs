//! Records, results, logs, attempts and rows of listings go together, when their workspace says.

use std::time::Duration;

use broker::permissions::GATEWAY;
use job_queue::{
    EndAnswer, EndRequest, Filter, Job, Records, RedisConfig, Retention, StartAnswer, Sweeper, now_us,
};
use proto::{InstanceId, WorkspaceId};
use redis::AsyncCommands;
use redis::aio::MultiplexedConnection;
use test_servers::within;

use crate::stage::{Stage, eve, job, nonce, start, success};

const HOUR: Duration = Duration::from_hours(1);
const RETENTION: Retention = Retention { default: HOUR, longest: Duration::from_hours(3) };

struct Scene {
    stage: Stage,
    records: Records,
    redis: MultiplexedConnection,
    sweeper: Sweeper,
}

fn workspace(name: &str) -> WorkspaceId {
    name.parse().expect("a workspace")
}

fn job_of(name: &str) -> Job {
    Job { workspace: workspace(name), ..job("bash") }
}

impl Scene {
    async fn set() -> Self {
        let stage = Stage::start().await;
        let config = RedisConfig { url: stage.valkey.url(), retention: RETENTION };
        let (records, redis) = (Records::open(&config).expect("the address is right"), stage.redis().await);
        let sweeper = Sweeper::new(stage.nats.broker(GATEWAY).await, records.clone());
        Self { stage, records, redis, sweeper }
    }

    async fn begin(&self, job: &Job) -> u32 {
        match start(&self.records, job, &InstanceId::random("worker"), &nonce()).await {
            StartAnswer::Run { attempt, .. } => attempt,
            other => panic!("not run: {other:?}"),
        }
    }

    /// A worker is lost, another one runs the job to its end, of which its workspace says this.
    async fn run(&self, job: &Job, said: Option<Duration>) {
        self.begin(job).await;
        let (attempt, end) = (self.begin(job).await, success("1"));
        let (run_us, mem_kib, last_log) = (1, 1, "bye\n");
        let request =
            EndRequest { job, attempt, end: &end, run_us, mem_kib, process: None, last_log, retention: said };
        let answer = self.records.end(&request).await.expect("valkey answers");
        assert!(matches!(answer, EndAnswer::Written), "{answer:?}");
    }

    async fn keys(&mut self, name: &str) -> Vec<String> {
        let mut keys: Vec<String> =
            self.redis.keys(format!("hm:{{{name}}}:*")).await.expect("valkey answers");
        keys.sort();
        keys
    }

    async fn gone(&self, job: &Job) {
        within("its record expires", async {
            while self.records.get(&job.workspace, job.id).await.expect("valkey answers").is_some() {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }

    async fn sweep(&mut self, names: &[&str]) -> u64 {
        self.redis.del::<_, ()>("hm:sweep:lock").await.expect("valkey answers");
        let workspaces: Vec<WorkspaceId> = names.iter().map(|name| workspace(name)).collect();
        let round = self.sweeper.round(&workspaces, Duration::from_secs(60)).await;
        round.expect("both answer").expect("nobody else sweeps").expired
    }

    async fn listed(&self, name: &str) -> Vec<proto::JobId> {
        let path = Some("f/demo/hello".parse().expect("a path"));
        let mut lists = Vec::new();
        for filter in [Filter::default(), Filter { path, running: None }] {
            let page =
                self.records.list(&workspace(name), &filter, None, 0, 100).await.expect("valkey answers");
            lists.push(page.rows.iter().map(|row| row.job.id).collect::<Vec<_>>());
        }
        assert_eq!(lists[0], lists[1]);
        lists.swap_remove(0)
    }

    /// How many rows there are, whether they are listed or not.
    async fn rows(&mut self, name: &str) -> [u64; 3] {
        let mut counts = [0; 3];
        for (count, index) in counts.iter_mut().zip(["runs", "runs:f=2Fdemo=2Fhello", "expiry"]) {
            *count = self.redis.zcard(format!("hm:{{{name}}}:{index}")).await.expect("valkey answers");
        }
        counts
    }

    async fn left(&mut self, job: &Job) -> Vec<i64> {
        let mut all = Vec::new();
        for kind in ["job", "res", "log", "arg", "att"] {
            let key = format!("hm:{{{}}}:{kind}:{}", job.workspace.token(), job.id);
            all.push(self.redis.ttl(key).await.expect("valkey answers"));
        }
        all
    }
}

fn about(left: &[i64], expected: Duration) {
    let expected = i64::try_from(expected.as_secs()).expect("a short time");
    assert!(left.iter().all(|left| (expected - 10..=expected).contains(left)), "{left:?} of {expected}");
}

#[tokio::test]
async fn all_of_a_run_goes_together_and_nothing_of_another_workspace() {
    let mut scene = Scene::set().await;
    let (brief, long) = (job_of("brief"), job_of("long"));
    scene.run(&brief, Some(Duration::from_secs(1))).await;
    scene.run(&long, None).await;
    assert_eq!(scene.keys("brief").await.len(), 8, "{:?}", scene.keys("brief").await);
    scene.gone(&brief).await;
    assert_eq!(scene.listed("brief").await, []);
    assert_eq!(scene.rows("brief").await, [1, 1, 1]);
    assert_eq!(scene.sweep(&["brief", "long"]).await, 1);
    assert_eq!(scene.keys("brief").await, Vec::<String>::new(), "nobody has started anything there");
    assert_eq!(scene.listed("long").await, [long.id]);
    assert_eq!(scene.keys("long").await.len(), 8);
    about(&scene.left(&long).await, HOUR);
    assert!(scene.records.end_of(&long.workspace, long.id).await.unwrap().is_some());
    assert_eq!(scene.records.attempts(&long.workspace, long.id).await.unwrap().len(), 1);
    drop(scene.stage);
}

#[tokio::test]
async fn the_next_start_removes_rows_too_and_not_those_behind_which_there_is_a_record() {
    let mut scene = Scene::set().await;
    // kept for long, and older than those that are not: the workspace has changed its mind
    let (kept, first, second, next) = (job_of("demo"), job_of("demo"), job_of("demo"), job_of("demo"));
    scene.run(&kept, Some(2 * HOUR)).await;
    for brief in [&first, &second] {
        scene.run(brief, Some(Duration::from_secs(1))).await;
    }
    scene.gone(&second).await;
    assert_eq!(scene.rows("demo").await, [3, 3, 3]);
    assert_eq!(scene.listed("demo").await, [kept.id]);
    scene.begin(&next).await;
    assert_eq!(scene.rows("demo").await, [2, 2, 1]);
    assert_eq!(scene.listed("demo").await, [next.id, kept.id]);
}

#[tokio::test]
async fn what_is_said_last_holds_within_the_longest() {
    let mut scene = Scene::set().await;
    let at_trigger = Some(Duration::from_mins(20));
    for (at_trigger, said, holds) in [
        (None, None, HOUR),
        (at_trigger, None, Duration::from_mins(20)),
        (at_trigger, Some(Duration::from_mins(5)), Duration::from_mins(5)),
        (at_trigger, Some(Duration::from_hours(99)), RETENTION.longest),
    ] {
        let job = Job { retention: at_trigger, ..job_of("demo") };
        scene.run(&job, said).await;
        about(&scene.left(&job).await, holds);
    }
    // one that is cancelled while it waits has neither log nor arguments
    let waits = job_of("demo");
    let said = Some(Duration::from_mins(7));
    scene.records.cancel(&waits.workspace, waits.id, &eve(), Some(&waits), said).await.unwrap();
    about(&scene.left(&waits).await[..2], Duration::from_mins(7));
    let scores: Vec<(String, f64)> = scene.redis.zrange_withscores("hm:{demo}:expiry", 0, 0).await.unwrap();
    #[expect(clippy::cast_possible_truncation, reason = "microseconds are below 2^53")]
    about(&[(scores[0].1 as i64 - now_us()) / 1_000_000], Duration::from_mins(5));
}

/// Or the same request would make a second job, while its key still stands for the first.
#[tokio::test]
async fn a_record_lives_as_long_as_the_key_that_stands_for_its_job() {
    let mut scene = Scene::set().await;
    let keyed = Job { keyed_until_us: Some(now_us() + 72 * 3_600_000_000), ..job_of("demo") };
    scene.run(&keyed, Some(Duration::from_secs(1))).await;
    about(&scene.left(&keyed).await, 72 * HOUR);
}

#[tokio::test]
async fn a_row_stays_with_a_record_whose_time_is_not_over() {
    let mut scene = Scene::set().await;
    let (more_time, anew) = (job_of("demo"), job_of("demo"));
    for job in [&more_time, &anew] {
        scene.run(job, None).await;
        // as a clock that is ahead sees it
        let member = format!("{}:f=2Fdemo=2Fhello", job.id);
        scene.redis.zadd::<_, _, _, ()>("hm:{demo}:expiry", member, 1).await.unwrap();
    }
    scene.redis.persist::<_, ()>(format!("hm:{{demo}}:job:{}", anew.id)).await.unwrap();
    // the start of the second has looked at the first
    assert_eq!(scene.sweep(&["demo"]).await, 1);
    assert_eq!(scene.rows("demo").await, [2, 2, 1]);
    let due: f64 =
        scene.redis.zscore("hm:{demo}:expiry", format!("{}:f=2Fdemo=2Fhello", more_time.id)).await.unwrap();
    #[expect(clippy::cast_possible_truncation, reason = "microseconds are below 2^53")]
    about(&[(due as i64 - now_us()) / 1_000_000], HOUR);
    assert_eq!(scene.listed("demo").await.len(), 2);
}
