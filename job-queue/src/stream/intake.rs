//! Pulling: our own requests over one inbox, each for at most the free slots, one
//! outstanding per consumer. What arrives beyond a free slot (several consumers brought more
//! than there is room for) is handed back at once, before anything was started.

use std::collections::HashMap;
use std::time::Duration;

use async_nats::jetstream::consumer::{AckPolicy, pull};
use async_nats::{Message, StatusCode, Subscriber};
use broker::{Broker, Link};
use futures::StreamExt;
use futures::future::join_all;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::requests::{EXPIRES, Requests};
use super::{Lease, Slot, Slots, StreamError, consumers};

/// What is pulled.
pub(super) struct Source {
    /// The stream.
    pub(super) stream: &'static str,
    /// The durable consumer; made where it is not there.
    pub(super) consumer: String,
    /// The subjects it is for.
    pub(super) filter: String,
}

/// A message in a slot of its own.
pub(super) struct Pulled {
    pub(super) message: Message,
    pub(super) lease: Lease,
    pub(super) slot: Slot,
    /// How often NATS says it has delivered it.
    pub(super) delivered: i64,
    /// Its place in the stream.
    pub(super) sequence: u64,
}

/// Hands out messages as slots become free.
pub(super) struct Intake {
    broker: Broker,
    lease: Duration,
    slots: Slots,
    inbox: String,
    messages: Subscriber,
    link: watch::Receiver<Link>,
    consumers: Vec<Consumer>,
    by_name: HashMap<String, usize>,
}

struct Consumer {
    source: Source,
    requests: Requests,
    /// Its durable consumer has to be made (again) before the next request.
    absent: bool,
    /// No request before this, after the server refused one.
    not_before: Instant,
}

impl Intake {
    /// Subscribes its inbox; consumers are made at the first request.
    ///
    /// # Errors
    /// The client is closed.
    pub(super) async fn open(
        broker: Broker,
        sources: Vec<Source>,
        lease: Duration,
        slots: Slots,
    ) -> Result<Self, StreamError> {
        let inbox = broker.client().new_inbox();
        let messages = broker.client().subscribe(format!("{inbox}.*.*")).await.map_err(StreamError::new)?;
        let names = sources.iter().map(|source| source.consumer.clone());
        let by_name = names.enumerate().map(|(place, name)| (name, place)).collect();
        let consumers = sources.into_iter().map(Consumer::new).collect();
        let mut link = broker.link();
        // connections before this one asked for nothing
        link.mark_unchanged();
        Ok(Self { broker, lease, slots, inbox, messages, link, consumers, by_name })
    }

    /// Hands messages out until `stop`; what is on its way then is handed back.
    pub(super) async fn run(self, hand_out: impl FnMut(Pulled), stop: CancellationToken) {
        let sources = self.consumers.iter().map(|consumer| &consumer.source);
        let watches: Vec<_> = sources
            .map(|source| consumers::watch(self.broker.clone(), source.stream, source.consumer.clone()))
            .collect();
        tokio::select! {
            () = self.pull(hand_out, stop) => {}
            // a service without any has nothing to watch
            () = async { join_all(watches).await; std::future::pending().await } => {}
        }
    }

