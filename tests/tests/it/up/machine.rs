//! A machine to use `hookmill` on: a folder of its own, a shell, and the processes it sees.

use std::io::{BufRead, BufReader};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::json;
use system_tests::{Client, Process, program, within};
use tempfile::TempDir;

/// How long a start or a command may take.
const BOUND: Duration = Duration::from_secs(40);

/// Where commands are run.
pub(super) struct Machine {
    folder: TempDir,
}

/// A running `hookmill up` and what it said first.
pub(super) struct Up {
    pub(super) process: Process,
    pub(super) screen: String,
    pub(super) url: String,
    /// On the first start alone.
    pub(super) token: Option<String>,
    pub(super) took: Duration,
    folder: PathBuf,
}

/// What a command did.
#[derive(Debug)]
pub(super) struct Done {
    pub(super) code: i32,
    pub(super) out: String,
    pub(super) err: String,
}

/// What must be there after the next start.
pub(super) struct Work {
    ended: String,
    queued: String,
    token: String,
}

impl Drop for Machine {
    /// What one that was killed has left elsewhere.
    fn drop(&mut self) {
        if self.folder().join(".hookmill").exists() {
            let _ = std::fs::remove_dir_all(self.scripts_folder());
        }
    }
}

impl Machine {
    pub(super) fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(super) fn write(&self, name: &str, text: &str) {
        std::fs::write(self.folder().join(name), text).unwrap();
    }

    /// Where root's scripts run, who do not get into the data folder.
    pub(super) fn scripts_folder(&self) -> PathBuf {
        let data = self.folder().join(".hookmill").metadata().unwrap();
        PathBuf::from(format!("/var/tmp/hookmill-up-{}-{}", data.dev(), data.ino()))
    }

    /// Starts `hookmill up` and reads its first screen.
    pub(super) async fn up(&self, args: &[&str]) -> Up {
        self.up_by(std::process::Command::new(program("hookmill")), args).await
    }

    /// The same, by `command`, whose further arguments are the program's.
    pub(super) async fn up_by(&self, mut command: std::process::Command, args: &[&str]) -> Up {
        let log =
            std::fs::File::options().create(true).append(true).open(self.folder().join("up.log")).unwrap();
        command.arg("up").args(args).current_dir(self.folder()).stdout(Stdio::piped()).stderr(log);
        command.stdin(Stdio::null());
        let started = Instant::now();
        let mut process = Process::spawn(command);
        let output = process.output().unwrap();
        let reading = tokio::task::spawn_blocking(move || first_screen(BufReader::new(output)));
        let screen = within("the first screen", BOUND, reading).await.unwrap();
        let word = |after: &str| {
            screen.split_once(after).map(|(_, rest)| rest.split([',', ' ', '\n']).next().unwrap().to_owned())
        };
        let url = word("Hookmill is ready on ")
            .unwrap_or_else(|| panic!("no first screen: {screen}\n{}", self.log()));
        let token = word("  Token   ").filter(|token| token.starts_with("hkm_"));
        Up { process, url, token, took: started.elapsed(), screen, folder: self.folder().to_owned() }
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder().join("up.log")).unwrap_or_default()
    }

    pub(super) async fn hookmill(&self, args: &[&str]) -> Done {
        let mut command = tokio::process::Command::new(program("hookmill"));
        command.args(args);
        self.run(command).await
    }

    pub(super) async fn shell(&self, line: &str) -> Done {
        let mut command = tokio::process::Command::new("bash");
        command.args(["-c", line]);
        self.run(command).await
    }

    async fn run(&self, mut command: tokio::process::Command) -> Done {
        command.current_dir(self.folder()).stdin(Stdio::null()).kill_on_drop(true);
        for name in ["BASE_INTERNAL_URL", "WM_TOKEN", "WM_WORKSPACE"] {
            command.env_remove(name);
        }
        let output = within("the command's end", BOUND, command.output()).await.unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Done { code: output.status.code().unwrap_or(-1), out: text(output.stdout), err: text(output.stderr) }
    }

    /// A definition, a token, a result and a queued job.
    pub(super) async fn leave_work(&self, up: &Up) -> Work {
        let client = up.client();
        client.deploy("f/a/kept", "bash", "echo kept").await;
        client.deploy_with("f/a/waits", "bash", "echo waits", json!({"tag": "nobody"})).await;
        let answer = client.wait("f/a/kept", json!({})).await.expect(200);
        let queued = client.run("f/a/waits", json!({"n": 1.5})).await;
        let token = client.make_token(json!({"label": "kept"})).await;
        Work { ended: answer.header("x-job-id").to_owned(), queued, token }
    }

    /// Starts again and finds it.
    pub(super) async fn find_work(&self, work: &Work) -> Up {
        let up = self.up(&["--port", "0"]).await;
        assert_eq!(up.token, None, "a token is shown once: {}", up.screen);
        let client = up.client();
        assert_eq!(client.with_token(&work.token).end_of(&work.ended).await["result"], "kept");
        let job = client.get(&work.queued).await;
        assert_eq!((&job["type"], &job["args"]), (&json!("QueuedJob"), &json!({"n": 1.5})), "{job}");
        assert!(job["waiting_for"].as_str().unwrap().contains("nobody"), "{job}");
        assert_eq!(client.wait("f/a/kept", json!({})).await.expect(200).text(), "\"kept\"");
        let pasted = self.shell(&up.line("Try")).await;
        assert!(pasted.out.contains("Hello, you!"), "{pasted:?}");
        up
    }
}

impl Up {
    /// Whoever sources the env file.
    pub(super) fn client(&self) -> Client {
        let text = std::fs::read_to_string(self.folder.join(".hookmill/env")).unwrap();
        let token = text.lines().find_map(|line| line.strip_prefix("export WM_TOKEN=")).unwrap();
        Client::new(&self.url, "main", token.trim_matches('\''))
    }

    /// What stands behind a word of the first screen.
    pub(super) fn line(&self, word: &str) -> String {
        let line = self.screen.lines().find_map(|line| line.trim().strip_prefix(word));
        line.unwrap_or_else(|| panic!("no `{word}`: {}", self.screen)).trim().to_owned()
    }
}

/// Up to its last line, or to the end when there is none.
fn first_screen(output: impl BufRead) -> String {
    let mut screen = String::new();
    for line in output.lines().map_while(Result::ok) {
        screen.push_str(&line);
        screen.push('\n');
        if line.trim_start().starts_with("Stop ") {
            break;
        }
    }
    screen
}

/// The processes below a process, as they are now.
pub(super) fn descendants(of: u32) -> Vec<u32> {
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let pids: Vec<u32> = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    let mut found = vec![of];
    loop {
        let more = pids
            .iter()
            .copied()
            .filter(|pid| !found.contains(pid) && parent(*pid).is_some_and(|parent| found.contains(&parent)));
        let more: Vec<u32> = more.collect();
        if more.is_empty() {
            return found.split_off(1);
        }
        found.extend(more);
    }
}

/// `pid (name) state ppid …`
fn parent(pid: u32) -> Option<u32> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()
}

/// A process's name, as far as the kernel keeps it.
pub(super) fn name(pid: u32) -> String {
    std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default().trim().to_owned()
}

/// Whether a process runs; a zombie has ended.
pub(super) fn alive(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}
