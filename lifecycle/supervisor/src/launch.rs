//! A launcher, seen from its supervisor.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::fchown;
use std::os::unix::net::UnixStream;

use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use sandbox::{Confinement, Ends, Level, Network, User};
use uplink::Uplink;

use super::launcher::{INNER, OUTER, Said, start};
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
    ends: Option<Ends>,
    /// The same, open.
    pub(crate) uplink: Option<Uplink>,
}

impl Launcher {
    /// Starts one, and blocks until it is ready. It ends when our end of its line closes.
    ///
    /// # Errors
    /// It cannot be started, or not confine itself.
    pub(crate) fn start(confinement: Confinement) -> io::Result<Self> {
        let (mut line, theirs) = UnixStream::pair()?;
        let first = first_process(&confinement, theirs.as_fd())?;
        drop(theirs);
        let (main, descriptors) = until_ready(&mut line, first)?;
        let ends = way_out::take(&confinement, descriptors)?;
        Ok(Self { main, line, confinement, ends, uplink: None })
    }

    /// This one if it can have the network that is asked for, else another that can.
    ///
    /// # Errors
    /// Another one cannot be started.
    pub(crate) fn fit(self, spec: &Spec) -> io::Result<Self> {
        let asked = spec.grant.as_ref().map(|grant| grant.network);
        match asked.filter(|asked| self.is_unfit(*asked)) {
            Some(network) => self.replace(network),
            None => Ok(self),
        }
    }

    /// Hands it its command, with the way out open. One that was killed while it waited is replaced.
    ///
    /// # Errors
    /// It is gone, and another one cannot be started; or the way out cannot be opened.
    pub(crate) fn hand_over(mut self, spec: &Spec, pipes: &[OwnedFd]) -> io::Result<Self> {
        let bytes = encode(spec)?;
        if let Some(User(id)) = self.confinement.user {
            // so that `/dev/stdout` can be opened, which is asked of the pipe as of any file
            pipes.iter().try_for_each(|pipe| fchown(pipe, Some(id), Some(id)))?;
        }
        self.open_way_out(spec)?;
        if send_all(&mut self.line, &bytes, pipes).is_err() {
            let network = self.confinement.network;
            self = self.replace(network)?;
            self.open_way_out(spec)?;
            send_all(&mut self.line, &bytes, pipes)?;
        }
        Ok(self)
    }

    /// Before anybody runs who might use it, or might not be stopped if it failed.
    fn open_way_out(&mut self, spec: &Spec) -> io::Result<()> {
        let internet = spec.grant.as_ref().is_some_and(|grant| grant.network == Network::Internet);
        self.uplink = way_out::open(self.ends.take(), spec.rules.as_ref().filter(|_| internet))?;
        Ok(())
    }

    /// The old one must be gone: it would count where processes are counted.
    fn replace(self, network: Network) -> io::Result<Self> {
        let _ = kill_process(self.main, Signal::KILL);
        let _ = waitpid(Some(self.main), WaitOptions::empty());
        Self::start(Confinement { network, ..self.confinement })
    }

    /// What it is restricted to it cannot leave; and from the machine's network there is no way into one of its
    /// own.
    fn is_unfit(&self, asked: Network) -> bool {
        let narrower = asked == Network::Internet && self.confinement.link.is_some();
        asked > self.confinement.network || asked < self.confinement.network && narrower
    }
}

/// The process to start for it.
enum First {
    /// The launcher itself.
    Launcher(Pid),
    /// Who may not make a process namespace just so gives itself the right, starts the launcher, and says so.
    Outer(Pid),
}

fn first_process(confinement: &Confinement, theirs: BorrowedFd<'_>) -> io::Result<First> {
    let wanted = serde_json::to_string(confinement)?;
    match (confinement.level, confinement.user) {
        (Level::Namespaces, None) => start(OUTER, &wanted, theirs).map(First::Outer),
        (Level::Namespaces, Some(_)) => {
            let started = sandbox::apart(|| start(INNER, &wanted, theirs));
            started.map(First::Launcher).map_err(io::Error::other)
        }
        (Level::Process | Level::Landlock, _) => start(OUTER, &wanted, theirs).map(First::Launcher),
    }
}

/// The launcher, and what it sends when all that can be done ahead is done.
fn until_ready(line: &mut UnixStream, first: First) -> io::Result<(Pid, Vec<OwnedFd>)> {
    let (mut main, outer) = match first {
        First::Launcher(main) => (Some(main), None),
        First::Outer(outer) => (None, Some(outer)),
    };
    let mut ready = None;
    // two processes speak, and which is first is open
    loop {
        match said(line)? {
            (Said::Inner(inner), _) => {
                main = Pid::from_raw(inner);
                // it has done its part; the other one is our child now
                waitpid(outer, WaitOptions::empty())?;
            }
            (Said::Ready, descriptors) => ready = Some(descriptors),
            (other, _) => return Err(io::Error::other(format!("a launcher said {other:?}"))),
        }
        if let Some((main, descriptors)) = main.zip(ready.take_if(|_| main.is_some())) {
            return Ok((main, descriptors));
        }
    }
}

/// The next word of a launcher, and what came with it; what stopped it is an error.
fn said(line: &mut UnixStream) -> io::Result<(Said, Vec<OwnedFd>)> {
    match receive_with_pipes::<Said>(line)? {
        Some((Said::Failed(why), _)) => Err(io::Error::other(why.message)),
        Some(said) => Ok(said),
        None => Err(io::Error::other("the launcher ended")),
    }
}
