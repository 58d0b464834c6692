//! The verbs that prepare an installation of several machines: its secrets, the two servers'
//! configurations, its streams. `docker-compose.yml` and `deploy/` call them.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use broker::permissions::{AUTH_SERVICE, GATEWAY, PROVISION, WORKER};
use lifecycle::Secret;
use proto::WorkspaceId;

use crate::failure::Failure;
use crate::output;
use crate::provision::{Streams, provision};
use crate::up::admin;
use crate::up::credentials::Credentials;
use crate::up::nats::{self, NatsSettings};
use crate::up::private_file;
use crate::up::profile::Profile;
use crate::up::service_settings::{Addresses, settings};
use crate::up::valkey::{self, ValkeySettings};

/// How long NATS may take to answer the first admin.
const ADMIN_WITHIN: Duration = Duration::from_secs(30);

/// What both configurations need.
#[derive(Clone, Debug, clap::Args)]
pub struct Common {
    /// Folder of credentials.json, which is made if there is none
    #[arg(long, value_name = "FOLDER")]
    credentials: PathBuf,
    /// Address to listen on
    #[arg(long, default_value = "0.0.0.0")]
    host: IpAddr,
    /// When data is on disk: before each answer, or soon after
    #[arg(long, value_enum, default_value_t, value_name = "durable|relaxed", hide_possible_values = true)]
    profile: Profile,
}

/// `hookmill nats-config`.
#[derive(Clone, Debug, clap::Args)]
pub struct NatsConfig {
    #[command(flatten)]
    common: Common,
    /// Port for clients
    #[arg(long, default_value_t = 4222)]
    port: u16,
    /// Port of the server's counters, which asks for no password
    #[arg(long)]
    monitor_port: Option<u16>,
    /// Name of this server; it must stay the same
    #[arg(long, default_value = "hookmill")]
    server_name: String,
    /// Folder of the streams, as nats-server sees it
    #[arg(long, default_value = "/data")]
    store: PathBuf,
    /// File to write, mode 0600; stdout by default
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// `hookmill valkey-config`.
#[derive(Clone, Debug, clap::Args)]
pub struct ValkeyConfig {
    #[command(flatten)]
    common: Common,
    /// Port for clients
    #[arg(long, default_value_t = 6379)]
    port: u16,
    /// Folder of the data, as Valkey sees it
    #[arg(long, default_value = "/data")]
    folder: PathBuf,
    /// Folder to write valkey.conf and valkey.acl into
    #[arg(long, value_name = "FOLDER")]
    out: PathBuf,
    /// That folder as Valkey sees it; by default the same
    #[arg(long, value_name = "FOLDER")]
    seen_as: Option<PathBuf>,
}

/// `hookmill secrets`.
#[derive(Clone, Debug, clap::Args)]
pub struct Secrets {
    /// Folder of credentials.json, which is made if there is none
    #[arg(long, value_name = "FOLDER")]
    credentials: PathBuf,
    /// Folder to write <service>/<key> into, a file for each secret, mode 0600
    #[arg(long, value_name = "FOLDER")]
    out: PathBuf,
    /// Valkey, which stands in the services' redis-url
    #[arg(long, default_value = "valkey:6379", value_name = "HOST:PORT")]
    valkey: String,
}

/// `hookmill provision`.
#[derive(Clone, Debug, clap::Args)]
pub struct Provision {
    /// NATS, such as nats://nats:4222
    #[arg(long, value_name = "URL")]
    nats_url: String,
    /// File with the password of the NATS user `provision`
    #[arg(long, value_name = "FILE")]
    nats_password_file: PathBuf,
    /// Copies of each stream: 1, or 3 in a cluster
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=5))]
    replicas: u8,
    /// Size of the job queue in bytes; beyond it triggers get 503
    #[arg(long, default_value_t = job_queue::PROVISION_DEFAULT_MAX_BYTES)]
    max_queue_bytes: i64,
}

