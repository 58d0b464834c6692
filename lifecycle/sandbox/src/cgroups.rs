//! Making and removing the control groups of commands, below the one that we are in ourselves.
//!
//! Version 1 has a hierarchy for each controller, and a group may have both processes and groups in
//! it; in version 2 only the root may, so that there we first move aside ourselves
//! (<https://docs.kernel.org/admin-guide/cgroup-v2.html#no-internal-process-constraint>).

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{FlockOperation, flock};

use crate::cgroup::{Cgroup, Cpu};

/// The folders, one for each hierarchy, in which groups can be made. Removed when dropped.
#[derive(Debug)]
pub struct Cgroups {
    folders: Vec<(Vec<Kind>, PathBuf)>,
    made: AtomicU64,
    /// Held for as long as we live: whoever gets one of these locks knows that its folder is nobody's.
    _locks: Vec<File>,
}

/// One command's groups. Removed when dropped: nobody may be in them any more.
#[derive(Debug)]
pub struct Group {
    /// Their files.
    pub files: Cgroup,
    folders: Vec<PathBuf>,
    /// What they lie in goes after the last of them.
    _all: Arc<Cgroups>,
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
    /// Finds what is delegated to us, and makes a folder there whose name has our process id and `nonce` in it;
    /// `None` if nothing is.
    pub fn delegated(nonce: &str) -> Option<Self> {
        let name = name(std::process::id(), nonce);
        let own = fs::read_to_string("/proc/self/cgroup").ok()?;
        let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
        let mut folders: Vec<(Vec<Kind>, PathBuf)> = Vec::new();
        let mut locks = Vec::new();
        for (kind, path) in places(&own, &mounts) {
            // version 1 often has two controllers in one hierarchy
            if let Some((kinds, _)) = folders.iter_mut().find(|(_, other)| other.parent() == Some(&path)) {
                kinds.push(kind);
                continue;
            }
            remove_dead(&path);
            let make = |folder: &Path| match kind {
                Kind::Unified => make_unified(&path, folder),
                Kind::Memory | Kind::Pids | Kind::Cpu | Kind::Cpuacct => fs::create_dir(folder),
            };
            if let Ok((folder, lock)) = claim(&path, &name, make) {
                folders.push((vec![kind], folder));
                locks.push(lock);
            }
        }
        (!folders.is_empty()).then_some(Self { folders, made: AtomicU64::new(0), _locks: locks })
    }

    /// Whether they keep memory and the number of processes, and not just the share of the cores.
    pub fn keep_limits(&self) -> bool {
        let has = |kind| self.folders.iter().any(|(kinds, _)| kinds.contains(&kind));
        has(Kind::Unified) || has(Kind::Memory) && has(Kind::Pids)
    }

    /// Where the groups of commands lie, one folder for each hierarchy.
    pub fn folders(&self) -> impl Iterator<Item = &Path> {
        self.folders.iter().map(|(_, folder)| folder.as_path())
    }

