//! Which program supervises: the small one that lies beside ours, or else our own.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use ::supervisor::{ARGUMENT, DIALECT, PROGRAM};

/// A program that becomes a supervisor when started with our arguments.
#[derive(Debug)]
pub(super) struct Program {
    path: PathBuf,
    /// What `path` names by its number, so that a new version laid over it is not started.
    _file: Option<File>,
}

impl Program {
    /// The one beside our own, if it is there and of the same build; else our own.
    pub(super) fn find() -> Self {
        let beside = std::env::current_exe().map(|own| own.with_file_name(PROGRAM));
        match beside.and_then(|path| Self::beside(&path)) {
            Ok(program) => program,
            Err(error) => {
                tracing::info!(%error, "no {PROGRAM} of this build beside this program: each job starts slower");
                // resolved in the child before the exec, so the very file that runs now
                Self::at(PathBuf::from("/proc/self/exe"))
            }
        }
    }

    /// A given one.
    pub(super) fn at(path: PathBuf) -> Self {
        Self { path, _file: None }
    }

    fn beside(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let held = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
        let program = Self { path: held, _file: Some(file) };
        program.try_out()?;
        Ok(program)
    }

    /// A supervisor whose host goes away at once ends without a complaint.
    fn try_out(&self) -> io::Result<()> {
        let (ours, theirs) = UnixStream::pair()?;
        drop(ours);
        let status = self.command(theirs).stdout(Stdio::null()).status()?;
        if status.success() { Ok(()) } else { Err(io::Error::other(format!("it ends with {status}"))) }
    }

    /// What starts a supervisor that takes its orders from the other end of `socket`.
    pub(super) fn command(&self, socket: UnixStream) -> Command {
        let mut command = Command::new(&self.path);
        command.arg0(PROGRAM).arg(ARGUMENT).arg(DIALECT.to_string());
        command.env_clear().current_dir("/").stdin(Stdio::from(OwnedFd::from(socket)));
        command
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_is_none_or_of_another_build_is_not_taken() {
        let missing = Program::beside(Path::new("/nowhere/hookmill-supervisor")).unwrap_err();
        assert_eq!(missing.kind(), io::ErrorKind::NotFound);
        // it does not know the arguments, as a supervisor of another build does not
        let stranger = Program::beside(Path::new("/bin/false")).unwrap_err();
        assert!(stranger.to_string().contains("exit status: 1"), "{stranger}");
        assert!(Program::beside(Path::new("/bin/true")).is_ok());
    }
}
