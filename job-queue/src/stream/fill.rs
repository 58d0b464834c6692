//! How much a stream holds.

use broker::Broker;
use serde::Deserialize;

use super::{StreamError, ask_api};

/// What a stream holds, and what it may hold at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fill {
    pub(crate) bytes: u64,
    pub(crate) messages: u64,
    /// None: as much as there is room for.
    pub(crate) max_bytes: Option<u64>,
    pub(crate) max_messages: Option<u64>,
}

#[derive(Deserialize)]
struct Info {
    config: Limits,
    state: State,
}

#[derive(Deserialize)]
struct Limits {
    max_bytes: i64,
    max_msgs: i64,
}

#[derive(Deserialize)]
struct State {
    bytes: u64,
    messages: u64,
}

/// Asks the stream.
pub(crate) async fn fill(broker: &Broker, stream: &str) -> Result<Fill, StreamError> {
    let info: Info =
        ask_api(broker, format!("$JS.API.STREAM.INFO.{stream}"), "").await?.map_err(StreamError::new)?;
    // none is -1
    let limit = |number: i64| u64::try_from(number).ok();
    Ok(Fill {
        bytes: info.state.bytes,
        messages: info.state.messages,
        max_bytes: limit(info.config.max_bytes),
        max_messages: limit(info.config.max_msgs),
    })
}
