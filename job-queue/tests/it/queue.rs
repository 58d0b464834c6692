//! The rows of jobs that wait: when they come and go, how they are counted, and listed with those that run.

use job_queue::{
    Job, JobState, Order, QueueCursor, QueueFilter, QueueQuery, QueuedRows, Records, RedisConfig, Term,
    TermField, Undo, now_us,
};
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
        let records = Records::open(&config).expect("the address is right");
        Self { records, valkey, worker: InstanceId::random("worker") }
    }

    async fn note<'a>(&self, jobs: impl IntoIterator<Item = &'a Job>) {
        let (rows, writer) = QueuedRows::new(self.records.clone(), CancellationToken::new());
        for job in jobs {
            rows.note(job.clone());
        }
        drop(rows);
        within("the rows are written", writer).await;
    }

    async fn run(&self, job: &Job) -> String {
        let nonce = nonce();
        start(&self.records, job, &self.worker, &nonce).await;
        nonce
    }

    /// Each row as the index has it, oldest first.
    async fn rows(&self) -> Vec<(String, i64)> {
        let client = redis::Client::open(self.valkey.admin_url()).expect("the address is right");
        let mut redis = client.get_multiplexed_async_connection().await.expect("the server runs");
        redis.zrange_withscores("hm:{demo}:queued", 0, -1).await.expect("the server answers")
    }

    async fn count(&self) -> u64 {
        self.records.queued_by(&workspace(), now_us()).await.expect("valkey answers")
    }

    async fn page(&self, query: &QueueQuery) -> (Vec<JobId>, Option<QueueCursor>) {
        let page = self.records.list_queue(&workspace(), query).await.expect("valkey answers");
        (page.rows.iter().map(|row| row.job.id).collect(), page.next)
    }

    /// Every page after the other, by cursor.
    async fn all(&self, query: &QueueQuery) -> Vec<JobId> {
        let (mut all, mut query) = (Vec::new(), query.clone());
        loop {
            let (rows, next) = self.page(&query).await;
            all.extend(rows);
            match next {
                Some(next) => query.cursor = Some(next),
                None => return all,
            }
        }
    }
}

fn row(job: &Job) -> (String, i64) {
    (job.id.to_string(), job.due_us())
}

/// A job that is due so many microseconds after ten seconds ago.
fn at(place: i64) -> Job {
    Job { created_us: now_us() - 10_000_000 + place * 1000, ..job("bash") }
}

fn asks(filter: QueueFilter, order: Order) -> QueueQuery {
    QueueQuery { filter, order, limit: 30, ..QueueQuery::default() }
}

fn ids<'a>(jobs: impl IntoIterator<Item = &'a Job>) -> Vec<JobId> {
    jobs.into_iter().map(|job| job.id).collect()
}

#[tokio::test]
async fn a_row_leaves_at_the_start_and_comes_back_when_that_is_taken_back() {
    let store = Store::start().await;
    let job = job("bash");
    assert_eq!(store.rows().await, []);
    store.note([&job, &job]).await;
    assert_eq!(store.rows().await, [row(&job)]);
    store.note([&job]).await;
    assert_eq!(store.rows().await, [row(&job)], "once more is nothing new");
    let nonce = store.run(&job).await;
    assert_eq!(store.rows().await, []);
    start(&store.records, &job, &store.worker, &nonce).await;
    store.note([&job]).await;
    assert_eq!(store.rows().await, [], "it runs, whoever notes it late");
    assert!(store.records.undo_start(&job, (1, &nonce), Undo::Away).await.unwrap());
    assert_eq!(store.rows().await, [row(&job)]);
    assert!(store.records.undo_start(&job, (1, &nonce), Undo::Away).await.unwrap(), "a repetition");
    assert_eq!(store.rows().await, [row(&job)]);
    store.run(&job).await;
    finish(&store.records, &job, 1, &success("1")).await;
    assert!(!store.records.undo_start(&job, (1, &nonce), Undo::Away).await.unwrap());
    store.note([&job]).await;
    assert_eq!(store.rows().await, [], "it has ended");
}

#[tokio::test]
async fn a_row_leaves_when_the_job_is_cancelled_or_was_started_too_often() {
    let store = Store::start().await;
    let (canceled, unseen, exhausted) = (at(1), at(2), at(3));
    store.note([&canceled]).await;
    for job in [&canceled, &unseen] {
        store.records.cancel(&workspace(), job.id, &eve(), Some(job), None).await.unwrap();
        store.note([job]).await;
        assert_eq!(store.rows().await, []);
    }
    for _ in 0..3 {
        store.run(&exhausted).await;
        assert_eq!(store.rows().await, []);
    }
    store.run(&exhausted).await;
    store.note([&exhausted]).await;
    assert_eq!(store.rows().await, []);
    assert_eq!(store.count().await, 0);
}

