//! `queued` rows for listings: batched, not awaited by the trigger, and losing one loses
//! nothing, because the message in the stream is the job.

use std::time::Duration;

use tokio::sync::mpsc;

use super::keys::JobKeys;
use super::{Records, StoreError};
use crate::model::{Args, Job};

/// Rows that may wait to be written; beyond it they are dropped and counted.
const WAITING: usize = 10_000;
/// Rows written at once.
const BATCH: usize = 1000;
/// How long the first row of a batch waits for others: most jobs have started by then, and
/// need none.
const LINGER: Duration = Duration::from_millis(50);

/// Where triggers leave the rows of their jobs.
#[derive(Clone)]
pub struct QueuedRows(mpsc::Sender<Job>);

impl QueuedRows {
    /// The sender, and the task that writes what is sent until every sender is gone.
    pub fn new(records: Records) -> (Self, impl Future<Output = ()> + Send) {
        let (sender, mut receiver) = mpsc::channel(WAITING);
        let writer = async move {
            let mut batch = Vec::with_capacity(BATCH);
            while let Some(first) = receiver.recv().await {
                tokio::time::sleep(LINGER).await;
                batch.push(first);
                while batch.len() < BATCH
                    && let Ok(next) = receiver.try_recv()
                {
                    batch.push(next);
                }
                records.note_queued(&mut batch).await;
            }
        };
        (Self(sender), writer)
    }

    /// Leaves a row; never waits.
    pub fn note(&self, mut job: Job) {
        // the row holds neither arguments nor grant
        job.grant = crate::model::Grant::default();
        if matches!(job.args, Args::Inline(_)) {
            job.args = Args::Inline(bytes::Bytes::new());
        }
        if self.0.try_send(job).is_err() {
            metrics::counter!("job_queue_listing_rows_dropped_total").increment(1);
        }
    }
}

impl Records {
    async fn note_queued(&self, batch: &mut Vec<Job>) {
        let writes = batch.drain(..).map(|job| async move { self.note_one(&job).await });
        for result in futures::future::join_all(writes).await {
            if let Err(error) = result {
                metrics::counter!("job_queue_listing_rows_dropped_total").increment(1);
                tracing::debug!(%error, "a listing row was not written");
            }
        }
    }

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
