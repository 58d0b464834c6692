//! How long the oldest job of a tag has been waiting for a worker.

use std::time::Duration;

use broker::{Broker, names};
use chrono::{DateTime, Utc};
use proto::Tag;
use serde::Deserialize;
use serde_json::json;

use super::pull::consumer;
use super::{PRIORITY, StreamError, ask_api, direct_get, server_time};

/// What a consumer says of itself.
#[derive(Deserialize)]
struct Info {
    delivered: Delivered,
    num_pending: u64,
    /// When the server said so, by its clock.
    ts: DateTime<Utc>,
}

#[derive(Deserialize)]
struct Delivered {
    stream_seq: u64,
}

/// How long the first job of a tag that no worker has got yet lies in the stream; nothing, where there is none. Those that
/// were handed back, or whose worker has died, are passed over: they are first in line.
pub(crate) async fn oldest_wait(broker: &Broker, tag: &Tag) -> Result<Duration, StreamError> {
    let Some((behind, now)) = delivered(broker, tag).await? else { return Ok(Duration::ZERO) };
    let ask = json!({"seq": behind + 1, "next_by_subj": names::jobs_of(&tag.token(), PRIORITY)});
    let Some(oldest) = direct_get(broker, names::JOBS_STREAM, &ask).await? else { return Ok(Duration::ZERO) };
    let stored = oldest.headers.as_ref().and_then(|headers| headers.get("Nats-Time-Stamp"));
    let stored = stored.and_then(|stored| DateTime::parse_from_rfc3339(stored.as_str()).ok());
    let stored = stored.ok_or_else(|| StreamError::new("a message without its time"))?;
    Ok((now - stored.to_utc()).to_std().unwrap_or_default())
}

/// Up to where the tag's jobs were handed out, and what the server's clock shows, by which they are stamped; none where all
/// were.
async fn delivered(broker: &Broker, tag: &Tag) -> Result<Option<(u64, DateTime<Utc>)>, StreamError> {
    let subject = format!("$JS.API.CONSUMER.INFO.{}.{}", names::JOBS_STREAM, consumer(&tag.token()));
    match ask_api::<Info>(broker, subject, "").await? {
        Ok(info) if info.num_pending == 0 => Ok(None),
        Ok(info) => Ok(Some((info.delivered.stream_seq, info.ts))),
        // no worker has ever served it
        Err(error) if error.code() == 404 => Ok(Some((0, server_time(broker).await?))),
        Err(error) => Err(StreamError::new(error)),
    }
}
