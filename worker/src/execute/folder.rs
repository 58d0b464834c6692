//! The throw-away folder of one run.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, fchown, lchown};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::fs::FlockOperation;
use sandbox::User;

use super::bounded::{FileError, read_bounded};
use super::remove::remove_tree;

/// The folder in it for temporary files.
const TMP: &str = "tmp";

/// A folder that only its script's user can enter, and we; removed with all that is in it when dropped.
#[derive(Debug)]
pub struct JobFolder {
    path: PathBuf,
    /// Whose it is: [`OURS`] if scripts run as we do.
    owner: AtomicU32,
}

/// No user has this number: to `chown` it means to leave things as they are.
const OURS: u32 = u32::MAX;

impl JobFolder {
    /// Makes a new folder, for a script that runs as `user` or as we do. No two have one name.
    ///
    /// # Errors
    /// The work folder is missing or full.
    pub fn create(jobs_dir: &Path, user: Option<User>) -> io::Result<Self> {
        let private = || fs::Permissions::from_mode(0o700);
        let folder = tempfile::Builder::new().prefix("job.").permissions(private()).tempdir_in(jobs_dir)?;
        let owner = AtomicU32::new(user.map_or(OURS, |User(id)| id));
        let folder = Self { path: folder.keep(), owner };
        fs::DirBuilder::new().mode(0o700).create(folder.tmp())?;
        folder.own(&folder.tmp())?;
        folder.own(&folder.path)?;
        Ok(folder)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The folder in it for temporary files.
    pub fn tmp(&self) -> PathBuf {
        self.path.join(TMP)
    }

    /// Writes a new file that only the script can read, and we.
    ///
    /// # Errors
    /// It exists, or the disk is full.
    pub fn write(&self, name: &str, content: &[u8]) -> io::Result<()> {
        let path = self.path.join(name);
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        if let Some(User(id)) = self.owner() {
            fchown(&file, Some(id), Some(id))?;
        }
        io::Write::write_all(&mut file, content)
    }

    /// The bytes of a file that the script may have made; `None` if it has not. Links are not followed, and what
    /// is not the script's own is not taken for it: another name of somebody's file is no result.
    ///
    /// # Errors
    /// It is larger than `limit` bytes, is no plain file, or is somebody else's.
    pub(crate) fn read(&self, name: &str, limit: u64) -> Result<Option<Vec<u8>>, FileError> {
        read_bounded(&self.path.join(name), self.owner(), limit)
    }

    /// Removes what its script has left, and leaves it as it was when it was new. Nothing may be at work in it.
    ///
    /// # Errors
    /// It cannot be made so again.
    pub(super) fn clear(&self) -> io::Result<()> {
        // both stay the same: a command's own view of the files is made of them
        empty(&self.path, Some(TMP))?;
        empty(&self.tmp(), None)
    }

    fn owner(&self) -> Option<User> {
        match self.owner.load(Ordering::Relaxed) {
            OURS => None,
            id => Some(User(id)),
        }
    }

    fn own(&self, path: &Path) -> io::Result<()> {
        self.owner().map_or(Ok(()), |User(id)| lchown(path, Some(id), Some(id)))
    }

    /// Gives it, and what we have written to it, to another user. Before its script has started.
    pub(super) fn hand_to(&self, user: Option<User>) -> io::Result<()> {
        self.owner.store(user.map_or(OURS, |User(id)| id), Ordering::Relaxed);
        for entry in fs::read_dir(&self.path)? {
            self.own(&entry?.path())?;
        }
        self.own(&self.path)
    }

    /// Its user cannot enter it any more. Its script has ended.
    pub(super) fn take_back(&self) {
        if self.owner().is_some()
            && let Err(error) = lchown(&self.path, Some(0), Some(0))
        {
            tracing::warn!(folder = %self.path.display(), %error, "job folder not taken back");
        }
    }
}

/// Removes what is in `folder`, but for the folder `keep`, and gives its owner alone all rights to it.
fn empty(folder: &Path, keep: Option<&str>) -> io::Result<()> {
    fs::set_permissions(folder, fs::Permissions::from_mode(0o700))?;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let is_dir = entry.file_type()?.is_dir();
        if is_dir && keep.is_some_and(|keep| entry.file_name() == keep) {
            continue;
        }
        let removed = if is_dir { remove_tree(&entry.path()) } else { fs::remove_file(entry.path()) };
        removed?;
    }
    Ok(())
}

impl Drop for JobFolder {
    fn drop(&mut self) {
        if let Err(error) = remove_tree(&self.path) {
            tracing::warn!(folder = %self.path.display(), %error, "job folder not removed");
        }
    }
}

/// Makes the work folder and removes what an earlier worker left in it. Scripts of other users pass through it
/// to their own folder; none can list it.
pub(super) fn clean_work_dir(work_dir: &Path) -> io::Result<()> {
    fs::create_dir_all(work_dir)?;
    fs::set_permissions(work_dir, fs::Permissions::from_mode(0o711))?;
    for entry in fs::read_dir(work_dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_tree(&entry.path())?;
        }
    }
    Ok(())
}

/// Says that the work folder is ours, until the file is closed. Two workers in one would remove each other's jobs.
pub(super) fn lock_work_dir(work_dir: &Path) -> io::Result<fs::File> {
    let about = fs::symlink_metadata(work_dir)?;
    if !about.is_dir() || about.uid() != rustix::process::geteuid().as_raw() {
        return Err(io::Error::other("it is not a folder of ours"));
    }
    let file = fs::File::create(work_dir.join(".lock"))?;
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Err(rustix::io::Errno::AGAIN) => Err(io::Error::other("it is another worker's")),
        other => Ok(other.map(|()| file)?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_differ_and_vanish() {
        let work = tempfile::tempdir().unwrap();
        let (a, b) =
            (JobFolder::create(work.path(), None).unwrap(), JobFolder::create(work.path(), None).unwrap());
        assert_ne!(a.path(), b.path());
        assert_eq!(fs::metadata(a.path()).unwrap().permissions().mode() & 0o777, 0o700);
        a.write("x", b"1").unwrap();
        assert!(a.write("x", b"2").is_err());
        drop((a, b));
        assert_eq!(fs::read_dir(work.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_work_folder_is_one_workers() {
        let work = tempfile::tempdir().unwrap();
        let held = lock_work_dir(work.path()).unwrap();
        assert!(lock_work_dir(work.path()).unwrap_err().to_string().contains("another worker"));
        drop(held);
        lock_work_dir(work.path()).unwrap();
        let link = work.path().join("link");
        std::os::unix::fs::symlink(work.path(), &link).unwrap();
        assert!(lock_work_dir(&link).is_err());
    }

    #[test]
    fn stale_folders_are_removed_but_links_not_followed() {
        let (work, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::write(elsewhere.path().join("keep"), "").unwrap();
        let stale = work.path().join("stale/deep");
        fs::create_dir_all(&stale).unwrap();
        std::os::unix::fs::symlink(elsewhere.path(), stale.join("link")).unwrap();
        fs::set_permissions(&stale, fs::Permissions::from_mode(0o000)).unwrap();
        clean_work_dir(work.path()).unwrap();
        assert_eq!(fs::read_dir(work.path()).unwrap().count(), 0);
        assert!(elsewhere.path().join("keep").exists());
    }
}
