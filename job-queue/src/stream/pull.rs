//! Pulling jobs: our own requests over one inbox, each for at most the free slots, one
//! outstanding per consumer. What arrives beyond a free slot (several tags brought more
//! than there is room for) is handed back at once, before anything was started.

use std::collections::HashMap;
use std::time::Duration;

use async_nats::jetstream::consumer::{AckPolicy, pull};
use async_nats::{Message, StatusCode, Subscriber};
use broker::{Broker, Link, names};
use futures::StreamExt;
use proto::{InstanceId, Tag};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::requests::{EXPIRES, Requests};
use super::{Delivery, Lease, PRIORITY, Slots, StreamError};
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
pub struct Puller {
    broker: Broker,
    config: PullerConfig,
    slots: Slots,
    inbox: String,
    messages: Subscriber,
    link: watch::Receiver<Link>,
    consumers: Vec<Consumer>,
    by_tag: HashMap<String, usize>,
}

struct Consumer {
    name: String,
    filter: String,
    requests: Requests,
    /// Its durable consumer has to be made (again) before the next request.
    absent: bool,
    /// No request before this, after the server refused one.
    not_before: Instant,
}

impl Puller {
    /// Subscribes its inbox; consumers are made at the first request.
    ///
    /// # Errors
    /// The client is closed.
    pub async fn open(broker: Broker, config: PullerConfig, slots: Slots) -> Result<Self, StreamError> {
        let inbox = broker.client().new_inbox();
        let messages = broker.client().subscribe(format!("{inbox}.*.*")).await.map_err(StreamError::new)?;
        let tokens: Vec<String> = config.tags.iter().map(Tag::token).collect();
        let by_tag = tokens.iter().cloned().enumerate().map(|(place, token)| (token, place)).collect();
        let consumers = tokens.iter().map(|token| Consumer::new(token)).collect();
        let mut link = broker.link();
        // connections before this one asked for nothing
        link.mark_unchanged();
        Ok(Self { broker, config, slots, inbox, messages, link, consumers, by_tag })
    }

    /// Hands deliveries to `jobs` until `stop`; what is on its way then is handed back.
    pub async fn run(mut self, jobs: mpsc::UnboundedSender<Delivery>, stop: CancellationToken) {
        loop {
            self.request().await;
            let lost_at = self.next_deadline();
            tokio::select! {
                message = self.messages.next() => match message {
                    Some(message) => self.take(message, &jobs).await,
                    None => return,
                },
                () = self.slots.freed() => {}
                changed = self.link.changed() => {
                    if changed.is_err() { return }
                    self.relinked();
                }
                () = tokio::time::sleep_until(lost_at) => {}
                () = stop.cancelled() => break,
            }
        }
        self.hand_back_the_rest().await;
    }

    fn next_deadline(&self) -> Instant {
        let now = Instant::now();
        let far = now + EXPIRES;
        let of = |consumer: &Consumer| {
            consumer.requests.lost_at().unwrap_or(consumer.not_before.max(now)).max(now)
        };
        // without a free slot nothing can be asked for: freeing one wakes the loop
        let waits = self.consumers.iter().filter(|c| c.requests.lost_at().is_some() || c.not_before > now);
        waits.map(of).min().unwrap_or(far)
    }

    /// Sends a request for every consumer that may have one.
    async fn request(&mut self) {
        if !self.broker.is_up() {
            return;
        }
        for place in 0..self.consumers.len() {
            let now = Instant::now();
            if self.consumers[place].not_before > now {
                continue;
            }
            if self.consumers[place].absent && self.slots.free() > 0 {
                self.make_consumer(place).await;
            }
            let consumer = &mut self.consumers[place];
            if consumer.absent {
                continue;
            }
            let free = self.slots.free();
            if let Some(number) = consumer.requests.next(free, now) {
                let (name, reply) = (consumer.name.clone(), format!("{}.{place}.{number}", self.inbox));
                self.send_request(&name, reply, free).await;
            }
        }
    }

    async fn send_request(&self, consumer: &str, reply: String, batch: usize) {
        let subject = format!("$JS.API.CONSUMER.MSG.NEXT.{}.{consumer}", names::JOBS_STREAM);
        let ask = serde_json::json!({"batch": batch, "expires": u64::try_from(EXPIRES.as_nanos()).unwrap_or(u64::MAX)});
        let sent = self.broker.client().publish_with_reply(subject, reply, ask.to_string().into());
        if tokio::time::timeout(Duration::from_secs(1), sent).await.is_err() {
            tracing::debug!(queue.consumer = consumer, "a pull request could not be sent within 1 s");
        }
    }

