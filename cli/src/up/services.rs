//! auth-service, gateway and worker in this process: the same code as on their own, configured from the
//! same list, over the same sockets.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use broker::permissions::{AUTH_SERVICE, GATEWAY, WORKER};
use lifecycle::config::{Resolved, Sources, resolve};
use lifecycle::{FromValues, Process, Service, StopTiming};
use proto::Language;
use tokio::net::TcpListener;

use super::args::UpArgs;
use super::credentials::Credentials;
use super::data_folder::DataFolder;
use super::service_settings::{Addresses, environment, settings, variable};
use super::tools;

/// How long what runs may go on after the stop was asked for.
const GRACE: Duration = Duration::from_secs(10);

/// The running services.
#[derive(Debug)]
pub(super) struct Services {
    auth: Process,
    gateway: Process,
    worker: Process,
}

/// What they are started from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Start<'a> {
    /// The flags.
    pub(super) args: &'a UpArgs,
    /// The data folder.
    pub(super) data: &'a DataFolder,
    /// The secrets.
    pub(super) credentials: &'a Credentials,
    /// What runs here.
    pub(super) languages: &'a [Language],
}

impl Services {
    /// Starts all three. When one fails, `parent` does.
    ///
    /// # Errors
    /// A port is not to be had, or our own configuration is wrong.
    pub(super) async fn start(
        parent: &Process,
        start: Start<'_>,
        mut addresses: Addresses,
        http: TcpListener,
    ) -> anyhow::Result<Self> {
        let listener = lifecycle::bind(([127, 0, 0, 1], 0).into(), "auth-listen").await?;
        addresses.auth_url = format!("http://{}", listener.local_addr()?);
        let base_url = format!("http://{}", http.local_addr()?);
        let auth = start.config(AUTH_SERVICE, &addresses, &[])?;
        let gateway = start.config(GATEWAY, &addresses, &start.for_gateway())?;
        let worker = start.config(WORKER, &addresses, &start.for_worker(&base_url))?;
        Ok(Self {
            auth: spawn(parent, AUTH_SERVICE, |own| auth_service::run_on(listener, auth, own)),
            gateway: spawn(parent, GATEWAY, |own| gateway::run_on(http, gateway, own)),
            worker: spawn(parent, WORKER, |own| worker::run(worker, own)),
        })
    }

    /// Waits until each says that it can work.
    pub(super) async fn ready(&self) {
        for process in [&self.auth, &self.gateway, &self.worker] {
            process.readiness.wait_ready().await;
        }
    }

    /// Ends them in order: first those that callers and scripts talk to, then who vouches for them.
    pub(super) async fn stop(self) {
        tokio::join!(stop(&self.gateway), stop(&self.worker));
        stop(&self.auth).await;
    }
}

impl Start<'_> {
    fn config<C: FromValues>(
        &self,
        name: &'static str,
        addresses: &Addresses,
        more: &[(&str, String)],
    ) -> anyhow::Result<C> {
        let service = Service { name, about: "", version: env!("CARGO_PKG_VERSION") };
        let settings = settings(name, self.credentials, addresses);
        let more = more.iter().map(|(key, value)| (variable(name, key), value.clone()));
        let env = environment(name, &settings).into_iter().chain(more);
        let sources = env.fold(Sources::default(), |sources, (name, value)| sources.env(name, value));
        match resolve(&service, sources).with_context(|| format!("{name} does not take its configuration"))? {
            Resolved::Run(config) => Ok(config),
            Resolved::Print(_) => bail!("{name} was not asked to print"),
        }
    }

    fn for_gateway(&self) -> Vec<(&'static str, String)> {
        let languages: Vec<&str> = self.languages.iter().map(|language| language.as_str()).collect();
        vec![("languages", languages.join(","))]
    }

    fn for_worker(&self, base_url: &str) -> Vec<(&'static str, String)> {
        let text = |path: PathBuf| path.to_string_lossy().into_owned();
        let mut more = vec![
            ("base-internal-url", base_url.to_owned()),
            ("base-url", base_url.to_owned()),
            ("work-dir", text(self.data.work_dir(rustix::process::geteuid().is_root()))),
        ];
        more.extend(self.args.slots.map(|slots| ("slots", slots.to_string())));
        // scripts find what the person who started us finds
        more.extend(tools::search_path().map(|path| ("path", path)));
        more.extend(tools::find("deno").ok().map(|program| ("deno", text(program))));
        more.extend(tools::python_sdk().map(|folder| ("python-path", text(folder))));
        more
    }
}

fn spawn<F>(parent: &Process, name: &'static str, run: impl FnOnce(Process) -> F) -> Process
where
    F: Future<Output = anyhow::Result<()>> + Send + 'static,
{
    let own = Process::new(name);
    own.spawn_essential("service", run(own.clone()));
    let (watched, parent_) = (own.clone(), parent.clone());
    parent.spawn("watch", async move {
        if watched.stop_requested().await == lifecycle::StopReason::Failed {
            parent_.fail(anyhow!("{name} failed"));
        }
    });
    own
}

async fn stop(process: &Process) {
    process.stop();
    // its failure was logged when it happened
    let _ = process.wind_down(StopTiming { notice: Duration::ZERO, grace: GRACE }).await;
}
