//! Listings: their order, their filters, their cursor, and that a page costs the same however
//! long the history is.

use std::collections::BTreeMap;

use job_queue::{Filter, Job, JobState, Outcome, PageCursor, QueuedRows, Record, Records, RedisConfig};
use proto::{InstanceId, JobId};
use redis::AsyncCommands;
use test_servers::{Valkey, within};
use tokio_util::sync::CancellationToken;

use crate::stage::{RETENTION, eve, finish, job, nonce, start, success, workspace};

struct Store {
    valkey: Valkey,
    records: Records,
    worker: InstanceId,
}

impl Store {
    async fn start() -> Self {
        let valkey = Valkey::start().await;
        let config = RedisConfig { url: valkey.url(), retention: RETENTION.into() };
        Self {
            records: Records::open(&config).expect("the address is right"),
            valkey,
            worker: InstanceId::random("worker"),
        }
    }

    async fn redis(&self) -> redis::aio::MultiplexedConnection {
        let client = redis::Client::open(self.valkey.admin_url()).expect("the address is right");
        client.get_multiplexed_async_connection().await.expect("the server runs")
    }

    async fn run(&self, job: &Job) {
        start(&self.records, job, &self.worker, &nonce()).await;
    }

    async fn end(&self, job: &Job) {
        self.run(job).await;
        finish(&self.records, job, 1, &success("1")).await;
    }

    /// `count` ended jobs, a microsecond apart but for pairs of the same one; oldest first.
    async fn history(&self, count: i64) -> Vec<JobId> {
        let jobs: Vec<Job> = (0..count).map(|place| at(place / 2)).collect();
        for chunk in jobs.chunks(100) {
            futures::future::join_all(chunk.iter().map(|job| self.end(job))).await;
        }
        let mut rows: Vec<(i64, JobId)> = jobs.iter().map(|job| (job.created_us, job.id)).collect();
        // equal times are ordered by id, as the index does
        rows.sort_by_key(|(at, id)| (*at, id.to_string()));
        rows.into_iter().map(|(_, id)| id).collect()
    }

    async fn page(
        &self,
        filter: &Filter,
        cursor: Option<PageCursor>,
        limit: usize,
    ) -> (Vec<JobId>, Option<PageCursor>) {
        let page = self.records.list(&workspace(), filter, cursor, 0, limit).await.expect("valkey answers");
        (ids(&page.rows), page.next)
    }

    /// Every page after the other.
    async fn all(&self, filter: &Filter, limit: usize) -> Vec<JobId> {
        let (mut all, mut cursor) = (Vec::new(), None);
        loop {
            let (rows, next) = self.page(filter, cursor, limit).await;
            all.extend(rows);
            match next {
                Some(next) => cursor = Some(next),
                None => return all,
            }
        }
    }
}

fn ids(rows: &[Record]) -> Vec<JobId> {
    rows.iter().map(|row| row.job.id).collect()
}

/// A job created so many microseconds after the first of this test.
fn at(place: i64) -> Job {
    static EPOCH: std::sync::OnceLock<i64> = std::sync::OnceLock::new();
    let epoch = EPOCH.get_or_init(|| job_queue::now_us() - 10_000_000);
    Job { created_us: epoch + place, ..job("bash") }
}

fn reversed(mut ids: Vec<JobId>) -> Vec<JobId> {
    ids.reverse();
    ids
}

#[tokio::test]
async fn nothing_is_an_empty_page() {
    let store = Store::start().await;
    for filter in [Filter::default(), running(true), running(false)] {
        assert_eq!(store.page(&filter, None, 30).await, (Vec::new(), None));
        assert_eq!(store.page(&filter, None, 0).await, (Vec::new(), None));
    }
}

fn running(running: bool) -> Filter {
    Filter { running: Some(running), ..Filter::default() }
}

