//! An executor of its own for each test, and what a test wants to know of a run.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use lifecycle::supervisor::{Host, PROGRAM};
use proto::{IsolationMode, JobId, Language};
use sandbox::Level;
use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::mpsc;
use worker::execute::{
    Bounds, Config, Executor, Invocation, Isolation, Kill, KillReason, KillSwitch, Limits, LogSink, Outcome,
    Owner, Surrounding, Surroundings, Verdict,
};

/// No wait in a test is longer.
pub(crate) const BOUND: Duration = Duration::from_mins(1);

/// A host whose supervisors are the program that lies beside the worker: a test binary cannot be one.
pub(crate) fn host() -> Host {
    Host::with_program(supervisor()).unwrap()
}

/// `make test` builds it before the tests, `cargo test -p worker` alone does not.
pub(crate) fn supervisor() -> PathBuf {
    let program = PathBuf::from(env!("CARGO_BIN_EXE_worker")).with_file_name(PROGRAM);
    assert!(program.is_file(), "no {}: cargo build --workspace --bins", program.display());
    program
}

pub(crate) struct Bench {
    pub(crate) executor: Executor,
    pub(crate) work: TempDir,
}

pub(crate) fn config(work: &Path) -> Config {
    let path = std::env::var_os("PATH").unwrap().into_string().unwrap();
    Config {
        work_dir: work.join("work"),
        spares: NonZeroUsize::new(2).unwrap(),
        search_path: format!("{path}:{}/../.tools/venv/bin", env!("CARGO_MANIFEST_DIR")),
        python: None,
        python_path: Vec::new(),
        deno: None,
        bash: None,
        isolation: Isolation::default(),
        surrounding: Surrounding::default(),
        warm: Bounds { count: 8, kib: 1 << 20 },
        warm_idle: Duration::from_mins(10),
        // they would be among those that tests count
        warm_spares: 0,
    }
}

/// The log as it comes.
#[derive(Clone, Default)]
pub(crate) struct Logs(Arc<Mutex<Vec<Bytes>>>, Option<mpsc::UnboundedSender<Bytes>>);

impl LogSink for Logs {
    async fn write(&mut self, chunk: Bytes) {
        self.0.lock().unwrap().push(chunk.clone());
        if let Some(live) = &self.1 {
            let _ = live.send(chunk);
        }
    }
}

impl Logs {
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().concat()).unwrap()
    }
}

/// A run that has ended.
pub(crate) struct Ran {
    pub(crate) outcome: Outcome,
    pub(crate) log: String,
}

impl Ran {
    /// The result's exact text.
    pub(crate) fn result(&self) -> &str {
        match &self.outcome.verdict {
            Verdict::Success { result } => std::str::from_utf8(result).unwrap(),
            other => panic!("{other:?}\nlog: {}", self.log),
        }
    }

    /// What is inside `{"error": …}`.
    pub(crate) fn error(&self) -> Value {
        match &self.outcome.verdict {
            Verdict::Failure { error } => serde_json::from_slice::<Value>(error).unwrap()["error"].take(),
            other => panic!("{other:?}\nlog: {}", self.log),
        }
    }

    pub(crate) fn message(&self) -> String {
        self.error()["message"].as_str().unwrap().to_owned()
    }

    pub(crate) fn killed(&self) -> KillReason {
        match self.outcome.verdict {
            Verdict::Killed(reason) => reason,
            ref other => panic!("{other:?}\nlog: {}", self.log),
        }
    }
}

/// All that a run is given.
#[derive(Clone)]
pub(crate) struct Call {
    invocation: Invocation,
    pub(crate) around: Surroundings,
}

impl std::ops::Deref for Call {
    type Target = Invocation;

    fn deref(&self) -> &Invocation {
        &self.invocation
    }
}

impl std::ops::DerefMut for Call {
    fn deref_mut(&mut self) -> &mut Invocation {
        &mut self.invocation
    }
}

impl Call {
    /// As one of `identity`'s, in this mode: it may share its process with others of the same script.
    pub(crate) fn of(mut self, identity: &str, mode: IsolationMode) -> Self {
        let mut version = DefaultHasher::new();
        self.invocation.content.hash(&mut version);
        self.invocation.owner = Some(Owner {
            workspace: "test".parse().unwrap(),
            version: format!("{:016x}", version.finish()).parse().unwrap(),
            identity: identity.to_owned(),
        });
        self.invocation.mode = mode;
        self
    }

    /// As a worker does it, the folder's removal included.
    async fn run(self, executor: &Executor, logs: Logs, kill: Kill) -> Outcome {
        match executor.prepare(self.invocation).await {
            Ok(prepared) => {
                let (outcome, leftovers) = executor.run(prepared, self.around, logs, kill).await;
                leftovers.remove().await;
                outcome
            }
            Err(error) => Outcome::never_ran(error),
        }
    }
}

pub(crate) fn invocation(language: Language, script: &str, args: &str) -> Call {
    let invocation = Invocation {
        job_id: JobId::random(),
        language,
        content: script.into(),
        path: "u/test/my-script".to_owned(),
        args: Bytes::copy_from_slice(args.as_bytes()),
        limits: Limits { timeout: BOUND, ..Limits::default() },
        mode: IsolationMode::Fresh,
        owner: None,
    };
    let env = vec![("WM_WORKSPACE".to_owned(), "test".to_owned())];
    Call { invocation, around: Surroundings { env, mask: Vec::new() } }
}

/// A run under way.
pub(crate) struct Live {
    pub(crate) kill: KillSwitch,
    pub(crate) lines: mpsc::UnboundedReceiver<Bytes>,
    pub(crate) run: tokio::task::JoinHandle<Ran>,
}

