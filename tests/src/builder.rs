//! What system to start, and starting it in order: servers, streams, first admin,
//! auth-service, gateways, workers.

use std::future::IntoFuture;
use std::path::Path;
use std::pin::Pin;

use broker::permissions::{AUTH_SERVICE, GATEWAY, PROVISION, WORKER};
use futures::future::join_all;
use hookmill::provision::{Streams, provision};
use hookmill::up::credentials::Credentials;
use hookmill::up::profile::Profile;
use hookmill::up::server::Ingredients;
use hookmill::up::service_settings::{Addresses, environment, settings};
use hookmill::up::tools;
use lifecycle::Secret;
use tokio::sync::Semaphore;

use crate::client::Client;
use crate::data_server::DataServer;
use crate::disk::Disk;
use crate::hub::Hub;
use crate::links::Links;
use crate::people;
use crate::service::Service;
use crate::system::System;
use crate::trace;

/// Systems at the same time: more would wait for each other's processor.
static PLACES: Semaphore = Semaphore::const_new(4);

/// The workspace of a system's client.
const WORKSPACE: &str = "main";

/// A system to be started; awaiting it starts it.
#[must_use = "nothing is started until this is awaited"]
#[derive(Clone, Debug)]
pub struct Start {
    gateways: usize,
    workers: usize,
    profile: Profile,
    queue_bytes: i64,
    settings: Vec<(&'static str, &'static str, String)>,
    worker_program: &'static str,
    worker_variables: Vec<(&'static str, String)>,
    linked: bool,
    disks: bool,
    traced: bool,
}

impl Default for Start {
    fn default() -> Self {
        Self {
            gateways: 1,
            workers: 1,
            profile: Profile::Durable,
            queue_bytes: job_queue::PROVISION_DEFAULT_MAX_BYTES,
            settings: Vec::new(),
            worker_program: WORKER,
            worker_variables: Vec::new(),
            linked: false,
            disks: false,
            traced: false,
        }
    }
}

impl Start {
    /// How many gateways; one by default.
    pub fn gateways(self, gateways: usize) -> Self {
        Self { gateways, ..self }
    }

    /// How many workers; one by default.
    pub fn workers(self, workers: usize) -> Self {
        Self { workers, ..self }
    }

    /// When NATS and Valkey write through to the disk; durable by default.
    pub fn profile(self, profile: Profile) -> Self {
        Self { profile, ..self }
    }

    /// The size of the job stream.
    pub fn queue_bytes(self, queue_bytes: i64) -> Self {
        Self { queue_bytes, ..self }
    }

    /// A variable of each worker's environment.
    pub fn worker_variable(mut self, name: &'static str, value: &str) -> Self {
        self.worker_variables.push((name, value.to_owned()));
        self
    }

    /// Workers are of another program than `worker`.
    pub fn worker_program(self, worker_program: &'static str) -> Self {
        Self { worker_program, ..self }
    }

    /// Between each service and the servers it uses lies a link that can be spoiled: [`System::link`].
    pub fn linked(self) -> Self {
        Self { linked: true, ..self }
    }

    /// NATS and Valkey have disks of their own, where this process may mount any: [`System::disk`].
    pub fn disks(self) -> Self {
        Self { disks: true, ..self }
    }

    /// Every read, write and sync of NATS, Valkey and the gateways is noted: [`crate::trace`].
    pub fn traced(self) -> Self {
        Self { traced: true, ..self }
    }

    /// Jobs that each worker runs at once; the worker's default otherwise.
    pub fn slots(self, slots: usize) -> Self {
        self.worker_setting("slots", slots)
    }

    /// How long a job is a worker's without renewal, such as `2s`.
    pub fn lease(self, lease: &str) -> Self {
        self.worker_setting("lease", lease)
    }

    /// A key of each gateway's configuration.
    pub fn gateway_setting(self, key: &'static str, value: impl ToString) -> Self {
        self.setting(GATEWAY, key, value)
    }

    /// A key of each auth-service's configuration.
    pub fn auth_setting(self, key: &'static str, value: impl ToString) -> Self {
        self.setting(AUTH_SERVICE, key, value)
    }

    /// A key of each worker's configuration.
    pub fn worker_setting(self, key: &'static str, value: impl ToString) -> Self {
        self.setting(WORKER, key, value)
    }

    /// A key of every service's configuration.
    pub fn every_setting(self, key: &'static str, value: impl ToString) -> Self {
        let value = value.to_string();
        [AUTH_SERVICE, GATEWAY, WORKER].into_iter().fold(self, |start, kind| start.setting(kind, key, &value))
    }

    fn setting(mut self, kind: &'static str, key: &'static str, value: impl ToString) -> Self {
        self.settings.push((kind, key, value.to_string()));
        self
    }

