//! The consumers as the server sees them: for whoever watches, and for whoever has to put one right.

use std::time::Duration;

use async_nats::jetstream::response::Response;
use broker::{Broker, names};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::time::MissedTickBehavior;

use super::StreamError;

/// How often a service looks at its consumers, for its metrics.
const LOOKS_EVERY: Duration = Duration::from_secs(15);

/// How long NATS may take to answer.
const ANSWERS_WITHIN: Duration = Duration::from_secs(5);

/// The streams whose messages are worked off.
const STREAMS: [&str; 2] = [names::JOBS_STREAM, names::TIMERS_STREAM];

/// A consumer, and how far it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Consumer {
    /// Its stream.
    pub stream: String,
    /// Its name.
    pub name: String,
    /// Messages that it has not delivered yet.
    pub pending: u64,
    /// Messages that somebody has, and has not answered for.
    pub unacknowledged: u64,
    /// It delivers no more while so many are.
    pub unacknowledged_limit: i64,
    /// Of those, the ones that were delivered before.
    pub redelivered: u64,
    /// Requests for messages that wait.
    pub requests: u64,
    /// How often it has delivered.
    pub delivered: u64,
    /// Everything in the stream up to here was answered for.
    pub ack_floor: u64,
    /// Somebody has told it to wait.
    pub paused: bool,
}

/// What is to be made of two looks at a consumer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// There is nothing to deliver.
    Idle,
    /// It delivers.
    Moving,
    /// Nobody asks, because all who would have their hands full.
    Busy,
    /// Somebody has told it to wait.
    Paused,
    /// Too many are not answered for.
    Full,
    /// There are messages, and nobody asks for any.
    Unasked,
    /// There are messages, somebody asks, and it delivers none.
    Stuck,
}

impl Consumer {
    /// What it does, from an earlier look at it.
    pub fn health(&self, before: &Self) -> Health {
        let limit = u64::try_from(self.unacknowledged_limit).unwrap_or(u64::MAX);
        match self {
            Self { paused: true, .. } => Health::Paused,
            Self { pending: 0, .. } => Health::Idle,
            _ if self.delivered != before.delivered => Health::Moving,
            _ if self.unacknowledged >= limit => Health::Full,
            Self { requests: 0, unacknowledged: 0, .. } => Health::Unasked,
            Self { requests: 0, .. } => Health::Busy,
            _ => Health::Stuck,
        }
    }
}

/// All consumers of jobs and of timers; for the user `provision`, who may do anything to them.
pub struct Consumers(Broker);

impl Consumers {
    /// Over this connection.
    pub fn new(broker: Broker) -> Self {
        Self(broker)
    }

    /// All there are.
    ///
    /// # Errors
    /// NATS is away, or refuses.
    pub async fn list(&self) -> Result<Vec<Consumer>, StreamError> {
        let mut all = Vec::new();
        for stream in STREAMS {
            let mut offset = 0;
            loop {
                let asked = serde_json::json!({ "offset": offset }).to_string();
                let page: Listed = ask(&self.0, format!("$JS.API.CONSUMER.LIST.{stream}"), asked).await?;
                let listed = page.consumers.unwrap_or_default();
                offset += listed.len();
                let over = listed.is_empty() || offset >= page.total;
                all.extend(listed.into_iter().map(Consumer::from));
                if over {
                    break;
                }
            }
        }
        Ok(all)
    }

    /// Removes one, with all it knows of who has what. Its service makes it again at its next request.
    ///
    /// # Errors
    /// NATS is away, or refuses.
    pub async fn remove(&self, consumer: &Consumer) -> Result<(), StreamError> {
        let subject = format!("$JS.API.CONSUMER.DELETE.{}.{}", consumer.stream, consumer.name);
        ask::<serde_json::Value>(&self.0, subject, String::new()).await.map(drop)
    }
}

/// Tells the metrics of this consumer every 15 s, for ever.
pub(super) async fn watch(broker: Broker, stream: &'static str, consumer: String) {
    let mut ticks = tokio::time::interval(LOOKS_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let subject = format!("$JS.API.CONSUMER.INFO.{stream}.{consumer}");
        // it is not there yet, or NATS is away: what is known last stays
        if let Ok(info) = ask::<Info>(&broker, subject, String::new()).await {
            tell(&info.into());
        }
    }
}

