//! The job streams in NATS: publishing, finding queued jobs, pulling, leases, and the
//! object store of large arguments.

mod after;
mod args;
mod backlog;
mod batch;
mod consumers;
mod dead;
mod delivery;
mod fill;
mod finder;
mod intake;
mod mover;
mod objects;
mod oldest;
mod provision;
mod publish;
mod pull;
mod requests;
mod slots;
mod tick;
mod timer;

use async_nats::jetstream;
use async_nats::jetstream::response::Response;
use async_nats::{HeaderMap, Message, StatusCode};
use broker::{Broker, names};
use proto::{JobId, Tag, WorkspaceId};
use serde::de::DeserializeOwned;

pub use after::{After, Afters, FiredAfter};
pub(crate) use args::is_stored;
pub use args::{ArgsError, ArgsStore};
pub(crate) use backlog::{Waiting, backlog};
pub use consumers::{Consumer, Consumers, Health};
pub use dead::{DeadLetter, DeadLetters, DeadPage, DeathReason, KeptLetter};
pub use delivery::{Delivery, DeliveryNumber, Lease, LeaseError};
pub(crate) use fill::{Fill, fill};
pub use finder::{Finder, Place, QueuedJob};
pub use mover::{Due, Mover};
pub(crate) use objects::{StoredObject, objects, remove, server_time};
pub(crate) use oldest::oldest_wait;
pub use provision::{PROVISION_DEFAULT_MAX_BYTES, provision};
pub use publish::{PublishError, Publisher};
pub use pull::{Puller, PullerConfig};
pub use slots::{Slot, Slots};
pub use tick::{FiredTick, Tick, Ticks};

/// NATS could not do it.
#[derive(Debug, thiserror::Error)]
#[error("NATS is not available: {0}")]
pub struct StreamError(String);

impl StreamError {
    #[expect(clippy::needless_pass_by_value, reason = "the form `map_err` takes")]
    fn new(why: impl ToString) -> Self {
        Self(why.to_string())
    }
}

/// The one priority of today; the token is in every subject from the start.
const PRIORITY: &str = "p1";

fn subject(tag: &Tag, workspace: &WorkspaceId, id: JobId) -> String {
    names::job_subject(&tag.token(), PRIORITY, &workspace.token(), &id.to_string())
}

/// The header of a timer that says where its job belongs when it is due.
const JOB_SUBJECT: &str = "Hookmill-Job-Subject";

/// How the server begins its refusal to remove a message that is not there.
const NOTHING_THERE: &str = "no message found";

/// Removes one message; that it is gone already is no error.
async fn delete(broker: &Broker, stream: &str, sequence: u64) -> Result<(), StreamError> {
    let ask = serde_json::json!({"seq": sequence, "no_erase": true}).to_string();
    let subject = format!("$JS.API.STREAM.MSG.DELETE.{stream}");
    match ask_api::<serde_json::Value>(broker, subject, &ask).await? {
        Ok(_) => Ok(()),
        // nats-server 2.15 says so in words: the code stands for every failed removal
        Err(error) if error.to_string().starts_with(NOTHING_THERE) => Ok(()),
        Err(error) => Err(StreamError::new(error)),
    }
}

/// What JetStream answers, or refuses.
async fn ask_api<T: DeserializeOwned>(
    broker: &Broker,
    subject: String,
    ask: &str,
) -> Result<Result<T, jetstream::Error>, StreamError> {
    let answer = broker.client().request(subject, ask.to_owned().into()).await.map_err(StreamError::new)?;
    match serde_json::from_slice::<Response<T>>(&answer.payload).map_err(StreamError::new)? {
        Response::Ok(answer) => Ok(Ok(answer)),
        Response::Err { error } => Ok(Err(error)),
    }
}

/// Reads one message, if there is one.
async fn direct_get(
    broker: &Broker,
    stream: &str,
    ask: &serde_json::Value,
) -> Result<Option<Message>, StreamError> {
    let asked = broker.client().request(direct_get_subject(stream), ask.to_string().into());
    let answer = asked.await.map_err(StreamError::new)?;
    match answer.status {
        Some(StatusCode::NOT_FOUND) => Ok(None),
        Some(other) => Err(StreamError::new(format!("direct get answered {other}"))),
        None => Ok(Some(answer)),
    }
}

fn direct_get_subject(stream: &str) -> String {
    format!("$JS.API.DIRECT.GET.{stream}")
}

/// Where a message that was read directly lies in its stream.
fn sequence(headers: &HeaderMap) -> Option<u64> {
    headers.get("Nats-Sequence")?.as_str().parse().ok()
}

/// A direct get tells by which subject a message lay.
fn headers_subject(headers: &HeaderMap) -> Option<&str> {
    headers.get("Nats-Subject").map(async_nats::HeaderValue::as_str)
}
