//! Pulling jobs: a worker's tags, each with a consumer of its own.

use std::time::Duration;

use broker::{Broker, names};
use proto::{InstanceId, Tag};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::intake::{Intake, Pulled, Source};
use super::{Delivery, DeliveryNumber, PRIORITY, Slots, StreamError};
use crate::model::Job;

/// What a worker pulls.
#[derive(Clone)]
pub struct PullerConfig {
    /// The worker.
    pub worker: InstanceId,
    /// The tags it serves.
    pub tags: Vec<Tag>,
    /// The lease: how long a delivery is ours without renewal.
    pub lease: Duration,
}

/// Hands out jobs as slots become free.
pub struct Puller(Intake);

impl Puller {
    /// Subscribes its inbox; consumers are made at the first request.
    ///
    /// # Errors
    /// The client is closed.
    pub async fn open(broker: Broker, config: PullerConfig, slots: Slots) -> Result<Self, StreamError> {
        let sources = config.tags.iter().map(|tag| source(&tag.token())).collect();
        Intake::open(broker, sources, config.lease, slots).await.map(Self)
    }

    /// Hands deliveries to `jobs` until `stop`; what is on its way then is handed back.
    pub async fn run(self, jobs: mpsc::UnboundedSender<Delivery>, stop: CancellationToken) {
        // the receiver outlives the puller; were it gone, the lease would run out
        let hand_out = |pulled| drop(jobs.send(delivery(pulled)));
        self.0.run(hand_out, stop).await;
    }
}

/// The consumer of a tag's jobs.
pub(super) fn consumer(tag: &str) -> String {
    format!("w-{tag}-{PRIORITY}")
}

fn source(tag: &str) -> Source {
    Source { stream: names::JOBS_STREAM, consumer: consumer(tag), filter: names::jobs_of(tag, PRIORITY) }
}

fn delivery(pulled: Pulled) -> Delivery {
    let Pulled { message, lease, slot, delivered, sequence } = pulled;
    let job = Job::decode(&message.payload).and_then(|job| job.waiting_at(&message.subject));
    let (subject, envelope) = (message.subject.to_string(), message.payload);
    Delivery { job, envelope, subject, lease, slot, number: DeliveryNumber { sequence, count: delivered } }
}
