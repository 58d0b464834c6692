//! What attacks are after: a worker with a secret, its configuration, services that answer anybody on
//! the loopback, a neighbour's job, and processes of the worker's user.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{SocketAddr as UnixAddress, UnixListener};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

use proto::Language;
use rustix::fs::{Mode, OFlags};
use sandbox::Level;
use serde_json::{Value, json};
use tempfile::TempDir;
use worker::execute::{Config, Executor, Isolation, KillReason, Surrounding};

use crate::bench::{Bench, Live, config, host, invocation, open_folder};

/// What a service says to whoever reaches it, or a file has in it. Not in any script.
pub(super) fn secret() -> String {
    format!("secret-{}", proto::JobId::random())
}

/// What the test that started this process has given to it.
#[expect(
    clippy::disallowed_methods,
    reason = "this process is the worker under attack, and this its environment"
)]
pub(super) fn given(name: &str) -> String {
    std::env::var(name).unwrap()
}

pub(super) struct World {
    pub(super) bench: Bench,
    pub(super) secret: String,
    pub(super) outside: PathBuf,
    pub(super) packages: PathBuf,
    facts: Value,
    neighbour: Live,
    heard: Arc<Mutex<Vec<u8>>>,
    _memory: String,
    _config: TempDir,
    _leak: OwnedFd,
}

impl World {
    pub(super) async fn new(isolation: Isolation, secret: &str) -> Self {
        let (work, private) = (open_folder(), open_folder());
        let folder = |name: &str| {
            let path = private.path().join(name);
            std::fs::create_dir(&path).unwrap();
            std::fs::set_permissions(&path, PermissionsExt::from_mode(0o777)).unwrap();
            path
        };
        let (outside, packages) = (folder("outside"), folder("packages"));
        let config_file = private.path().join("worker.toml");
        std::fs::write(&config_file, secret).unwrap();
        std::fs::set_permissions(&config_file, PermissionsExt::from_mode(0o600)).unwrap();
        std::fs::write(packages.join("dependency.py"), "value = 1\n").unwrap();
        std::fs::set_permissions(packages.join("dependency.py"), PermissionsExt::from_mode(0o666)).unwrap();
        let listed = tcp("127.0.0.1:0", secret);
        let surrounding = Surrounding { ports: vec![listed], ..Surrounding::default() };
        let python_path = vec![packages.clone()];
        // without the flag that closes it at an exec: whoever is started by us has it
        let leak = rustix::fs::open(&config_file, OFlags::RDONLY, Mode::empty()).unwrap();
        let config = Config { isolation, python_path, surrounding, ..config(work.path()) };
        let bench = Bench { executor: Executor::new(&config, host()).await.unwrap(), work };
        let level = bench.executor.level();
        assert_eq!(bench.executor.has_own_network(), level == Some(Level::Namespaces), "{level:?}");
        let heard = Arc::new(Mutex::new(Vec::new()));
        let mut neighbour =
            bench.live(invocation(Language::Bash, NEIGHBOUR, &json!({"s": secret}).to_string()));
        neighbour.said("ready").await;
        let neighbour_pid = pid_of_neighbour(secret);
        let neighbour_folder = folder_with(&bench.work.path().join("work/jobs"), "neighbour");
        let socket = outside.join("service.sock");
        let facts = json!({
            "worker": std::process::id(),
            "config": config_file,
            "outside": outside,
            "packages": packages,
            "runtime": bench.work.path().join("work/runtime"),
            "jobs": bench.work.path().join("work/jobs"),
            "neighbour": neighbour_pid,
            "neighbour_folder": neighbour_folder,
            "nats": tcp("127.0.0.1:0", secret),
            "redis": tcp("127.0.0.1:0", secret),
            "auth": tcp("127.0.0.1:0", secret),
            "listed": listed,
            "descriptor": leak.as_raw_fd(),
            "six": tcp("[::1]:0", secret),
            "admin": http(secret),
            "udp": udp(&heard),
            "abstract": abstract_socket(secret),
            "socket": unix_socket(&socket, secret),
            "setuid": given("HOSTILE_SETUID"),
            "roots": given("HOSTILE_ROOTS"),
        });
        let secret = secret.to_owned();
        let memory = format!("{secret}-in-memory");
        Self {
            bench,
            secret,
            outside,
            packages,
            facts,
            neighbour,
            heard,
            _memory: memory,
            _config: private,
            _leak: leak,
        }
    }

    /// The arguments of every attack, with a process of the worker's user to do something to.
    pub(super) fn arguments(&self, victim: &Victim) -> String {
        let mut facts = self.facts.clone();
        facts["victim"] = json!(victim.0.id());
        facts.to_string()
    }

