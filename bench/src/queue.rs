//! Whether the job stream is empty, asked on the monitoring port of nats-server.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, bail};
use http::StatusCode;
use serde_json::Value;
use tokio::time::Instant;

use crate::http_client::{Call, Connection};

/// How long accepted jobs may take to be worked off.
const EMPTY_WITHIN: Duration = Duration::from_secs(120);

/// The server tells nobody when a stream becomes empty; the load is over when this is asked.
const PAUSE: Duration = Duration::from_millis(20);

/// How many messages there were at a moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Held {
    /// When.
    pub(crate) at: Instant,
    /// How many.
    pub(crate) held: u64,
}

/// Waits until `JOBS_0` holds nothing; the moment it was so.
///
/// # Errors
/// Messages are left after two minutes.
pub(crate) async fn until_empty(monitor: SocketAddr) -> anyhow::Result<Instant> {
    Ok(until_at_most(monitor, 0).await?.at)
}

/// Waits until `JOBS_0` holds so many or fewer.
///
/// # Errors
/// It holds more after two minutes.
pub(crate) async fn until_at_most(monitor: SocketAddr, most: u64) -> anyhow::Result<Held> {
    let deadline = Instant::now() + EMPTY_WITHIN;
    let mut connection = Connection::open(monitor).await?;
    loop {
        let messages = messages(&mut connection).await?;
        if messages <= most {
            return Ok(Held { at: Instant::now(), held: messages });
        }
        if Instant::now() > deadline {
            bail!(
                "{messages} messages instead of {most} are left in JOBS_0 after {} s",
                EMPTY_WITHIN.as_secs()
            );
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// How many messages `JOBS_0` holds now.
///
/// # Errors
/// nats-server does not answer.
pub(crate) async fn held(monitor: SocketAddr) -> anyhow::Result<u64> {
    messages(&mut Connection::open(monitor).await?).await
}

async fn messages(connection: &mut Connection) -> anyhow::Result<u64> {
    let reply =
        connection.send(Call::get("/jsz?accounts=true&streams=true")).await?.expect(StatusCode::OK)?;
    let answer: Value = serde_json::from_slice(&reply.body)?;
    of_jobs(&answer).context("nats-server does not know JOBS_0")
}

fn of_jobs(answer: &Value) -> Option<u64> {
    let accounts = answer["account_details"].as_array()?;
    let mut streams = accounts.iter().filter_map(|account| account["stream_detail"].as_array()).flatten();
    streams.find(|stream| stream["name"] == "JOBS_0")?["state"]["messages"].as_u64()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_stream_is_found_among_others() {
        let stream = |name: &str, messages: u64| json!({"name": name, "state": {"messages": messages}});
        let answer =
            json!({"account_details": [{"stream_detail": [stream("KV_CATALOG", 7), stream("JOBS_0", 3)]}]});
        assert_eq!(of_jobs(&answer), Some(3));
        assert_eq!(of_jobs(&json!({"account_details": []})), None);
        assert_eq!(of_jobs(&json!({})), None);
    }
}