    async fn start(self) -> System {
        let place = PLACES.acquire().await.expect("it is never closed");
        // scripts have a `/tmp` of their own, and pass through ours to their folder where they share our files
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        let folder = tempfile::Builder::new().permissions(open).tempdir_in("/var/tmp");
        let folder = folder.expect("a folder for the test's data");
        let credentials = Credentials::generate().expect("the system has randomness");
        let from = Ingredients { folder: folder.path(), credentials: &credentials, profile: self.profile };
        let disks = if self.disks { Disk::both(folder.path()) } else { Vec::new() };
        let (nats, valkey) =
            tokio::join!(DataServer::nats(from, self.traced), DataServer::valkey(from, self.traced));
        let nats_url = format!("nats://{}", nats.address());
        make_streams(&nats_url, &credentials, self.queue_bytes).await;
        let token = people::first_token(&nats_url, &credentials, WORKSPACE).await;
        let addresses = Addresses { nats_url, valkey: valkey.address().to_string(), auth_url: String::new() };
        let hub = Hub::start();
        let links = self.linked.then(Links::default);
        let services = Services {
            start: &self,
            folder: folder.path(),
            credentials: &credentials,
            addresses,
            hub: &hub,
            links: links.as_ref(),
        };
        let (auth, gateways, workers) = services.launch().await;
        let client = Client::new(&gateways[0].url(), WORKSPACE, &token);
        let system = System {
            auth,
            gateways,
            workers,
            nats,
            valkey,
            disks,
            client,
            credentials,
            hub,
            links,
            folder,
            _place: place,
        };
        system.ready().await;
        for trace in [system.nats.trace(), system.valkey.trace()].into_iter().flatten() {
            trace::assert_seen(trace);
        }
        system
    }
}

impl IntoFuture for Start {
    type Output = System;
    type IntoFuture = Pin<Box<dyn Future<Output = System>>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.start())
    }
}

async fn make_streams(nats_url: &str, credentials: &Credentials, max_queue_bytes: i64) {
    let streams = Streams {
        url: nats_url.to_owned(),
        password: Secret::new(credentials.nats_password(PROVISION).to_owned()),
        replicas: 1,
        max_queue_bytes,
    };
    provision(&streams).await.expect("the streams can be made");
}

/// Everything the processes are configured from.
struct Services<'a> {
    start: &'a Start,
    folder: &'a Path,
    credentials: &'a Credentials,
    addresses: Addresses,
    hub: &'a Hub,
    links: Option<&'a Links>,
}

impl Services<'_> {
    /// Starts all of them; they are not ready yet.
    async fn launch(mut self) -> (Service, Vec<Service>, Vec<Service>) {
        let auth = self.service(AUTH_SERVICE, 0);
        auth.set("listen", "127.0.0.1:0");
        auth.launch();
        auth.listens("serving grpc", "listen").await;
        self.addresses.auth_url = auth.url();
        let gateways: Vec<Service> = (0..self.start.gateways).map(|number| self.gateway(number)).collect();
        join_all(gateways.iter().map(|gateway| gateway.listens("gateway listens", "server.address"))).await;
        let base_url = gateways.first().expect("a system has a gateway").url();
        let workers = (0..self.start.workers).map(|number| self.worker(number, &base_url)).collect();
        (auth, gateways, workers)
    }

    fn gateway(&self, number: usize) -> Service {
        let gateway = self.service(GATEWAY, number);
        gateway.set("listen", "127.0.0.1:0");
        gateway.launch();
        gateway
    }

    fn worker(&self, number: usize, base_url: &str) -> Service {
        let worker = self.service(WORKER, number);
        let path = |path: &Path| path.to_string_lossy().into_owned();
        worker.set("base-url", base_url);
        worker.set("base-internal-url", base_url);
        worker.set("work-dir", &path(&self.folder.join(format!("work-{number}"))));
        worker.set("loopback-ports", &self.hub.port().to_string());
        worker.set("deno", &path(&tools::find("deno").unwrap_or_else(|missing| panic!("{missing}"))));
        let sdk = tools::python_sdk().expect("Windmill's Python client is there: run `make test`");
        worker.set("python-path", &path(&sdk));
        self.apply(&worker, WORKER);
        for (name, value) in &self.start.worker_variables {
            worker.set_variable((*name).to_owned(), value.clone());
        }
        worker.launch();
        worker
    }

    fn service(&self, kind: &'static str, number: usize) -> Service {
        let service = Service::new(kind, number, &self.folder.join("log"));
        let service = match kind {
            WORKER => service.with_program(self.start.worker_program),
            GATEWAY if self.start.traced => service.traced(),
            _ => service,
        };
        let addresses = match self.links {
            Some(links) => links.between(service.name(), &self.addresses),
            None => self.addresses.clone(),
        };
        for (name, value) in environment(kind, &settings(kind, self.credentials, &addresses)) {
            service.set_variable(name, value);
        }
        self.apply(&service, kind);
        service
    }

    /// What the test wants wins.
    fn apply(&self, service: &Service, kind: &str) {
        for (_, key, value) in self.start.settings.iter().filter(|(of, _, _)| *of == kind) {
            service.set(key, value);
        }
    }
}
