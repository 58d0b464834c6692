//! Jobs whose time has come, from the stream of timers to that of jobs. Any number of gateways do this: a move that is
//! repeated finds the job where it was put, or its record.

use std::time::Duration;

use async_nats::Message;
use broker::{Broker, names};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::intake::{Intake, Pulled, Source};
use super::{JOB_SUBJECT, Lease, PublishError, Publisher, Slots, StreamError};

/// Moves at once.
const SLOTS: usize = 256;
/// How long a move may take.
const WITHIN: Duration = Duration::from_secs(2);
/// When a move is tried again: whose mover has died, and which the stream of jobs did not take.
const LEASE: Duration = Duration::from_secs(15);
const LATER: Duration = Duration::from_secs(2);

/// Moves jobs whose timers have fired.
pub struct Mover {
    intake: Intake,
    publisher: Publisher,
}

impl Mover {
    /// Subscribes its inbox.
    ///
    /// # Errors
    /// The client is closed.
    pub async fn open(broker: Broker, publisher: Publisher) -> Result<Self, StreamError> {
        let source = Source {
            stream: names::TIMERS_STREAM,
            consumer: names::FIRE_CONSUMER.to_owned(),
            filter: names::fires(),
        };
        let intake = Intake::open(broker, vec![source], LEASE, Slots::new(SLOTS)).await?;
        Ok(Self { intake, publisher })
    }

    /// Moves until `stop`, and ends when what it has begun is done.
    pub async fn run(self, stop: CancellationToken) {
        let (tasks, publisher) = (TaskTracker::new(), self.publisher);
        let hand_out = |pulled| drop(tasks.spawn(work_off(publisher.clone(), pulled)));
        self.intake.run(hand_out, stop).await;
        tasks.close();
        tasks.wait().await;
    }
}

async fn work_off(publisher: Publisher, pulled: Pulled) {
    let Pulled { message, lease, slot: _slot, delivered: _, sequence } = pulled;
    let Some(target) = target(&message) else {
        tracing::error!(nats.subject = %message.subject, "a timer that names no job of its own is dropped");
        metrics::counter!("job_queue_timers_dropped_total").increment(1);
        return lease.ack().await;
    };
    let (payload, nonce) = (message.payload.clone(), format!("timer-{sequence}"));
    let moved = publisher.put_back(&target, payload, &nonce, Instant::now() + WITHIN).await;
    settle(moved, &target, &lease).await;
}

/// The message goes when the job is in its stream. A duplicate is: moved before, or not yet taken out after an attempt
/// before this one, whose redelivery finds that its time has come.
async fn settle(moved: Result<(), PublishError>, target: &str, lease: &Lease) {
    match moved {
        Ok(()) => {
            metrics::counter!("job_queue_timers_fired_total").increment(1);
            lease.ack().await;
        }
        Err(PublishError::Duplicate) => lease.ack().await,
        Err(error) => {
            tracing::warn!(nats.subject = target, %error, "a job whose time has come waits for its stream");
            lease.hand_back(Some(LATER)).await;
        }
    }
}

/// Where the job belongs, if that is a subject of the job that the timer is of: rights are given by subject.
fn target(message: &Message) -> Option<String> {
    let target = message.headers.as_ref()?.get(JOB_SUBJECT)?.as_str();
    let own = names::fired_job(&message.subject)?;
    (names::job_of(target) == Some(own)).then(|| target.to_owned())
}
