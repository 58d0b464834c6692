//! nats-server and Valkey as processes of their own, with the configuration and the users that
//! `hookmill up` gives them. Ports and data stay the same over restarts.

use std::fs::File;
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hookmill::up::server::{Ingredients, Server, free_port};
use hookmill::up::tools;
use rustix::process::Signal;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::process::Process;
use crate::trace;
use crate::waiting::eventually;

/// How long a server may take until it answers.
const READY_WITHIN: Duration = Duration::from_secs(15);
/// How often another port is tried when somebody else took the one that was free.
const PORTS_TRIED: usize = 20;

/// A nats-server or valkey-server that can be killed, paused and started again.
#[derive(Debug)]
pub struct DataServer {
    name: &'static str,
    program: PathBuf,
    arguments: Vec<String>,
    address: SocketAddr,
    folder: PathBuf,
    log: PathBuf,
    ask: Ask,
    /// Where all its system calls are noted, if they are.
    trace: Option<PathBuf>,
    running: Mutex<Option<Process>>,
}

/// How to see that it answers.
#[derive(Debug)]
enum Ask {
    /// Its monitoring port.
    Nats(u16),
    /// The password of the user `gateway`.
    Valkey(String),
}

/// It ended at once because somebody took its port.
struct Taken;

impl DataServer {
    pub(crate) async fn nats(from: Ingredients<'_>, traced: bool) -> Self {
        Self::on_free_port(|| {
            let monitor = port();
            let server = Server::nats(from, port(), Some(monitor)).expect("nats-server can be configured");
            let arguments = vec!["-c".to_owned(), path_text(server.config())];
            Self::new("nats-server", from.folder.join("nats"), &server, arguments, Ask::Nats(monitor))
                .traced(traced)
        })
        .await
    }

    pub(crate) async fn valkey(from: Ingredients<'_>, traced: bool) -> Self {
        Self::on_free_port(|| {
            let server = Server::valkey(from, port()).expect("valkey-server can be configured");
            let password = from.credentials.valkey_password("gateway").to_owned();
            add_administrator(server.config(), &password);
            let arguments = vec![path_text(server.config())];
            Self::new("valkey-server", from.folder.join("valkey"), &server, arguments, Ask::Valkey(password))
                .traced(traced)
        })
        .await
    }

    fn new(name: &'static str, folder: PathBuf, server: &Server, arguments: Vec<String>, ask: Ask) -> Self {
        let program = tools::find(name).unwrap_or_else(|missing| panic!("{missing}"));
        let (address, log) = (server.addr(), server.log().to_owned());
        Self { name, program, arguments, address, folder, log, ask, trace: None, running: Mutex::new(None) }
    }

    /// The same, with its system calls noted in a file beside its log.
    fn traced(self, traced: bool) -> Self {
        Self { trace: traced.then(|| self.log.with_extension("trace")), ..self }
    }

    async fn on_free_port(make: impl Fn() -> Self) -> Self {
        for _ in 0..PORTS_TRIED {
            let server = make();
            if server.launch().await.is_ok() {
                return server;
            }
        }
        panic!("no free port among {PORTS_TRIED}");
    }

    async fn launch(&self) -> Result<(), Taken> {
        let around = |trace: &PathBuf| trace::around(&self.program, trace);
        let mut command = self.trace.as_ref().map_or_else(|| Command::new(&self.program), around);
        command.args(&self.arguments).current_dir(&self.folder);
        let mut process = Process::start(command, &self.log);
        eventually(self.name, READY_WITHIN, async || {
            if let Some(status) = process.ended() {
                let said = std::fs::read_to_string(&self.log).unwrap_or_default();
                assert!(said.contains("already in use"), "{} ended with {status}:\n{said}", self.name);
                return Some(Err(Taken));
            }
            self.answers().await.then_some(Ok(()))
        })
        .await?;
        *self.slot() = Some(process);
        Ok(())
    }

    async fn answers(&self) -> bool {
        match &self.ask {
            // another test's server may have had our monitoring port first: ours then ends soon
            Ask::Nats(monitor) => {
                let said = std::fs::read_to_string(&self.log).unwrap_or_default();
                said.contains("Server is ready") && http_get(*monitor, "/healthz").await.is_some()
            }
            Ask::Valkey(_) => self.info("server").await.is_some(),
        }
    }

    fn slot(&self) -> MutexGuard<'_, Option<Process>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The folder of its data.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The file of its output.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Where its system calls are noted, if the system was started as traced.
    pub fn trace(&self) -> Option<&Path> {
        self.trace.as_deref()
    }

    /// Its process id.
    ///
    /// # Panics
    /// It does not run.
    pub fn id(&self) -> u32 {
        self.slot().as_ref().expect("the server runs").id()
    }