    /// What Python says that we start ourselves, with nothing in between.
    pub(super) fn by_hand(source: &str, arguments: &str) -> String {
        let run = format!("{source}\nimport json\nprint(main(**json.loads(sys.argv[1])))");
        let folder = open_folder();
        let mut python = Command::new("python3");
        let output = python.args(["-c", &run, arguments]).current_dir(folder.path()).output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Whether something came by UDP since the last question: before a word of our own, which comes behind it.
    pub(super) fn heard(&self) -> bool {
        let asks = UdpSocket::bind("127.0.0.1:0").unwrap();
        asks.set_read_timeout(Some(crate::bench::BOUND)).unwrap();
        let service = u16::try_from(self.facts["udp"].as_u64().unwrap()).unwrap();
        asks.send_to(b"?", ("127.0.0.1", service)).unwrap();
        asks.recv(&mut [0; 64]).unwrap();
        std::mem::take(&mut *self.heard.lock().unwrap()).iter().any(|byte| *byte != b'?')
    }

    pub(super) fn neighbour_lives(&self) -> bool {
        crate::bench::lives(&self.facts["neighbour"].to_string())
    }

    pub(super) async fn end(self) {
        self.neighbour.kill.fire(KillReason::Shutdown);
        self.neighbour.end().await;
    }
}

/// A program that runs as root whoever starts it, and a file that only root can read.
pub(super) struct Setuid(TempDir);

impl Setuid {
    pub(super) fn new(secret: &str) -> Self {
        let folder = open_folder();
        let (program, file) = (folder.path().join("cat"), folder.path().join("roots"));
        std::fs::copy("/bin/cat", &program).unwrap();
        std::fs::set_permissions(&program, PermissionsExt::from_mode(0o4755)).unwrap();
        std::fs::write(&file, secret).unwrap();
        std::fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).unwrap();
        Self(folder)
    }

    pub(super) fn variables(&self) -> [(&'static str, PathBuf); 2] {
        [("HOSTILE_SETUID", self.0.path().join("cat")), ("HOSTILE_ROOTS", self.0.path().join("roots"))]
    }
}

/// A process of the worker's user.
pub(super) struct Victim(pub(super) Child);

impl Victim {
    pub(super) fn new(secret: &str) -> Self {
        let mut command = Command::new("/bin/bash");
        let echo = "while read -r word; do echo \"$word\"; done";
        command.args(["-c", echo, secret]).stdin(Stdio::piped()).stdout(Stdio::piped());
        Self(command.spawn().unwrap())
    }

    /// Whether it answers: one that was killed may still be there for a moment, but does nothing any more.
    pub(super) fn lives(&mut self) -> bool {
        let (ask, answer) = (self.0.stdin.as_mut().unwrap(), self.0.stdout.as_mut().unwrap());
        ask.write_all(b"?\n").is_ok() && answer.read_exact(&mut [0; 2]).is_ok()
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Another workspace's job: its script, a file of it, and what it has in its environment.
const NEIGHBOUR: &str =
    "s=\"$1\"\nexport NEIGHBOUR=\"$s\"\necho \"$s\" > neighbour\nbash -c 'echo ready; sleep 1000; true' mark";

fn pid_of_neighbour(secret: &str) -> i32 {
    let mark = format!("NEIGHBOUR={secret}");
    let ids = std::fs::read_dir("/proc").unwrap().flatten();
    let mut ids = ids.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    ids.find(|id| {
        let environment = std::fs::read(format!("/proc/{id}/environ")).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|variable| variable == mark.as_bytes())
    })
    .unwrap()
}

fn folder_with(jobs: &std::path::Path, name: &str) -> PathBuf {
    let mut folders = std::fs::read_dir(jobs).unwrap().flatten().map(|entry| entry.path());
    folders.find(|folder| folder.join(name).exists()).unwrap()
}

fn tcp(address: &str, secret: &str) -> u16 {
    let listener = TcpListener::bind(address).unwrap();
    let (port, secret) = (listener.local_addr().unwrap().port(), secret.to_owned());
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = stream.write_all(format!("{secret}\n").as_bytes());
        }
    });
    port
}

fn http(secret: &str) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let answer =
        format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{secret}", secret.len());
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    port
}

fn udp(heard: &Arc<Mutex<Vec<u8>>>) -> u16 {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let (SocketAddr::V4(address), heard) = (socket.local_addr().unwrap(), Arc::clone(heard)) else {
        panic!("an address of version 4")
    };
    thread::spawn(move || {
        let mut buffer = [0; 64];
        while let Ok((count, from)) = socket.recv_from(&mut buffer) {
            heard.lock().unwrap().extend(&buffer[..count]);
            let _ = socket.send_to(b"heard", from);
        }
    });
    address.port()
}

fn abstract_socket(secret: &str) -> String {
    let name = format!("hostile-{}", proto::JobId::random());
    let address = UnixAddress::from_abstract_name(&name).unwrap();
    answer(UnixListener::bind_addr(&address).unwrap(), secret);
    name
}

fn unix_socket(path: &std::path::Path, secret: &str) -> PathBuf {
    let listener = UnixListener::bind(path).unwrap();
    std::fs::set_permissions(path, PermissionsExt::from_mode(0o777)).unwrap();
    answer(listener, secret);
    path.to_owned()
}

fn answer(listener: UnixListener, secret: &str) {
    let secret = secret.to_owned();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = stream.write_all(format!("{secret}\n").as_bytes());
        }
    });
}