    async fn make_consumer(&mut self, place: usize) {
        let (name, filter) = (self.consumers[place].name.clone(), self.consumers[place].filter.clone());
        let config = pull::Config {
            durable_name: Some(name.clone()),
            filter_subject: filter,
            ack_policy: AckPolicy::Explicit,
            ack_wait: self.config.lease,
            max_deliver: -1,
            max_ack_pending: 20_000,
            max_waiting: 4096,
            ..pull::Config::default()
        };
        let stream = self.broker.jetstream().get_stream_no_info(names::JOBS_STREAM).await;
        let made = match stream {
            Ok(stream) => stream.create_consumer(config).await.map(drop).map_err(StreamError::new),
            Err(error) => Err(StreamError::new(error)),
        };
        match made {
            Ok(()) => self.consumers[place].absent = false,
            Err(error) => {
                tracing::warn!(queue.consumer = name, %error, "the consumer cannot be made yet");
                self.consumers[place].refused();
            }
        }
    }

    async fn take(&mut self, message: Message, jobs: &mpsc::UnboundedSender<Delivery>) {
        match message.status {
            Some(status) => self.status(&message, status),
            None => self.job(message, jobs).await,
        }
    }

    /// `<inbox>.<consumer>.<request>` is the subject of everything that is no job.
    fn status(&mut self, message: &Message, status: StatusCode) {
        let mut tokens = message.subject.rsplit('.');
        let number = tokens.next().and_then(|token| token.parse().ok());
        let place = tokens.next().and_then(|token| token.parse::<usize>().ok());
        let Some((number, consumer)) = number.zip(place.and_then(|place| self.consumers.get_mut(place)))
        else {
            return;
        };
        match status {
            StatusCode::IDLE_HEARTBEAT => {}
            StatusCode::TIMEOUT | StatusCode::NOT_FOUND => consumer.requests.ended(number),
            other => {
                let why = message.description.as_deref().unwrap_or_default();
                tracing::warn!(queue.consumer = consumer.name, nats.status = %other, why, "a pull request was refused");
                consumer.requests.ended(number);
                consumer.absent = true;
                consumer.refused();
            }
        }
    }

    async fn job(&mut self, message: Message, jobs: &mpsc::UnboundedSender<Delivery>) {
        let Some(answer_to) = message.reply.clone() else { return };
        let tag = message.subject.split('.').nth(2).unwrap_or_default();
        if let Some(place) = self.by_tag.get(tag) {
            self.consumers[*place].requests.delivered();
        }
        let lease = Lease::new(&self.broker, answer_to);
        let Some(slot) = self.slots.take() else {
            metrics::counter!("job_queue_handed_back_total", "reason" => "no_slot").increment(1);
            lease.hand_back(None).await;
            return;
        };
        let delivered = delivery_count(message.reply.as_deref().unwrap_or_default());
        let job = Job::decode(&message.payload).and_then(|job| job.waiting_at(&message.subject));
        let (subject, envelope) = (message.subject.to_string(), message.payload);
        let delivery = Delivery { job, envelope, subject, lease, slot, delivered };
        // the receiver outlives the puller; were it gone, the lease would run out
        let _ = jobs.send(delivery);
    }

    fn relinked(&mut self) {
        if matches!(*self.link.borrow_and_update(), Link::Up(_)) {
            for consumer in &mut self.consumers {
                consumer.requests.forget();
                // a server that lost its state has lost its consumers, too
                consumer.absent = true;
                consumer.not_before = Instant::now();
            }
        }
    }

    async fn hand_back_the_rest(mut self) {
        // the server drops the requests of an inbox nobody listens to
        if self.messages.drain().await.is_err() {
            return;
        }
        while let Ok(Some(message)) = tokio::time::timeout(Duration::from_secs(1), self.messages.next()).await
        {
            if let (None, Some(reply)) = (message.status, message.reply) {
                Lease::new(&self.broker, reply).hand_back(None).await;
            }
        }
    }
}

impl Consumer {
    fn new(tag: &str) -> Self {
        Self {
            name: format!("w-{tag}-{PRIORITY}"),
            filter: names::jobs_of(tag, PRIORITY),
            requests: Requests::default(),
            absent: true,
            not_before: Instant::now(),
        }
    }

    fn refused(&mut self) {
        self.not_before = Instant::now() + Duration::from_millis(500);
    }
}

/// The delivery count in an acknowledgement subject, of servers before and after 2.15:
/// `$JS.ACK.<stream>.<consumer>.<count>…` or `$JS.ACK.<domain>.<account>.<stream>.<consumer>.<count>…`.
fn delivery_count(reply: &str) -> i64 {
    let tokens: Vec<&str> = reply.split('.').collect();
    let place = if tokens.len() <= 9 { 4 } else { 6 };
    tokens.get(place).and_then(|count| count.parse().ok()).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delivery_counts_of_both_subject_forms() {
        assert_eq!(delivery_count("$JS.ACK.JOBS_0.w-bash-p1.3.10.11.1700000000000000000.0"), 3);
        assert_eq!(delivery_count("$JS.ACK._.acc.JOBS_0.w-bash-p1.7.10.11.1700000000000000000.0.tok"), 7);
        assert_eq!(delivery_count("nonsense"), 1);
    }
}
