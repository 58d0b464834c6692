//! The files of one command's control groups, whichever version of them a host has.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// Where to write and read. What a host has not delegated is left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cgroup {
    /// `cgroup.procs` of each hierarchy: who writes `0` there is in.
    pub procs: Vec<PathBuf>,
    /// Takes the most bytes of memory.
    pub memory_limit: Option<PathBuf>,
    /// Takes the most bytes of memory and swap together, no less than of memory alone: version 1, if it counts
    /// swap.
    pub memory_and_swap_limit: Option<PathBuf>,
    /// Has a line `oom_kill <count>`.
    pub memory_kills: Option<PathBuf>,
    /// Takes the most processes and threads.
    pub processes_limit: Option<PathBuf>,
    /// Has a line `max <count>`: of forks refused.
    pub processes_refused: Option<PathBuf>,
    /// CPU time used.
    pub cpu: Option<Cpu>,
}

/// A file that tells the CPU time of a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Cpu {
    /// One number, nanoseconds.
    Nanoseconds(PathBuf),
    /// A line `usage_usec <microseconds>`.
    Microseconds(PathBuf),
}

impl Cgroup {
    /// Moves the calling process, and whom it starts, into all of them.
    pub(crate) fn enter(&self) -> io::Result<()> {
        self.procs.iter().try_for_each(|procs| fs::write(procs, "0"))
    }

    /// Sets the limits that are kept here.
    ///
    /// # Errors
    /// The kernel refuses: the group already uses more and cannot give it back.
    pub fn limit(&self, memory: u64, processes: u64) -> io::Result<()> {
        if let Some(file) = &self.memory_limit {
            fs::write(file, memory.to_string())?;
        }
        if let Some(file) = &self.memory_and_swap_limit {
            fs::write(file, memory.to_string())?;
        }
        if let Some(file) = &self.processes_limit {
            // and the launcher
            fs::write(file, (processes + 1).to_string())?;
        }
        Ok(())
    }

    /// Takes the limits of a command that has ended off.
    pub fn unlimit(&self) {
        // version 2 says `max`, version 1 -1; the wrong one is refused. What is limited last is freed first
        let memory = [&self.memory_and_swap_limit, &self.memory_limit].map(|file| (file, ["max", "-1"]));
        for (file, nothing) in memory.into_iter().chain([(&self.processes_limit, ["max", "max"])]) {
            let Some(file) = file else { continue };
            if fs::write(file, nothing[0]).is_err() {
                let _ = fs::write(file, nothing[1]);
            }
        }
    }

    /// Nobody in it starts another process from now on, so that all can be ended.
    pub fn refuse_processes(&self) {
        if let Some(file) = &self.processes_limit {
            // without it they are ended all the same, in more rounds
            let _ = fs::write(file, "0");
        }
    }

    /// Removes its folders, and the one they are in, too, if that is `abandoned` and they were the last. Nobody may
    /// be in it.
    pub fn remove(&self, abandoned: bool) {
        for folder in self.procs.iter().filter_map(|procs| procs.parent()) {
            let _ = fs::remove_dir(folder);
            if let Some(parent) = folder.parent().filter(|_| abandoned) {
                let _ = fs::remove_dir(parent);
            }
        }
    }

    /// The processes that are in it.
    pub fn members(&self) -> Vec<i32> {
        let procs = self.procs.first().and_then(|file| fs::read_to_string(file).ok()).unwrap_or_default();
        procs.lines().filter_map(|id| id.parse().ok()).collect()
    }

    /// Processes ended because memory had run out, since the group was made.
    pub fn memory_kills(&self) -> u64 {
        self.memory_kills.as_deref().and_then(|file| field(file, "oom_kill")).unwrap_or(0)
    }

    /// Forks refused since the group was made.
    pub fn processes_refused(&self) -> u64 {
        self.processes_refused.as_deref().and_then(|file| field(file, "max")).unwrap_or(0)
    }

    /// Nanoseconds of CPU time used since the group was made.
    pub fn cpu_ns(&self) -> Option<u64> {
        match self.cpu.as_ref()? {
            Cpu::Nanoseconds(file) => fs::read_to_string(file).ok()?.trim().parse().ok(),
            Cpu::Microseconds(file) => field(file, "usage_usec")?.checked_mul(1000),
        }
    }
}

/// The number of the line `name number`.
fn field(file: &Path, name: &str) -> Option<u64> {
    let text = fs::read_to_string(file).ok()?;
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn swap_is_limited_with_memory() {
        let folder = tempfile::tempdir().unwrap();
        let (memory, both) = (folder.path().join("limit"), folder.path().join("memsw"));
        let group = Cgroup {
            memory_limit: Some(memory.clone()),
            memory_and_swap_limit: Some(both.clone()),
            ..Cgroup::default()
        };
        let read = || [&memory, &both].map(|file| fs::read_to_string(file).unwrap());
        group.limit(4096, 7).unwrap();
        assert_eq!(read(), ["4096", "4096"]);
        group.unlimit();
        assert_eq!(read(), ["max", "max"]);
    }

    #[test]
    fn numbers_of_both_versions() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs::write(&path, text).unwrap();
            path
        };
        let group = Cgroup {
            memory_kills: Some(file("memory.events", "oom 4\noom_kill 3\noom_group_kill 9\n")),
            processes_refused: Some(file("pids.events", "max 7\n")),
            cpu: Some(Cpu::Microseconds(file("cpu.stat", "usage_usec 12\nuser_usec 5\n"))),
            ..Cgroup::default()
        };
        assert_eq!((group.memory_kills(), group.processes_refused(), group.cpu_ns()), (3, 7, Some(12_000)));
        let cpu = Some(Cpu::Nanoseconds(file("cpuacct.usage", "99\n")));
        let old =
            Cgroup { memory_kills: Some(file("oom_control", "under_oom 0\noom_kill 2\n")), cpu, ..group };
        assert_eq!((old.memory_kills(), old.cpu_ns()), (2, Some(99)));
        assert_eq!((Cgroup::default().memory_kills(), Cgroup::default().cpu_ns()), (0, None));
    }
}
