//! Buries supervisors, each as soon as it has ended: one that hangs holds nobody else's belongings back.

use std::io::{self, PipeReader, PipeWriter, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::process::Child;
use std::sync::{Arc, mpsc};
use std::thread;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::ioctl_fionbio;
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::host::Belongings;

/// Where supervisors are handed to be waited for. Cheap to clone; the thread ends when the last clone is gone and
/// nobody is left to bury.
#[derive(Clone, Debug)]
pub(super) struct Graveyard {
    // goes before the bell: who hears that the bell is gone finds all there is
    dead: mpsc::Sender<Dead>,
    bell: Arc<PipeWriter>,
}

/// A supervisor to be waited for, and what may be given up then.
type Dead = (Child, Option<Arc<dyn Belongings>>);

struct Grave {
    child: Child,
    /// Says when it has ended; `None` if it has been waited for already.
    ended: Option<OwnedFd>,
    belongings: Option<Arc<dyn Belongings>>,
}

impl Graveyard {
    /// Starts the thread that buries.
    pub(super) fn open() -> io::Result<Self> {
        let (dead, inbox) = mpsc::channel();
        let (ears, bell) = io::pipe()?;
        for end in [ears.as_fd(), bell.as_fd()] {
            ioctl_fionbio(end, true)?;
        }
        thread::Builder::new().name("supervisors-end".into()).spawn(move || keep(&inbox, ears))?;
        Ok(Self { dead, bell: Arc::new(bell) })
    }

    /// Waits for its end, and gives up what is its only then.
    pub(super) fn take(&self, child: Child, belongings: Option<Arc<dyn Belongings>>) {
        // the thread ends only after the last sender, so this cannot fail while it matters
        let _ = self.dead.send((child, belongings));
        // a bell that has no room rings already
        let _ = io::Write::write(&mut &*self.bell, b"!");
    }
}

fn keep(inbox: &mpsc::Receiver<Dead>, mut ears: PipeReader) {
    let (mut graves, mut open) = (Vec::<Grave>::new(), true);
    while open || !graves.is_empty() {
        let heard = listen(&ears, open, &graves);
        if heard {
            // nothing comes after the end
            open = !matches!(ears.read(&mut [0; 64]), Ok(0));
            graves.extend(inbox.try_iter().map(Grave::dig));
        }
        graves.retain_mut(|grave| !grave.is_over());
    }
}

/// Blocks until somebody has ended or the bell rings; whether it does.
fn listen(ears: &PipeReader, open: bool, graves: &[Grave]) -> bool {
    let ended = graves.iter().filter_map(|grave| grave.ended.as_ref());
    let bell = open.then(|| ears.as_fd());
    let waited = ended.map(AsFd::as_fd).chain(bell);
    let mut fds: Vec<PollFd<'_>> = waited.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)).collect();
    // interrupted or not, everybody is looked at
    let _ = poll(&mut fds, None);
    open && fds.last().is_some_and(|bell| !bell.revents().is_empty())
}

impl Grave {
    fn dig((mut child, belongings): Dead) -> Self {
        let id = Pid::from_raw(child.id().cast_signed());
        let ended = id.and_then(|id| pidfd_open(id, PidfdFlags::empty()).ok());
        if ended.is_none() {
            // no descriptor is left: the others have to wait with us
            let _ = child.wait();
        }
        Self { child, ended, belongings }
    }

    /// Buries it if it has ended, and gives up what is its.
    fn is_over(&mut self) -> bool {
        let over = !matches!(self.child.try_wait(), Ok(None));
        if over {
            self.belongings = None;
        }
        over
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};
    use std::time::Duration;

    use super::*;

    /// Says when it is given up.
    #[derive(Debug)]
    struct Told(&'static str, mpsc::Sender<&'static str>);

    impl Drop for Told {
        fn drop(&mut self) {
            let _ = self.1.send(self.0);
        }
    }

    /// Ends with its input.
    fn command() -> Child {
        Command::new("/bin/cat").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap()
    }

    #[test]
    fn one_that_does_not_end_holds_nobody_back() {
        let (tell, told) = mpsc::channel();
        let next = || told.recv_timeout(Duration::from_secs(30)).unwrap();
        let yard = Graveyard::open().unwrap();
        let (mut long, mut short) = (command(), command());
        let (stuck, done) = (long.stdin.take(), short.stdin.take());
        yard.take(long, Some(Arc::new(Told("long", tell.clone()))));
        yard.take(short, Some(Arc::new(Told("short", tell.clone()))));
        drop(done);
        assert_eq!(next(), "short");
        // it is waited for after the last of us has gone, too
        drop(yard);
        assert!(told.try_recv().is_err());
        drop(stuck);
        assert_eq!(next(), "long");
    }
}
