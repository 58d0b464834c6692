//! A nats-server with the users, rights and JetStream an installation has.

mod config;

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Duration;

use broker::{Broker, BrokerConfig, Link};
use serde_json::Value;
use tempfile::TempDir;

use crate::process::Process;
use crate::wait::{until, within};
use crate::{binary, http};
use config::Ports;

/// How a server is started.
#[derive(Clone, Copy, Debug, Default)]
pub struct NatsOptions {
    /// `sync_interval: always`, as in the durable profile; else the server's default.
    pub sync_always: bool,
}

/// A nats-server. Ends when dropped.
pub struct Nats {
    process: Option<Process>,
    folder: TempDir,
    options: NatsOptions,
    passwords: HashMap<&'static str, String>,
    ports: Ports,
}

/// What the server has counted since its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionStats {
    /// Messages clients sent to it; keep-alive pings are not counted.
    pub in_msgs: u64,
    /// Messages it sent to clients.
    pub out_msgs: u64,
    /// Open connections.
    pub connections: u64,
    /// Subscriptions.
    pub subscriptions: u64,
    /// Requests to JetStream's API.
    pub api_requests: u64,
}

impl Nats {
    /// Starts a server with lazy syncs and waits until it takes connections.
    ///
    /// # Panics
    /// It does not start.
    pub async fn start() -> Self {
        Self::start_with(NatsOptions::default()).await
    }

    /// Starts a server and waits until it takes connections.
    ///
    /// # Panics
    /// It does not start.
    pub async fn start_with(options: NatsOptions) -> Self {
        let folder = tempfile::tempdir().expect("a folder for the test's data");
        let passwords = broker::permissions::users().iter().map(|user| (user.name, password())).collect();
        let mut nats = Self { process: None, folder, options, passwords, ports: Ports::ANY };
        nats.launch().await;
        nats
    }

    async fn launch(&mut self) {
        let config = config::render(self.folder.path(), self.options, &self.passwords, self.ports);
        let file = self.folder.path().join("nats.json");
        std::fs::write(&file, config.to_string()).expect("the test's folder is writable");
        let program = binary::find("nats-server", "HOOKMILL_NATS_SERVER");
        let arguments = ["-c".to_owned(), file.display().to_string()];
        let mut process = Process::start(&program, &arguments, &self.log());
        let ports_file = self.folder.path().join(format!("nats-server_{}.ports", process.id()));
        self.ports = until("nats-server's word of its ports", async || {
            if let Some(status) = process.ended() {
                panic!("nats-server ended with {status}:\n{}", process.said());
            }
            Ports::read(&ports_file)
        })
        .await;
        self.process = Some(process);
        until("nats-server's monitoring port", async || self.ask("/healthz").await).await;
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("nats.log")
    }

    /// `nats://127.0.0.1:<port>`; the same for the whole life of the value.
    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.ports.client)
    }

    /// `http://127.0.0.1:<port>` of the monitoring endpoints.
    pub fn monitoring_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.ports.monitoring)
    }

    /// The password of a user of `broker::permissions`.
    ///
    /// # Panics
    /// There is no such user.
    pub fn password(&self, user: &str) -> &str {
        self.passwords.get(user).unwrap_or_else(|| panic!("no NATS user `{user}`"))
    }

    /// What a service is configured with to connect as `user`.
    pub fn broker_config(&self, user: &str) -> BrokerConfig {
        BrokerConfig {
            url: self.url(),
            user: user.to_owned(),
            password: self.password(user).to_owned(),
            name: format!("test {user}"),
        }
    }

    /// A connection as `user`, once it is up.
    ///
    /// # Panics
    /// It does not come up.
    pub async fn broker(&self, user: &str) -> Broker {
        let broker = Broker::connect(self.broker_config(user)).await.expect("the configuration is ours");
        let mut link = broker.link();
        let up = link.wait_for(|state| matches!(state, Link::Up(_)));
        within("a connection to nats-server", up).await.expect("the broker holds the sender");
        broker
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

    /// Starts the server again after [`Nats::stop`] or [`Nats::kill`]: same data, same ports.
    ///
    /// # Panics
    /// It runs, or does not start.
    pub async fn start_again(&mut self) {
        assert!(self.process.is_none(), "the server runs");
        self.launch().await;
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

    async fn ask(&self, path: &str) -> Option<Value> {
        let address = format!("127.0.0.1:{}", self.ports.monitoring);
        tokio::time::timeout(Duration::from_secs(2), http::get_json(&address, path)).await.ok()?
    }

    /// The server's counters, from its monitoring port.
    ///
    /// # Panics
    /// The server does not answer.
    pub async fn connection_stats(&self) -> ConnectionStats {
        let general = self.ask("/varz").await.expect("nats-server answers /varz");
        let jetstream = self.ask("/jsz").await.expect("nats-server answers /jsz");
        let number = |name: &str| general[name].as_u64().unwrap_or_else(|| panic!("/varz has no {name}"));
        ConnectionStats {
            in_msgs: number("in_msgs"),
            out_msgs: number("out_msgs"),
            connections: number("connections"),
            subscriptions: number("subscriptions"),
            api_requests: jetstream["api"]["total"].as_u64().unwrap_or(0),
        }
    }
}

fn password() -> String {
    uuid::Uuid::new_v4().simple().to_string()
}