#[tokio::test]
async fn what_is_due_is_counted_and_has_a_place() {
    let store = Store::start().await;
    let position = async |due_us| store.records.queue_position(&workspace(), due_us).await.unwrap();
    assert_eq!(position(now_us()).await, None, "nothing waits");
    let jobs = [at(1), at(2), at(3)];
    let later = Job { created_us: now_us() + 3_600_000_000, ..job("bash") };
    store.note(&jobs).await;
    store.note([&later]).await;
    assert_eq!(store.count().await, 3);
    assert_eq!(store.records.queued_by(&workspace(), later.due_us()).await.unwrap(), 4);
    assert_eq!(position(jobs[0].due_us()).await, Some(1));
    assert_eq!(position(jobs[2].due_us()).await, Some(3));
    assert_eq!(position(later.due_us()).await, Some(4));
    assert_eq!(position(later.due_us() + 1).await, Some(5));
    store.run(&jobs[0]).await;
    assert_eq!((store.count().await, position(jobs[2].due_us()).await), (2, Some(2)));
    let elsewhere = "other".parse().unwrap();
    assert_eq!(store.records.queued_by(&elsewhere, i64::MAX).await.unwrap(), 0);
}

#[tokio::test]
async fn those_that_run_stand_before_those_that_wait() {
    let store = Store::start().await;
    let jobs: Vec<Job> = (0..12).map(at).collect();
    store.note(&jobs).await;
    let (running, queued) = jobs.split_at(4);
    for job in running {
        store.run(job).await;
    }
    let newest: Vec<JobId> = ids(jobs.iter().rev());
    let all = QueueFilter::default;
    let part = |running| QueueFilter { running: Some(running), ..QueueFilter::default() };
    for (filter, order, expected) in [
        (all(), Order::OldestFirst, ids(&jobs)),
        (all(), Order::NewestFirst, newest.clone()),
        (part(true), Order::OldestFirst, ids(running)),
        (part(true), Order::NewestFirst, ids(running.iter().rev())),
        (part(false), Order::OldestFirst, ids(queued)),
        (part(false), Order::NewestFirst, ids(queued.iter().rev())),
    ] {
        let query = asks(filter, order);
        assert_eq!(store.page(&query).await, (expected.clone(), None), "{query:?}");
        for limit in [1, 3, 4] {
            assert_eq!(
                store.all(&QueueQuery { limit, ..query.clone() }).await,
                expected,
                "{query:?} {limit}"
            );
        }
        for skip in [1, 3, 5, 12, usize::MAX] {
            let skipped: Vec<JobId> = expected.iter().copied().skip(skip).collect();
            assert_eq!(store.page(&QueueQuery { skip, ..query.clone() }).await, (skipped, None), "{skip}");
        }
    }
}

#[tokio::test]
async fn filters_drop_rows_and_their_pages_go_on() {
    let store = Store::start().await;
    let parent = JobId::random();
    let mut special = Job { path: "f/other/script".parse().unwrap(), tag: "gpu".parse().unwrap(), ..at(1) };
    special.parent = Some(parent);
    special.caller.created_by = "bob".to_owned();
    let (plain, runs) = (at(2), at(3));
    let later = Job { created_us: now_us() + 3_600_000_000, ..job("bash") };
    store.note([&special, &plain, &runs, &later]).await;
    store.run(&runs).await;
    let hash = special.hash.to_string();
    let worker = store.worker.to_string();
    for (field, values, its, others) in [
        (TermField::Path, vec!["f/other/script", "f/x/y"], vec![&special], vec![&later, &plain, &runs]),
        (TermField::PathStart, vec!["f/de"], vec![&later, &plain, &runs], vec![&special]),
        (TermField::Tag, vec!["gpu"], vec![&special], vec![&later, &plain, &runs]),
        (TermField::CreatedBy, vec!["bob", "eve"], vec![&later, &plain, &special, &runs], vec![]),
        (TermField::Parent, vec![&parent.to_string()], vec![&special], vec![&later, &plain, &runs]),
        (TermField::Hash, vec![&hash], vec![&later, &plain, &special, &runs], vec![]),
        (TermField::Worker, vec![&worker], vec![&runs], vec![&later, &plain, &special]),
    ] {
        let values: Vec<String> = values.into_iter().map(str::to_owned).collect();
        for (negated, expected) in [(false, its), (true, others)] {
            let terms = vec![Term { field, negated, values: values.clone() }];
            let query = asks(QueueFilter { terms, ..QueueFilter::default() }, Order::NewestFirst);
            assert_eq!(store.page(&query).await, (ids(expected.iter().copied()), None), "{query:?}");
            assert_eq!(
                store.all(&QueueQuery { limit: 1, ..query.clone() }).await,
                ids(expected),
                "{query:?}"
            );
        }
    }
    let due = QueueFilter { due: true, ..QueueFilter::default() };
    for (order, expected) in
        [(Order::NewestFirst, [&plain, &special, &runs]), (Order::OldestFirst, [&runs, &special, &plain])]
    {
        let query = asks(due.clone(), order);
        assert_eq!(store.page(&query).await, (ids(expected), None));
        assert_eq!(store.all(&QueueQuery { limit: 2, ..query.clone() }).await, ids(expected));
        let second = QueueQuery { skip: 1, limit: 1, ..query };
        assert_eq!(store.page(&second).await.0, ids([expected[1]]));
    }
}