impl Live {
    /// Waits until the log says a whole line with `mark` in it; the line's text behind the mark.
    pub(crate) async fn said(&mut self, mark: &str) -> String {
        self.said_at_all(mark).await.expect("the log ended")
    }

    /// The same; `None` if the log ends without it.
    pub(crate) async fn said_at_all(&mut self, mark: &str) -> Option<String> {
        let mut text = String::new();
        loop {
            let chunk = tokio::time::timeout(BOUND, self.lines.recv()).await.expect(mark)?;
            text.push_str(std::str::from_utf8(&chunk).unwrap());
            let found =
                text.split_inclusive('\n').find_map(|line| line.strip_suffix('\n')?.strip_prefix(mark));
            if let Some(rest) = found {
                return Some(rest.trim().to_owned());
            }
        }
    }

    pub(crate) async fn end(self) -> Ran {
        tokio::time::timeout(BOUND, self.run).await.unwrap().unwrap()
    }
}

impl Bench {
    /// Confined as strongly as this machine allows.
    pub(crate) async fn new() -> Self {
        Self::isolated(Isolation::default()).await
    }

    /// With processes that have the same numbers outside as inside.
    pub(crate) async fn without_namespaces() -> Self {
        Self::isolated(Isolation { level: Some(Level::Landlock), ..Isolation::default() }).await
    }

    /// Not confined at all: scripts can do to their supervisor what its user can.
    pub(crate) async fn off() -> Self {
        Self::isolated(Isolation { off: true, ..Isolation::default() }).await
    }

    pub(crate) async fn isolated(isolation: Isolation) -> Self {
        let work = open_folder();
        let config = Config { isolation, ..config(work.path()) };
        Self { executor: Executor::new(&config, host()).await.unwrap(), work }
    }

    /// With other settings of the executor.
    pub(crate) async fn with(change: impl FnOnce(&mut Config)) -> Self {
        let work = open_folder();
        let mut config = config(work.path());
        change(&mut config);
        Self { executor: Executor::new(&config, host()).await.unwrap(), work }
    }

    pub(crate) async fn run(&self, language: Language, script: &str, args: &str) -> Ran {
        self.invoke(invocation(language, script, args)).await
    }

    /// One run, its process included: a next one that is quick would not wait for it on a busy machine.
    pub(crate) async fn invoke(&self, call: Call) -> Ran {
        let ran = self.live(call).end().await;
        self.rests().await;
        ran
    }

    /// Waits until every process that has answered its job waits for the next one, or is gone.
    pub(crate) async fn rests(&self) {
        let at_rest = async {
            while !self.executor.is_at_rest() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(BOUND, at_rest).await.expect("processes come back");
    }

    pub(crate) fn live(&self, call: Call) -> Live {
        let (executor, (kill, killed)) = (self.executor.clone(), Kill::new());
        let (send, lines) = mpsc::unbounded_channel();
        let logs = Logs(Arc::default(), Some(send));
        let run = tokio::spawn(async move {
            let outcome = call.run(&executor, logs.clone(), killed).await;
            Ran { outcome, log: logs.text() }
        });
        Live { kill, lines, run }
    }

    /// Folders of jobs that are there now, but for those that wait for a job: in them is just `tmp`.
    pub(crate) fn folders(&self) -> usize {
        let folders = std::fs::read_dir(self.work.path().join("work/jobs")).unwrap().flatten();
        let entries = |path: &Path| std::fs::read_dir(path).map_or(0, Iterator::count);
        folders.filter(|folder| entries(&folder.path()) > 1).count()
    }
}

/// A folder that scripts' users can pass through; not in `/tmp`, of which each script has its own.
pub(crate) fn open_folder() -> TempDir {
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    tempfile::Builder::new().permissions(open).tempdir_in("/var/tmp").unwrap()
}

/// A named pipe that a script reads a line from and so waits for a test. We hold both ends:
/// nothing blocks here, and the script never sees an end.
pub(crate) struct Gate {
    pub(crate) path: PathBuf,
    pipe: std::fs::File,
}

impl Gate {
    pub(crate) fn new(folder: &Path) -> Self {
        let (path, mode) = (folder.join("go"), rustix::fs::Mode::RWXU);
        rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, mode, 0).unwrap();
        let pipe = std::fs::File::options().read(true).write(true).open(&path).unwrap();
        Self { path, pipe }
    }

    pub(crate) fn open(&self) {
        std::io::Write::write_all(&mut &self.pipe, b"go\n").unwrap();
    }
}

/// Whether a process of this id is there and no zombie.
pub(crate) fn lives(pid: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with(['Z', 'X']))
}

/// A process that is about to end, or has; not ours, so it is watched by its pidfd.
pub(crate) struct Doomed(Option<std::os::fd::OwnedFd>);

impl Doomed {
    pub(crate) fn watch(pid: &str) -> Self {
        let pid = rustix::process::Pid::from_raw(pid.parse().unwrap()).unwrap();
        match rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()) {
            Err(rustix::io::Errno::SRCH) => Self(None),
            other => Self(Some(other.unwrap())),
        }
    }

    pub(crate) async fn gone(self) {
        let Some(pidfd) = self.0 else { return };
        let wait = move || {
            let bound = rustix::event::Timespec::try_from(BOUND).unwrap();
            let mut fds = [rustix::event::PollFd::new(&pidfd, rustix::event::PollFlags::IN)];
            rustix::event::poll(&mut fds, Some(&bound)).unwrap()
        };
        assert_eq!(tokio::task::spawn_blocking(wait).await.unwrap(), 1, "it lives on");
    }
}

/// Waits for what somebody outside does, of which nobody tells us.
pub(crate) async fn eventually(done: impl Fn() -> bool) {
    let waited = async {
        while !done() {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(BOUND, waited).await.unwrap();
}
