//! The example `probe` as a process: its log lines, its exit and its admin port, awaited and never polled.
//! Cargo leaves examples alone when a test is named: after a change run `cargo test -p lifecycle` whole.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::TcpStream;
use tokio::process::{Child, ChildStderr, Command};

/// The outer bound of every wait.
const PATIENCE: Duration = Duration::from_secs(20);

/// A running probe; killed when dropped.
pub(crate) struct Probe {
    child: Child,
    lines: Lines<BufReader<ChildStderr>>,
    /// Everything it logged so far.
    pub(crate) log: String,
}

/// What a probe that ended left behind.
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

fn command(args: &[&str], env: &[(&str, &str)]) -> Command {
    let test = std::env::current_exe().unwrap();
    let path: PathBuf = test.parent().unwrap().parent().unwrap().join("examples/probe");
    assert!(path.exists(), "{} is missing: `cargo test -p lifecycle` builds it", path.display());
    let mut command = Command::new(path);
    command.args(args).env_clear().env("HOOKMILL_WORKER_PASSWORD", "planted-secret");
    command.envs(env.iter().copied()).kill_on_drop(true);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs the probe to its end.
pub(crate) async fn finish(args: &[&str], env: &[(&str, &str)]) -> Ended {
    let output = tokio::time::timeout(PATIENCE, command(args, env).output()).await.unwrap().unwrap();
    Ended {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

impl Probe {
    /// Starts it and waits until it is up.
    pub(crate) async fn up(args: &[&str]) -> (Self, String) {
        let mut child = command(args, &[]).spawn().unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut probe = Self { child, lines, log: String::new() };
        let admin = probe.line("admin port listens").await["admin.addr"].as_str().unwrap().to_owned();
        probe.line("probe is up").await;
        (probe, admin)
    }

    /// The next log line with this message.
    pub(crate) async fn line(&mut self, message: &str) -> Value {
        let wait = async {
            loop {
                let line = self.lines.next_line().await.unwrap();
                let line = line.unwrap_or_else(|| panic!("ended before {message:?}:\n{}", self.log));
                self.log.push_str(&line);
                self.log.push('\n');
                let line: Value = serde_json::from_str(&line).unwrap_or_default();
                if line["message"] == message {
                    return line;
                }
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.unwrap()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.child.id().unwrap().cast_signed()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    /// Its exit code, and the rest of the log in `self.log`.
    pub(crate) async fn code(&mut self) -> Option<i32> {
        let wait = async {
            while let Some(line) = self.lines.next_line().await.unwrap() {
                self.log.push_str(&line);
                self.log.push('\n');
            }
            self.child.wait().await.unwrap().code()
        };
        tokio::time::timeout(PATIENCE, wait).await.unwrap()
    }
}

/// One HTTP request: status and the rest.
pub(crate) async fn http(addr: &str, method: &str, path: &str, body: &str) -> (u16, String) {
    let talk = async {
        let mut stream = TcpStream::connect(addr).await.unwrap();
        let length = body.len();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        // a refused body may close the connection before it is all written
        let _ = stream.write_all(body.as_bytes()).await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        String::from_utf8(answer).unwrap()
    };
    let answer = tokio::time::timeout(PATIENCE, talk).await.unwrap();
    let status = answer.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0);
    (status, answer)
}