#[tokio::test]
async fn a_page_goes_on_where_its_last_row_has_left() {
    let store = Store::start().await;
    // all due at the same time, so ordered by id
    let due = now_us() - 1_000_000;
    let mut jobs: Vec<Job> = (0..9).map(|_| Job { created_us: due, ..job("bash") }).collect();
    jobs.sort_by_key(|job| job.id.to_string());
    for order in [Order::OldestFirst, Order::NewestFirst] {
        store.note(&jobs).await;
        let filter = QueueFilter { running: Some(false), ..QueueFilter::default() };
        let query = QueueQuery { limit: 4, ..asks(filter, order) };
        let (first, next) = store.page(&query).await;
        let mut expected = ids(&jobs);
        if order == Order::NewestFirst {
            expected.reverse();
        }
        assert_eq!(first, expected[..4]);
        let last = jobs.iter().find(|job| job.id == first[3]).unwrap();
        let nonce = store.run(last).await;
        let (second, _) = store.page(&QueueQuery { cursor: next, ..query }).await;
        assert_eq!(second, expected[4..8], "{order:?}");
        store.records.undo_start(last, (1, &nonce), Undo::Away).await.unwrap();
    }
}

#[tokio::test]
async fn a_page_reads_a_bounded_number_of_rows() {
    let store = Store::start().await;
    let jobs: Vec<Job> = (0..1500).map(at).collect();
    store.note(&jobs).await;
    let terms = vec![Term { field: TermField::Tag, negated: false, values: vec!["gpu".to_owned()] }];
    let query = asks(QueueFilter { terms, ..QueueFilter::default() }, Order::OldestFirst);
    let before = store.valkey.command_calls().await;
    let (rows, next) = store.page(&query).await;
    let after = store.valkey.command_calls().await;
    assert!(rows.is_empty() && next.is_some());
    assert_eq!(after["hmget"] - before.get("hmget").unwrap_or(&0), 1000);
    assert_eq!(store.all(&query).await, []);
    let deep = QueueQuery { skip: 1400, ..asks(QueueFilter::default(), Order::OldestFirst) };
    let before = store.valkey.command_calls().await;
    assert_eq!(store.page(&deep).await.0, ids(&jobs[1400..1430]));
    let after = store.valkey.command_calls().await;
    assert_eq!(after["hmget"] - before["hmget"], 30, "what is passed over is not read");
    assert!(!after.contains_key("scan") && !after.contains_key("keys"));
}

#[tokio::test]
async fn rows_without_a_job_that_waits_are_passed_over() {
    let store = Store::start().await;
    let (gone, waits) = (at(1), at(2));
    store.note([&gone, &waits]).await;
    let client = redis::Client::open(store.valkey.admin_url()).unwrap();
    let mut redis = client.get_multiplexed_async_connection().await.unwrap();
    redis.del::<_, ()>(format!("hm:{{demo}}:job:{}", gone.id)).await.unwrap();
    let page =
        store.records.list_queue(&workspace(), &asks(QueueFilter::default(), Order::OldestFirst)).await;
    let rows: Vec<_> = page.unwrap().rows.iter().map(|row| (row.job.id, row.state)).collect();
    assert_eq!(rows, [(waits.id, JobState::Queued)]);
}

#[tokio::test]
async fn rows_that_redis_was_too_busy_for_are_offered_again() {
    let store = Store::start().await;
    let jobs: Vec<Job> = (0..300).map(|_| job("bash")).collect();
    // longer than one call may take
    let client = redis::Client::open(store.valkey.admin_url()).expect("the address is right");
    let mut redis = client.get_multiplexed_async_connection().await.expect("the server runs");
    redis::cmd("CLIENT").arg("PAUSE").arg(1500).exec_async(&mut redis).await.expect("the server answers");
    store.note(&jobs).await;
    assert_eq!(store.count().await, 300);
}

#[tokio::test]
async fn rows_are_written_before_their_writer_ends() {
    let store = Store::start().await;
    let over = CancellationToken::new();
    let (rows, writer) = QueuedRows::new(store.records.clone(), over.clone());
    for _ in 0..300 {
        rows.note(job("bash"));
    }
    over.cancel();
    within("the writer ends, though a sender is left", writer).await;
    assert_eq!(store.count().await, 300);
}
