//! One process with a group of its own. The group ends with the value that holds it, and also
//! when the test program itself is killed: a watchdog shell holds the reading end of a pipe
//! from us and kills the group when the pipe closes.

use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitOptions, kill_process, kill_process_group, waitpid};

use crate::waiting::eventually;

/// A running process and the watchdog over it.
#[derive(Debug)]
pub struct Process {
    child: Child,
    watchdog: Child,
    over: bool,
}

impl Process {
    /// Starts `command` with nothing to read; what it writes is appended to `log`.
    ///
    /// # Panics
    /// It cannot be started.
    pub fn start(mut command: Command, log: &Path) -> Self {
        let output =
            File::options().create(true).append(true).open(log).expect("the test's folder is writable");
        let errors = output.try_clone().expect("a file can be held twice");
        command.process_group(0).stdin(Stdio::null()).stdout(output).stderr(errors);
        Self::spawn(command)
    }

    /// The same with the command's own output, for a program whose words are read as they come.
    ///
    /// # Panics
    /// It cannot be started.
    pub fn spawn(mut command: Command) -> Self {
        command.process_group(0);
        let child = command.spawn().unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
        let watchdog = watch(child.id());
        Self { child, watchdog, over: false }
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it writes, when its output is a pipe; once.
    pub fn output(&mut self) -> Option<std::process::ChildStdout> {
        self.child.stdout.take()
    }

    /// Whether it has ended.
    ///
    /// # Panics
    /// The system does not say.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        let status = self.child.try_wait().expect("it is our child");
        self.over |= status.is_some();
        status
    }

    /// Sends a signal to the process itself, not to its group.
    ///
    /// # Panics
    /// It has ended.
    pub fn signal(&self, signal: Signal) {
        kill_process(pid(self.child.id()), signal).expect("the process runs");
    }

    /// SIGSTOP; returns when every thread has stopped, which takes a moment: until then it answers.
    ///
    /// # Panics
    /// It has ended.
    pub fn pause(&self) {
        self.signal(Signal::STOP);
        let state = waitpid(Some(pid(self.child.id())), WaitOptions::UNTRACED).expect("it is our child");
        assert!(state.is_some_and(|(_, status)| status.stopped()), "it did not stop: {state:?}");
    }

    /// Sends a signal to its whole group, as a terminal does.
    ///
    /// # Panics
    /// It has ended.
    pub fn signal_group(&self, signal: Signal) {
        kill_process_group(pid(self.child.id()), signal).expect("the process runs");
    }

    /// Waits until it has ended.
    ///
    /// # Panics
    /// It does not within `bound`.
    pub async fn end_within(&mut self, bound: Duration) -> ExitStatus {
        eventually("the end of a process", bound, async || self.ended()).await
    }
}

fn pid(id: u32) -> Pid {
    let id = i32::try_from(id).expect("process ids are positive i32");
    Pid::from_raw(id).expect("no process has the id 0")
}

/// Reads until the pipe closes, then kills; closing the pipe is all that is asked of us.
fn watch(group: u32) -> Child {
    let script = format!("read _; kill -9 -{group}");
    let mut command = Command::new("/bin/sh");
    command.args(["-c", &script]).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    command.process_group(0).spawn().expect("a shell can be started")
}

impl Drop for Process {
    fn drop(&mut self) {
        // the watchdog first: once the child is reaped its id may be another's
        let _ = self.watchdog.kill();
        let _ = self.watchdog.wait();
        if !self.over {
            let _ = kill_process_group(pid(self.child.id()), Signal::KILL);
            let _ = self.child.wait();
        }
    }
}
