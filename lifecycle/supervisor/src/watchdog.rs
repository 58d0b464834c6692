//! Keeps the limits that the kernel counts for single processes only, or not at all: memory and CPU
//! time of all processes of a command, and the size of all its files. A control group that keeps one
//! of them is asked instead of every process.

use std::time::Duration;

use rustix::process::Signal;
use sandbox::{Cgroup, Confinement, Limits};

use super::disk::Disk;
use super::monotonic_ns;
use super::processes::{self, Use};
use super::reap::Used;
use super::wire::{Hit, Status};

/// Between two looks at a command that is far from its limits.
const FAR: Duration = Duration::from_millis(100);

/// Between two looks at one that uses more than a quarter of its memory, or has many processes.
const NEAR: Duration = Duration::from_millis(20);

/// Between two glances at the number of all processes of the machine, which is one short file. A storm of forks is
/// seen while it still leaves us a core to end it.
const GLANCE: Duration = Duration::from_millis(5);

/// The machine's processes may become so many more before we look who they are, however few a command may have.
const OTHERS: u64 = 8;

/// Watches one command.
pub(crate) struct Watchdog {
    limits: Limits,
    cgroup: Cgroup,
    disk: Disk,
    due_ns: u64,
    /// When to glance next.
    glance_ns: u64,
    /// With more processes than these on the machine the command may have too many.
    alarming: u64,
    hit: Option<Hit>,
    /// The command has no job, and nothing of it runs.
    frozen: bool,
    before: Counts,
}

/// What the control group counts from its beginning on, and so from before this command.
struct Counts {
    memory_kills: u64,
    processes_refused: u64,
    cpu_ns: u64,
    /// The same of a command that takes one job after the other, where no control group counts.
    cpu: Duration,
}

impl Counts {
    fn now(cgroup: &Cgroup) -> Self {
        Self {
            memory_kills: cgroup.memory_kills(),
            processes_refused: cgroup.processes_refused(),
            cpu_ns: cgroup.cpu_ns().unwrap_or(0),
            cpu: Duration::ZERO,
        }
    }
}

impl Watchdog {
    pub(crate) fn new(limits: Limits, confinement: &Confinement) -> Self {
        let cgroup = confinement.cgroup.clone();
        let before = Counts::now(&cgroup);
        let disk = Disk::new(confinement.folder.clone(), limits.disk_bytes);
        let (due_ns, glance_ns) = (later(NEAR), later(GLANCE));
        let alarming = alarming(limits.processes, 0);
        Self { limits, cgroup, disk, due_ns, glance_ns, alarming, hit: None, frozen: false, before }
    }

    /// Where the command's processes are counted.
    pub(crate) fn cgroup(&self) -> &Cgroup {
        &self.cgroup
    }

    /// When to look next; `None` after a hit.
    pub(crate) fn due_ns(&self) -> Option<u64> {
        let glances = self.cgroup.processes_limit.is_none();
        let due = if glances { self.due_ns.min(self.glance_ns) } else { self.due_ns };
        (self.hit.is_none() && !self.frozen).then_some(due)
    }

    /// A job of the command has ended: what it has used does not count for the next.
    pub(crate) fn begin_anew(&mut self, cpu: Duration) {
        self.before = Counts { cpu, ..Counts::now(&self.cgroup) };
    }

    /// Whether to look at it from now on.
    pub(crate) fn freeze(&mut self, frozen: bool) {
        self.frozen = frozen;
        self.due_ns = later(NEAR);
    }

    /// Looks if it is time; true when a limit is hit for the first time.
    pub(crate) fn check(&mut self, used: &mut Used) -> bool {
        if self.hit.is_some() || monotonic_ns() < self.due_ns && !self.is_alarmed() {
            return false;
        }
        let (mut near, mut ids) = (false, self.cgroup.members());
        if self.cgroup.memory_limit.is_none() || self.cgroup.cpu.is_none() {
            let counted = self.cgroup.processes_limit.is_none();
            let now = Use::now(if counted { self.most_tasks() } else { u64::MAX });
            self.alarming = alarming(self.limits.processes, now.tasks);
            used.max_rss = used.max_rss.max(now.memory);
            near = now.memory > self.limits.memory / 4 || now.tasks > self.limits.processes / 2;
            self.hit = self.by_processes(&now, used);
            ids = now.ids;
        }
        self.hit = self.hit.or_else(|| self.by_cgroup());
        if self.hit.is_none() && self.disk.exceeds(ids) {
            self.hit = Some(Hit::Disk);
        }
        self.due_ns = later(if near { NEAR } else { FAR });
        self.hit.is_some()
    }

    /// A glance, if it is time for one: whether there may be too many processes.
    fn is_alarmed(&mut self) -> bool {
        if self.cgroup.processes_limit.is_some() || monotonic_ns() < self.glance_ns {
            return false;
        }
        self.glance_ns = later(GLANCE);
        processes::tasks_of_all().is_some_and(|tasks| tasks > self.alarming)
    }

    /// Its launcher is one more.
    fn most_tasks(&self) -> u64 {
        self.limits.processes.saturating_add(1)
    }

    fn by_processes(&self, now: &Use, used: &Used) -> Option<Hit> {
        let cpu = (now.cpu + used.cpu).saturating_sub(self.before.cpu);
        let over = self.cgroup.memory_limit.is_none() && now.memory > self.limits.memory;
        // what several share is counted once, which takes too long to ask for every time
        if over && processes::proportional(&now.ids) > self.limits.memory {
            Some(Hit::Memory)
        } else if self.cgroup.processes_limit.is_none() && now.tasks > self.most_tasks() {
            Some(Hit::Processes)
        } else {
            (self.cgroup.cpu.is_none() && cpu.as_secs() >= self.limits.cpu_seconds).then_some(Hit::Cpu)
        }
    }

    fn by_cgroup(&self) -> Option<Hit> {
        if self.cgroup.memory_kills() > self.before.memory_kills {
            return Some(Hit::Memory);
        }
        if self.cgroup.processes_refused() > self.before.processes_refused {
            return Some(Hit::Processes);
        }
        let used = self.cgroup.cpu_ns()?.saturating_sub(self.before.cpu_ns);
        (Duration::from_nanos(used).as_secs() >= self.limits.cpu_seconds).then_some(Hit::Cpu)
    }

    /// The limit that a command has hit, now that it has ended like this.
    pub(crate) fn verdict(&self, status: Status) -> Option<Hit> {
        if self.hit.is_some() || status.success() {
            return self.hit;
        }
        let now = Counts::now(&self.cgroup);
        match status {
            Status::Signal(signal) if signal == Signal::XFSZ.as_raw() => Some(Hit::FileSize),
            Status::Signal(signal) if signal == Signal::XCPU.as_raw() => Some(Hit::Cpu),
            _ if now.memory_kills > self.before.memory_kills => Some(Hit::Memory),
            _ if now.processes_refused > self.before.processes_refused => Some(Hit::Processes),
            Status::Code(_) | Status::Signal(_) => None,
        }
    }
}

/// From a command that has `tasks` of `most` now: half way to too many, as others may have become fewer meanwhile.
fn alarming(most: u64, tasks: u64) -> u64 {
    let more = most.saturating_sub(tasks) / 2;
    processes::tasks_of_all().map_or(u64::MAX, |all| all.saturating_add(more.max(OTHERS)))
}

fn later(wait: Duration) -> u64 {
    monotonic_ns().saturating_add(u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX))
}
