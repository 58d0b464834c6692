//! `hookmill up` as a person meets it: one process, its first screen, its end.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::host::{HOOKMILL, is_alive};

/// Bounds every wait here; a good run needs a twentieth of it.
const WITHIN: Duration = Duration::from_secs(30);

/// A running `up`, killed when dropped.
struct Up {
    child: Child,
    screen: String,
}

impl Up {
    /// Starts it and reads the first screen, whose last line says how to stop or what is lost.
    fn start(data: &Path, more: &[&str]) -> Self {
        let mut command = Command::new(HOOKMILL);
        command.args(["up", "--port", "0", "--slots", "2", "--data"]).arg(data).args(more);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let stdout = child.stdout.take().unwrap();
        let (sender, screen) = mpsc::channel();
        std::thread::spawn(move || {
            let mut text = String::new();
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                text += &line;
                text.push('\n');
                if line.contains("Ctrl-C") || line.contains("--reset-token") {
                    sender.send(std::mem::take(&mut text)).unwrap();
                }
            }
        });
        let screen = screen.recv_timeout(WITHIN).expect("a first screen");
        Self { child, screen }
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// The line to try, as a person pastes it into bash.
    fn paste(&self) -> String {
        let line = self
            .screen
            .lines()
            .find_map(|line| line.trim_start().strip_prefix("Try "))
            .expect("a line to try");
        let out = Command::new("bash").args(["-c", line]).output().unwrap();
        String::from_utf8(out.stdout).unwrap()
    }

    fn end(mut self, signal: Signal) -> ExitStatus {
        kill_process(self.pid(), signal).unwrap();
        self.child.wait().unwrap()
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Processes that were started with something in the data folder.
fn servers_of(data: &Path) -> Vec<i32> {
    let data = data.canonicalize().unwrap().to_str().unwrap().to_owned();
    let ids = std::fs::read_dir("/proc").unwrap().flatten();
    let ids = ids.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let uses = |id: &i32| {
        let line = std::fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line)
            .split('\0')
            .any(|argument| argument.starts_with(&format!("{data}/run/")))
    };
    ids.filter(uses).collect()
}

fn wait_until_gone(ids: &[i32]) {
    let begin = std::time::Instant::now();
    while ids.iter().any(|id| is_alive(*id)) {
        assert!(begin.elapsed() < WITHIN, "{ids:?} are still there");
        std::thread::yield_now();
    }
}

fn data_folder() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("my data");
    (dir, data)
}

