//! A valkey-server that keeps its data across restarts and never evicts, with one user for
//! our services beside the administrator.

mod ask;

use std::collections::BTreeMap;
use std::net::TcpListener;

use tempfile::TempDir;

use crate::binary;
use crate::process::Process;
use crate::wait::until;

/// When the append-only file is synced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fsync {
    /// After every write, as in the durable profile.
    Always,
    /// Once a second.
    #[default]
    EverySecond,
}

/// A valkey-server. Ends when dropped.
pub struct Valkey {
    process: Option<Process>,
    folder: TempDir,
    fsync: Fsync,
    port: u16,
    service_password: String,
    admin_password: String,
}

/// The user of our services.
const SERVICE: &str = "hookmill";
/// How often another port is tried when somebody else took the one that was free.
const PORTS_TRIED: usize = 20;

impl Valkey {
    /// Starts a server that syncs once a second and waits until it answers.
    ///
    /// # Panics
    /// It does not start.
    pub async fn start() -> Self {
        Self::start_with(Fsync::default()).await
    }

    /// Starts a server and waits until it answers.
    ///
    /// # Panics
    /// It does not start.
    pub async fn start_with(fsync: Fsync) -> Self {
        let mut valkey = Self {
            process: None,
            folder: tempfile::tempdir().expect("a folder for the test's data"),
            fsync,
            port: 0,
            service_password: password(),
            admin_password: password(),
        };
        for _ in 0..PORTS_TRIED {
            valkey.port = free_port();
            if valkey.launch().await.is_ok() {
                return valkey;
            }
        }
        panic!("no free port among {PORTS_TRIED}");
    }

    /// Fails with what the server said when it ends at once, as it does when its port is taken.
    async fn launch(&mut self) -> Result<(), String> {
        let file = self.folder.path().join("valkey.conf");
        std::fs::write(&file, self.config()).expect("the test's folder is writable");
        let program = binary::find("valkey-server", "HOOKMILL_VALKEY_SERVER");
        let mut process =
            Process::start(&program, &[file.display().to_string()], &self.folder.path().join("valkey.log"));
        until("valkey-server's answer", async || {
            if let Some(status) = process.ended() {
                let said = process.said();
                assert!(
                    said.contains("Address already in use"),
                    "valkey-server ended with {status}:\n{said}"
                );
                return Some(Err(said));
            }
            self.ping().await.then_some(Ok(()))
        })
        .await?;
        self.process = Some(process);
        Ok(())
    }

    fn config(&self) -> String {
        let fsync = match self.fsync {
            Fsync::Always => "always",
            Fsync::EverySecond => "everysec",
        };
        let lines = [
            "bind 127.0.0.1".to_owned(),
            format!("port {}", self.port),
            format!("dir {}", self.folder.path().display()),
            "save \"\"".to_owned(),
            "appendonly yes".to_owned(),
            format!("appendfsync {fsync}"),
            "maxmemory-policy noeviction".to_owned(),
            format!("user default on >{} ~* &* +@all", self.admin_password),
            // our keys only, and nothing that administers the server but the questions for its eviction and its memory
            format!(
                "user {SERVICE} on >{} ~hm:* +@all -@admin -@dangerous +config|get +info",
                self.service_password
            ),
        ];
        lines.join("\n")
    }

    /// `redis://hookmill:<password>@127.0.0.1:<port>/0`; the same for the whole life of the value.
    pub fn url(&self) -> String {
        format!("redis://{SERVICE}:{}@127.0.0.1:{}/0", self.service_password, self.port)
    }

    /// The administrator's address, for tests that look into the server or change it.
    pub fn admin_url(&self) -> String {
        format!("redis://default:{}@127.0.0.1:{}/0", self.admin_password, self.port)
    }

    /// SIGTERM; returns when the process has ended.
    pub async fn stop(&mut self) {
        self.take().stop().await;
    }

    /// SIGKILL; returns when the process has ended.
    pub fn kill(&mut self) {
        drop(self.take());
    }

    fn take(&mut self) -> Process {
        self.process.take().expect("the server runs")
    }

    /// Starts the server again after [`Valkey::stop`] or [`Valkey::kill`]: same data, same port.
    ///
    /// # Panics
    /// It runs, or does not start.
    pub async fn start_again(&mut self) {
        assert!(self.process.is_none(), "the server runs");
        let started = self.launch().await;
        started.unwrap_or_else(|said| panic!("valkey-server does not start again:\n{said}"));
    }

    /// SIGSTOP: connections stay open, nothing answers.
    ///
    /// # Panics
    /// The server does not run.
    pub fn pause(&self) {
        self.running().pause();
    }

    /// SIGCONT.
    ///
    /// # Panics
    /// The server does not run.
    pub fn resume(&self) {
        self.running().resume();
    }

    fn running(&self) -> &Process {
        self.process.as_ref().expect("the server runs")
    }

    async fn ping(&self) -> bool {
        let answer = ask::ask(self.port, &self.admin_password, "PING").await;
        answer.is_some_and(|answer| answer == "PONG")
    }

    /// How often each command was called, those called from scripts included, without what
    /// this crate itself asks (`auth`, `info`, `ping`).
    ///
    /// # Panics
    /// The server does not answer.
    pub async fn command_calls(&self) -> BTreeMap<String, u64> {
        let text = ask::ask(self.port, &self.admin_password, "INFO commandstats").await;
        let mut calls = ask::calls(&text.expect("valkey-server answers INFO"));
        for own in ["auth", "info", "ping"] {
            calls.remove(own);
        }
        calls
    }

    /// How many commands were called; see [`Valkey::command_calls`].
    ///
    /// # Panics
    /// The server does not answer.
    pub async fn command_count(&self) -> u64 {
        self.command_calls().await.values().sum()
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("the loopback has a free port");
    listener.local_addr().expect("it is bound").port()
}

fn password() -> String {
    uuid::Uuid::new_v4().simple().to_string()
}
