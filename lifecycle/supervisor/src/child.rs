//! The supervisor itself: one thread, one `poll`, one command after the other.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::parent_id;
use std::time::Duration;

use nix::sys::signal::{SigSet, Signal as NixSignal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{DumpableBehavior, Signal};

use sandbox::Cgroup;

use super::footing::Footing;
use super::launch::Launcher;
use super::orders::receive_with_pipes;
use super::reap::kill_members;
use super::supervised::Supervised;
use super::wire::{Order, Refusal, Report, send};
use super::{close_strangers, monotonic_ns, spawn};

/// Runs the mode to its end; the process's exit code.
pub(crate) fn run() -> i32 {
    match supervise() {
        Ok(()) => 0,
        Err(_) => 1,
    }
}

fn supervise() -> io::Result<()> {
    let (mut socket, signals) = prepare()?;
    let footing = Footing::now()?;
    let (mut launcher, mut groups) = (None, Groups { last: Cgroup::default(), host: signals.host });
    while let Some((order, pipes)) = wait_for_command(&mut socket, &signals)? {
        match order {
            Order::Prepare(confinement) => {
                // one that still waits ends with its line
                launcher = None;
                groups.enter(&confinement.cgroup);
                let report = match Launcher::start(confinement) {
                    Ok(ready) => {
                        launcher = Some(ready);
                        Report::Prepared
                    }
                    Err(error) => Report::Unprepared { message: error.to_string() },
                };
                send(&mut socket, &report)?;
            }
            Order::Start(spec) => match Supervised::start(&spec, pipes, launcher.take()) {
                Ok(command) => {
                    if !command.watch(&mut socket, &signals, &footing)? {
                        return Ok(());
                    }
                }
                Err(error) => send(&mut socket, &Report::Refused(Refusal::from(&error)))?,
            },
            // they were meant for a command that had just ended
            Order::Kill { .. } | Order::Rest | Order::Freeze | Order::Thaw => {}
        }
    }
    Ok(())
}

/// The control groups of our commands. They are removed with us, as our host may be gone by then.
struct Groups {
    last: Cgroup,
    host: u32,
}

impl Groups {
    /// A new launcher comes; the limits of the command before it are not its.
    fn enter(&mut self, cgroup: &Cgroup) {
        self.last = cgroup.clone();
        self.last.unlimit();
    }
}

impl Drop for Groups {
    fn drop(&mut self) {
        // a launcher that still waited is about to end with its line
        kill_members(&self.last);
        self.last.remove(parent_id() != self.host);
    }
}

/// The signals we read, and who may tell us by one that it has died.
pub(crate) struct Signals {
    read: SignalFd,
    host: u32,
}

fn prepare() -> io::Result<(UnixStream, Signals)> {
    close_strangers(io::stdin().as_fd());
    let _ = rustix::thread::set_name(c"hookmill-script");
    // our own session: what a terminal sends to its group is not for us. It fails only for a
    // group's leader, which a spawned process is not.
    let _ = rustix::process::setsid();
    // scripts of the same user must not look into us: the next one is somebody else's
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    spawn::no_core_dumps();
    let signals = Signals { read: signals()?, host: parent_id() };
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    // a second line of defence: the socket's end says the same. This signal reaches us even when a script
    // has stopped us
    rustix::process::set_parent_process_death_signal(Some(Signal::CONT))?;
    // a copy that closes on exec, unlike descriptor 0
    let socket = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    Ok((socket, signals))
}

/// All are blocked, as scripts of the same user can send any; SIGCHLD and SIGCONT are read.
fn signals() -> io::Result<SignalFd> {
    let mut read = SigSet::empty();
    read.add(NixSignal::SIGCHLD);
    read.add(NixSignal::SIGCONT);
    SigSet::all().thread_block()?;
    Ok(SignalFd::with_flags(&read, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?)
}

/// Blocks until the host has an order; `None` when it has gone away.
fn wait_for_command(socket: &mut UnixStream, signals: &Signals) -> io::Result<Option<(Order, Vec<OwnedFd>)>> {
    loop {
        let ready = wait([Some(&*socket), None], signals, None)?;
        if ready.signal && host_died(signals)? {
            return Ok(None);
        }
        if !ready.sockets[0] {
            continue;
        }
        return match receive_with_pipes(socket) {
            // it has gone without having read all we said
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Ok(None),
            other => other,
        };
    }
}

pub(crate) struct Ready {
    pub(crate) signal: bool,
    pub(crate) sockets: [bool; 2],
}

/// Blocks until something is ready or `until_ns` has come. Sockets that are `None` do not count.
pub(crate) fn wait(
    sockets: [Option<&UnixStream>; 2],
    signals: &Signals,
    until_ns: Option<u64>,
) -> io::Result<Ready> {
    // a socket that is none stands for the signals once more, and is not looked at
    let mut fds = [
        PollFd::new(&signals.read, PollFlags::IN),
        sockets[0]
            .map_or_else(|| PollFd::new(&signals.read, PollFlags::IN), |s| PollFd::new(s, PollFlags::IN)),
        sockets[1]
            .map_or_else(|| PollFd::new(&signals.read, PollFlags::IN), |s| PollFd::new(s, PollFlags::IN)),
    ];
    let left = until_ns.map(|until| Duration::from_nanos(until.saturating_sub(monotonic_ns())));
    let left = left.map(Timespec::try_from).transpose().map_err(io::Error::other)?;
    match poll(&mut fds, left.as_ref()) {
        Ok(_) | Err(rustix::io::Errno::INTR) => {}
        Err(error) => return Err(error.into()),
    }
    let ready = |at: usize| fds.get(at).is_some_and(|fd| !fd.revents().is_empty());
    Ok(Ready {
        signal: ready(0),
        sockets: [sockets[0].is_some() && ready(1), sockets[1].is_some() && ready(2)],
    })
}

/// Empties the signal descriptor; whether our host's death was among it. The kernel names the dead as the
/// sender, and a script that sends us the same signal is named, too.
pub(crate) fn host_died(signals: &Signals) -> io::Result<bool> {
    let mut died = false;
    while let Some(signal) = signals.read.read_signal()? {
        died |= signal.ssi_signo == NixSignal::SIGCONT as u32 && signal.ssi_pid == signals.host;
    }
    Ok(died)
}
