//! Reads a file that a script may have made, trusting nothing about it.

use std::io::{self, Read};
use std::path::Path;

use rustix::fs::{FileType, Mode, OFlags};
use sandbox::User;

/// Why a script's file cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FileError {
    /// It is larger than wanted.
    #[error("it has {size} bytes, the limit is {limit}")]
    TooLarge {
        /// What it has, or more.
        size: u64,
        /// What it may have.
        limit: u64,
    },
    /// A link, a pipe, a folder.
    #[error("it is not a plain file")]
    NotPlain,
    /// A second name of a file that the script may not even be able to read itself.
    #[error("it is not the script's own file")]
    NotOwn,
    /// The system said no.
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// The bytes of `path`, `None` if there is no such file. Links are not followed, pipes are not
/// waited for, no more than `limit` bytes are read, and only of a file that `owner` owns.
pub(super) fn read_bounded(
    path: &Path,
    owner: Option<User>,
    limit: u64,
) -> Result<Option<Vec<u8>>, FileError> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
    let file = match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(file) => file,
        Err(rustix::io::Errno::NOENT) => return Ok(None),
        Err(rustix::io::Errno::LOOP) => return Err(FileError::NotPlain),
        Err(error) => return Err(FileError::Io(error.into())),
    };
    let stat = rustix::fs::fstat(&file).map_err(io::Error::from)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(FileError::NotPlain);
    }
    if owner.is_some_and(|User(id)| id != stat.st_uid) || stat.st_nlink > 1 {
        return Err(FileError::NotOwn);
    }
    let size = u64::try_from(stat.st_size).unwrap_or(0);
    if size > limit {
        return Err(FileError::TooLarge { size, limit });
    }
    let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or(0));
    std::fs::File::from(file).take(limit + 1).read_to_end(&mut bytes)?;
    match bytes.len() as u64 {
        size if size > limit => Err(FileError::TooLarge { size, limit }),
        _ => Ok(Some(bytes)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_but_a_plain_file_within_its_bound() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        assert!(read_bounded(&path("missing"), None, 4).unwrap().is_none());
        std::fs::write(path("plain"), "1234").unwrap();
        assert_eq!(read_bounded(&path("plain"), None, 4).unwrap().unwrap(), b"1234");
        assert!(matches!(
            read_bounded(&path("plain"), None, 3),
            Err(FileError::TooLarge { size: 4, limit: 3 })
        ));
        let other = Some(User(rustix::process::geteuid().as_raw() + 1));
        assert!(matches!(read_bounded(&path("plain"), other, 4), Err(FileError::NotOwn)));
        std::fs::hard_link(path("plain"), path("twin")).unwrap();
        assert!(matches!(read_bounded(&path("twin"), None, 4), Err(FileError::NotOwn)));
        std::os::unix::fs::symlink(path("plain"), path("link")).unwrap();
        assert!(matches!(read_bounded(&path("link"), None, 4), Err(FileError::NotPlain)));
        rustix::fs::mknodat(rustix::fs::CWD, path("pipe"), FileType::Fifo, Mode::RWXU, 0).unwrap();
        assert!(matches!(read_bounded(&path("pipe"), None, 4), Err(FileError::NotPlain)));
        assert!(matches!(read_bounded(folder.path(), None, 4), Err(FileError::NotPlain)));
    }
}
