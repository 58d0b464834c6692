//! Files with secrets in them: readable by their owner alone, and whole or absent whenever we are killed.

use std::fs::{DirBuilder, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::Path;

/// Puts `contents` at `path`, mode 0600, replacing what was there in one step.
///
/// # Errors
/// The folder is missing or cannot be written to.
pub fn write(path: &Path, contents: &str) -> io::Result<()> {
    let folder = path.parent().unwrap_or_else(|| Path::new("."));
    // temporary files are made with mode 0600
    let mut file = tempfile::Builder::new().prefix(".new-").tempfile_in(folder)?;
    file.write_all(contents.as_bytes())?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(())
}

/// Makes a folder and its parents, mode 0700 for those that are new.
///
/// # Errors
/// A parent cannot be written to, or is a file.
pub fn folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Takes a file that others can read away from them.
///
/// # Errors
/// It is not ours.
pub fn close(path: &Path) -> io::Result<()> {
    let open = std::fs::metadata(path)?.permissions().mode() & 0o077 != 0;
    if open { std::fs::set_permissions(path, Permissions::from_mode(0o600)) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn written_and_replaced_with_mode_0600() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        for text in ["one", "two"] {
            write(&path, text).unwrap();
            assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
            assert_eq!(mode(&path), 0o600);
        }
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "no temporary file is left");
    }

    #[test]
    fn an_open_file_is_closed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        write(&path, "x").unwrap();
        std::fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        close(&path).unwrap();
        assert_eq!(mode(&path), 0o600);
        assert!(close(&dir.path().join("absent")).is_err());
    }

    #[test]
    fn folders_are_private() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b");
        folder(&path).unwrap();
        folder(&path).unwrap();
        assert_eq!(mode(&path), 0o700);
    }
}
