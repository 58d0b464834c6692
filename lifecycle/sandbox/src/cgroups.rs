//! Making and removing the control groups of commands, below the one that we are in ourselves.
//!
//! Version 1 has a hierarchy for each controller, and a group may have both processes and groups in
//! it; in version 2 only the root may, so that there we first move aside ourselves
//! (<https://docs.kernel.org/admin-guide/cgroup-v2.html#no-internal-process-constraint>).

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::cgroup::{Cgroup, Cpu};

/// The folders, one for each hierarchy, in which groups can be made. Removed when dropped.
#[derive(Debug)]
pub struct Cgroups {
    folders: Vec<(Kind, PathBuf)>,
    made: AtomicU64,
}

/// One command's groups. Removed when dropped: nobody may be in them any more.
#[derive(Debug)]
pub struct Group {
    /// Their files.
    pub files: Cgroup,
    folders: Vec<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Unified,
    Memory,
    Pids,
    Cpu,
    Cpuacct,
}

/// Controllers of version 1 that are used, as `/proc/self/cgroup` names them.
const CONTROLLERS: [(&str, Kind); 4] =
    [("memory", Kind::Memory), ("pids", Kind::Pids), ("cpu", Kind::Cpu), ("cpuacct", Kind::Cpuacct)];

impl Cgroups {
    /// Finds what is delegated to us, and makes a folder called `name` there; `None` if nothing is.
    pub fn delegated(name: &str) -> Option<Self> {
        let own = fs::read_to_string("/proc/self/cgroup").ok()?;
        let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
        let mut folders = Vec::new();
        for (kind, path) in places(&own, &mounts) {
            let folder = path.join(name);
            let made =
                if kind == Kind::Unified { make_unified(&path, &folder) } else { fs::create_dir(&folder) };
            if made.is_ok() {
                folders.push((kind, folder));
            }
        }
        (!folders.is_empty()).then_some(Self { folders, made: AtomicU64::new(0) })
    }

    /// Groups for one command at a time.
    ///
    /// # Errors
    /// The kernel has no room for more.
    pub fn make(&self) -> io::Result<Group> {
        let number = self.made.fetch_add(1, Ordering::Relaxed).to_string();
        let mut group = Group { files: Cgroup::default(), folders: Vec::new() };
        for (kind, folder) in &self.folders {
            let folder = folder.join(&number);
            fs::create_dir(&folder)?;
            add(&mut group.files, *kind, &folder);
            group.folders.push(folder);
        }
        Ok(group)
    }
}

impl Drop for Cgroups {
    fn drop(&mut self) {
        for (_, folder) in &self.folders {
            // one that is not empty stays: somebody still runs in it
            let _ = fs::remove_dir(folder);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        for folder in &self.folders {
            let _ = fs::remove_dir(folder);
        }
    }
}

/// The lines `number:controllers:path` of a process, on the mounts of their hierarchies.
fn places(own: &str, mounts: &str) -> Vec<(Kind, PathBuf)> {
    let mut found = Vec::new();
    for line in own.lines() {
        let mut fields = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(path)) = (fields.next(), fields.next(), fields.next()) else {
            continue;
        };
        let mounted = |controller: Option<&str>| mount_of(mounts, controller);
        let path = path.trim_start_matches('/');
        if controllers.is_empty() {
            found.extend(mounted(None).map(|mount| (Kind::Unified, mount.join(path))));
        }
        for (name, kind) in CONTROLLERS {
            if controllers.split(',').any(|controller| controller == name) {
                found.extend(mounted(Some(name)).map(|mount| (kind, mount.join(path))));
            }
        }
    }
    found
}

/// proc_pid_mountinfo(5): the fifth field is where, behind ` - ` are type, source and options.
fn mount_of(mounts: &str, controller: Option<&str>) -> Option<PathBuf> {
    mounts.lines().find_map(|line| {
        let (left, right) = line.split_once(" - ")?;
        let mut right = right.split(' ');
        let (kind, options) = (right.next()?, right.nth(1)?);
        let fits = match controller {
            None => kind == "cgroup2",
            Some(name) => kind == "cgroup" && options.split(',').any(|option| option == name),
        };
        fits.then(|| left.split(' ').nth(4).map(PathBuf::from))?
    })
}

/// In version 2 a group hands controllers down only when nobody is in it.
fn make_unified(own: &Path, folder: &Path) -> io::Result<()> {
    let there = fs::read_to_string(own.join("cgroup.controllers"))?;
    if !["memory", "pids", "cpu"].iter().all(|name| there.split_whitespace().any(|other| other == *name)) {
        return Err(io::Error::other("not all controllers are handed down to us"));
    }
    let aside = own.join("worker");
    match fs::create_dir(&aside) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        other => other?,
    }
    for id in fs::read_to_string(own.join("cgroup.procs"))?.lines() {
        fs::write(aside.join("cgroup.procs"), id)?;
    }
    fs::write(own.join("cgroup.subtree_control"), "+memory +pids +cpu")?;
    fs::create_dir(folder)?;
    fs::write(folder.join("cgroup.subtree_control"), "+memory +pids +cpu")
}

fn add(files: &mut Cgroup, kind: Kind, folder: &Path) {
    let file = |name: &str| folder.join(name);
    files.procs.push(file("cgroup.procs"));
    match kind {
        Kind::Unified => {
            // what may not be swapped out counts as memory for as long as it is there
            let _ = fs::write(file("memory.swap.max"), "0");
            files.memory_limit = Some(file("memory.max"));
            files.memory_kills = Some(file("memory.events"));
            files.processes_limit = Some(file("pids.max"));
            files.processes_refused = Some(file("pids.events"));
            files.cpu = Some(Cpu::Microseconds(file("cpu.stat")));
        }
        Kind::Memory => {
            files.memory_limit = Some(file("memory.limit_in_bytes"));
            files.memory_kills = Some(file("memory.oom_control"));
        }
        Kind::Pids => {
            files.processes_limit = Some(file("pids.max"));
            files.processes_refused = Some(file("pids.events"));
        }
        // being in a group of its own is what gives each command its fair share
        Kind::Cpu => {}
        Kind::Cpuacct => files.cpu = Some(Cpu::Nanoseconds(file("cpuacct.usage"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "30 24 0:26 / /sys/fs/cgroup ro - tmpfs tmpfs rw\n\
        31 30 0:27 / /sys/fs/cgroup/cpu,cpuacct rw shared:9 - cgroup cgroup rw,cpu,cpuacct\n\
        32 30 0:28 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
        33 30 0:29 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";

    #[test]
    fn hierarchies_are_found_by_their_controllers() {
        let own = "4:memory:/pod/a\n3:cpu,cpuacct:/\n9:net_cls:/\n0::/pod/b\n";
        let expected = [
            (Kind::Memory, "/sys/fs/cgroup/memory/pod/a"),
            (Kind::Cpu, "/sys/fs/cgroup/cpu,cpuacct/"),
            (Kind::Cpuacct, "/sys/fs/cgroup/cpu,cpuacct/"),
            (Kind::Unified, "/sys/fs/cgroup/unified/pod/b"),
        ];
        assert_eq!(places(own, MOUNTS), expected.map(|(kind, path)| (kind, PathBuf::from(path))));
        assert!(places(own, "").is_empty());
    }
}
