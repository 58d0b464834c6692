//! Back-pressure: whether a new job may come in. A stream that fills up, a store that runs out of memory and a tag whose
//! jobs wait for too long refuse new jobs before anything of them is written; what is left of the room is for retries,
//! timers that fire, ticks, and the ends of what runs: none of them asks here ([ADR 15](../../docs/adr/0015-what-asks-for-room.md)).
//!
//! A job that comes in waits for no answer: it goes by what was read last, and has it read anew in the background when
//! that is old. Only a refusal rests on a reading that is not.

mod bounds;
mod lately;
mod size;
mod tags;

use std::time::Duration;

use broker::{Broker, names};
use futures::FutureExt;
use proto::Tag;

pub use self::bounds::{Bounds, NoShare, Refusal, Share, Stream, Unit};
use self::lately::Lately;
use self::size::Sizes;
use self::tags::Tags;
use crate::model::{Args, Job, now_us};
use crate::store::{Memory, Records};
use crate::stream::is_stored;

/// How long a reading counts of what fills up.
const LATELY: Duration = Duration::from_secs(1);

/// What is due so soon will be among the jobs that may start before those have left.
const SOON_US: i64 = 60_000_000;

/// Says whether new jobs may come in. Cheap to clone.
#[derive(Clone)]
pub struct Pressure {
    bounds: Bounds,
    jobs: Sizes,
    timers: Sizes,
    args: Sizes,
    memory: Lately<Memory>,
    /// None: jobs may wait.
    tags: Option<Tags>,
}

impl Pressure {
    /// Over these connections; nothing is asked before the first job.
    pub fn new(broker: &Broker, records: &Records, bounds: Bounds) -> Self {
        let records = records.clone();
        let memory = Lately::new(LATELY, move || memory(records.clone(), bounds).boxed());
        Self {
            bounds,
            jobs: Sizes::new(broker, names::JOBS_STREAM, Stream::Jobs, None),
            timers: Sizes::new(broker, names::TIMERS_STREAM, Stream::Timers, Some(bounds.timers_bytes)),
            args: Sizes::new(broker, names::ARGS_STREAM, Stream::Args, Some(bounds.args_bytes)),
            memory,
            tags: bounds.oldest_waits.map(|bound| Tags::new(broker, bound)),
        }
    }

    /// Whether a new job may come in, with arguments of so many bytes, which is due at this time. Its tag may be unknown,
    /// if it cannot be read.
    ///
    /// # Errors
    /// It may not: nothing has been written.
    pub async fn admit(
        &self,
        tag: Option<&Tag>,
        args_bytes: usize,
        due_us: Option<i64>,
    ) -> Result<(), Refusal> {
        let ahead_us = due_us.map_or(0, |due_us| due_us - now_us());
        let aside =
            async { if ahead_us > 0 { self.timers.admit(self.bounds.stream_share).await } else { Ok(()) } };
        let ready = async {
            if ahead_us > SOON_US {
                return Ok(());
            }
            self.jobs.admit(self.bounds.stream_share).await?;
            match tag.zip(self.tags.as_ref()) {
                Some((tag, tags)) => tags.admit(tag).await,
                None => Ok(()),
            }
        };
        let stored = async {
            if is_stored(args_bytes) { self.args.admit(self.bounds.stream_share).await } else { Ok(()) }
        };
        let admitted = tokio::try_join!(aside, ready, stored, self.memory_admits());
        admitted.map(drop).inspect_err(count)
    }

    /// A job was published: it counts before the stream is asked again.
    pub fn note(&self, job: &Job) {
        if job.due_us() > now_us() { &self.timers } else { &self.jobs }.note(job);
        if let Args::Stored { size, .. } = &job.args {
            self.args.note_bytes(*size);
        }
    }

    async fn memory_admits(&self) -> Result<(), Refusal> {
        let share = self.bounds.redis_share;
        let judge = |memory: &Memory| {
            let limit = memory_limit(memory, self.bounds)?;
            share.reached(memory.used, limit).then_some(Refusal::Memory { used: memory.used, limit, share })
        };
        self.memory.refused(|memory, _| judge(memory).is_some(), judge).await
    }
}

/// The lesser one of what the server and the configuration say.
fn memory_limit(memory: &Memory, bounds: Bounds) -> Option<u64> {
    [memory.limit, bounds.redis_bytes].into_iter().flatten().min()
}

async fn memory(records: Records, bounds: Bounds) -> Option<Memory> {
    let memory = records.memory().await;
    let memory =
        memory.inspect_err(|error| tracing::debug!(%error, "Redis did not say how full it is")).ok()?;
    metrics::gauge!("job_queue_redis_memory_bytes").set(bounds::float(memory.used));
    let limit = memory_limit(&memory, bounds).unwrap_or_default();
    metrics::gauge!("job_queue_redis_memory_limit_bytes").set(bounds::float(limit));
    Some(memory)
}

fn count(refusal: &Refusal) {
    metrics::counter!("job_queue_refused_total", "reason" => refusal.reason()).increment(1);
    tracing::debug!(%refusal, "a new job was refused");
}