/// `hookmill first-admin`.
#[derive(Clone, Debug, clap::Args)]
pub struct FirstAdmin {
    /// NATS, such as nats://nats:4222
    #[arg(long, value_name = "URL")]
    nats_url: String,
    /// File with the password of the NATS user `auth-service`
    #[arg(long, value_name = "FILE")]
    nats_password_file: PathBuf,
    /// The admin's email address
    #[arg(long, default_value = "admin@hookmill.local")]
    email: String,
    /// The first workspace
    #[arg(long, default_value = "main", value_name = "ID", id = "first_workspace")]
    first_workspace: WorkspaceId,
    /// File for the token, mode 0600; stdout by default
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

impl FirstAdmin {
    /// Makes the first admin when there is none, and hands out its token, this once.
    ///
    /// # Errors
    /// The password cannot be read, NATS is not there, or the file cannot be written.
    pub async fn run(self) -> Result<(), Failure> {
        let password = secret_in(&self.nats_password_file)?;
        let catalog = admin::open_catalog(&self.nats_url, &password).await?;
        let making = admin::first_token(&catalog, &self.email, &self.first_workspace);
        let made = tokio::time::timeout(ADMIN_WITHIN, making).await;
        let made = made.with_context(|| {
            format!("no answer from NATS at {} within {} s", self.nats_url, ADMIN_WITHIN.as_secs())
        })??;
        match (made, self.out) {
            (Some(bearer), Some(path)) => write(&path, bearer.expose()),
            (Some(bearer), None) => {
                output::line(bearer.expose());
                Ok(())
            }
            (None, _) => {
                output::note("there is an admin already\n");
                Ok(())
            }
        }
    }
}

impl NatsConfig {
    /// Writes nats-server's configuration.
    ///
    /// # Errors
    /// The credentials cannot be used, or the file not be written.
    pub fn run(self) -> Result<(), Failure> {
        let credentials = self.common.load()?;
        let settings = NatsSettings {
            server_name: self.server_name,
            host: self.common.host,
            port: self.port,
            monitor_port: self.monitor_port,
            store: self.store,
            profile: self.common.profile,
        };
        let text = nats::render(&settings, &credentials);
        if let Some(path) = self.out {
            return write(&path, &text);
        }
        output::raw(&text);
        Ok(())
    }
}

impl ValkeyConfig {
    /// Writes Valkey's configuration and users.
    ///
    /// # Errors
    /// The credentials cannot be used, or a file not be written.
    pub fn run(self) -> Result<(), Failure> {
        let credentials = self.common.load()?;
        let users_file = self.seen_as.as_ref().unwrap_or(&self.out).join("valkey.acl");
        let (host, port, folder, profile) = (self.common.host, self.port, self.folder, self.common.profile);
        let settings = ValkeySettings { host, port, folder, users_file, profile };
        write(&self.out.join("valkey.acl"), &valkey::render_users(&credentials))?;
        write(&self.out.join("valkey.conf"), &valkey::render(&settings))
    }
}

impl Secrets {
    /// Writes each service's secrets into a folder of its own.
    ///
    /// # Errors
    /// The credentials cannot be used, or a file not be written.
    pub fn run(&self) -> Result<(), Failure> {
        let credentials = load(&self.credentials)?;
        let nowhere = String::new();
        let addresses =
            Addresses { nats_url: nowhere.clone(), valkey: self.valkey.clone(), auth_url: nowhere };
        for service in [PROVISION, AUTH_SERVICE, GATEWAY, WORKER] {
            let all = settings(service, &credentials, &addresses);
            for secret in all.iter().filter(|setting| setting.secret) {
                write(&self.out.join(service).join(secret.key), &secret.value)?;
            }
        }
        Ok(())
    }
}

impl Provision {
    /// Makes the streams.
    ///
    /// # Errors
    /// The password cannot be read, NATS is not there, or refuses.
    pub async fn run(self) -> Result<(), Failure> {
        let password = secret_in(&self.nats_password_file)?;
        let streams = Streams {
            url: self.nats_url,
            password: Secret::new(password),
            replicas: usize::from(self.replicas),
            max_queue_bytes: self.max_queue_bytes,
        };
        Ok(provision(&streams).await?)
    }
}

impl Common {
    fn load(&self) -> Result<Credentials, Failure> {
        load(&self.credentials)
    }
}

pub(crate) fn secret_in(file: &Path) -> Result<String, Failure> {
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    Ok(text.trim_end().to_owned())
}

fn load(folder: &Path) -> Result<Credentials, Failure> {
    private_file::folder(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    Ok(Credentials::load_or_generate(folder).map_err(anyhow::Error::from)?)
}

fn write(path: &Path, text: &str) -> Result<(), Failure> {
    let folder = path.parent().unwrap_or_else(|| Path::new("."));
    let written = private_file::folder(folder).and_then(|()| private_file::write(path, text));
    Ok(written.with_context(|| format!("cannot write {}", path.display()))?)
}