#[tokio::test]
async fn a_thousand_rows_page_by_page() {
    let store = Store::start().await;
    let newest_first = reversed(store.history(1000).await);
    for limit in [7, 100, 1000] {
        assert_eq!(store.all(&Filter::default(), limit).await, newest_first, "pages of {limit}");
    }
    assert_eq!(store.all(&running(false), 99).await, newest_first);
    let skipped = store.records.list(&workspace(), &Filter::default(), None, 990, 30).await.unwrap();
    assert_eq!(ids(&skipped.rows), newest_first[990..]);
    let skipped = store.records.list(&workspace(), &running(false), None, 400, 30).await.unwrap();
    assert_eq!(ids(&skipped.rows), newest_first[400..430]);
}

#[tokio::test]
async fn filters_by_path_and_by_running() {
    let store = Store::start().await;
    let elsewhere = |place| Job { path: "f/other/script".parse().unwrap(), ..at(place) };
    let (ended, other, runs, other_runs) = (at(1), elsewhere(2), at(3), elsewhere(4));
    store.end(&ended).await;
    store.end(&other).await;
    store.run(&runs).await;
    store.run(&other_runs).await;
    let by_path = |path: &str, running| Filter { path: Some(path.parse().unwrap()), running };
    let cases = [
        (Filter::default(), vec![&other_runs, &runs, &other, &ended]),
        (running(true), vec![&other_runs, &runs]),
        (running(false), vec![&other, &ended]),
        (by_path("f/demo/hello", None), vec![&runs, &ended]),
        (by_path("f/demo/hello", Some(true)), vec![&runs]),
        (by_path("f/other/script", Some(false)), vec![&other]),
        (by_path("f/no/script", None), vec![]),
    ];
    for (filter, expected) in cases {
        let expected: Vec<JobId> = expected.into_iter().map(|job| job.id).collect();
        assert_eq!(store.all(&filter, 30).await, expected, "{filter:?}");
        assert_eq!(store.all(&filter, 1).await, expected, "{filter:?}, one by one");
    }
    let elsewhere = "other".parse().unwrap();
    assert!(store.records.list(&elsewhere, &Filter::default(), None, 0, 30).await.unwrap().rows.is_empty());
}

#[tokio::test]
async fn rows_whose_record_expired_are_passed_over() {
    let store = Store::start().await;
    let oldest_first = store.history(40).await;
    let mut redis = store.redis().await;
    for id in oldest_first.iter().skip(5).take(30) {
        redis.del::<_, ()>(format!("hm:{{demo}}:job:{id}")).await.unwrap();
    }
    let mut expected: Vec<JobId> = oldest_first[..5].to_vec();
    expected.extend(&oldest_first[35..]);
    let expected = reversed(expected);
    for limit in [3, 10, 100] {
        assert_eq!(store.all(&Filter::default(), limit).await, expected, "pages of {limit}");
    }
}

#[tokio::test]
async fn a_cursor_outlives_its_row() {
    let store = Store::start().await;
    let oldest_first = store.history(20).await;
    let (first, next) = store.page(&Filter::default(), None, 6).await;
    assert_eq!(first, reversed(oldest_first[14..].to_vec()));
    let mut redis = store.redis().await;
    redis.zrem::<_, _, ()>("hm:{demo}:runs", first[5].to_string()).await.unwrap();
    // rows of the very same microsecond could be left out; there is none here
    let (second, _) = store.page(&Filter::default(), next, 6).await;
    assert_eq!(second, reversed(oldest_first[8..14].to_vec()));
}

