//! The generator: requests at a constant pace, of every kind, whatever goes wrong meanwhile.

use std::sync::Arc;
use std::time::Duration;

use job_queue::now_us;
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::fault::EACH;
use super::kind::{Kind, LARGE_BYTES};
use super::ledger::{Call, Heard, Ledger};
use super::scripts;
use super::seed::Seed;
use crate::answer::Answer;
use crate::client::Client;

/// The longest that anybody may wait for any answer: more than a gateway's `wait-default`.
const PATIENCE: Duration = Duration::from_secs(75);
/// How long a caller goes on sending what was refused.
const INSISTS: Duration = Duration::from_secs(60);
/// The pace of who sends again.
const AGAIN: Duration = Duration::from_millis(150);
/// Requests on their way at once: more would only wait for each other.
const AT_ONCE: usize = 48;

/// Who calls: both gateways, and the ledger of what they say.
#[derive(Clone)]
pub(super) struct Caller {
    pub(super) clients: [Client; EACH],
    pub(super) ledger: Ledger,
    /// Where scripts tell what they do.
    pub(super) port: u16,
}

/// A generator that runs.
pub(super) struct Load {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Load {
    /// Starts it; one request each `pace`.
    pub(super) fn start(caller: Caller, seed: u64, pace: Duration) -> Self {
        let stop = CancellationToken::new();
        let task = tokio::spawn(generate(caller, Seed::new(!seed), pace, stop.clone()));
        Self { stop, task }
    }

    /// No more requests; returns when all have their answer.
    pub(super) async fn stop(self) {
        self.stop.cancel();
        self.task.await.expect("the generator does not panic");
    }
}

async fn generate(caller: Caller, mut random: Seed, pace: Duration, stop: CancellationToken) {
    let (places, mut ticks) = (Arc::new(Semaphore::new(AT_ONCE)), tokio::time::interval(pace));
    for number in 0_usize.. {
        let next = async {
            ticks.tick().await;
            places.clone().acquire_owned().await
        };
        let Some(Ok(permit)) = stop.run_until_cancelled(next).await else { break };
        let (caller, random) = (caller.clone(), Seed::new(random.bits()));
        tokio::spawn(async move {
            Promise::new(caller, number, random).make().await;
            drop(permit);
        });
    }
    // the last ones: each has a bound of its own
    let _ = places.acquire_many(u32::try_from(AT_ONCE).unwrap_or(u32::MAX)).await;
}

/// One promise that is asked for, by one request or several.
struct Promise {
    caller: Caller,
    kind: Kind,
    value: String,
    args: Value,
    random: Seed,
}

impl Promise {
    fn new(caller: Caller, number: usize, mut random: Seed) -> Self {
        let kind = Kind::pick(&mut random);
        let value = format!("{kind:?}-{number}");
        let args = match kind {
            Kind::Large => scripts::large_args(caller.port, &value, LARGE_BYTES),
            _ => scripts::args(caller.port, &value, kind.work_ms(&mut random)),
        };
        Self { caller, kind, value, args, random }
    }

    async fn make(mut self) {
        match self.kind {
            Kind::Sync
            | Kind::Async
            | Kind::Large
            | Kind::Once
            | Kind::Failing
            | Kind::Delayed
            | Kind::Retried => {
                self.ask(self.kind.query(), None).await;
            }
            Kind::Keyed => self.by_key().await,
            Kind::Again => self.again().await,
            Kind::Canceled => self.cancel().await,
        }
    }

    /// Until it is accepted twice.
    async fn by_key(&mut self) {
        let (key, until, mut accepted) = (format!("key-{}", self.value), Instant::now() + INSISTS, 0);
        while accepted < 2 && Instant::now() < until {
            if self.ask("", Some(&key)).await.promised().is_some() {
                accepted += 1;
            } else {
                tokio::time::sleep(AGAIN).await;
            }
        }
    }

    /// Until it is accepted under the id of its refusal.
    async fn again(&mut self) {
        let until = Instant::now() + INSISTS;
        let mut heard = self.ask("", None).await;
        while let Heard::Refused { job: Some(job), .. } = &heard
            && Instant::now() < until
        {
            let query = format!("?job_id={job}");
            tokio::time::sleep(AGAIN).await;
            let next = self.ask(&query, None).await;
            if matches!(next, Heard::Refused { .. } | Heard::Broken { .. }) {
                continue;
            }
            heard = next;
        }
    }

    /// Asks for its end, after a while, until somebody has heard.
    async fn cancel(&mut self) {
        let heard = self.ask("", None).await;
        let Some(job) = heard.promised().map(str::to_owned) else { return };
        tokio::time::sleep(Duration::from_millis(self.random.below(800))).await;
        let until = Instant::now() + INSISTS;
        while Instant::now() < until {
            let client = &self.caller.clients[self.gateway()];
            let request = client.post(&format!("jobs_u/queue/cancel/{job}")).json(json!({"reason": "chaos"}));
            let answer = tokio::time::timeout(PATIENCE, request.try_send()).await;
            if let Ok(Ok(answer)) = answer
                && answer.status == 200
            {
                return;
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    fn gateway(&mut self) -> usize {
        self.random.pick(&[0, 1])
    }

    /// One request, noted with what was heard.
    async fn ask(&mut self, query: &str, key: Option<&str>) -> Heard {
        let (gateway, waits) = (self.gateway(), self.kind.waits());
        let verb = if waits { "run_wait_result" } else { "run" };
        let path = format!("jobs/{verb}/p/{}{query}", self.kind.script());
        let mut request = self.caller.clients[gateway].post(&path).json(&self.args);
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        let waiting = waits.then(|| self.caller.ledger.waits(gateway));
        let sent_us = now_us();
        let heard = match tokio::time::timeout(PATIENCE, request.try_send()).await {
            Ok(Ok(answer)) => hear(&answer, waits, query),
            Ok(Err(error)) => Heard::Broken { why: format!("{error:?}") },
            Err(_) => Heard::Nothing,
        };
        drop(waiting);
        let (kind, value, answered_us) = (self.kind, self.value.clone(), now_us());
        let call = Call { kind, value, gateway, sent_us, answered_us, heard: heard.clone() };
        self.caller.ledger.note(call);
        heard
    }
}

/// What an answer says.
fn hear(answer: &Answer, waits: bool, query: &str) -> Heard {
    let named = Some(answer.header("x-job-id").to_owned()).filter(|id| !id.is_empty());
    match (answer.status, named) {
        (201, _) => Heard::Accepted { job: answer.text() },
        (200 | 422, Some(job)) if waits => Heard::Ended { job, body: answer.text() },
        (504, Some(job)) if waits => Heard::TimedOut { job },
        (400, Some(job)) if !query.is_empty() && answer.text().contains("already used") => {
            Heard::Accepted { job }
        }
        (status @ (429 | 503 | 507), job) => Heard::Refused { status, job },
        (status, _) => Heard::Odd { status, body: answer.text() },
    }
}
