//! Reads a file that a script may have made, trusting nothing about it.

use std::io::{self, Read};
use std::path::Path;

use rustix::fs::{FileType, Mode, OFlags};

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
    /// The system said no.
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// The bytes of `path`, `None` if there is no such file. Links are not followed, pipes are not
/// waited for, and no more than `limit` bytes are read.
pub(crate) fn read_bounded(path: &Path, limit: u64) -> Result<Option<Vec<u8>>, FileError> {
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
        assert!(read_bounded(&path("missing"), 4).unwrap().is_none());
        std::fs::write(path("plain"), "1234").unwrap();
        assert_eq!(read_bounded(&path("plain"), 4).unwrap().unwrap(), b"1234");
        assert!(matches!(read_bounded(&path("plain"), 3), Err(FileError::TooLarge { size: 4, limit: 3 })));
        std::os::unix::fs::symlink(path("plain"), path("link")).unwrap();
        assert!(matches!(read_bounded(&path("link"), 4), Err(FileError::NotPlain)));
        rustix::fs::mknodat(rustix::fs::CWD, path("pipe"), FileType::Fifo, Mode::RWXU, 0).unwrap();
        assert!(matches!(read_bounded(&path("pipe"), 4), Err(FileError::NotPlain)));
        assert!(matches!(read_bounded(folder.path(), 4), Err(FileError::NotPlain)));
    }
}
