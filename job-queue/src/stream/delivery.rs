//! A delivered job and its lease. The lease is the consumer's `ack_wait`: renewed with an
//! in-progress acknowledgement that asks for a reply, because one that was lost renews
//! nothing.

use std::time::Duration;

use async_nats::{Client, Subject};
use broker::Broker;
use bytes::Bytes;

use super::Slot;
use crate::model::{End, InvalidEnvelope, Job};
use crate::subjects::{EventKind, Events};

/// A job handed to this worker, in a slot of its own.
pub struct Delivery {
    /// The job, or why its envelope cannot be read.
    pub job: Result<Job, InvalidEnvelope>,
    /// The envelope as it came.
    pub envelope: Bytes,
    /// The subject it came by: it names workspace and id even when the envelope cannot be read.
    pub subject: String,
    /// The right to it.
    pub lease: Lease,
    /// The slot it runs in.
    pub slot: Slot,
    /// Which delivery it is.
    pub number: DeliveryNumber,
}

/// Which delivery of which message, as NATS counts them: a hint, our own count is on the record. A server that has
/// crashed may count from 1 again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeliveryNumber {
    /// The message's sequence in its stream.
    pub sequence: u64,
    /// The first delivery is 1.
    pub count: i64,
}

/// The right to work on a delivery until it is answered or runs out.
#[derive(Clone)]
pub struct Lease {
    client: Client,
    answer_to: Subject,
}

/// The renewal was not confirmed.
#[derive(Debug, thiserror::Error)]
#[error("the lease was not renewed: {0}")]
pub struct LeaseError(String);

impl Lease {
    pub(super) fn new(broker: &Broker, answer_to: Subject) -> Self {
        Self { client: broker.client().clone(), answer_to }
    }

    /// Renews the lease; returns once the server confirmed it.
    ///
    /// # Errors
    /// No confirmation within `bound`.
    pub async fn renew(&self, bound: Duration) -> Result<(), LeaseError> {
        let request = async_nats::Request::new().payload(Bytes::from_static(b"+WPI")).timeout(Some(bound));
        let sent = self.client.send_request(self.answer_to.clone(), request);
        match tokio::time::timeout(bound, sent).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(LeaseError(error.to_string())),
            Err(_) => Err(LeaseError(format!("no answer within {} ms", bound.as_millis()))),
        }
    }

    /// The job has ended and its end is recorded: wakes whoever waits, tells whoever
    /// watches, and takes the message out of the stream. Safe to repeat.
    pub async fn settle(&self, job: &Job, end: &End, events: &Events) {
        self.tell(job, end, events).await;
        self.ack().await;
    }

    /// The same, with the message left where it is.
    pub async fn tell(&self, job: &Job, end: &End, events: &Events) {
        crate::subjects::announce(&self.client, job, end).await;
        if job.reply_to.is_some() {
            self.let_it_go().await;
        }
        events.tell(&job.workspace, job.id, EventKind::Ended).await;
    }

    /// What was published leaves before anything else is: the server then answers the caller
    /// first, and works on the rest, which costs it a write to the disk, behind that.
    async fn let_it_go(&self) {
        if self.client.connection_state() == async_nats::connection::State::Connected {
            // without a connection after all, it leaves with the next one
            let _ = tokio::time::timeout(Duration::from_millis(50), self.client.flush()).await;
        }
    }

    /// Takes the message out of the stream. A lost acknowledgement brings a redelivery
    /// that finds the terminal record.
    pub async fn ack(&self) {
        self.answer(Bytes::from_static(b"+ACK")).await;
    }

    /// Hands the message back, to be delivered again after `delay`.
    pub async fn hand_back(&self, delay: Option<Duration>) {
        let payload = match delay {
            None => Bytes::from_static(b"-NAK"),
            Some(delay) => format!("-NAK {{\"delay\":{}}}", delay.as_nanos()).into(),
        };
        self.answer(payload).await;
    }

    async fn answer(&self, payload: Bytes) {
        // while disconnected the client's channel may fill: then the lease just runs out
        let sent = self.client.publish(self.answer_to.clone(), payload);
        match tokio::time::timeout(Duration::from_secs(1), sent).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "an acknowledgement was not sent"),
            Err(_) => tracing::warn!("an acknowledgement was not sent within 1 s"),
        }
    }
}