fn tell(consumer: &Consumer) {
    let gauge = |name: &'static str, value: u64| {
        // exact up to 2^53 messages
        #[expect(clippy::cast_precision_loss, reason = "metrics are floating point")]
        metrics::gauge!(name, "consumer" => consumer.name.clone()).set(value as f64);
    };
    gauge("job_queue_consumer_pending", consumer.pending);
    gauge("job_queue_consumer_unacknowledged", consumer.unacknowledged);
    let limit = u64::try_from(consumer.unacknowledged_limit).unwrap_or(u64::MAX);
    gauge("job_queue_consumer_unacknowledged_limit", limit);
    gauge("job_queue_consumer_redelivered", consumer.redelivered);
    gauge("job_queue_consumer_requests", consumer.requests);
    gauge("job_queue_consumer_delivered", consumer.delivered);
    gauge("job_queue_consumer_paused", u64::from(consumer.paused));
}

async fn ask<T: DeserializeOwned>(broker: &Broker, subject: String, what: String) -> Result<T, StreamError> {
    let asked = broker.client().request(subject, what.into());
    let answer = tokio::time::timeout(ANSWERS_WITHIN, asked).await;
    let seconds = ANSWERS_WITHIN.as_secs();
    let answer = answer.map_err(|_| StreamError::new(format!("no answer within {seconds} s")))?;
    match serde_json::from_slice(&answer.map_err(StreamError::new)?.payload).map_err(StreamError::new)? {
        Response::Ok(answer) => Ok(answer),
        Response::Err { error } => Err(StreamError::new(error)),
    }
}

/// The server's words; what is not needed is not read, so that other versions can be.
#[derive(Deserialize)]
struct Listed {
    total: usize,
    consumers: Option<Vec<Info>>,
}

#[derive(Deserialize)]
struct Info {
    stream_name: String,
    name: String,
    config: Settings,
    delivered: Reached,
    ack_floor: Reached,
    num_pending: u64,
    num_ack_pending: u64,
    num_redelivered: u64,
    num_waiting: u64,
    #[serde(default)]
    paused: bool,
}

#[derive(Deserialize)]
struct Settings {
    #[serde(default)]
    max_ack_pending: i64,
}

#[derive(Deserialize)]
struct Reached {
    consumer_seq: u64,
    stream_seq: u64,
}

impl From<Info> for Consumer {
    fn from(info: Info) -> Self {
        Self {
            stream: info.stream_name,
            name: info.name,
            pending: info.num_pending,
            unacknowledged: info.num_ack_pending,
            unacknowledged_limit: info.config.max_ack_pending,
            redelivered: info.num_redelivered,
            requests: info.num_waiting,
            delivered: info.delivered.consumer_seq,
            ack_floor: info.ack_floor.stream_seq,
            paused: info.paused,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn consumer(pending: u64, unacknowledged: u64, requests: u64) -> Consumer {
        Consumer {
            stream: "JOBS_0".to_owned(),
            name: "w-bash-p1".to_owned(),
            pending,
            unacknowledged,
            unacknowledged_limit: 20,
            redelivered: 0,
            requests,
            delivered: 7,
            ack_floor: 3,
            paused: false,
        }
    }

    #[test]
    fn two_looks_tell_who_is_stuck() {
        let of = |consumer: &Consumer| consumer.health(consumer);
        assert_eq!(of(&consumer(0, 3, 1)), Health::Idle);
        assert_eq!(of(&consumer(5, 20, 1)), Health::Full);
        assert_eq!(of(&consumer(5, 2, 0)), Health::Busy);
        assert_eq!(of(&consumer(5, 0, 0)), Health::Unasked);
        assert_eq!(of(&consumer(5, 0, 1)), Health::Stuck);
        assert_eq!(of(&Consumer { paused: true, ..consumer(0, 0, 1) }), Health::Paused);
        let later = Consumer { delivered: 8, ..consumer(5, 0, 1) };
        assert_eq!(later.health(&consumer(5, 0, 1)), Health::Moving);
        // without a limit it is never full
        assert_eq!(of(&Consumer { unacknowledged_limit: -1, ..consumer(5, 20, 0) }), Health::Busy);
    }
}
