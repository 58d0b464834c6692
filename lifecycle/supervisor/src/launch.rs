//! A launcher, seen from its supervisor.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::fchown;
use std::os::unix::net::UnixStream;

use rustix::process::{Pid, WaitOptions, waitpid};
use sandbox::{Confinement, Ends, Level, Network, User};

use super::launcher::{OUTER, Said, start};
use super::orders::{receive_with_pipes, send_all};
use super::way_out;
use super::wire::{Spec, encode};

/// A launcher that waits for its command.
pub(crate) struct Launcher {
    /// The process that the command will be, or the first of its process namespace.
    pub(crate) main: Pid,
    pub(crate) line: UnixStream,
    /// What it was asked for.
    pub(crate) confinement: Confinement,
    /// What leads out of its network, if it has one of its own.
    pub(crate) ends: Option<Ends>,
}

impl Launcher {
    /// Starts one, and blocks until it is ready. It ends when our end of its line closes.
    ///
    /// # Errors
    /// It cannot be started, or not confine itself.
    pub(crate) fn start(confinement: Confinement) -> io::Result<Self> {
        let (mut line, theirs) = UnixStream::pair()?;
        let outer = start(OUTER, &serde_json::to_string(&confinement)?, theirs.as_fd())?;
        drop(theirs);
        let (mut main, mut ready) = (outer, None);
        let mut two = confinement.level == Level::Namespaces;
        // two processes speak, and which is first is open
        let descriptors = loop {
            match said(&mut line)? {
                (Said::Inner(inner), _) => {
                    main = Pid::from_raw(inner).ok_or_else(|| io::Error::other("no process id"))?;
                    two = false;
                    // it has done its part; the other one is our child now
                    waitpid(Some(outer), WaitOptions::empty())?;
                }
                (Said::Ready, descriptors) => ready = Some(descriptors),
                (other, _) => return Err(io::Error::other(format!("a launcher said {other:?}"))),
            }
            if let Some(descriptors) = ready.take_if(|_| !two) {
                break descriptors;
            }
        };
        let ends = way_out::take(&confinement, descriptors)?;
        Ok(Self { main, line, confinement, ends })
    }

    /// Hands it its command. One that was killed while it waited is replaced, and one made ready for another
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
        let other = spec.grant.as_ref().map(|grant| grant.network).filter(|asked| self.is_unfit(*asked));
        if other.is_some() || send_all(&mut self.line, &bytes, pipes).is_err() {
            let network = other.unwrap_or(self.confinement.network);
            self = Self::start(Confinement { network, ..self.confinement })?;
            send_all(&mut self.line, &bytes, pipes)?;
        }
        Ok(self)
    }

    /// What it is restricted to it cannot leave; and from the machine's network there is no way into one of its
    /// own.
    fn is_unfit(&self, asked: Network) -> bool {
        let narrower = asked == Network::Internet && self.confinement.link.is_some();
        asked > self.confinement.network || asked < self.confinement.network && narrower
    }
}

/// The next word of a launcher, and what came with it; what stopped it is an error.
fn said(line: &mut UnixStream) -> io::Result<(Said, Vec<OwnedFd>)> {
    match receive_with_pipes::<Said>(line)? {
        Some((Said::Failed(why), _)) => Err(io::Error::other(why)),
        Some(said) => Ok(said),
        None => Err(io::Error::other("the launcher ended")),
    }
}
