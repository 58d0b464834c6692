//! A server that we start and stop: nats-server or Valkey, under a supervisor that ends it when we end.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use lifecycle::supervisor::{Host, Input, Kind, Output, ServiceHandle, Spec};

use super::credentials::Credentials;
use super::nats::{self, NatsSettings};
use super::probe::Probe;
use super::profile::Profile;
use super::valkey::{self, ValkeySettings};
use super::{log_file, private_file, tools};

/// How long a server may take until it answers: it reads its data first, and a queue of a million jobs is gigabytes.
const READY_WITHIN: Duration = Duration::from_mins(10);

/// After this the log says why nothing happens.
const SLOW: Duration = Duration::from_secs(5);

/// How long a server may take to write what it holds after SIGTERM.
pub const STOP_GRACE: Duration = Duration::from_secs(5);

/// How often a first start tries another port when somebody takes the one just found.
const PORT_TRIES: u32 = 3;

/// A server's program, files and port. The port stays the same over restarts.
#[derive(Clone, Debug)]
pub struct Server {
    name: &'static str,
    program: PathBuf,
    config: PathBuf,
    folder: PathBuf,
    log: PathBuf,
    addr: SocketAddr,
    probe: Probe,
}

/// Why a server does not run.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Its program is nowhere.
    #[error(transparent)]
    Missing(#[from] tools::Missing),
    /// Its files could not be written, or its process not started.
    #[error("cannot start {name}")]
    Io {
        /// The server.
        name: &'static str,
        /// What the operating system said.
        source: io::Error,
    },
    /// It ended while it started.
    #[error("{name} ended while it started ({why}); the end of {}:\n{tail}", log.display())]
    Ended {
        /// The server.
        name: &'static str,
        /// How it ended.
        why: String,
        /// Its log file.
        log: PathBuf,
        /// The last lines of it.
        tail: String,
    },
    /// It runs and does not answer.
    #[error("{name} did not answer on {addr} within {} s; see {}", READY_WITHIN.as_secs(), log.display())]
    Silent {
        /// The server.
        name: &'static str,
        /// Where it should listen.
        addr: SocketAddr,
        /// Its log file.
        log: PathBuf,
    },
}

/// What both servers are made from.
#[derive(Clone, Copy, Debug)]
pub struct Ingredients<'a> {
    /// The data folder; `run`, `log` and the server's own folder are made in it.
    pub folder: &'a Path,
    /// The passwords.
    pub credentials: &'a Credentials,
    /// When they write through to the disk.
    pub profile: Profile,
}

impl Server {
    /// nats-server on a port of the loopback, with its configuration written.
    /// With a `monitor_port` it serves its counters there.
    ///
    /// # Errors
    /// The program is nowhere, or a file cannot be written.
    pub fn nats(from: Ingredients<'_>, port: u16, monitor_port: Option<u16>) -> Result<Self, StartError> {
        let addr = loopback(port);
        let settings = NatsSettings {
            server_name: "hookmill".into(),
            host: addr.ip(),
            port,
            monitor_port,
            store: from.folder.join("nats"),
            profile: from.profile,
        };
        let server = Self::new("nats-server", "nats", from.folder, Probe::nats(addr))?;
        server.write(&server.config, &nats::render(&settings, from.credentials))?;
        Ok(server)
    }

    /// Valkey on a port of the loopback, with its configuration written.
    ///
    /// # Errors
    /// The program is nowhere, or a file cannot be written.
    pub fn valkey(from: Ingredients<'_>, port: u16) -> Result<Self, StartError> {
        let addr = loopback(port);
        let password = from.credentials.valkey_password("gateway");
        let server =
            Self::new("valkey-server", "valkey", from.folder, Probe::valkey(addr, "gateway", password))?;
        let users_file = server.config.with_extension("acl");
        server.write(&users_file, &valkey::render_users(from.credentials))?;
        let (folder, profile) = (server.folder.clone(), from.profile);
        let settings = ValkeySettings { host: addr.ip(), port, folder, users_file, profile };
        server.write(&server.config, &valkey::render(&settings))?;
        Ok(server)
    }

