//! How much a command has on the disk: in its folder, and in files it holds open that have no name.
//! What it does to its folder meanwhile is its own business; links are never followed.

use std::collections::BTreeSet;
use std::ffi::CStr;
use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, openat, statat};
use rustix::io::Errno;

use super::monotonic_ns;

/// A walk may take one part in this many of the time.
const SHARE: u64 = 20;

/// Folders deeper than this count as too much: descriptors are finite.
const DEPTH: usize = 128;

/// Of the thread that looks, in bytes: a folder in a folder takes some hundred.
const STACK: usize = 512 * 1024;

const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// What an entry counts at least, in bytes: even an empty file takes a place that others miss.
const ENTRY: u64 = 4096;

/// The disk use of one command. It is looked at by a thread of its own: however much there is to look at, the
/// supervisor goes on listening.
pub(crate) struct Disk {
    folder: PathBuf,
    limit: u64,
    looking: Option<JoinHandle<(bool, Duration)>>,
    not_before_ns: u64,
}

impl Disk {
    pub(crate) fn new(folder: PathBuf, limit: u64) -> Self {
        Self { folder, limit, looking: None, not_before_ns: 0 }
    }

    /// Whether the last look that is over has found too much; begins another one if it is time. `processes` are
    /// those whose open files count.
    pub(crate) fn exceeds(&mut self, processes: Vec<i32>) -> bool {
        if let Some(done) = self.looking.take_if(|looking| looking.is_finished()) {
            let (exceeds, took) = done.join().unwrap_or_default();
            self.not_before_ns = monotonic_ns() + u64::try_from(took.as_nanos()).unwrap_or(0) * SHARE;
            if exceeds {
                return true;
            }
        }
        if self.looking.is_none() && monotonic_ns() >= self.not_before_ns {
            let (folder, limit) = (self.folder.clone(), self.limit);
            let look =
                thread::Builder::new().stack_size(STACK).spawn(move || look(&folder, limit, &processes));
            // without a thread there is no look this time
            self.looking = look.ok();
        }
        false
    }
}

fn look(folder: &Path, limit: u64, processes: &[i32]) -> (bool, Duration) {
    let begun = monotonic_ns();
    let mut count = Count { bytes: 0, limit, linked: BTreeSet::new() };
    if let Ok(folder) = rustix::fs::open(folder, FOLDER, Mode::empty()) {
        count.folder(folder, 0);
    }
    for id in processes {
        count.nameless(*id);
    }
    (count.bytes > limit, Duration::from_nanos(monotonic_ns().saturating_sub(begun)))
}

struct Count {
    bytes: u64,
    limit: u64,
    /// Files with several names, each counted once.
    linked: BTreeSet<(u64, u64)>,
}

impl Count {
    fn folder(&mut self, folder: OwnedFd, depth: usize) {
        let Ok(entries) = Dir::read_from(&folder) else { return };
        for entry in entries.flatten() {
            let name = entry.file_name();
            if name == c"." || name == c".." {
                continue;
            }
            if self.bytes > self.limit {
                return;
            }
            let Ok(about) = statat(&folder, name, AtFlags::SYMLINK_NOFOLLOW) else { continue };
            if about.st_nlink < 2 || self.linked.insert((about.st_dev, about.st_ino)) {
                self.bytes = self.bytes.saturating_add(ENTRY.max(about.st_blocks.unsigned_abs() * 512));
            }
            if FileType::from_raw_mode(about.st_mode) == FileType::Directory {
                self.below(&folder, name, depth);
            }
        }
    }

    /// What cannot be looked into counts as too much: nobody needs that but to hide something.
    fn below(&mut self, folder: &OwnedFd, name: &CStr, depth: usize) {
        match openat(folder, name, FOLDER, Mode::empty()) {
            Ok(within) if depth < DEPTH => self.folder(within, depth + 1),
            Ok(_) | Err(Errno::ACCESS) => self.bytes = u64::MAX,
            // it is gone by now
            Err(_) => {}
        }
    }

    fn nameless(&mut self, process: i32) {
        let open = fs::read_dir(format!("/proc/{process}/fd")).into_iter().flatten().flatten();
        if self.bytes > self.limit {
            return;
        }
        for about in open.filter_map(|entry| fs::metadata(entry.path()).ok()) {
            if about.is_file() && about.nlink() == 0 && self.linked.insert((about.dev(), about.ino())) {
                self.bytes = self.bytes.saturating_add(about.blocks() * 512);
            }
        }
    }
}
