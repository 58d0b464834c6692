//! One of our services as a process: configured by its environment alone, found by what it
//! logs, and the same address again after a restart.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hookmill::up::service_settings::variable;
use rustix::process::Signal;
use serde_json::Value;

use crate::process::Process;
use crate::programs;
use crate::trace;
use crate::waiting::eventually;

/// How long a service may take until it is ready.
const READY_WITHIN: Duration = Duration::from_secs(30);
/// How long a service may take to end in order.
const END_WITHIN: Duration = Duration::from_secs(40);

/// A gateway, a worker or the auth-service.
#[derive(Debug)]
pub struct Service {
    kind: &'static str,
    program: &'static str,
    name: String,
    log: PathBuf,
    /// Where all its system calls are noted, if they are.
    trace: Option<PathBuf>,
    environment: Mutex<BTreeMap<String, String>>,
    running: Mutex<Option<Running>>,
}

#[derive(Debug)]
struct Running {
    process: Process,
    /// Bytes of the log before this start.
    log_begins: usize,
}

impl Service {
    /// `kind` is the program's name; nothing is started.
    pub(crate) fn new(kind: &'static str, number: usize, logs: &Path) -> Self {
        let name = format!("{kind}-{number}");
        let log = logs.join(format!("{name}.log"));
        let path = std::env::var_os("PATH").unwrap_or_default().to_string_lossy().into_owned();
        let environment = Mutex::new(BTreeMap::from([("PATH".to_owned(), path)]));
        Self { kind, program: kind, name, log, trace: None, environment, running: Mutex::new(None) }
    }

    /// The same, started from another program.
    pub(crate) fn with_program(self, program: &'static str) -> Self {
        Self { program, ..self }
    }

    /// The same, with its system calls noted in a file beside its log.
    pub(crate) fn traced(self) -> Self {
        Self { trace: Some(self.log.with_extension("trace")), ..self }
    }

    /// Where its system calls are noted, if they are.
    pub fn trace(&self) -> Option<&Path> {
        self.trace.as_deref()
    }

    /// Changes a key of its configuration, such as `lease`, from its next start on.
    pub fn set(&self, key: &str, value: &str) {
        self.set_variable(variable(self.kind, key), value.to_owned());
    }

    pub(crate) fn set_variable(&self, name: String, value: String) {
        self.environment.lock().unwrap_or_else(PoisonError::into_inner).insert(name, value);
    }

    fn slot(&self) -> MutexGuard<'_, Option<Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `gateway-0`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The file of its log lines, over all its starts.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Its process id.
    ///
    /// # Panics
    /// It does not run.
    pub fn id(&self) -> u32 {
        self.slot().as_ref().expect("the service runs").process.id()
    }

    /// `http://127.0.0.1:port` of a gateway or the auth-service, also while it does not run.
    ///
    /// # Panics
    /// It was never started, or is a worker.
    pub fn url(&self) -> String {
        let listen = variable(self.kind, "listen");
        let environment = self.environment.lock().unwrap_or_else(PoisonError::into_inner);
        format!("http://{}", environment.get(&listen).expect("it was started and listens"))
    }

    /// Starts the process. It is not ready yet.
    ///
    /// # Panics
    /// It runs.
    pub fn launch(&self) {
        assert!(self.slot().is_none(), "{} runs", self.name);
        let program = programs::ours(self.program);
        let around = |trace: &PathBuf| trace::around(&program, trace);
        let mut command = self.trace.as_ref().map_or_else(|| Command::new(&program), around);
        command.env_clear().envs(&*self.environment.lock().unwrap_or_else(PoisonError::into_inner));
        let log_begins = std::fs::metadata(&self.log).map_or(0, |file| file.len());
        let process = Process::start(command, &self.log);
        let log_begins = usize::try_from(log_begins).expect("a log fits into memory");
        *self.slot() = Some(Running { process, log_begins });
    }

    /// Waits until it listens and notes where, so that a restart listens there again.
    pub(crate) async fn listens(&self, message: &str, field: &str) {
        let address: SocketAddr = self.logged(message, field).await;
        self.set("listen", &address.to_string());
    }

    /// Waits until it says that it is ready.
    ///
    /// # Panics
    /// It ends, or is not ready within 30 s.
    pub async fn ready(&self) {
        eventually(&format!("{} is ready", self.name), READY_WITHIN, async || {
            self.assert_runs();
            let answer = reqwest::get(format!("{}/readyz", self.admin_url().await)).await.ok()?;
            answer.status().is_success().then_some(())
        })
        .await;
    }

    /// `http://127.0.0.1:port` of its `/readyz`, `/metrics` and `/loglevel`.
    ///
    /// # Panics
    /// It does not run.
    pub async fn admin_url(&self) -> String {
        let address: SocketAddr = self.logged("admin port listens", "admin.addr").await;
        format!("http://{address}")
    }

    async fn logged(&self, message: &str, field: &str) -> SocketAddr {
        eventually(&format!("{} logs `{message}`", self.name), READY_WITHIN, async || {
            self.assert_runs();
            let line = self.log_lines().into_iter().find(|line| line["message"] == message)?;
            line[field].as_str()?.parse().ok()
        })
        .await
    }

    /// The log lines since its last start.
    ///
    /// # Panics
    /// It does not run.
    pub fn log_lines(&self) -> Vec<Value> {
        let begin = self.slot().as_ref().expect("the service runs").log_begins;
        let bytes = std::fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes[begin..]);
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    fn assert_runs(&self) {
        let ended = self.slot().as_mut().expect("the service runs").process.ended();
        if let Some(status) = ended {
            panic!("{} ended with {status}", self.name);
        }
    }

    /// Whether it has ended by itself.
    pub fn ended(&self) -> Option<ExitStatus> {
        self.slot().as_mut().and_then(|running| running.process.ended())
    }

    /// SIGKILL; returns when the process has ended.
    ///
    /// # Panics
    /// It does not run.
    pub fn kill(&self) {
        drop(self.slot().take().expect("the service runs"));
    }

    /// SIGKILL for the process alone, not for what it has started: that has to end by itself.
    ///
    /// # Panics
    /// It does not run.
    pub async fn slay(&self) {
        self.slot().as_ref().expect("the service runs").process.signal(Signal::KILL);
        eventually("the end of a killed process", END_WITHIN, async || self.ended()).await;
        self.kill();
    }

    /// SIGTERM, and its exit status once it has ended.
    ///
    /// # Panics
    /// It does not run, or does not end within 40 s.
    pub async fn terminate(&self) -> ExitStatus {
        let mut running = self.slot().take().expect("the service runs");
        running.process.signal(Signal::TERM);
        running.process.end_within(END_WITHIN).await
    }

    /// SIGTERM alone: [`Self::terminate`] without waiting for the end.
    ///
    /// # Panics
    /// It does not run.
    pub fn ask_to_end(&self) {
        self.slot().as_ref().expect("the service runs").process.signal(Signal::TERM);
    }

    /// SIGSTOP: connections stay open, nothing answers.
    ///
    /// # Panics
    /// It does not run.
    pub fn pause(&self) {
        self.slot().as_ref().expect("the service runs").process.pause();
    }

    /// SIGCONT.
    ///
    /// # Panics
    /// It does not run.
    pub fn resume(&self) {
        self.slot().as_ref().expect("the service runs").process.signal(Signal::CONT);
    }

    /// Starts it again after [`Self::kill`] or [`Self::terminate`], at the same address, and
    /// waits until it is ready.
    ///
    /// # Panics
    /// It runs, or does not start.
    pub async fn start_again(&self) {
        self.launch();
        self.ready().await;
    }
}
