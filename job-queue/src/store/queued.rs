//! `queued` rows for listings: batched, not awaited by the trigger, and losing one loses
//! nothing, because the message in the stream is the job.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::keys::JobKeys;
use super::{Records, StoreError};
use crate::model::{Args, Job};

/// Rows that may wait to be written; beyond it they are dropped and counted.
const WAITING: usize = 20_000;
/// Rows written at once: more would not be answered within a call's bound while Redis is busy.
const BATCH: usize = 250;
/// How long the first row of a batch waits for others: most jobs have started by then, and
/// need none.
const LINGER: Duration = Duration::from_millis(50);
/// Between two offers of the same row.
const AGAIN: Duration = Duration::from_millis(250);
/// A row is offered for so long; the sweeper finds its job later.
const OFFERED: Duration = Duration::from_secs(30);
/// How long the rows that are left may take when the writer is to end.
const LAST: Duration = Duration::from_secs(2);

/// Where triggers leave the rows of their jobs.
#[derive(Clone)]
pub struct QueuedRows(mpsc::Sender<Job>);

impl QueuedRows {
    /// The sender, and the task that writes what is sent until every sender is gone, or until `over`: what was sent
    /// before is written.
    pub fn new(records: Records, over: CancellationToken) -> (Self, impl Future<Output = ()> + Send) {
        let (sender, rows) = mpsc::channel(WAITING);
        let writer = Writer { records, rows, over, batch: Vec::with_capacity(BATCH) };
        (Self(sender), writer.run())
    }

    /// Leaves a row; never waits.
    pub fn note(&self, mut job: Job) {
        // the row holds neither arguments nor grant
        job.grant = crate::model::Grant::default();
        if matches!(job.args, Args::Inline(_)) {
            job.args = Args::Inline(bytes::Bytes::new());
        }
        if self.0.try_send(job).is_err() {
            dropped(1);
        }
    }
}

fn dropped(rows: usize) {
    metrics::counter!("job_queue_listing_rows_dropped_total").increment(rows as u64);
}

struct Writer {
    records: Records,
    rows: mpsc::Receiver<Job>,
    over: CancellationToken,
    /// What is offered next; after a write, what Redis did not take.
    batch: Vec<Row>,
}

struct Row {
    job: Job,
    until: Instant,
}

impl Row {
    fn of(job: Job) -> Self {
        Self { job, until: Instant::now() + OFFERED }
    }
}

impl Writer {
    async fn run(mut self) {
        let over = self.over.clone();
        if over.run_until_cancelled(self.while_sent()).await.is_none() {
            // nobody sends any more
            self.rows.close();
            let _ = tokio::time::timeout(LAST, self.while_sent()).await;
        }
        dropped(self.batch.len() + self.rows.len());
    }

    /// Until every sender is gone. May be cancelled between any two rows: none is forgotten.
    async fn while_sent(&mut self) {
        loop {
            if self.batch.is_empty() {
                let Some(first) = self.rows.recv().await else { return };
                self.batch.push(Row::of(first));
            } else {
                sleep(AGAIN).await;
            }
            if self.rows.len() < BATCH && !self.rows.is_closed() {
                sleep(LINGER).await;
            }
            while self.batch.len() < BATCH
                && let Ok(next) = self.rows.try_recv()
            {
                self.batch.push(Row::of(next));
            }
            self.write().await;
        }
    }

    /// Takes out of the batch what is written, and what has been offered long enough.
    async fn write(&mut self) {
        let results =
            futures::future::join_all(self.batch.iter().map(|row| self.records.note_one(&row.job))).await;
        let (now, mut results) = (Instant::now(), results.into_iter());
        self.batch.retain(|row| match results.next() {
            Some(Err(StoreError::Unavailable(_))) if now < row.until => true,
            Some(Err(error)) => {
                dropped(1);
                tracing::debug!(%error, "a listing row was not written");
                false
            }
            Some(Ok(_)) | None => false,
        });
    }
}

impl Records {
    /// A job that waits was pulled forward: its row says so.
    ///
    /// # Errors
    /// The store is away; the row is wrong until the job starts.
    pub async fn note_due(&self, job: &Job) -> Result<(), StoreError> {
        self.write_row(job, "1").await.map(drop)
    }

    /// One row; 1 if the job had no record before.
    pub(super) async fn note_one(&self, job: &Job) -> Result<i64, StoreError> {
        self.write_row(job, "").await
    }

    async fn write_row(&self, job: &Job, due_changed: &str) -> Result<i64, StoreError> {
        let mut script = JobKeys::new(&job.workspace, Some(&job.path), job.id).invoke(&self.scripts.queued);
        script.arg(job.id.to_string()).arg(job.encode_for_record()).arg(job.created_us);
        script.arg(self.retention.longest_s()).arg(job.due_us()).arg(due_changed);
        self.invoke(&script).await
    }
}
