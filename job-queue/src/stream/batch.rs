//! Many messages of a stream at once, in its order, by direct get.

use std::time::Duration;

use async_nats::Message;
use broker::Broker;
use futures::StreamExt;
use serde_json::json;

use super::{StreamError, direct_get_subject};

/// How long the server may take from one message to the next.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// The most bytes at once.
const BYTES: u64 = 8 * 1024 * 1024;

/// Messages of these subjects behind a place in the stream, at most so many; none: there are no more.
pub(super) async fn batch(
    broker: &Broker,
    stream: &str,
    subjects: &str,
    behind: u64,
    most: usize,
) -> Result<Vec<Message>, StreamError> {
    let ask = json!({"seq": behind + 1, "next_by_subj": subjects, "batch": most, "max_bytes": BYTES});
    let client = broker.client();
    let inbox = client.new_inbox();
    let mut answers = client.subscribe(inbox.clone()).await.map_err(StreamError::new)?;
    let asked = client.publish_with_reply(direct_get_subject(stream), inbox, ask.to_string().into());
    asked.await.map_err(StreamError::new)?;
    let mut messages = Vec::new();
    loop {
        let next = tokio::time::timeout(ANSWER_WITHIN, answers.next()).await;
        let message = next.ok().flatten().ok_or_else(|| StreamError::new("no answer"))?;
        match message.status.map(|status| status.as_u16()) {
            // the end of the batch; nothing of this kind
            Some(204 | 404) => return Ok(messages),
            Some(other) => return Err(StreamError::new(format!("direct get answered {other}"))),
            None => messages.push(message),
        }
    }
}