    fn new(program: &str, name: &'static str, folder: &Path, probe: Probe) -> Result<Self, StartError> {
        let program = tools::find(program)?;
        let server = Self {
            name,
            program,
            config: folder.join("run").join(format!("{name}.conf")),
            folder: folder.join(name),
            log: folder.join("log").join(format!("{name}.log")),
            addr: probe.addr(),
            probe,
        };
        for path in [&server.config, &server.log, &server.folder.join("x")] {
            let parent = path.parent().unwrap_or(folder);
            private_file::folder(parent).map_err(|source| server.io(source))?;
        }
        Ok(server)
    }

    /// `nats` or `valkey`.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Its configuration file, which also stands in its process's command line.
    pub fn config(&self) -> &Path {
        &self.config
    }

    /// What it wrote to standard output and error.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Starts it and waits until it answers, for 10 minutes at most. Dropping this ends it, in the background.
    ///
    /// # Errors
    /// It could not be started, ended, or did not answer.
    pub async fn start(&self, host: &Host) -> Result<ServiceHandle, StartError> {
        let mut handle = self.begin(host).await?;
        self.ready(&mut handle).await?;
        Ok(handle)
    }

    /// The first half of [`Server::start`].
    pub(super) async fn begin(&self, host: &Host) -> Result<ServiceHandle, StartError> {
        log_file::rotate(&self.log).map_err(|source| self.io(source))?;
        host.service(self.spec()).await.map_err(|source| self.io(source))
    }

    /// The second half. May be cancelled.
    pub(super) async fn ready(&self, handle: &mut ServiceHandle) -> Result<(), StartError> {
        let answers = tokio::time::timeout(READY_WITHIN, self.probe.until_it_answers());
        tokio::pin!(answers);
        tokio::select! {
            ended = handle.exited() => {
                let why = match ended {
                    Ok(ended) => format!("exit code {}", ended.exit.status.shell_code()),
                    Err(lost) => lost.to_string(),
                };
                Err(self.ended(why))
            }
            answered = self.told_if_slow(answers) => {
                answered.map_err(|_| StartError::Silent { name: self.name, addr: self.addr, log: self.log.clone() })
            }
        }
    }

    async fn told_if_slow<T>(&self, mut answers: impl Future<Output = T> + Unpin) -> T {
        if let Ok(answered) = tokio::time::timeout(SLOW, &mut answers).await {
            return answered;
        }
        tracing::warn!(server.name = self.name, log = %self.log.display(), "server reads its data, this takes a while");
        answers.await
    }

    fn spec(&self) -> Spec {
        let config = self.config.to_string_lossy().into_owned();
        let args = match self.probe {
            Probe::Nats { .. } => vec!["-c".to_owned(), config],
            Probe::Valkey { .. } => vec![config],
        };
        Spec {
            program: self.program.clone(),
            args,
            env: Vec::new(),
            cwd: self.folder.clone(),
            kind: Kind::Service { grace: STOP_GRACE },
            output: Output::File(self.log.clone()),
            input: Input::Null,
            grant: None,
            rules: None,
        }
    }

    fn ended(&self, why: String) -> StartError {
        StartError::Ended { name: self.name, why, log: self.log.clone(), tail: log_file::tail(&self.log) }
    }

    fn write(&self, path: &Path, text: &str) -> Result<(), StartError> {
        private_file::write(path, text).map_err(|source| self.io(source))
    }

    fn io(&self, source: io::Error) -> StartError {
        StartError::Io { name: self.name, source }
    }
}

/// Makes and starts a server on a port that is free now; when somebody takes the port before the server
/// does, on another one.
///
/// # Errors
/// It could not be started, ended, or did not answer.
pub async fn start_on_free_port(
    host: &Host,
    make: impl Fn(u16) -> Result<Server, StartError>,
) -> Result<(Server, ServiceHandle), StartError> {
    let mut tries = 0;
    loop {
        tries += 1;
        let server = make(free_port().map_err(|source| StartError::Io { name: "a server", source })?)?;
        match server.start(host).await {
            Ok(handle) => return Ok((server, handle)),
            Err(StartError::Ended { tail, .. }) if tries < PORT_TRIES && tail.contains("in use") => {}
            Err(error) => return Err(error),
        }
    }
}

/// A port of the loopback that nobody listens on at this moment.
///
/// # Errors
/// There is none.
pub fn free_port() -> io::Result<u16> {
    Ok(std::net::TcpListener::bind(loopback(0))?.local_addr()?.port())
}

fn loopback(port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)
}
