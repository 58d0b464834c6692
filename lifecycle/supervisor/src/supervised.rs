//! One command, from its start until nothing of it is left.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use sandbox::Level;
use uplink::Uplink;

use super::child::{Signals, host_died, wait};
use super::end::kill_all;
use super::footing::Footing;
use super::launch::Launcher;
use super::launcher::Said;
use super::reap::{Reaped, Used, reap_one};
use super::rest::Resting;
use super::watchdog::Watchdog;
use super::wire::{Exit, Kind, Order, Refusal, Report, Spec, Status, receive, send};
use super::{monotonic_ns, spawn};

/// Processes buried before the host and the clock are looked at again.
const REAPED_AT_ONCE: u32 = 1000;

/// The running command.
pub(crate) struct Supervised {
    main: Pid,
    kind: Kind,
    /// Whether it is in a process namespace, whose first process is then `main`.
    apart: bool,
    started_ns: u64,
    /// When SIGKILL follows a SIGTERM already sent.
    kill_at_ns: Option<u64>,
    used: Used,
    /// Where its launcher speaks, until it has become the command.
    line: Option<UnixStream>,
    /// Why the launcher has not started it.
    refused: Option<Refusal>,
    /// Its end and the time of it, told by its launcher.
    told: Option<(Status, u64)>,
    watchdog: Option<Watchdog>,
    /// The way out of its network, until nothing of it is left.
    _uplink: Option<Uplink>,
    /// There may be more to bury, whatever the signals say.
    more_ended: bool,
}

impl Supervised {
    /// Starts it, by `launcher` if it has a grant.
    pub(crate) fn start(spec: &Spec, pipes: Vec<OwnedFd>, launcher: Option<Launcher>) -> io::Result<Self> {
        let started_ns = monotonic_ns();
        let (mut uplink, mut apart) = (None, false);
        let (main, line, watchdog) = match (&spec.grant, launcher) {
            (None, _) => (spawn::spawn(spec, pipes, spawn::Group::Own)?, None, None),
            (Some(_), None) => return Err(io::Error::other("no launcher waits for this command")),
            (Some(granted), Some(launcher)) => {
                let limits = granted.limits;
                let watchdog = Watchdog::new(limits, &launcher.confinement);
                let launcher = launcher.fit(spec)?;
                launcher.confinement.cgroup.limit(limits.memory, limits.processes)?;
                let launcher = launcher.hand_over(spec, &pipes)?;
                uplink = launcher.uplink;
                apart = launcher.confinement.level == Level::Namespaces;
                (launcher.main, Some(launcher.line), Some(watchdog))
            }
        };
        Ok(Self {
            main,
            kind: spec.kind,
            apart,
            started_ns,
            kill_at_ns: None,
            used: Used::default(),
            line,
            refused: None,
            told: None,
            watchdog,
            _uplink: uplink,
            more_ended: false,
        })
    }

    /// Follows the command until nothing of it is left; whether the host is still there, and we as we were.
    pub(crate) fn watch(
        mut self,
        socket: &mut UnixStream,
        signals: &Signals,
        footing: &Footing,
    ) -> io::Result<bool> {
        // a host that is gone is noticed by the first wait
        let _ = send(socket, &Report::Started { pid: self.main.as_raw_nonzero().get() });
        let mut host = Some(socket);
        let ended = self.until_main_ended(&mut host, signals);
        let (cgroup, killed_ns) = (self.watchdog.as_ref().map(Watchdog::cgroup), monotonic_ns());
        let killed = kill_all(self.main, cgroup, &mut self.used);
        self.hear_all();
        let killed = (killed.unwrap_or(Status::Signal(Signal::KILL.as_raw())), killed_ns);
        let (status, exited_ns) = ended?.unwrap_or(killed);
        let reusable = footing.holds();
        let report = self.report(status, exited_ns, reusable);
        // a host that went away just now needs no report
        let told = host.is_some_and(|host| send(host, &report).is_ok());
        Ok(told && reusable)
    }

    fn report(&mut self, status: Status, exited_ns: u64, reusable: bool) -> Report {
        if let Some(why) = self.refused.take() {
            return Report::Refused(why);
        }
        let (status, exited_ns) = self.told.unwrap_or((status, exited_ns));
        let hit = self.watchdog.as_ref().and_then(|dog| dog.verdict(status));
        Report::Ended { exit: self.account(status, exited_ns), reusable, hit }
    }

