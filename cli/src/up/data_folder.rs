//! The folder that `hookmill up` keeps everything in, held by one `up` at a time.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::private_file;

/// The folder, ours until this value is dropped or the process ends in any way.
#[derive(Debug)]
pub struct DataFolder {
    root: PathBuf,
    lock: File,
}

/// Why the folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataFolderError {
    /// Another `hookmill up` holds it.
    #[error(
        "{} is in use by another `hookmill up`{holder}; stop that one, or choose another folder with --data",
        path.display()
    )]
    Held {
        /// The folder.
        path: PathBuf,
        /// ` (process 123)`, if that one has written it yet.
        holder: String,
    },
    /// It cannot be made or written to.
    #[error("cannot use the data folder {}", path.display())]
    Io {
        /// The folder.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
}

impl DataFolder {
    /// Makes the folder if need be and takes it.
    ///
    /// # Errors
    /// Another process holds it, or it cannot be written to.
    pub fn take(path: &Path) -> Result<Self, DataFolderError> {
        let io = |source| DataFolderError::Io { path: path.to_owned(), source };
        for inside in ["", "run", "log", "nats", "valkey"] {
            private_file::folder(&path.join(inside)).map_err(io)?;
        }
        let root = path.canonicalize().map_err(io)?;
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let mut file = options.open(root.join("lock")).map_err(io)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(DataFolderError::Held { path: path.to_owned(), holder: holder(&mut file) });
            }
            Err(TryLockError::Error(error)) => return Err(io(error)),
        }
        sign(&mut file).map_err(io)?;
        Ok(Self { root, lock: file })
    }

    /// Its absolute path.
    pub fn path(&self) -> &Path {
        &self.root
    }

    /// Where scripts run. Root gives each of them a user of its own, who gets into neither this folder nor, as
    /// a rule, the one it lies in: theirs is elsewhere, and named after this one.
    pub fn work_dir(&self, root: bool) -> PathBuf {
        match self.root.metadata() {
            Ok(ours) if root => PathBuf::from(format!("/var/tmp/hookmill-up-{}-{}", ours.dev(), ours.ino())),
            _ => self.join("work"),
        }
    }

    /// Removes the folder where scripts ran, if it lies elsewhere: nobody would know whose it is.
    pub fn remove_work_dir(&self, root: bool) {
        let folder = self.work_dir(root);
        if folder.starts_with(&self.root) {
            return;
        }
        match std::fs::remove_dir_all(&folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(folder = %folder.display(), %error, "the scripts' folder stays");
            }
            Ok(()) | Err(_) => {}
        }
    }

    /// The absolute path of something in it.
    pub fn join(&self, inside: impl AsRef<Path>) -> PathBuf {
        self.root.join(inside)
    }
}

impl Drop for DataFolder {
    /// Closing alone would not do: a process that is just being started holds copies of all our
    /// descriptors until its exec, and a lock goes with the last copy.
    fn drop(&mut self) {
        if let Err(error) = self.lock.unlock() {
            tracing::debug!(%error, "the data folder's lock goes with this process");
        }
    }
}

/// Leaves our process id for the message of whoever comes second.
fn sign(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    write!(file, "{}", std::process::id())
}

fn holder(file: &mut File) -> String {
    let mut text = String::new();
    match file.take(20).read_to_string(&mut text) {
        Ok(_) if text.parse::<u32>().is_ok() => format!(" (process {text})"),
        Ok(_) | Err(_) => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_is_told_who_the_first_is() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("deep/data");
        let first = DataFolder::take(&path).unwrap();
        assert!(first.join("log").is_dir());
        let error = DataFolder::take(&path).unwrap_err().to_string();
        assert!(error.contains(&format!("(process {})", std::process::id())), "{error}");
        assert!(error.contains("--data"), "{error}");
        drop(first);
        DataFolder::take(&path).unwrap();
    }

    #[test]
    fn it_is_free_though_a_starting_process_has_copies_of_our_descriptors() {
        let dir = tempfile::tempdir().unwrap();
        let first = DataFolder::take(dir.path()).unwrap();
        let copy = first.lock.try_clone().unwrap();
        drop(first);
        DataFolder::take(dir.path()).unwrap();
        drop(copy);
    }

    #[test]
    fn a_file_is_no_folder() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        std::fs::write(&path, "").unwrap();
        assert!(matches!(DataFolder::take(&path), Err(DataFolderError::Io { .. })));
    }
}
