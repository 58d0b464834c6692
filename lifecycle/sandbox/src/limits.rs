//! The bounds the kernel keeps for one command.

use std::io;

use rustix::process::{Resource, Rlimit, setrlimit};
use serde::{Deserialize, Serialize};

use crate::tasks;

/// Beyond its CPU time a process has this long, in seconds, to end by SIGXCPU; then it is killed.
const CPU_GRACE: u64 = 2;

/// Bounds of one command. Those that the kernel counts for one process only (memory, CPU time) are kept
/// for all of its processes by its supervisor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Bytes of memory of all processes.
    pub memory: u64,
    /// Seconds of CPU time of all processes.
    pub cpu_seconds: u64,
    /// Processes and threads at a time.
    pub processes: u64,
    /// Open files of each process.
    pub open_files: u64,
    /// Bytes of the largest file.
    pub file_bytes: u64,
    /// Bytes of all files.
    pub disk_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory: 2 << 30,
            cpu_seconds: 900,
            processes: 512,
            open_files: 4096,
            file_bytes: 1 << 30,
            disk_bytes: 2 << 30,
        }
    }
}

/// Of what a user may have at all, this much is left to the worker when its commands have all that they may: room
/// for its threads, supervisors and launchers.
const RESERVE: u64 = 256;

/// Who keeps the number of processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Counted {
    /// A control group, better: it tells when it has refused one.
    Elsewhere,
    /// The kernel, for a user whose processes are all this command's.
    Alone,
    /// The kernel, together with all others of our user: they may become this many more while the command runs.
    WithOthers(u64),
}

impl Limits {
    /// Sets those that are a process's own, and that of their number as it is counted.
    pub(crate) fn apply(&self, counted: Counted, lasting: bool) -> io::Result<()> {
        set(Resource::Core, 0, 0)?;
        if !lasting {
            set(Resource::Cpu, self.cpu_seconds, self.cpu_seconds + CPU_GRACE)?;
        }
        set(Resource::Nofile, self.open_files, self.open_files)?;
        set(Resource::Fsize, self.file_bytes, self.file_bytes)?;
        // what is locked or queued is memory that nobody can take back
        set(Resource::Memlock, 64 << 10, 64 << 10)?;
        set(Resource::Msgqueue, 0, 0)?;
        // the launcher counts, and one more is how its supervisor sees that there were too many
        let processes = self.processes + 2;
        match counted {
            Counted::Elsewhere => Ok(()),
            Counted::Alone => set(Resource::Nproc, processes, processes),
            Counted::WithOthers(more) => tasks::limit_to_more(processes.saturating_add(more), RESERVE),
        }
    }
}

/// What the host itself has not got, nobody gets.
fn set(resource: Resource, current: u64, maximum: u64) -> io::Result<()> {
    let most = rustix::process::getrlimit(resource).maximum;
    let within = |wanted: u64| most.map_or(wanted, |most| wanted.min(most));
    let limit = Rlimit { current: Some(within(current)), maximum: Some(within(maximum)) };
    setrlimit(resource, limit).map_err(Into::into)
}
