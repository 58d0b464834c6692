//! The launcher: a process that confines itself ahead of its command, and then becomes it. With
//! namespaces it is the first process of its own process namespace, starts the command instead, and
//! buries whoever is left to it; with its end the kernel ends everybody in there.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use nix::sys::wait::{Id, WaitPidFlag, waitid};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, set_parent_process_death_signal};
use sandbox::{Confinement, Ends, Level};
use serde::{Deserialize, Serialize};

use super::orders::{receive_with_pipes, send_all};
use super::reap::{Reaped, Used, bury};
use super::wire::{Refusal, Spec, Status, encode, send};
use super::{DIALECT, monotonic_ns, spawn};

/// The first process: it confines itself, or starts the one that does in a process namespace.
pub(crate) const OUTER: &str = "__launch";

/// The first process of a process namespace.
pub(crate) const INNER: &str = "__confined";

/// What a launcher tells its supervisor.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Said {
    /// The first process of the process namespace, as seen from outside.
    Inner(i32),
    /// All that can be done ahead is done.
    Ready,
    /// It cannot confine itself, or not start its command.
    Failed(Refusal),
    /// The command starts, at this time of the monotonic clock in nanoseconds. A launcher that becomes it says no
    /// more: its line ends.
    Starts(u64),
    /// The command has ended.
    Ended {
        /// How.
        status: Status,
        /// When, in nanoseconds of the monotonic clock.
        at_ns: u64,
    },
}

/// Starts a launcher, which is our own program, with the line to it as its input.
pub(crate) fn start(stage: &str, wanted: &str, line: BorrowedFd<'_>) -> io::Result<Pid> {
    let null = File::options().write(true).open("/dev/null")?;
    let program = spawn::Program {
        path: Path::new("/proc/self/exe"),
        args: &[stage, &DIALECT.to_string(), wanted],
        env: &[],
        descriptors: [line, null.as_fd(), null.as_fd()],
    };
    program.start(spawn::Group::Own)
}

/// Runs one of the two stages; the process's exit code.
pub(crate) fn run(stage: &str, wanted: &str) -> i32 {
    // a copy that closes on exec, unlike descriptor 0
    let Ok(line) = io::stdin().as_fd().try_clone_to_owned() else { return 1 };
    let mut line = UnixStream::from(line);
    let Err(error) = launch(stage, wanted, &mut line) else { return 0 };
    // nobody hears it if the supervisor is gone
    let _ = send(&mut line, &Said::Failed(Refusal::from(&error)));
    1
}

fn launch(stage: &str, wanted: &str, line: &mut UnixStream) -> io::Result<()> {
    super::close_strangers(line.as_fd());
    let confinement: Confinement = serde_json::from_str(wanted)?;
    if stage == OUTER && confinement.level == Level::Namespaces {
        sandbox::outside().map_err(io::Error::other)?;
        let inner = start(INNER, wanted, line.as_fd())?;
        return send(line, &Said::Inner(inner.as_raw_nonzero().get()));
    }
    let ends = sandbox::before(&confinement).map_err(io::Error::other)?;
    say_ready(line, ends)?;
    let Some((spec, pipes)) = receive_with_pipes::<Spec>(line)? else { return Ok(()) };
    let granted = spec.grant.as_ref().ok_or_else(|| io::Error::other("a command without a grant"))?;
    sandbox::for_command(&confinement, granted).map_err(io::Error::other)?;
    set_parent_process_death_signal(Some(Signal::KILL))?;
    if is_over(line) {
        // it went before the kernel knew whom to tell
        return Ok(());
    }
    send(line, &Said::Starts(monotonic_ns()))?;
    match confinement.level {
        Level::Process | Level::Landlock => become_it(&spec, pipes),
        Level::Namespaces => accompany(&spec, pipes, line),
    }
}

/// The ends that lead out of its network are its supervisor's from now on.
fn say_ready(line: &mut UnixStream, ends: Option<Ends>) -> io::Result<()> {
    let descriptors: Vec<OwnedFd> =
        ends.into_iter().flat_map(|ends| [ends.packets].into_iter().chain(ends.doors)).collect();
    send_all(line, &encode(&Said::Ready)?, &descriptors)
}

/// Whether the supervisor has gone.
fn is_over(line: &UnixStream) -> bool {
    let mut fds = [PollFd::new(line, PollFlags::RDHUP)];
    poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).is_err() || !fds[0].revents().is_empty()
}

/// Returns only if it fails.
fn become_it(spec: &Spec, pipes: Vec<OwnedFd>) -> io::Result<()> {
    let mut pipes = pipes.into_iter();
    let mut pipe = || pipes.next().ok_or_else(|| io::Error::other("a pipe for the output did not come"));
    let standard = pipe()?;
    let errors = if spec.output.is_apart() { pipe()? } else { standard.try_clone()? };
    let input = spawn::input(spec.input, &mut pipes)?;
    let mut command = Command::new(&spec.program);
    command.args(&spec.args).env_clear().envs(spec.env.iter().map(|(key, value)| (key, value)));
    command.current_dir(&spec.cwd).stdin(input).stdout(standard).stderr(errors);
    Err(command.exec())
}

/// Starts it, and buries everybody until it has ended.
fn accompany(spec: &Spec, pipes: Vec<OwnedFd>, line: &mut UnixStream) -> io::Result<()> {
    let main = spawn::spawn(spec, pipes, spawn::Group::Ours)?;
    let status = until_ended(main);
    // a supervisor that is gone is noticed by the kernel, for us
    let _ = send(line, &Said::Ended { status, at_ns: monotonic_ns() });
    Ok(())
}

fn until_ended(main: Pid) -> Status {
    let mut used = Used::default();
    loop {
        let ended = waitid(Id::All, WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT);
        let ended = ended.ok().and_then(|ended| ended.pid());
        let buried = ended.and_then(|pid| bury(pid.as_raw(), &mut used));
        if let Some(Reaped::Ended(pid, status)) = buried
            && pid == main
        {
            return super::supervised::read_status(status);
        }
    }
}
