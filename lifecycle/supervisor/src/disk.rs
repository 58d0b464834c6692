//! How much a command has on the disk: in its folder, and in files it holds open that have no name.
//! What it does to its folder meanwhile is its own business; links are never followed.

use std::collections::BTreeSet;
use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::Duration;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, openat, statat};

use super::monotonic_ns;

/// A walk may take one part in this many of the time.
const SHARE: u64 = 20;

/// Folders deeper than this are not looked into: descriptors are finite.
const DEPTH: usize = 128;

const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// The disk use of one command.
pub(crate) struct Disk {
    folder: PathBuf,
    not_before_ns: u64,
}

impl Disk {
    pub(crate) fn new(folder: PathBuf) -> Self {
        Self { folder, not_before_ns: 0 }
    }

    /// Whether it has more than `limit` bytes; no, without a look, when the last one took long and was not
    /// long ago. `processes` are those whose open files count.
    pub(crate) fn exceeds(&mut self, limit: u64, processes: &[i32]) -> bool {
        let begun = monotonic_ns();
        if begun < self.not_before_ns {
            return false;
        }
        let mut count = Count { bytes: 0, limit, linked: BTreeSet::new() };
        if let Ok(folder) = rustix::fs::open(&self.folder, FOLDER, Mode::empty()) {
            count.folder(folder, 0);
        }
        for id in processes {
            count.nameless(*id);
        }
        let took = Duration::from_nanos(monotonic_ns().saturating_sub(begun));
        self.not_before_ns = monotonic_ns() + u64::try_from(took.as_nanos()).unwrap_or(0) * SHARE;
        count.bytes > limit
    }
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
            if self.bytes > self.limit || name == c"." || name == c".." {
                continue;
            }
            let Ok(about) = statat(&folder, name, AtFlags::SYMLINK_NOFOLLOW) else { continue };
            if about.st_nlink < 2 || self.linked.insert((about.st_dev, about.st_ino)) {
                self.bytes += about.st_blocks.unsigned_abs() * 512;
            }
            if FileType::from_raw_mode(about.st_mode) == FileType::Directory
                && depth < DEPTH
                && let Ok(within) = openat(&folder, name, FOLDER, Mode::empty())
            {
                self.folder(within, depth + 1);
            }
        }
    }

    fn nameless(&mut self, process: i32) {
        let open = fs::read_dir(format!("/proc/{process}/fd")).into_iter().flatten().flatten();
        for about in open.filter_map(|entry| fs::metadata(entry.path()).ok()) {
            if about.is_file() && about.nlink() == 0 && self.linked.insert((about.dev(), about.ino())) {
                self.bytes += about.blocks() * 512;
            }
        }
    }
}
