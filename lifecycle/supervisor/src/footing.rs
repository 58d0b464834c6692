//! What a script can change of its supervisor from outside, as long as both have one user: its limits,
//! niceness, scheduling policy and cores (`prlimit`, `renice`, `chrt` and `taskset` check the user, not
//! who may look into whom). The next command would inherit all of it.

use std::fs;
use std::io;

use nix::sched::{CpuSet, sched_getaffinity};
use rustix::process::{Resource, Rlimit, getrlimit};

/// Fields of `/proc/<id>/stat` behind the name (proc_pid_stat(5)): niceness, real-time priority, policy.
const SCHEDULING: [usize; 3] = [16, 37, 38];

/// Every limit there is.
const LIMITS: [Resource; 16] = [
    Resource::As,
    Resource::Core,
    Resource::Cpu,
    Resource::Data,
    Resource::Fsize,
    Resource::Locks,
    Resource::Memlock,
    Resource::Msgqueue,
    Resource::Nice,
    Resource::Nofile,
    Resource::Nproc,
    Resource::Rss,
    Resource::Rtprio,
    Resource::Rttime,
    Resource::Sigpending,
    Resource::Stack,
];

/// What the first command was started on.
#[derive(PartialEq)]
pub(crate) struct Footing {
    limits: [Rlimit; 16],
    scheduling: Vec<String>,
    cores: CpuSet,
}

impl Footing {
    /// As it is.
    pub(crate) fn now() -> io::Result<Self> {
        let stat = fs::read_to_string("/proc/self/stat")?;
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        Ok(Self {
            limits: LIMITS.map(getrlimit),
            scheduling: SCHEDULING.iter().filter_map(|at| fields.get(*at)).map(ToString::to_string).collect(),
            cores: sched_getaffinity(nix::unistd::Pid::from_raw(0))?,
        })
    }

    /// Whether it is still the same.
    pub(crate) fn holds(&self) -> bool {
        Self::now().is_ok_and(|now| now == *self)
    }
}
