//! A script's log on its way to the store. What is left when the output has ended is not
//! written here but with the job's end, in one step.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use job_queue::{EventKind, Events, Job, LogChunk, Records, StoreError};

use crate::execute::LogSink;

/// How long a chunk is tried while the store is away; then it is lost and the log says so.
const TRIES: u32 = 20;
const PAUSE: Duration = Duration::from_millis(250);

/// The log of one attempt.
pub(crate) struct RecordLog {
    records: Records,
    events: Events,
    job: Arc<Job>,
    attempt: u32,
    at: Option<u64>,
    lost_bytes: usize,
    rest: Rest,
}

/// What the start script answered.
#[derive(Clone, Copy)]
pub(crate) struct Fence {
    pub(crate) attempt: u32,
    /// Where the log ended then.
    pub(crate) log_len: u64,
}

/// The last chunk, for the end script.
#[derive(Clone, Default)]
pub(crate) struct Rest(Arc<Mutex<String>>);

impl Rest {
    pub(crate) fn take(&self) -> String {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn set(&self, text: String) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = text;
    }
}

impl RecordLog {
    pub(crate) fn new(records: Records, events: Events, job: Arc<Job>, fence: Fence) -> (Self, Rest) {
        let rest = Rest::default();
        let Fence { attempt, log_len } = fence;
        let log =
            Self { records, events, job, attempt, at: Some(log_len), lost_bytes: 0, rest: rest.clone() };
        (log, rest)
    }

    fn text(&mut self, chunk: &Bytes) -> String {
        let text = String::from_utf8_lossy(chunk);
        match std::mem::take(&mut self.lost_bytes) {
            0 => text.into_owned(),
            lost => format!("\n[{lost} bytes of log were lost: the run store was away]\n{text}"),
        }
    }

    async fn append(&mut self, text: &str) -> Result<(), StoreError> {
        let chunk = LogChunk { attempt: self.attempt, at: self.at, text };
        // none: another attempt writes now, and this one is about to be killed
        self.at = self.records.append_log(&self.job, &chunk).await?.or(self.at);
        self.events.tell(&self.job.workspace, self.job.id, EventKind::Log).await;
        Ok(())
    }
}

impl LogSink for RecordLog {
    async fn write(&mut self, chunk: Bytes) {
        let text = self.text(&chunk);
        for _ in 0..TRIES {
            match self.append(&text).await {
                Ok(()) => return,
                Err(error) => tracing::debug!(job.id = %self.job.id, %error, "log not appended yet"),
            }
            tokio::time::sleep(PAUSE).await;
        }
        self.lost_bytes += chunk.len();
    }

    async fn finish(&mut self, rest: Bytes) {
        let text = self.text(&rest);
        self.rest.set(text);
    }
}
