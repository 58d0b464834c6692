//! The throw-away folder of one run.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use proto::JobId;

/// A folder only we can enter, removed with all that is in it when dropped.
#[derive(Debug)]
pub struct JobFolder {
    path: PathBuf,
}

impl JobFolder {
    /// Makes a new folder. Its name begins with the job's id; two attempts never share one.
    ///
    /// # Errors
    /// The work folder is missing or full.
    pub fn create(work_dir: &Path, job: &JobId) -> io::Result<Self> {
        let folder = tempfile::Builder::new()
            .prefix(&format!("{job}."))
            .permissions(fs::Permissions::from_mode(0o700))
            .tempdir_in(work_dir)?;
        Ok(Self { path: folder.keep() })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a new file that only we can read.
    ///
    /// # Errors
    /// It exists, or the disk is full.
    pub fn write(&self, name: &str, content: &[u8]) -> io::Result<()> {
        let path = self.path.join(name);
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        io::Write::write_all(&mut file, content)
    }
}

impl Drop for JobFolder {
    fn drop(&mut self) {
        if let Err(error) = remove_tree(&self.path) {
            tracing::warn!(folder = %self.path.display(), %error, "job folder not removed");
        }
    }
}

/// Makes the work folder and removes what an earlier worker left in it.
pub(super) fn clean_work_dir(work_dir: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(work_dir)?;
    for entry in fs::read_dir(work_dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_tree(&entry.path())?;
        }
    }
    Ok(())
}

/// Removes a tree in which a script may have taken its own rights away.
fn remove_tree(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            open_up(path)?;
            fs::remove_dir_all(path)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

fn open_up(folder: &Path) -> io::Result<()> {
    fs::set_permissions(folder, fs::Permissions::from_mode(0o700))?;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        // the type of the entry itself: a link to elsewhere is never followed
        if entry.file_type()?.is_dir() {
            open_up(&entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_of_one_job_differ_and_vanish() {
        let work = tempfile::tempdir().unwrap();
        let job = JobId::random();
        let (a, b) =
            (JobFolder::create(work.path(), &job).unwrap(), JobFolder::create(work.path(), &job).unwrap());
        assert_ne!(a.path(), b.path());
        assert_eq!(fs::metadata(a.path()).unwrap().permissions().mode() & 0o777, 0o700);
        a.write("x", b"1").unwrap();
        assert!(a.write("x", b"2").is_err());
        drop((a, b));
        assert_eq!(fs::read_dir(work.path()).unwrap().count(), 0);
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
