//! A real nats-server of one test: its own port and store, the users and permissions of
//! an installation; killed when dropped. auth-service's tests include this file too.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use broker::{Broker, BrokerConfig, Link};
use catalog::{Profile, provision};

const PASSWORD: &str = "test-password";
/// No step of a test takes longer.
pub(crate) const BOUND: Duration = Duration::from_secs(20);

pub(crate) struct Nats {
    dir: tempfile::TempDir,
    port: u16,
    child: Option<Child>,
}

impl Nats {
    /// A server with an empty, provisioned catalog.
    pub(crate) async fn provisioned() -> Self {
        let mut nats = Self { dir: tempfile::tempdir().unwrap(), port: 0, child: None };
        nats.start();
        nats.provision().await;
        nats
    }

    pub(crate) async fn provision(&self) {
        let broker = self.broker("provision").await;
        provision(&broker, Profile { replicas: 1 }).await.unwrap();
    }

    pub(crate) fn start(&mut self) {
        let config = self.dir.path().join("nats.conf");
        std::fs::write(&config, self.config()).unwrap();
        let mut child = Command::new(program())
            .arg("-c")
            .arg(config)
            .stderr(Stdio::piped())
            .spawn()
            .expect("nats-server runs");
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        self.child = Some(child);
        self.port = listening(lines.map_while(Result::ok));
    }

    pub(crate) fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    pub(crate) fn store(&self) -> PathBuf {
        self.dir.path().join("store")
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// A connection of one of the installation's users, once it is up.
    pub(crate) async fn broker(&self, user: &str) -> Broker {
        broker_at(self.port, user).await
    }

    fn config(&self) -> String {
        let users: Vec<String> = broker::permissions::users().iter().map(user_block).collect();
        let store = self.store().display().to_string();
        let port = if self.port == 0 { "-1".to_owned() } else { self.port.to_string() };
        format!(
            "listen: \"127.0.0.1:{port}\"\njetstream {{ store_dir: \"{store}\" }}\nauthorization {{ users: [\n{}\n] }}\n",
            users.join("\n")
        )
    }
}

impl Drop for Nats {
    fn drop(&mut self) {
        self.stop();
    }
}

pub(crate) async fn broker_at(port: u16, user: &str) -> Broker {
    let config = BrokerConfig {
        url: format!("nats://127.0.0.1:{port}"),
        user: user.to_owned(),
        password: PASSWORD.to_owned(),
        name: format!("test {user}"),
    };
    let broker = Broker::connect(config).await.unwrap();
    let mut link = broker.link();
    let up = link.wait_for(|state| matches!(state, Link::Up(_)));
    tokio::time::timeout(BOUND, up).await.expect("connected in time").unwrap();
    broker
}

fn user_block(user: &broker::permissions::ServiceUser) -> String {
    format!(
        "{{ user: {:?}, password: {PASSWORD:?}, permissions {{ publish {{ allow: {:?} }}, subscribe {{ allow: {:?} }} }} }}",
        user.name, user.publish, user.subscribe
    )
}

/// The port of the line that names it; the lines after it are read by a thread, so that
/// the server never blocks on its log.
fn listening(lines: impl Iterator<Item = String> + Send + 'static) -> u16 {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || lines.for_each(|line| drop(sender.send(line))));
    let mut port = 0;
    loop {
        let line = receiver.recv_timeout(BOUND).expect("nats-server is ready in time");
        if let Some((_, address)) = line.split_once("Listening for client connections on 127.0.0.1:") {
            port = address.trim().parse().unwrap();
        }
        if line.contains("Server is ready") {
            return port;
        }
    }
}

fn program() -> PathBuf {
    let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.tools/venv/bin/nats-server");
    std::env::var_os("NATS_SERVER").map_or(tools, PathBuf::from)
}
