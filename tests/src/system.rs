//! A running system and its parts.

use std::path::Path;
use std::time::Duration;

use futures::future::join_all;
use hookmill::up::credentials::Credentials;
use tempfile::TempDir;
use tokio::sync::SemaphorePermit;

use crate::builder::Start;
use crate::client::Client;
use crate::data_server::DataServer;
use crate::disk::Disk;
use crate::hub::Hub;
use crate::link::Link;
use crate::links::{Links, Peer};
use crate::people;
use crate::service::Service;
use crate::waiting::retried;

/// How long a gateway may take to know somebody.
const KNOWN_WITHIN: Duration = Duration::from_secs(20);
/// Lines of each log that a failed test shows.
const SHOWN_LINES: usize = 40;

/// A whole system. Everything of it ends with this value; the logs of a test that panics are
/// shown before.
#[derive(Debug)]
pub struct System {
    // in the order in which they are ended
    pub(crate) workers: Vec<Service>,
    pub(crate) gateways: Vec<Service>,
    pub(crate) auth: Service,
    pub(crate) nats: DataServer,
    pub(crate) valkey: DataServer,
    /// Those of NATS and Valkey, if they have any.
    pub(crate) disks: Vec<Disk>,
    pub(crate) client: Client,
    pub(crate) credentials: Credentials,
    pub(crate) hub: Hub,
    pub(crate) links: Option<Links>,
    pub(crate) folder: TempDir,
    pub(crate) _place: SemaphorePermit<'static>,
}

impl System {
    /// One gateway and one worker unless told otherwise; awaiting it starts it.
    pub fn start() -> Start {
        Start::default()
    }

    /// The first admin at the first gateway, in the workspace `main`.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// A member of the client's workspace who does not administer it, at the first gateway once that knows them.
    pub async fn member(&self, name: &str) -> Client {
        let nats_url = format!("nats://{}", self.nats.address());
        let token = people::member(&nats_url, &self.credentials, self.client.workspace(), name).await;
        let client = self.client.with_token(&token);
        retried(&format!("{name} is known"), KNOWN_WITHIN, async || {
            let whoami = client.get_path("users/whoami").send().await;
            (whoami.status == 200).then_some(())
        })
        .await;
        client
    }

    /// Puts a message into the job stream, as a gateway would, whatever it is.
    ///
    /// # Panics
    /// NATS is away.
    pub async fn put_into_queue(&self, subject: &str, payload: &[u8]) {
        let nats_url = format!("nats://{}", self.nats.address());
        let broker = people::broker(&nats_url, &self.credentials, broker::permissions::GATEWAY).await;
        let sent = broker.jetstream().publish(subject.to_owned(), payload.to_vec().into()).await;
        sent.expect("NATS is there").await.expect("the stream takes it");
    }

    /// Removes every timer, as a mistake of an operator would.
    ///
    /// # Panics
    /// NATS is away.
    pub async fn purge_timers(&self) {
        let nats_url = format!("nats://{}", self.nats.address());
        let broker = people::broker(&nats_url, &self.credentials, broker::permissions::PROVISION).await;
        let subject = format!("$JS.API.STREAM.PURGE.{}", broker::names::TIMERS_STREAM);
        broker.client().request(subject, "".into()).await.expect("NATS is there");
    }

    /// Changes the size of the stream of dead letters; what it was.
    ///
    /// # Panics
    /// NATS is away.
    pub async fn resize_dead_letters(&self, max_bytes: i64) -> i64 {
        let nats_url = format!("nats://{}", self.nats.address());
        let broker = people::broker(&nats_url, &self.credentials, broker::permissions::PROVISION).await;
        let stream = broker.jetstream().get_stream(broker::names::DEAD_STREAM).await.expect("NATS is there");
        let mut config = stream.cached_info().config.clone();
        let before = std::mem::replace(&mut config.max_bytes, max_bytes);
        broker.jetstream().update_stream(config).await.expect("it may be any size");
        before
    }

    /// A gateway by its number from 0 on.
    pub fn gateway(&self, number: usize) -> &Service {
        &self.gateways[number]
    }

    /// A worker by its number from 0 on.
    pub fn worker(&self, number: usize) -> &Service {
        &self.workers[number]
    }

    /// auth-service.
    pub fn auth(&self) -> &Service {
        &self.auth
    }

    /// nats-server.
    pub fn nats(&self) -> &DataServer {
        &self.nats
    }

    /// valkey-server.
    pub fn valkey(&self) -> &DataServer {
        &self.valkey
    }

    /// What lies between a service, such as `worker-0`, and one it uses.
    ///
    /// # Panics
    /// The system was not started as [`Start::linked`], or the service does not use that peer.
    pub fn link(&self, service: &str, peer: Peer) -> Link {
        self.links.as_ref().and_then(|links| links.of(service, peer)).expect("a linked system")
    }

    /// The disk of NATS or Valkey; none where this process may not mount any.
    pub fn disk(&self, of: &DataServer) -> Option<&Disk> {
        self.disks.iter().find(|disk| disk.folder() == of.folder())
    }

    /// Takes a job's message out of the stream, as a worker does that has worked it off.
    ///
    /// # Panics
    /// NATS is away.
    pub async fn take_from_queue(&self, subject: &str) {
        let nats_url = format!("nats://{}", self.nats.address());
        let broker = people::broker(&nats_url, &self.credentials, broker::permissions::PROVISION).await;
        let stream = broker.jetstream().get_stream_no_info(broker::names::JOBS_STREAM).await;
        stream.expect("NATS is there").purge().filter(subject).await.expect("the stream answers");
    }

    /// A request to JetStream as the user `provision`, who may do anything; what the server answers.
    ///
    /// # Panics
    /// NATS is away.
    pub async fn ask_jetstream(&self, subject: &str, what: &serde_json::Value) -> serde_json::Value {
        let nats_url = format!("nats://{}", self.nats.address());
        let broker = people::broker(&nats_url, &self.credentials, broker::permissions::PROVISION).await;
        let answer = broker.client().request(format!("$JS.API.{subject}"), what.to_string().into()).await;
        serde_json::from_slice(&answer.expect("NATS is there").payload).expect("JetStream speaks JSON")
    }

    /// Every password of this system.
    pub fn credentials(&self) -> &Credentials {
        &self.credentials
    }

    /// Where its scripts tell what they do.
    pub fn hub(&self) -> &Hub {
        &self.hub
    }

    /// The folder of all its data.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// All services, whether they run or not.
    pub fn services(&self) -> impl Iterator<Item = &Service> {
        self.workers.iter().chain(&self.gateways).chain([&self.auth])
    }

    pub(crate) async fn ready(&self) {
        join_all(self.services().map(Service::ready)).await;
    }

    /// The last lines of every log, as one text.
    pub fn last_words(&self) -> String {
        let services = self.services().map(|service| (service.name(), service.log()));
        let servers = [("nats-server", self.nats.log()), ("valkey-server", self.valkey.log())];
        let shown: Vec<String> =
            services.chain(servers).map(|(name, log)| format!("--- {name}\n{}\n", tail(log))).collect();
        shown.concat()
    }
}

fn tail(log: &Path) -> String {
    let text = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(SHOWN_LINES)..].join("\n")
}

impl Drop for System {
    #[expect(clippy::print_stderr, reason = "a failed test shows what its processes logged")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.last_words());
        }
    }
}
