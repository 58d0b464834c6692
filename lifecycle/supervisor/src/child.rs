//! The supervisor itself: one thread, one `poll`, one command after the other.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::{ExitStatusExt, parent_id};
use std::process::ExitStatus;
use std::time::Duration;

use nix::sys::signal::{SigSet, Signal as NixSignal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{DumpableBehavior, Pid, Signal, kill_process, kill_process_group};

use super::orders::{Received, receive_order};
use super::reap::{Reaped, Used, kill_all, reap_one};
use super::wire::{Exit, Kind, Order, Report, Spec, Status, receive, send};
use super::{footing::Footing, monotonic_ns, spawn};

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
    while let Some((spec, pipes)) = wait_for_command(&mut socket, &signals)? {
        match Supervised::start(&spec, pipes) {
            Ok(command) => {
                if !command.watch(&mut socket, &signals, &footing)? {
                    return Ok(());
                }
            }
            Err(error) => send(&mut socket, &Report::Refused { message: error.to_string() })?,
        }
    }
    Ok(())
}

/// The signals we read, and who may tell us by one that it has died.
struct Signals {
    read: SignalFd,
    host: u32,
}

fn prepare() -> io::Result<(UnixStream, Signals)> {
    close_strangers();
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

/// Descriptors above 2 are leaks of whoever started our program; a command must not get them.
fn close_strangers() {
    let Ok(entries) = std::fs::read_dir("/proc/self/fd") else { return };
    let numbers: Vec<i32> = entries.flatten().filter_map(|e| e.file_name().to_str()?.parse().ok()).collect();
    for number in numbers.into_iter().filter(|number| *number > 2) {
        let _ = nix::unistd::close(number);
    }
}

/// All are blocked, as scripts of the same user can send any; SIGCHLD and SIGCONT are read.
fn signals() -> io::Result<SignalFd> {
    let mut read = SigSet::empty();
    read.add(NixSignal::SIGCHLD);
    read.add(NixSignal::SIGCONT);
    SigSet::all().thread_block()?;
    Ok(SignalFd::with_flags(&read, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?)
}

/// Blocks until the host has a command; `None` when it has gone away.
fn wait_for_command(socket: &mut UnixStream, signals: &Signals) -> io::Result<Option<(Spec, Vec<OwnedFd>)>> {
    loop {
        let ready = wait(Some(socket), signals, None)?;
        if ready.signal && host_died(signals)? {
            return Ok(None);
        }
        if !ready.socket {
            continue;
        }
        match receive_order(socket) {
            Ok(Some(Received { order: Order::Start(spec), pipes })) => return Ok(Some((spec, pipes))),
            // it was meant for a command that had just ended
            Ok(Some(Received { order: Order::Kill { .. }, .. })) => {}
            Ok(None) => return Ok(None),
            // it has gone without having read all we said
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(None),
            Err(error) => return Err(error),
        }
    }
}

struct Ready {
    socket: bool,
    signal: bool,
}

/// Blocks until something is ready or `until_ns` has come. Without a socket only signals count.
fn wait(socket: Option<&UnixStream>, signals: &Signals, until_ns: Option<u64>) -> io::Result<Ready> {
    let mut fds = vec![PollFd::new(&signals.read, PollFlags::IN)];
    fds.extend(socket.map(|socket| PollFd::new(socket, PollFlags::IN)));
    let left = until_ns.map(|until| Duration::from_nanos(until.saturating_sub(monotonic_ns())));
    let left = left.map(Timespec::try_from).transpose().map_err(io::Error::other)?;
    match poll(&mut fds, left.as_ref()) {
        Ok(_) | Err(rustix::io::Errno::INTR) => {}
        Err(error) => return Err(error.into()),
    }
    let ready = |fd: &PollFd<'_>| !fd.revents().is_empty();
    Ok(Ready { signal: fds.first().is_some_and(ready), socket: fds.get(1).is_some_and(ready) })
}

/// Empties the signal descriptor; whether our host's death was among it. The kernel names the dead as the
/// sender, and a script that sends us the same signal is named, too.
fn host_died(signals: &Signals) -> io::Result<bool> {
    let mut died = false;
    while let Some(signal) = signals.read.read_signal()? {
        died |= signal.ssi_signo == NixSignal::SIGCONT as u32 && signal.ssi_pid == signals.host;
    }
    Ok(died)
}

/// The running command.
struct Supervised {
    main: Pid,
    kind: Kind,
    started_ns: u64,
    /// When SIGKILL follows a SIGTERM already sent.
    kill_at_ns: Option<u64>,
    used: Used,
}

impl Supervised {
    fn start(spec: &Spec, pipes: Vec<OwnedFd>) -> io::Result<Self> {
        let started_ns = monotonic_ns();
        let main = spawn::spawn(spec, pipes)?;
        Ok(Self { main, kind: spec.kind, started_ns, kill_at_ns: None, used: Used::default() })
    }

    /// Follows the command until nothing of it is left; whether the host is still there.
    fn watch(mut self, socket: &mut UnixStream, signals: &Signals, footing: &Footing) -> io::Result<bool> {
        // a host that is gone is noticed by the first wait
        let _ = send(socket, &Report::Started { pid: self.main.as_raw_nonzero().get() });
        self.prefer_for_oom();
        let mut host = Some(socket);
        let ended = self.until_main_ended(&mut host, signals);
        kill_all(self.main, &mut self.used);
        let (status, exited_ns) = ended?;
        let (exit, reusable) = (self.account(status, exited_ns), footing.holds());
        // a host that went away just now needs no report
        let told = host.is_some_and(|host| send(host, &Report::Ended { exit, reusable }).is_ok());
        Ok(told && reusable)
    }

    /// When memory runs out the command goes first, not its worker.
    fn prefer_for_oom(&self) {
        if self.kind == Kind::Script {
            let _ = std::fs::write(format!("/proc/{}/oom_score_adj", self.main.as_raw_nonzero()), "1000");
        }
    }

    fn until_main_ended(
        &mut self,
        socket: &mut Option<&mut UnixStream>,
        signals: &Signals,
    ) -> io::Result<(Status, u64)> {
        loop {
            if let Some(status) = self.reap_until_main() {
                return Ok((status, monotonic_ns()));
            }
            let ready = wait(socket.as_deref(), signals, self.kill_at_ns)?;
            if ready.signal && host_died(signals)? || ready.socket && !self.obey(socket) {
                *socket = None;
                self.host_gone();
            }
            self.kill_when_due();
        }
    }

    fn reap_until_main(&mut self) -> Option<Status> {
        while let Reaped::Ended(pid, status) = reap_one(&mut self.used) {
            if pid == self.main {
                return Some(read_status(status));
            }
        }
        None
    }

    /// Follows one order; false when the host has gone away.
    fn obey(&mut self, socket: &mut Option<&mut UnixStream>) -> bool {
        match socket.as_deref_mut().map(receive::<Order>) {
            Some(Ok(Some(Order::Kill { grace }))) => self.end(grace),
            // no command comes before this one's end: a host that errs is treated as gone
            Some(Ok(Some(Order::Start(_)) | None) | Err(_)) | None => return false,
        }
        true
    }

    fn host_gone(&mut self) {
        match self.kind {
            Kind::Script => self.end(Duration::ZERO),
            Kind::Service { grace } => self.end(grace),
        }
    }

    fn end(&mut self, grace: Duration) {
        if !grace.is_zero() {
            let _ = match self.kind {
                Kind::Script => kill_process_group(self.main, Signal::TERM),
                Kind::Service { .. } => kill_process(self.main, Signal::TERM),
            };
        }
        let due = monotonic_ns().saturating_add(u64::try_from(grace.as_nanos()).unwrap_or(u64::MAX));
        self.kill_at_ns = Some(self.kill_at_ns.map_or(due, |earlier| earlier.min(due)));
    }

    fn kill_when_due(&mut self) {
        if self.kill_at_ns.is_some_and(|due| due <= monotonic_ns()) {
            let _ = kill_process_group(self.main, Signal::KILL);
            let _ = kill_process(self.main, Signal::KILL);
            self.kill_at_ns = None;
        }
    }

    fn account(&self, status: Status, exited_ns: u64) -> Exit {
        Exit {
            status,
            started_ns: self.started_ns,
            exited_ns,
            max_rss_kib: self.used.max_rss / 1024,
            cpu_ms: u64::try_from(self.used.cpu.as_millis()).unwrap_or(u64::MAX),
        }
    }
}

fn read_status(status: ExitStatus) -> Status {
    match status.signal() {
        Some(signal) => Status::Signal(signal),
        None => Status::Code(status.code().unwrap_or(0)),
    }
}