    /// Groups for one command at a time.
    ///
    /// # Errors
    /// The kernel has no room for more.
    pub fn make(self: &Arc<Self>) -> io::Result<Group> {
        let number = self.made.fetch_add(1, Ordering::Relaxed).to_string();
        let mut group = Group { files: Cgroup::default(), folders: Vec::new(), _all: Arc::clone(self) };
        for (kinds, folder) in &self.folders {
            let folder = folder.join(&number);
            fs::create_dir(&folder)?;
            group.files.procs.push(folder.join("cgroup.procs"));
            for kind in kinds {
                add(&mut group.files, *kind, &folder);
            }
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

/// Begins the names of folders that a worker makes; its process id follows.
const PREFIX: &str = "hookmill-";

/// What is called so, of a worker that has this process id.
fn name(process: u32, nonce: &str) -> String {
    format!("{PREFIX}{process}-{nonce}")
}

/// Removes what workers have left that were killed together with all their supervisors.
fn remove_dead(path: &Path) {
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    let ours = |name: &OsStr| name.to_str().is_some_and(|name| name.starts_with(PREFIX));
    for folder in entries.filter(|entry| ours(&entry.file_name())).map(|entry| entry.path()) {
        // process ids say nothing of workers in other process namespaces
        let Ok(_nobodys) = lock(&folder) else { continue };
        for group in fs::read_dir(&folder).into_iter().flatten().flatten() {
            // a file is none, and a group that somebody is in stays
            let _ = fs::remove_dir(group.path());
        }
        let _ = fs::remove_dir(folder);
    }
}

/// Workers that may start in one moment, and clear up after others then.
const CLAIMS: u32 = 64;

/// Makes a folder and locks it. A worker that clears up in this moment may take it for a dead one's, before it is
/// locked or, having opened it, even after: then another is made, whose name it has not seen.
fn claim(path: &Path, name: &str, make: impl Fn(&Path) -> io::Result<()>) -> io::Result<(PathBuf, File)> {
    let mut taken = None;
    for number in 0..CLAIMS {
        let folder = path.join(format!("{name}-{number}"));
        if let Err(error) = make(&folder) {
            if error.kind() != io::ErrorKind::NotFound {
                return Err(error);
            }
            taken = Some(error);
            continue;
        }
        match lock(&folder) {
            Ok(lock) if folder.exists() => return Ok((folder, lock)),
            Ok(_) => {}
            Err(error) => taken = Some(error),
        }
    }
    Err(taken.unwrap_or_else(|| io::ErrorKind::NotFound.into()))
}

/// Fails if somebody has it.
fn lock(folder: &Path) -> io::Result<File> {
    let folder = File::open(folder)?;
    flock(&folder, FlockOperation::NonBlockingLockExclusive)?;
    Ok(folder)
}

/// In version 2 a group hands controllers down only when nobody is in it. Who else is there is not ours to move.
fn make_unified(own: &Path, folder: &Path) -> io::Result<()> {
    let there = fs::read_to_string(own.join("cgroup.controllers"))?;
    if !["memory", "pids", "cpu"].iter().all(|name| there.split_whitespace().any(|other| other == *name)) {
        return Err(io::Error::other("not all controllers are handed down to us"));
    }
    let us = std::process::id().to_string();
    if fs::read_to_string(own.join("cgroup.procs"))?.lines().any(|id| id != us) {
        return Err(io::Error::other("others are in our control group"));
    }
    let aside = own.join("worker");
    match fs::create_dir(&aside) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        other => other?,
    }
    fs::write(aside.join("cgroup.procs"), "0")?;
    fs::write(own.join("cgroup.subtree_control"), "+memory +pids +cpu")?;
    fs::create_dir(folder)?;
    fs::write(folder.join("cgroup.subtree_control"), "+memory +pids +cpu")
}

fn add(files: &mut Cgroup, kind: Kind, folder: &Path) {
    let file = |name: &str| folder.join(name);
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
            files.memory_and_swap_limit =
                Some(file("memory.memsw.limit_in_bytes")).filter(|file| file.exists());
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
    use std::thread;

    use super::*;

    const MOUNTS: &str = "30 24 0:26 / /sys/fs/cgroup ro - tmpfs tmpfs rw\n\
        31 30 0:27 / /sys/fs/cgroup/cpu,cpuacct rw shared:9 - cgroup cgroup rw,cpu,cpuacct\n\
        32 30 0:28 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
        33 30 0:29 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";

    #[test]
    fn what_somebody_holds_is_not_removed() {
        let own = tempfile::tempdir().unwrap();
        let folder = |name: &str| {
            let path = own.path().join(name);
            fs::create_dir_all(path.join("0")).unwrap();
            path
        };
        let (held, left, other) = (folder("hookmill-1-a"), folder("hookmill-2-b"), folder("somebodys"));
        let lock = lock(&held).unwrap();
        remove_dead(own.path());
        assert_eq!([held.exists(), left.exists(), other.exists()], [true, false, true]);
        drop(lock);
        remove_dead(own.path());
        assert!(!held.exists());
    }

    #[test]
    fn what_somebody_makes_is_not_removed() {
        let own = tempfile::tempdir().unwrap();
        let starts = |worker: usize| {
            for number in 0..1000 {
                remove_dead(own.path());
                let name = format!("{PREFIX}{worker}-{number}");
                let (folder, lock) = claim(own.path(), &name, |folder| fs::create_dir(folder)).unwrap();
                fs::create_dir(folder.join("0")).expect("it is there");
                drop(lock);
            }
        };
        thread::scope(|scope| (0..4).for_each(|worker| _ = scope.spawn(move || starts(worker))));
    }

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