    /// SIGKILL; returns when the process has ended.
    ///
    /// # Panics
    /// It does not run.
    pub fn kill(&self) {
        drop(self.slot().take().expect("the server runs"));
    }

    /// SIGTERM; returns when the process has ended.
    ///
    /// # Panics
    /// It does not run, or does not end within 15 s.
    pub async fn terminate(&self) -> ExitStatus {
        let mut process = self.slot().take().expect("the server runs");
        process.signal(Signal::TERM);
        process.end_within(READY_WITHIN).await
    }

    /// SIGSTOP: connections stay open, nothing answers.
    ///
    /// # Panics
    /// It does not run.
    pub fn pause(&self) {
        self.slot().as_ref().expect("the server runs").pause();
    }

    /// SIGCONT.
    ///
    /// # Panics
    /// It does not run.
    pub fn resume(&self) {
        self.slot().as_ref().expect("the server runs").signal(Signal::CONT);
    }

    /// Starts it again after [`Self::kill`] or [`Self::terminate`], on the same data and port.
    ///
    /// # Panics
    /// It runs, or does not start.
    pub async fn start_again(&self) {
        assert!(self.slot().is_none(), "the server runs");
        assert!(self.launch().await.is_ok(), "{}: its port was taken", self.name);
    }

    /// The JSON behind a path of nats-server's monitoring port, such as `/varz`; none when it
    /// does not answer, and none of Valkey.
    pub async fn monitoring(&self, path: &str) -> Option<Value> {
        match self.ask {
            Ask::Nats(monitor) => http_get(monitor, path).await,
            Ask::Valkey(_) => None,
        }
    }

    /// How many messages a stream of NATS holds; none while it does not answer.
    pub async fn held(&self, stream: &str) -> Option<u64> {
        let state = self.monitoring("/jsz?accounts=true&streams=true").await?;
        let streams = state["account_details"][0]["stream_detail"].as_array()?;
        streams.iter().find(|held| held["name"] == stream)?["state"]["messages"].as_u64()
    }

    /// Any command to Valkey, by a user who may do everything; what it answers, if it does within 2 s.
    ///
    /// # Errors
    /// It does not, or refuses.
    pub async fn administer(&self, command: &[&str]) -> anyhow::Result<redis::Value> {
        let Ask::Valkey(password) = &self.ask else { anyhow::bail!("{} takes no commands", self.name) };
        let url = format!("redis://{ADMINISTRATOR}:{password}@{}/0", self.address);
        let asked = async {
            let mut connection = redis::Client::open(url)?.get_multiplexed_async_connection().await?;
            let mut ask = redis::cmd(command.first().copied().unwrap_or("PING"));
            ask.arg(command.get(1..).unwrap_or_default());
            ask.query_async(&mut connection).await
        };
        Ok(tokio::time::timeout(Duration::from_secs(2), asked).await??)
    }

    /// Whether it has ended by itself.
    pub fn ended(&self) -> Option<ExitStatus> {
        self.slot().as_mut().and_then(Process::ended)
    }

    /// A section of Valkey's INFO, such as `commandstats`; none when it does not answer, and
    /// none of NATS.
    pub async fn info(&self, section: &str) -> Option<String> {
        let Ask::Valkey(password) = &self.ask else { return None };
        let url = format!("redis://gateway:{password}@{}/0", self.address);
        let asked = async {
            let mut connection = redis::Client::open(url)?.get_multiplexed_async_connection().await?;
            redis::cmd("INFO").arg(section).query_async(&mut connection).await
        };
        tokio::time::timeout(Duration::from_secs(2), asked).await.ok()?.ok()
    }
}

/// A user of Valkey for tests that change its settings.
const ADMINISTRATOR: &str = "tests";

fn add_administrator(config: &Path, password: &str) {
    let file = File::options().append(true).open(config.with_extension("acl"));
    let written = file.and_then(|mut file| writeln!(file, "user {ADMINISTRATOR} on >{password} ~* &* +@all"));
    written.expect("the users' file was just written");
}

fn port() -> u16 {
    free_port().expect("the loopback has a free port")
}

fn path_text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// One GET of the monitoring port, whose answer is JSON.
async fn http_get(port: u16, path: &str) -> Option<Value> {
    let exchange = async {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await.ok()?;
        // HTTP/1.0: the body ends with the connection
        let request = format!("GET {path} HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n");
        stream.write_all(request.as_bytes()).await.ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.ok()?;
        serde_json::from_str(answer.split_once("\r\n\r\n")?.1).ok()
    };
    tokio::time::timeout(Duration::from_secs(2), exchange).await.ok()?
}
