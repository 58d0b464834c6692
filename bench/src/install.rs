//! One installation to measure: nats-server, Valkey, auth-service, gateway and worker, each a process of its
//! own, configured as `hookmill up` configures them, on throw-away data.

mod children;
mod programs;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, anyhow};
use auth_service::FirstAdmin;
use broker::permissions::{AUTH_SERVICE, GATEWAY, PROVISION, WORKER};
use broker::{Broker, BrokerConfig};
use catalog::{Catalog, kinds};
use hookmill::provision::{Streams, provision};
use hookmill::up::credentials::Credentials;
use hookmill::up::data_folder::DataFolder;
use hookmill::up::profile::Profile;
use hookmill::up::server::{Ingredients, Server, free_port, start_on_free_port};
use hookmill::up::service_settings::{Addresses, environment, settings, variable};
use http::StatusCode;
use lifecycle::Secret;
use lifecycle::supervisor::Host;
use tempfile::TempDir;

pub(crate) use programs::{ours, python, versions};

use crate::http_client::{self, Call};
use children::Children;

/// The workspace everything runs in.
pub(crate) const WORKSPACE: &str = "bench";

/// How long the services may take to answer.
const READY_WITHIN: Duration = Duration::from_secs(20);

/// A running installation.
pub(crate) struct Install {
    /// Where the gateway listens.
    pub(crate) api: SocketAddr,
    /// Where nats-server counts.
    pub(crate) monitor: SocketAddr,
    /// The first admin's token.
    pub(crate) token: String,
    addresses: Addresses,
    credentials: Credentials,
    children: Children,
    data: DataFolder,
    folder: TempDir,
}

impl Install {
    /// Starts everything on free ports, with data in a new folder inside `parent` and a job stream of so many bytes.
    ///
    /// # Errors
    /// A program is missing, or does not start within its time.
    pub(crate) async fn start(parent: &Path, profile: Profile, queue_bytes: u64) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("bench-data-").tempdir_in(parent)?;
        let data = DataFolder::take(folder.path())?;
        let credentials = Credentials::load_or_generate(data.path())?;
        let mut children = Children::new(Host::new()?);
        let monitor = loopback(free_port()?);
        let from = Ingredients { folder: data.path(), credentials: &credentials, profile };
        let addresses = servers(&mut children, from, monitor.port()).await?;
        provision(&streams(&addresses, &credentials, queue_bytes)?).await?;
        let token = first_admin(&addresses, &credentials).await?;
        let api = loopback(free_port()?);
        let mut install = Self { api, monitor, token, addresses, credentials, children, data, folder };
        install.services().await?;
        Ok(install)
    }

    async fn services(&mut self) -> anyhow::Result<()> {
        let auth = loopback(free_port()?);
        self.addresses.auth_url = format!("http://{auth}");
        let listen = |addr: SocketAddr| vec![("listen", addr.to_string())];
        self.service(AUTH_SERVICE, listen(auth)).await?;
        self.service(GATEWAY, listen(self.api)).await?;
        self.service(WORKER, self.for_worker("work")?).await?;
        let who = Call::get(format!("/api/w/{WORKSPACE}/users/whoami")).with_token(&self.token);
        http_client::until(self.api, &who, StatusCode::OK, READY_WITHIN).await
    }

    async fn service(&mut self, name: &'static str, more: Vec<(&str, String)>) -> anyhow::Result<()> {
        let settings = settings(name, &self.credentials, &self.addresses);
        let more = more.into_iter().map(|(key, value)| (variable(name, key), value));
        let env = environment(name, &settings).into_iter().chain(more).collect();
        self.child(name, ours(name)?, Vec::new(), env).await
    }

    /// Starts another worker, for this tag alone.
    ///
    /// # Errors
    /// It cannot be started.
    pub(crate) async fn start_worker_for(&mut self, tag: &str) -> anyhow::Result<()> {
        let own = vec![("only-tags", "true".to_owned()), ("tags", tag.to_owned())];
        let more = self.for_worker("work-of-a-tag")?.into_iter().chain(own).collect();
        self.service(WORKER, more).await
    }

    /// Ends the process that was started last.
    pub(crate) async fn stop_last(&mut self) {
        self.children.stop_last().await;
    }

    /// Every process with its id, in the order of their start.
    ///
    /// # Errors
    /// One has ended.
    pub(crate) async fn processes(&mut self) -> anyhow::Result<Vec<(&'static str, i32)>> {
        self.children.processes().await
    }

    fn for_worker(&self, work: &str) -> anyhow::Result<Vec<(&'static str, String)>> {
        let url = format!("http://{}", self.api);
        let text = |path: PathBuf| path.to_string_lossy().into_owned();
        Ok(vec![
            ("base-internal-url", url.clone()),
            ("base-url", url),
            ("work-dir", text(self.data.join(work))),
            ("deno", text(hookmill::up::tools::find("deno")?)),
        ])
    }

    /// Starts another process, which ends with this installation.
    ///
    /// # Errors
    /// It cannot be started.
    pub(crate) async fn child(
        &mut self,
        name: &'static str,
        program: PathBuf,
        args: Vec<String>,
        env: Vec<(String, String)>,
    ) -> anyhow::Result<()> {
        let log = self.data.join("log").join(format!("{name}.log"));
        self.children.start(name, program, args, env, self.data.path(), log).await
    }

    /// `nats://…`, and a user's password there.
    pub(crate) fn nats(&self, user: &str) -> (String, String) {
        (self.addresses.nats_url.clone(), self.credentials.nats_password(user).to_owned())
    }

    /// `redis://…` of a user.
    pub(crate) fn redis(&self, user: &str) -> anyhow::Result<String> {
        let all = settings(user, &self.credentials, &self.addresses);
        let url = all.into_iter().find(|setting| setting.key == "redis-url");
        url.map(|setting| setting.value).ok_or_else(|| anyhow!("{user} has no redis-url"))
    }

    /// The end of each process's log, for whoever has to find out why a run failed.
    pub(crate) fn logs(&self) -> String {
        self.children.logs()
    }

    /// Ends every process and removes the data.
    pub(crate) async fn stop(self) {
        self.children.stop().await;
        drop(self.data);
        // leftovers in the build folder harm nobody
        let _ = self.folder.close();
    }
}

