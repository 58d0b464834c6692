//! Making the streams, once per installation, by the `provision` user. Services never
//! make streams: they have no right to.

use std::time::Duration;

use async_nats::jetstream::stream;
use broker::{Broker, names};

use super::StreamError;

/// The job stream's size where nothing else is asked for: 2 GiB.
pub const PROVISION_DEFAULT_MAX_BYTES: i64 = 2 * 1024 * 1024 * 1024;

/// The most that dead letters may take: beyond it a job that dies stays in its queue.
const DEAD_MAX_BYTES: i64 = 512 * 1024 * 1024;

/// Makes or updates the streams of jobs, of timers and of dead letters, and the argument store. Idempotent.
///
/// # Errors
/// NATS is away or refuses.
pub async fn provision(broker: &Broker, replicas: usize, max_bytes: i64) -> Result<(), StreamError> {
    let jetstream = broker.jetstream();
    jetstream.create_or_update_stream(jobs(replicas, max_bytes)).await.map_err(StreamError::new)?;
    jetstream.create_or_update_stream(timers(replicas)).await.map_err(StreamError::new)?;
    jetstream.create_or_update_stream(dead(replicas)).await.map_err(StreamError::new)?;
    jetstream.create_or_update_stream(args(replicas)).await.map_err(StreamError::new)?;
    Ok(())
}

/// An object store, of which nothing goes by its age: a job may wait for years. An older one, which let objects go after
/// 14 days, is made like this.
fn args(replicas: usize) -> stream::Config {
    stream::Config {
        name: names::ARGS_STREAM.to_owned(),
        subjects: vec![names::args_chunk(">"), names::args_meta(">")],
        retention: stream::RetentionPolicy::Limits,
        discard: stream::DiscardPolicy::New,
        storage: stream::StorageType::File,
        allow_rollup: true,
        allow_direct: true,
        num_replicas: replicas,
        ..stream::Config::default()
    }
}

/// They stay until somebody replays or discards them.
fn dead(replicas: usize) -> stream::Config {
    stream::Config {
        name: names::DEAD_STREAM.to_owned(),
        subjects: vec!["dead.>".to_owned()],
        retention: stream::RetentionPolicy::Limits,
        discard: stream::DiscardPolicy::New,
        storage: stream::StorageType::File,
        max_bytes: DEAD_MAX_BYTES,
        // a job has one letter, the latest: one that was put back may die again before its old letter is discarded
        max_messages_per_subject: 1,
        allow_direct: true,
        num_replicas: replicas,
        ..stream::Config::default()
    }
}

/// Without a limit of its own: the server refuses `discard: new` beside schedules, and would drop old ones silently.
fn timers(replicas: usize) -> stream::Config {
    stream::Config {
        name: names::TIMERS_STREAM.to_owned(),
        subjects: vec![format!("timer.{}.>", names::SHARD), format!("fire.{}.>", names::SHARD)],
        retention: stream::RetentionPolicy::WorkQueue,
        storage: stream::StorageType::File,
        allow_message_schedules: true,
        duplicate_window: Duration::from_mins(2),
        allow_direct: true,
        num_replicas: replicas,
        ..stream::Config::default()
    }
}

fn jobs(replicas: usize, max_bytes: i64) -> stream::Config {
    stream::Config {
        name: names::JOBS_STREAM.to_owned(),
        subjects: vec![format!("job.{}.>", names::SHARD)],
        retention: stream::RetentionPolicy::WorkQueue,
        // a full queue refuses; the default would drop the oldest job unrun
        discard: stream::DiscardPolicy::New,
        storage: stream::StorageType::File,
        max_bytes,
        // one message per job id, by the server's own rule: the dedupe window forgets
        max_messages_per_subject: 1,
        discard_new_per_subject: true,
        max_message_size: 1024 * 1024,
        duplicate_window: Duration::from_mins(2),
        allow_direct: true,
        num_replicas: replicas,
        ..stream::Config::default()
    }
}