#[test]
fn the_pasted_line_works_and_everything_is_there_after_a_restart() {
    let (_dir, data) = data_folder();
    let first = Up::start(&data, &[]);
    assert_eq!(first.paste(), r#"{"greeting":"Hello, you!"}"#, "{}", first.screen);
    let token = hookmill::up::env_file::read_token(&data).unwrap();
    assert!(first.screen.contains(&token));
    let servers = servers_of(&data);
    assert_eq!(servers.len(), 2, "nats-server and valkey-server");
    assert_eq!(first.end(Signal::TERM).code(), Some(0));
    assert!(servers.iter().all(|id| !is_alive(*id)), "an orderly end leaves nobody");

    let second = Up::start(&data, &[]);
    assert!(!second.screen.contains(&token), "it is shown once: {}", second.screen);
    assert_eq!(second.paste(), r#"{"greeting":"Hello, you!"}"#, "{}", second.screen);
    assert_eq!(second.end(Signal::INT).code(), Some(0));
}

#[test]
fn nobody_survives_a_kill_and_the_next_start_goes_on() {
    let (_dir, data) = data_folder();
    let first = Up::start(&data, &[]);
    let servers = servers_of(&data);
    assert_eq!(servers.len(), 2);
    assert_eq!(first.end(Signal::KILL).code(), None);
    wait_until_gone(&servers);

    let second = Up::start(&data, &[]);
    assert_eq!(second.paste(), r#"{"greeting":"Hello, you!"}"#);
    // and at once, while the servers of the killed one may still be ending
    assert_eq!(second.end(Signal::KILL).code(), None);
    let third = Up::start(&data, &[]);
    assert_eq!(third.paste(), r#"{"greeting":"Hello, you!"}"#);
    assert_eq!(third.end(Signal::TERM).code(), Some(0));
}

#[test]
fn a_lost_token_is_made_anew_when_asked_for() {
    let (_dir, data) = data_folder();
    Up::start(&data, &[]).end(Signal::TERM);
    std::fs::remove_file(data.join("env")).unwrap();
    let lost = Up::start(&data, &[]);
    assert!(lost.screen.contains("is lost"), "{}", lost.screen);
    assert_eq!(lost.end(Signal::TERM).code(), Some(0));
    let found = Up::start(&data, &["--reset-token"]);
    assert_eq!(found.paste(), r#"{"greeting":"Hello, you!"}"#, "{}", found.screen);
    found.end(Signal::TERM);
}

#[test]
fn verbs_work_with_the_env_file() {
    let (dir, data) = data_folder();
    let up = Up::start(&data, &["--profile", "relaxed"]);
    std::fs::create_dir_all(dir.path().join("f/t")).unwrap();
    std::fs::write(dir.path().join("f/t/x.sh"), "n=\"$1\"\necho to the log\n[ \"$n\" != 7 ]\necho \"$n\"\n")
        .unwrap();
    let shell = |line: &str| {
        let line = format!("set -e; source 'my data/env'; {line}");
        let out = Command::new("bash")
            .args(["-c", &line])
            .env("H", HOOKMILL)
            .current_dir(dir.path())
            .output()
            .unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (out.status.code().unwrap(), text(out.stdout), text(out.stderr))
    };
    let (code, out, err) = shell("$H script push f/t/x.sh -o json");
    assert!(code == 0 && out.contains("\"unchanged\":false"), "{out}{err}");
    let (_, again, err) = shell("$H script push f/t/x.sh -o json");
    assert!(again.contains("\"unchanged\":true"), "{again}{err}");

    let (code, out, err) = shell("$H run f/t/x -d '{\"n\": 1.0}' --wait");
    assert_eq!((code, out.as_str()), (0, "\"1.0\"\n"), "{err}");
    assert!(err.contains("to the log"), "{err}");
    let (code, out, _) = shell("$H run f/t/x -d '{\"n\": 7}' --wait -o json");
    assert_eq!(code, 1);
    assert!(out.contains("\"success\":false") && out.contains("\"error\""), "{out}");

    let (code, out, err) = shell("J=$($H run f/t/x); $H logs -f $J; $H logs $J");
    assert_eq!(code, 0, "{err}");
    assert_eq!(out.matches("to the log").count(), 2, "{out}");
    let (code, _, err) = shell("$H run f/t/absent");
    assert!(code == 1 && err.contains("f/t/absent"), "{err}");

    let (_, token, _) = shell("$H token create --label ci --scope jobs:run");
    let handle = &token[..10];
    assert!(shell("$H token list").1.contains(handle));
    assert_eq!(shell(&format!("$H token revoke {handle}")).0, 0);
    assert!(!shell("$H token list").1.contains(handle));
    up.end(Signal::TERM);
}

#[test]
fn a_program_that_is_missing_is_named() {
    let (dir, data) = data_folder();
    // away from the checkout, whose .tools would be found
    let copy = dir.path().join("hookmill");
    std::fs::copy(HOOKMILL, &copy).unwrap();
    let mut command = Command::new(copy);
    command.args(["up", "--port", "0", "--data"]).arg(&data).env("PATH", "/nowhere");
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    let mut text = String::new();
    child.stderr.take().unwrap().read_to_string(&mut text).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(1));
    assert!(text.contains("error: nats-server is neither in .tools/bin nor on the PATH"), "{text}");
}