async fn servers(children: &mut Children, from: Ingredients<'_>, monitor: u16) -> anyhow::Result<Addresses> {
    let nats = start_on_free_port(children.host(), |port| Server::nats(from, port, Some(monitor)));
    let valkey = start_on_free_port(children.host(), |port| Server::valkey(from, port));
    let ((nats, nats_handle), (valkey, valkey_handle)) = tokio::try_join!(nats, valkey)?;
    children.adopt("valkey", valkey_handle, valkey.log());
    children.adopt("nats-server", nats_handle, nats.log());
    Ok(Addresses {
        nats_url: format!("nats://{}", nats.addr()),
        valkey: valkey.addr().to_string(),
        auth_url: String::new(),
    })
}

fn streams(addresses: &Addresses, credentials: &Credentials, queue_bytes: u64) -> anyhow::Result<Streams> {
    Ok(Streams {
        url: addresses.nats_url.clone(),
        password: Secret::new(credentials.nats_password(PROVISION).to_owned()),
        replicas: 1,
        max_queue_bytes: queue_bytes.try_into()?,
    })
}

async fn first_admin(addresses: &Addresses, credentials: &Credentials) -> anyhow::Result<String> {
    let config = BrokerConfig {
        url: addresses.nats_url.clone(),
        user: AUTH_SERVICE.to_owned(),
        password: credentials.nats_password(AUTH_SERVICE).to_owned(),
        name: "bench".to_owned(),
    };
    let catalog = Catalog::open(Broker::connect(config).await?, kinds::AUTH_SERVICE);
    let first = FirstAdmin {
        email: "bench@hookmill.local".to_owned(),
        workspace: WORKSPACE.parse().ok().context("the workspace's name is not one")?,
        workspace_name: WORKSPACE.to_owned(),
    };
    let bearer = auth_service::bootstrap(&catalog, &first).await?;
    Ok(bearer.context("a new installation has an admin already")?.expose().to_owned())
}

/// An address of this machine alone.
pub(crate) fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}