    /// Its end and the time of it; `None` if it has to be killed, main process and all.
    fn until_main_ended(
        &mut self,
        socket: &mut Option<&mut UnixStream>,
        signals: &Signals,
    ) -> io::Result<Option<(Status, u64)>> {
        loop {
            if let Some(status) = self.reap_until_main() {
                return Ok(Some((status, monotonic_ns())));
            }
            let check = self.watchdog.as_ref().and_then(Watchdog::due_ns);
            let at_once = std::mem::take(&mut self.more_ended).then_some(0);
            let until = self.kill_at_ns.into_iter().chain(check).chain(at_once).min();
            let ready = wait([socket.as_deref(), self.line.as_ref()], signals, until)?;
            if ready.signal && host_died(signals)? || ready.sockets[0] && !self.obey(socket) {
                *socket = None;
                self.host_gone();
            }
            if ready.sockets[1] {
                self.hear();
            }
            if self.watchdog.as_mut().is_some_and(|dog| dog.check(&mut self.used)) {
                self.end(Duration::ZERO);
            }
            if self.kill_at_ns.is_some_and(|due| due <= monotonic_ns()) {
                // it may have left its group
                let _ = kill_process(self.main, Signal::KILL);
                return Ok(None);
            }
        }
    }

    fn reap_until_main(&mut self) -> Option<Status> {
        // a flood of them must not keep us from our host and the clock: the signal stays set for the rest
        for _ in 0..REAPED_AT_ONCE {
            match reap_one(&mut self.used) {
                Reaped::Ended(pid, status) if pid == self.main => return Some(read_status(status)),
                Reaped::Ended(..) => {}
                Reaped::Living | Reaped::Nobody => return None,
            }
        }
        self.more_ended = true;
        None
    }

    /// One word of the launcher. When the line ends it has become the command, or is gone.
    fn hear(&mut self) {
        let said = self.line.as_mut().map(receive::<Said>);
        match said {
            Some(Ok(Some(Said::Failed(why)))) => self.refused = Some(why),
            Some(Ok(Some(Said::Starts(at_ns)))) => self.started_ns = at_ns,
            Some(Ok(Some(Said::Ended { status, at_ns }))) => self.told = Some((status, at_ns)),
            Some(Ok(Some(Said::Inner(_) | Said::Ready) | None) | Err(_)) | None => self.line = None,
        }
    }

    /// What a launcher said before its end.
    fn hear_all(&mut self) {
        while self.line.is_some() {
            self.hear();
        }
    }

    /// Follows one order; false when the host has gone away.
    fn obey(&mut self, socket: &mut Option<&mut UnixStream>) -> bool {
        let Some(socket) = socket.as_deref_mut() else { return false };
        match receive::<Order>(socket) {
            Ok(Some(Order::Kill { grace })) => self.end(grace),
            Ok(Some(Order::Rest)) => {
                let resting = self.resting();
                if let Some(dog) = &mut self.watchdog {
                    dog.begin_anew(self.used.cpu + resting.cpu());
                }
                return send(socket, &Report::Rested(resting.account())).is_ok();
            }
            Ok(Some(Order::Freeze)) => self.freeze(true),
            Ok(Some(Order::Thaw)) => self.freeze(false),
            // no command comes before this one's end: a host that errs is treated as gone
            Ok(Some(Order::Start(_) | Order::Prepare(_)) | None) | Err(_) => return false,
        }
        true
    }

    fn resting(&self) -> Resting {
        Resting::now(self.apart.then_some(self.main))
    }

    fn freeze(&mut self, frozen: bool) {
        self.resting().signal(if frozen { Signal::STOP } else { Signal::CONT });
        if let Some(dog) = &mut self.watchdog {
            dog.freeze(frozen);
        }
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

/// How a process that was buried had ended.
pub(crate) fn read_status(status: ExitStatus) -> Status {
    match status.signal() {
        Some(signal) => Status::Signal(signal),
        None => Status::Code(status.code().unwrap_or(0)),
    }
}
