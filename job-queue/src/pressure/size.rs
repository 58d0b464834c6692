//! How full a stream is.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use broker::Broker;
use futures::FutureExt;

use super::LATELY;
use super::bounds::{Refusal, Share, Stream, Unit, float};
use super::lately::Lately;
use crate::model::{Args, Job};
use crate::stream::{Fill, fill};

/// What a job takes in its stream beside its arguments: rather too much, which costs a question, than too little.
const ENVELOPE: u64 = 1024;

/// The size of a stream, and what was published to it from here.
#[derive(Clone)]
pub(super) struct Sizes {
    stream: Stream,
    filled: Lately<Reading>,
    published: Arc<Published>,
}

/// Since this process began.
#[derive(Default)]
struct Published {
    bytes: AtomicU64,
    messages: AtomicU64,
}

#[derive(Clone, Copy)]
struct Reading {
    fill: Fill,
    /// What was published when the stream was asked: what came since is not in its answer.
    bytes_before: u64,
    messages_before: u64,
}

impl Sizes {
    /// `max_bytes` is the limit of a stream that has none of its own.
    pub(super) fn new(broker: &Broker, name: &'static str, stream: Stream, max_bytes: Option<u64>) -> Self {
        let published = Arc::new(Published::default());
        let (broker, counted) = (broker.clone(), published.clone());
        let ask = move || read(broker.clone(), name, stream, max_bytes, counted.clone()).boxed();
        Self { stream, filled: Lately::new(LATELY, ask), published }
    }

    /// By the stream's word; it is asked before its time where what was published since seems to have filled it.
    pub(super) async fn admit(&self, share: Share) -> Result<(), Refusal> {
        let suspect = |reading: &Reading, _| self.judge(&self.guess(reading), share).is_some();
        self.filled.refused(suspect, |reading| self.judge(&reading.fill, share)).await
    }

    pub(super) fn note(&self, job: &Job) {
        let args = match &job.args {
            Args::Inline(bytes) => bytes.len() as u64,
            Args::Stored { .. } => 0,
        };
        self.note_bytes(ENVELOPE + args);
    }

    pub(super) fn note_bytes(&self, bytes: u64) {
        self.published.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.published.messages.fetch_add(1, Ordering::Relaxed);
    }

    fn guess(&self, reading: &Reading) -> Fill {
        let since = |now: &AtomicU64, before| now.load(Ordering::Relaxed).saturating_sub(before);
        let Fill { bytes, messages, .. } = reading.fill;
        Fill {
            bytes: bytes.saturating_add(since(&self.published.bytes, reading.bytes_before)),
            messages: messages.saturating_add(since(&self.published.messages, reading.messages_before)),
            ..reading.fill
        }
    }

    fn judge(&self, fill: &Fill, share: Share) -> Option<Refusal> {
        let measures =
            [(fill.bytes, fill.max_bytes, Unit::Bytes), (fill.messages, fill.max_messages, Unit::Messages)];
        measures.into_iter().find_map(|(used, limit, unit)| {
            let limit = limit.filter(|limit| share.reached(used, *limit))?;
            Some(Refusal::Stream { stream: self.stream, used, limit, unit, share })
        })
    }
}

async fn read(
    broker: Broker,
    name: &'static str,
    stream: Stream,
    max_bytes: Option<u64>,
    published: Arc<Published>,
) -> Option<Reading> {
    let bytes_before = published.bytes.load(Ordering::Relaxed);
    let messages_before = published.messages.load(Ordering::Relaxed);
    let fill = fill(&broker, name).await;
    let fill = fill.inspect_err(|error| tracing::debug!(%error, name, "a stream did not say how full it is"));
    let mut fill = fill.ok()?;
    fill.max_bytes = [fill.max_bytes, max_bytes].into_iter().flatten().min();
    tell(stream.as_str(), &fill);
    Some(Reading { fill, bytes_before, messages_before })
}

fn tell(stream: &'static str, fill: &Fill) {
    metrics::gauge!("job_queue_stream_bytes", "stream" => stream).set(float(fill.bytes));
    metrics::gauge!("job_queue_stream_messages", "stream" => stream).set(float(fill.messages));
    let limits = [
        ("job_queue_stream_limit_bytes", fill.max_bytes),
        ("job_queue_stream_limit_messages", fill.max_messages),
    ];
    for (name, limit) in limits {
        metrics::gauge!(name, "stream" => stream).set(float(limit.unwrap_or_default()));
    }
}