#[tokio::test]
async fn a_start_trims_what_is_older_than_the_retention() {
    let store = Store::start().await;
    let retention_us = i64::try_from(RETENTION.as_micros()).unwrap();
    let old = Job { created_us: job_queue::now_us() - 2 * retention_us, ..job("bash") };
    store.run(&old).await;
    let mut redis = store.redis().await;
    for index in ["hm:{demo}:runs", "hm:{demo}:runs:f=2Fdemo=2Fhello"] {
        assert_eq!(redis.zcard::<_, i64>(index).await.unwrap(), 1, "{index}");
    }
    let new = at(0);
    store.run(&new).await;
    for index in ["hm:{demo}:runs", "hm:{demo}:runs:f=2Fdemo=2Fhello"] {
        assert_eq!(redis.zcard::<_, i64>(index).await.unwrap(), 1, "{index}");
    }
    assert_eq!(store.page(&running(true), None, 30).await.0, [new.id, old.id], "it still runs");
}

#[tokio::test]
async fn a_page_costs_the_same_however_long_the_history() {
    let store = Store::start().await;
    let mut costs = Vec::new();
    for _ in 0..2 {
        store.history(300).await;
        let (_, cursor) = store.page(&Filter::default(), None, 10).await;
        let before = store.valkey.command_calls().await;
        store.page(&Filter::default(), None, 10).await;
        store.page(&Filter::default(), cursor, 10).await;
        store.page(&Filter { path: Some("f/demo/hello".parse().unwrap()), running: None }, cursor, 10).await;
        costs.push(difference(&before, &store.valkey.command_calls().await));
    }
    assert_eq!(costs[0], costs[1]);
    assert_eq!(costs[0]["hmget"], 30);
    assert!(!costs[0].contains_key("scan") && !costs[0].contains_key("keys"), "{costs:?}");
    assert!(costs[0].values().sum::<u64>() <= 40, "{costs:?}");
}

fn difference(before: &BTreeMap<String, u64>, after: &BTreeMap<String, u64>) -> BTreeMap<String, u64> {
    let grown = after.iter().map(|(name, calls)| (name.clone(), calls - before.get(name).unwrap_or(&0)));
    grown.filter(|(_, calls)| *calls > 0).collect()
}

#[tokio::test]
async fn a_queued_row_is_listed_and_replaces_nothing() {
    let store = Store::start().await;
    let (queued, runs, ended, canceled) = (at(1), at(2), at(3), at(4));
    store.run(&runs).await;
    store.end(&ended).await;
    store.records.cancel(&workspace(), canceled.id, &eve(), Some(&canceled), None).await.unwrap();
    let (rows, writer) = QueuedRows::new(store.records.clone(), CancellationToken::new());
    for job in [&queued, &runs, &ended, &canceled, &queued] {
        rows.note(job.clone());
    }
    drop(rows);
    within("the rows are written", writer).await;
    let page = store.records.list(&workspace(), &Filter::default(), None, 0, 30).await.unwrap();
    let states: Vec<(JobId, JobState)> = page.rows.iter().map(|row| (row.job.id, row.state)).collect();
    let expected = [
        (canceled.id, JobState::Ended(Outcome::Canceled)),
        (ended.id, JobState::Ended(Outcome::Success)),
        (runs.id, JobState::Running),
        (queued.id, JobState::Queued),
    ];
    assert_eq!(states, expected);
    let mut redis = store.redis().await;
    let left: i64 = redis.pttl(format!("hm:{{demo}}:job:{}", queued.id)).await.unwrap();
    assert_eq!(left, -1, "a queued row does not expire");
    // its path's index does, should no worker ever come, and nobody's rows were trimmed for it
    assert!(redis.pttl::<_, i64>("hm:{demo}:runs:f=2Fdemo=2Fhello").await.unwrap() > 0);
    // and it is no obstacle to what comes
    store.end(&queued).await;
    assert!(store.records.end_of(&workspace(), queued.id).await.unwrap().is_some());
}

#[tokio::test]
async fn many_queued_rows_at_once() {
    let store = Store::start().await;
    let (rows, writer) = QueuedRows::new(store.records.clone(), CancellationToken::new());
    for place in 0..1000 {
        rows.note(at(place));
    }
    drop(rows);
    within("the rows are written", writer).await;
    assert_eq!(store.all(&Filter::default(), 100).await.len(), 1000);
}
