//! The steps of `hookmill up`, in their order.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use lifecycle::config::{Resolved, Sources, resolve};
use lifecycle::supervisor::Host;
use lifecycle::{Process, ProcessConfig, Secret, Service};
use proto::Language;
use reqwest::Method;
use tokio::net::TcpListener;

use super::args::UpArgs;
use super::credentials::Credentials;
use super::data_folder::DataFolder;
use super::env_file::{self, ClientEnv};
use super::screen::{self, Screen};
use super::server::Ingredients;
use super::servers::Servers;
use super::service_settings::Addresses;
use super::services::{Services, Start};
use super::{admin, example, tools};
use crate::api::Api;
use crate::failure::Failure;
use crate::output;
use crate::provision::{Streams, provision};

const SERVICE: Service =
    Service { name: "up", about: "everything on one machine", version: env!("CARGO_PKG_VERSION") };

/// From the stop being asked for to the end of everything.
const STOP_WITHIN: &str = "30s";

/// How long the services may take to answer.
const READY_WITHIN: Duration = Duration::from_secs(15);

/// Runs everything in the foreground until a signal. 0 it was stopped, 1 something failed, 2 it could not
/// begin: the folder or the port is taken.
pub(crate) fn main(args: &UpArgs) -> ExitCode {
    let begun = process_config(args).and_then(|config| Ok((config, begin(args)?)));
    let (config, (data, http)) = match begun {
        Ok(begun) => begun,
        Err(error) => {
            output::complain(&format!("{error:#}"));
            return ExitCode::from(2);
        }
    };
    let args = args.clone();
    lifecycle::run_process(&SERVICE, &config, |process| run(args, data, http, process))
}

fn process_config(args: &UpArgs) -> anyhow::Result<ProcessConfig> {
    let flags = [format!("--log={}", args.log), format!("--shutdown-grace={STOP_WITHIN}")];
    let sources = flags.into_iter().fold(Sources::default(), Sources::arg);
    match resolve(&SERVICE, sources)? {
        Resolved::Run(config) => Ok(config),
        Resolved::Print(_) => bail!("nothing was asked to be printed"),
    }
}

/// Takes the folder and the port, so that nothing is started when either is not to be had.
fn begin(args: &UpArgs) -> anyhow::Result<(DataFolder, std::net::TcpListener)> {
    let data = DataFolder::take(&args.data)?;
    let addr = SocketAddr::from(([127, 0, 0, 1], args.port));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let http = runtime.block_on(lifecycle::bind(addr, "port"))?.into_std()?;
    Ok((data, http))
}

async fn run(
    args: UpArgs,
    data: DataFolder,
    http: std::net::TcpListener,
    process: Process,
) -> anyhow::Result<()> {
    let http = TcpListener::from_std(http)?;
    let host = Host::new().context("cannot start threads")?;
    let credentials = Credentials::load_or_generate(data.path())?;
    let from = Ingredients { folder: data.path(), credentials: &credentials, profile: args.profile };
    // whoever stops us while they read their data need not wait for it
    let Some(servers) = process.shutdown.until_drain(Box::pin(Servers::start(&host, from))).await else {
        return Ok(());
    };
    let servers = servers.inspect_err(complain)?;
    let up = Up { args, data, credentials };
    let ended = up.serve(&servers, http, &process).await.inspect_err(complain);
    servers.stop().await;
    up.data.remove_work_dir(rustix::process::geteuid().is_root());
    ended
}

/// Says it to the person too: the log line is for machines, and its lines may be escaped.
fn complain(error: &anyhow::Error) {
    output::complain(&format!("{error:#}"));
}

struct Up {
    args: UpArgs,
    data: DataFolder,
    credentials: Credentials,
}

/// The token a first screen needs.
struct AdminToken {
    token: String,
    origin: Origin,
}

/// Where the token comes from.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Origin {
    /// The first start.
    First,
    /// `--reset-token`.
    Reset,
    /// The env file.
    Kept,
}

impl Up {
    async fn serve(&self, servers: &Servers, http: TcpListener, process: &Process) -> anyhow::Result<()> {
        let base_url = format!("http://{}", http.local_addr()?);
        self.provision(servers).await?;
        let token = self.token(servers).await?;
        let languages = languages();
        let start = Start {
            args: &self.args,
            data: &self.data,
            credentials: &self.credentials,
            languages: &languages,
        };
        let addresses = Addresses {
            nats_url: servers.nats_url(),
            valkey: servers.valkey.addr().to_string(),
            auth_url: String::new(),
        };
        let services = Services::start(process, start, addresses, http).await?;
        let greeted = process.shutdown.until_drain(self.greet(&services, &base_url, token, &languages)).await;
        if let Some(Err(error)) = greeted {
            complain(&error);
            process.fail(error);
        }
        process.shutdown.draining().await;
        output::note("stopping; Ctrl-C again ends everything at once\n");
        services.stop().await;
        Ok(())
    }