    async fn pull(mut self, mut hand_out: impl FnMut(Pulled), stop: CancellationToken) {
        loop {
            self.request().await;
            let lost_at = self.next_deadline();
            tokio::select! {
                message = self.messages.next() => match message {
                    Some(message) => self.take(message, &mut hand_out).await,
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
                let reply = format!("{}.{place}.{number}", self.inbox);
                self.send_request(place, reply, free).await;
            }
        }
    }

    async fn send_request(&self, place: usize, reply: String, batch: usize) {
        let Source { stream, consumer, .. } = &self.consumers[place].source;
        let subject = format!("$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}");
        let ask = serde_json::json!({"batch": batch, "expires": u64::try_from(EXPIRES.as_nanos()).unwrap_or(u64::MAX)});
        let sent = self.broker.client().publish_with_reply(subject, reply, ask.to_string().into());
        if tokio::time::timeout(Duration::from_secs(1), sent).await.is_err() {
            tracing::debug!(queue.consumer = consumer, "a pull request could not be sent within 1 s");
        }
    }

    async fn make_consumer(&mut self, place: usize) {
        let Source { stream, consumer, filter } = &self.consumers[place].source;
        let config = pull::Config {
            durable_name: Some(consumer.clone()),
            filter_subject: filter.clone(),
            ack_policy: AckPolicy::Explicit,
            ack_wait: self.lease,
            max_deliver: -1,
            max_ack_pending: 20_000,
            max_waiting: 4096,
            ..pull::Config::default()
        };
        let stream = self.broker.jetstream().get_stream_no_info(*stream).await;
        let made = match stream {
            Ok(stream) => stream.create_consumer(config).await.map(drop).map_err(StreamError::new),
            Err(error) => Err(StreamError::new(error)),
        };
        match made {
            Ok(()) => self.consumers[place].absent = false,
            Err(error) => {
                tracing::warn!(queue.consumer = consumer, %error, "the consumer cannot be made yet");
                self.consumers[place].refused();
            }
        }
    }

    async fn take(&mut self, message: Message, hand_out: &mut impl FnMut(Pulled)) {
        match message.status {
            Some(status) => self.status(&message, status),
            None => self.pulled(message, hand_out).await,
        }
    }

    /// `<inbox>.<consumer>.<request>` is the subject of everything that is no message of the stream.
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
                tracing::warn!(queue.consumer = consumer.source.consumer, nats.status = %other, why, "a pull request was refused");
                consumer.requests.ended(number);
                consumer.absent = true;
                consumer.refused();
            }
        }
    }

    async fn pulled(&mut self, message: Message, hand_out: &mut impl FnMut(Pulled)) {
        let Some(answer_to) = message.reply.clone() else { return };
        let origin = Origin::of(&answer_to);
        if let Some(place) = self.by_name.get(origin.consumer) {
            self.consumers[*place].requests.delivered();
        }
        let (delivered, sequence) = (origin.delivered, origin.sequence);
        let lease = Lease::new(&self.broker, answer_to.clone());
        let Some(slot) = self.slots.take() else {
            metrics::counter!("job_queue_handed_back_total", "reason" => "no_slot").increment(1);
            lease.hand_back(None).await;
            return;
        };
        hand_out(Pulled { message, lease, slot, delivered, sequence });
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
    fn new(source: Source) -> Self {
        let requests = Requests::default();
        Self { source, requests, absent: true, not_before: Instant::now() }
    }

    fn refused(&mut self) {
        self.not_before = Instant::now() + Duration::from_millis(500);
    }
}

/// What an acknowledgement subject tells, of servers before and after 2.15:
/// `$JS.ACK.<stream>.<consumer>.<count>.<sequence>…` or
/// `$JS.ACK.<domain>.<account>.<stream>.<consumer>.<count>.<sequence>…`.
struct Origin<'a> {
    consumer: &'a str,
    delivered: i64,
    sequence: u64,
}

impl<'a> Origin<'a> {
    fn of(reply: &'a str) -> Self {
        let tokens: Vec<&str> = reply.split('.').collect();
        let place = if tokens.len() <= 9 { 3 } else { 5 };
        let number = |place: usize| tokens.get(place).and_then(|token| token.parse::<u64>().ok());
        Self {
            consumer: tokens.get(place).copied().unwrap_or_default(),
            delivered: number(place + 1).and_then(|count| count.try_into().ok()).unwrap_or(1),
            sequence: number(place + 2).unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn acknowledgement_subjects_of_both_forms() {
        let of = |reply| {
            let origin = Origin::of(reply);
            (origin.consumer.to_owned(), origin.delivered, origin.sequence)
        };
        let old = of("$JS.ACK.JOBS_0.w-bash-p1.3.10.11.1700000000000000000.0");
        assert_eq!(old, ("w-bash-p1".to_owned(), 3, 10));
        let new = of("$JS.ACK._.acc.JOBS_0.w-bash-p1.7.10.11.1700000000000000000.0.tok");
        assert_eq!(new, ("w-bash-p1".to_owned(), 7, 10));
        assert_eq!(of("nonsense"), (String::new(), 1, 0));
    }
}
