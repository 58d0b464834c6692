//! One server process. It ends with the value that holds it, and also when the test program
//! itself is killed: a watchdog shell holds the reading end of a pipe from us and kills the
//! server when the pipe closes.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::wait::until;

/// A running server and the watchdog over it.
pub(crate) struct Process {
    server: Child,
    watchdog: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `program`; what it writes goes to `log`.
    pub(crate) fn start(program: &Path, arguments: &[String], log: &Path) -> Self {
        let output =
            File::options().create(true).append(true).open(log).expect("the test's folder is writable");
        let errors = output.try_clone().expect("a file can be held twice");
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null()).stdout(output).stderr(errors);
        let server =
            command.spawn().unwrap_or_else(|error| panic!("cannot start {}: {error}", program.display()));
        let watchdog = watch(server.id());
        Self { server, watchdog, log: log.to_owned() }
    }

    pub(crate) fn id(&self) -> u32 {
        self.server.id()
    }

    /// Whether it has ended by itself.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.server.try_wait().expect("the server is our child")
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.server.id()).expect("process ids are positive i32"))
    }

    fn signal(&self, signal: Signal) {
        kill(self.pid(), signal)
            .unwrap_or_else(|error| panic!("cannot send {signal} to the server: {error}"));
    }

    /// SIGSTOP; returns when every thread has stopped.
    pub(crate) fn pause(&self) {
        self.signal(Signal::SIGSTOP);
        let state = waitpid(self.pid(), Some(WaitPidFlag::WUNTRACED)).expect("the server is our child");
        assert!(matches!(state, WaitStatus::Stopped(..)), "the server did not stop: {state:?}");
    }

    /// SIGCONT.
    pub(crate) fn resume(&self) {
        self.signal(Signal::SIGCONT);
    }

    /// SIGTERM, and waits for the end.
    pub(crate) async fn stop(mut self) {
        self.signal(Signal::SIGTERM);
        until("the server's end after SIGTERM", async || self.ended()).await;
    }

    /// The last lines it wrote, for a panic's message.
    pub(crate) fn said(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }
}

/// Reads until the pipe closes, then kills; closing the pipe is all that is asked of us.
fn watch(server: u32) -> Child {
    let script = format!("read _; kill -9 {server}");
    let mut command = Command::new("/bin/sh");
    command.args(["-c", &script]).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().expect("a shell can be started")
}

impl Drop for Process {
    fn drop(&mut self) {
        // the watchdog first: once the server is reaped its id may be another's
        let _ = self.watchdog.kill();
        let _ = self.watchdog.wait();
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}