    async fn provision(&self, servers: &Servers) -> anyhow::Result<()> {
        let password = self.credentials.nats_password(broker::permissions::PROVISION);
        let streams = Streams {
            url: servers.nats_url(),
            password: Secret::new(password.to_owned()),
            replicas: 1,
            max_queue_bytes: job_queue::PROVISION_DEFAULT_MAX_BYTES,
        };
        provision(&streams).await
    }

    /// The first admin's token on the first start, a new one when asked for, else that of the file.
    async fn token(&self, servers: &Servers) -> anyhow::Result<Option<AdminToken>> {
        let password = self.credentials.nats_password(broker::permissions::AUTH_SERVICE);
        let catalog = admin::open_catalog(&servers.nats_url(), password).await?;
        let mut made = admin::first_token(&catalog, &self.args.email, &self.args.first_workspace)
            .await?
            .map(|bearer| (bearer, Origin::First));
        if made.is_none() && self.args.reset_token {
            made = Some((admin::new_token(&catalog).await?, Origin::Reset));
        }
        let made = made.map(|(bearer, origin)| AdminToken { token: bearer.expose().to_owned(), origin });
        let kept =
            || env_file::read_token(self.data.path()).map(|token| AdminToken { token, origin: Origin::Kept });
        Ok(made.or_else(kept))
    }

    /// Waits until everything answers, leaves the example and the env file, and says so.
    async fn greet(
        &self,
        services: &Services,
        base_url: &str,
        token: Option<AdminToken>,
        languages: &[Language],
    ) -> anyhow::Result<()> {
        let Some(AdminToken { token, origin }) = token else {
            in_time(services.ready()).await?;
            self.greet_without_token(base_url);
            return Ok(());
        };
        // a later start need not repeat what the first one chose
        let kept = env_file::read_workspace(self.data.path()).filter(|_| origin != Origin::First);
        let workspace = kept.unwrap_or_else(|| self.args.first_workspace.clone()).to_string();
        let env = ClientEnv { base_url: base_url.to_owned(), token, workspace };
        // before anything can fail: the token is known nowhere else
        env.write(self.data.path()).context("cannot write the env file")?;
        let api = Api::new(base_url, &env.token, &env.workspace)?;
        in_time(services.ready()).await?;
        in_time(answers(&api)).await??;
        let example = example(&api, origin, languages).await?;
        let screen = Screen {
            env: &env,
            data: &self.args.data,
            new_token: origin != Origin::Kept,
            program: &screen::program(),
            example: example.then_some(example::PATH),
        };
        output::raw(&screen.render());
        Ok(())
    }

    fn greet_without_token(&self, base_url: &str) {
        let file = self.args.data.join(env_file::FILE);
        output::raw(&format!(
            "\nHookmill is ready on {base_url}\n\n  Token   {} is lost: stop, then `{} up --reset-token` makes a new one\n\n",
            file.display(),
            screen::program(),
        ));
    }
}

/// Whether there is the example. It is deployed on the first start alone: who removes it stays rid of it.
async fn example(api: &Api, origin: Origin, languages: &[Language]) -> Result<bool, Failure> {
    match origin {
        Origin::First => example::deploy_in_one_of(api, languages).await,
        Origin::Reset | Origin::Kept => {
            let at = format!("scripts/get/p/{}", example::PATH);
            Ok(api.here(Method::GET, &at).find::<serde_json::Value>().await?.is_some())
        }
    }
}

async fn in_time<T>(event: impl Future<Output = T>) -> anyhow::Result<T> {
    let bound = tokio::time::timeout(READY_WITHIN, event).await;
    bound.with_context(|| format!("the services did not answer within {} s", READY_WITHIN.as_secs()))
}

/// What runs here, as far as the programs are there.
fn languages() -> Vec<Language> {
    let programs = [("python3", Language::Python3), ("deno", Language::Deno), ("bash", Language::Bash)];
    let there = programs.into_iter().filter(|(program, _)| tools::find(program).is_ok());
    there.map(|(_, language)| language).collect()
}

/// Asks who we are until somebody knows.
async fn answers(api: &Api) -> anyhow::Result<()> {
    const PAUSE: Duration = Duration::from_millis(10);
    loop {
        match api.here(Method::GET, "users/whoami").text().await {
            Ok(_) => return Ok(()),
            Err(Failure::Refused { status: 503, .. } | Failure::Unreachable { .. }) => {
                tokio::time::sleep(PAUSE).await;
            }
            Err(Failure::Refused { status: 401, .. }) => {
                bail!(
                    "the token in the env file is not valid any more: `hookmill up --reset-token` makes a new one"
                )
            }
            Err(other) => return Err(other.into()),
        }
    }
}
