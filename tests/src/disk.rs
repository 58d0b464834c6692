//! A disk of its own for a server, which can be full. It is a file system in memory, since that
//! is the one whose size can be changed while it is used; mounting it takes root.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A disk, unmounted when dropped.
#[derive(Debug)]
pub struct Disk {
    folder: PathBuf,
}

/// The folders of both servers' data, as `hookmill up` names them.
const DISKS: [&str; 2] = ["nats", "valkey"];

/// More than a test writes. Memory is taken only for what is written.
const SIZE: &str = "16g";

/// How often a disk that is written to is measured anew.
const FILL_TRIES: usize = 50;

impl Disk {
    /// Those of NATS and Valkey below the folder of a system's data; none where it is not allowed.
    pub(crate) fn both(data: &Path) -> Vec<Self> {
        let disks: Vec<Option<Self>> = DISKS.iter().map(|name| Self::mount(data.join(name))).collect();
        disks.into_iter().flatten().collect()
    }

    fn mount(folder: PathBuf) -> Option<Self> {
        std::fs::create_dir_all(&folder).ok()?;
        let options = format!("size={SIZE},mode=0700");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &options, "hookmill-tests"]).arg(&folder);
        succeeds(mount).then_some(Self { folder })
    }

    /// Where it is mounted.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// From now on nothing more fits onto it.
    ///
    /// # Panics
    /// It cannot be changed.
    pub fn fill(&self) {
        // whoever writes between the question and the answer makes the answer too small
        let filled = (0..FILL_TRIES).any(|_| {
            let stat = rustix::fs::statvfs(&self.folder).expect("it is mounted");
            let used = (stat.f_blocks - stat.f_bfree).max(1) * stat.f_frsize;
            self.resize(&used.to_string())
        });
        assert!(filled, "{} is not filled", self.folder.display());
    }

    /// There is room again.
    ///
    /// # Panics
    /// It cannot be changed.
    pub fn empty(&self) {
        assert!(self.resize(SIZE), "{} is not resized", self.folder.display());
    }

    fn resize(&self, size: &str) -> bool {
        let mut mount = Command::new("mount");
        mount.args(["-o", &format!("remount,size={size}")]).arg(&self.folder);
        succeeds(mount)
    }
}

fn succeeds(mut command: Command) -> bool {
    let quiet = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    quiet.status().is_ok_and(|status| status.success())
}

impl Drop for Disk {
    fn drop(&mut self) {
        // a server may still be on its way out
        let mut unmount = Command::new("umount");
        unmount.arg("-l").arg(&self.folder);
        succeeds(unmount);
    }
}
