//! A launcher, seen from its supervisor.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::fchown;
use std::os::unix::net::UnixStream;

use rustix::process::{Pid, WaitOptions, waitpid};
use sandbox::{Confinement, Level, User};

use super::launcher::{OUTER, Said, start};
use super::orders::send_with_pipes;
use super::wire::{Spec, encode, receive};

/// A launcher that waits for its command.
pub(crate) struct Launcher {
    /// The process that the command will be, or the first of its process namespace.
    pub(crate) main: Pid,
    pub(crate) line: UnixStream,
    /// What it was asked for.
    pub(crate) confinement: Confinement,
}

impl Launcher {
    /// Starts one, and blocks until it is ready. It ends when our end of its line closes.
    ///
    /// # Errors
    /// It cannot be started, or not confine itself.
    pub(crate) fn start(confinement: Confinement) -> io::Result<Self> {
        let (mut line, theirs) = UnixStream::pair()?;
        let wanted = serde_json::to_string(&confinement)?;
        let outer = start(OUTER, &wanted, theirs.as_fd())?;
        drop(theirs);
        let (mut main, mut ready) = (outer, false);
        let mut two = confinement.level == Level::Namespaces;
        // two processes speak, and which is first is open
        while two || !ready {
            match said(&mut line)? {
                Said::Inner(inner) => {
                    main = Pid::from_raw(inner).ok_or_else(|| io::Error::other("no process id"))?;
                    two = false;
                    // it has done its part; the other one is our child now
                    waitpid(Some(outer), WaitOptions::empty())?;
                }
                Said::Ready => ready = true,
                other => return Err(io::Error::other(format!("a launcher said {other:?}"))),
            }
        }
        Ok(Self { main, line, confinement })
    }

    /// Hands it its command. One that was killed while it waited is replaced, and one made ready for a narrower
    /// network.
    ///
    /// # Errors
    /// It is gone, and another one cannot be started.
    pub(crate) fn hand_over(mut self, spec: &Spec, pipes: &[OwnedFd]) -> io::Result<Self> {
        let bytes = encode(spec)?;
        if let Some(User(id)) = self.confinement.user {
            // so that `/dev/stdout` can be opened, which is asked of the pipe as of any file
            pipes.iter().try_for_each(|pipe| fchown(pipe, Some(id), Some(id)))?;
        }
        let wider =
            spec.grant.as_ref().map(|grant| grant.network).filter(|asked| *asked > self.confinement.network);
        if wider.is_some() || self.send(&bytes, pipes).is_err() {
            let network = wider.unwrap_or(self.confinement.network);
            self = Self::start(Confinement { network, ..self.confinement })?;
            self.send(&bytes, pipes)?;
        }
        Ok(self)
    }

    fn send(&mut self, bytes: &[u8], pipes: &[OwnedFd]) -> io::Result<()> {
        let pipes: Vec<BorrowedFd<'_>> = pipes.iter().map(AsFd::as_fd).collect();
        let sent = send_with_pipes(self.line.as_fd(), bytes, &pipes)?;
        io::Write::write_all(&mut self.line, &bytes[sent..])
    }
}

/// The next word of a launcher; what stopped it is an error.
fn said(line: &mut UnixStream) -> io::Result<Said> {
    match receive::<Said>(line)? {
        Some(Said::Failed(why)) => Err(io::Error::other(why)),
        Some(said) => Ok(said),
        None => Err(io::Error::other("the launcher ended")),
    }
}
