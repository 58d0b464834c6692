//! Jobs whose time has come, from the stream of timers to that of jobs. Any number of gateways do this: a move that is
//! repeated finds the job where it was put, or its record.

use std::time::Duration;

use async_nats::Message;
use async_nats::header::NATS_SCHEDULER;
use broker::Broker;
use broker::names::{self, Fired};
use proto::{JobId, WorkspaceId};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::intake::{Intake, Pulled, Source};
use super::{
    After, Finder, FiredAfter, FiredTick, JOB_SUBJECT, Lease, Place, PublishError, Publisher, Slots,
    StreamError, Tick,
};
use crate::model::Job;

/// Moves at once.
const SLOTS: usize = 256;
/// How long a move may take.
const WITHIN: Duration = Duration::from_secs(2);
/// When a move is tried again: one whose mover has died; one that the stream of jobs did not take; one whose job has
/// yet to be taken out of there after the try before.
const LEASE: Duration = Duration::from_secs(15);
const LATER: Duration = Duration::from_secs(2);
const SOON: Duration = Duration::from_millis(200);
/// When a timer of a kind that this version does not know is offered again, to a newer one.
const OFFERED: Duration = Duration::from_secs(30);

/// What has come due that is no job: its receiver's to settle.
pub enum Due {
    /// The tick of a schedule.
    Tick(FiredTick),
    /// The end of a schedule's job.
    After(FiredAfter),
}

/// Moves jobs whose timers have fired, and hands on what else has come due.
pub struct Mover {
    intake: Intake,
    moves: Moves,
}

#[derive(Clone)]
struct Moves {
    publisher: Publisher,
    finder: Finder,
    due: mpsc::UnboundedSender<Due>,
}

impl Mover {
    /// Subscribes its inbox. What is no job goes to `due`; at most as many as it has slots are there at once.
    ///
    /// # Errors
    /// The client is closed.
    pub async fn open(
        broker: Broker,
        publisher: Publisher,
        due: mpsc::UnboundedSender<Due>,
    ) -> Result<Self, StreamError> {
        let source = Source {
            stream: names::TIMERS_STREAM,
            consumer: names::FIRE_CONSUMER.to_owned(),
            filter: names::fires(),
        };
        let moves = Moves { publisher, finder: Finder::new(broker.clone()), due };
        let intake = Intake::open(broker, vec![source], LEASE, Slots::new(SLOTS)).await?;
        Ok(Self { intake, moves })
    }

    /// Moves until `stop`, and ends when what it has begun is done.
    pub async fn run(self, stop: CancellationToken) {
        let (tasks, moves) = (TaskTracker::new(), self.moves);
        let hand_out = |pulled| {
            let moves = moves.clone();
            tasks.spawn(async move { moves.work_off(pulled).await });
        };
        self.intake.run(hand_out, stop).await;
        tasks.close();
        tasks.wait().await;
    }
}

impl Moves {
    async fn work_off(&self, pulled: Pulled) {
        if !is_its_own(&pulled.message) {
            return drop_forged(&pulled).await;
        }
        match names::fired(&pulled.message.subject) {
            Some(Fired::Schedule { .. }) => self.hand_on(tick(pulled)),
            Some(Fired::After { .. }) => match After::decode(&pulled.message.payload) {
                Some(after) if !after.is_at(&pulled.message.subject) => drop_forged(&pulled).await,
                after => {
                    let Pulled { lease, slot, .. } = pulled;
                    self.hand_on(Due::After(FiredAfter { after, lease, slot }));
                }
            },
            Some(Fired::Job { .. }) => self.work_off_job(pulled).await,
            None => offer(&pulled).await,
        }
    }

    fn hand_on(&self, due: Due) {
        // without its receiver it comes again
        let _ = self.due.send(due);
    }

    async fn work_off_job(&self, pulled: Pulled) {
        let Pulled { message, lease, slot, delivered, sequence } = pulled;
        let Some(target) = target(&message) else {
            return drop_forged(&Pulled { message, lease, slot, delivered, sequence }).await;
        };
        let (payload, nonce) = (message.payload.clone(), format!("timer-{sequence}"));
        match self.publisher.make_ready(&target, payload, &nonce, Instant::now() + WITHIN).await {
            Ok(()) => {
                metrics::counter!("job_queue_timers_fired_total").increment(1);
                lease.ack().await;
            }
            Err(PublishError::Duplicate) => self.settle(&message, &lease, delivered).await,
            Err(error) => {
                tracing::warn!(nats.subject = target, %error, "a job whose time has come waits for its stream");
                lease.hand_back(Some(LATER)).await;
            }
        }
    }

    /// Another message of the job is among those that may start. One of the try before is about to be taken out, by
    /// whoever has set this timer: were the timer acknowledged now, nothing would be left of the job.
    async fn settle(&self, message: &Message, lease: &Lease, delivered: i64) {
        let Ok(job) = Job::decode(&message.payload) else { return lease.hand_back(Some(LATER)).await };
        match self.ready(&job.workspace, job.id).await {
            Ok(Some(there)) if there.retries >= job.retries => lease.ack().await,
            Ok(_) => {
                // should its worker have died, the try before it runs until it ends, however long that takes
                let times = u32::try_from(delivered).unwrap_or(1).min(50);
                lease.hand_back(Some(SOON.saturating_mul(times))).await;
            }
            Err(_) => lease.hand_back(Some(LATER)).await,
        }
    }

    async fn ready(&self, workspace: &WorkspaceId, id: JobId) -> Result<Option<Job>, StreamError> {
        let found = self.finder.find(workspace, id).await?;
        Ok(found.filter(|found| matches!(found.place, Place::Ready(_))).map(|found| found.job))
    }
}

/// One of another schedule than its subject says is none.
fn tick(Pulled { message, lease, slot, .. }: Pulled) -> Due {
    let tick = Tick::decode(&message.payload).filter(|tick| tick.is_at(&message.subject));
    Due::Tick(FiredTick { tick, lease, slot })
}

/// Nobody but a service may set timers, so that it is one of a newer version.
async fn offer(pulled: &Pulled) {
    tracing::warn!(nats.subject = %pulled.message.subject, "a timer of a kind that is not known here is offered to others");
    pulled.lease.hand_back(Some(OFFERED)).await;
}

async fn drop_forged(pulled: &Pulled) {
    tracing::error!(nats.subject = %pulled.message.subject, "a timer that is of nothing of its own is dropped");
    metrics::counter!("job_queue_timers_dropped_total").increment(1);
    pulled.lease.ack().await;
}

/// Whether its own timer has brought it there: whoever may set one timer could have that fire into another's place.
fn is_its_own(message: &Message) -> bool {
    let Some(headers) = message.headers.as_ref() else { return false };
    let timer = message.subject.strip_prefix("fire.").map(|rest| format!("timer.{rest}"));
    let mut schedulers = headers.get_all(NATS_SCHEDULER).map(|scheduler| scheduler.as_str().to_owned());
    (schedulers.next(), schedulers.next()) == (timer, None)
}

/// Where the job belongs, if that is a subject of the job that the timer is of: rights are given by subject.
fn target(message: &Message) -> Option<String> {
    let target = message.headers.as_ref()?.get(JOB_SUBJECT)?.as_str();
    let Some(Fired::Job { workspace, id }) = names::fired(&message.subject) else { return None };
    (names::job_of(target) == Some((workspace, id))).then(|| target.to_owned())
}
