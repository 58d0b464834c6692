//! A command that runs under its supervisor, seen from the host.

use std::io;
use std::os::fd::BorrowedFd;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use ::supervisor::kill_session;
use ::supervisor::wire::{Exit, Hit, Order, Refusal, Report, Rested, encode, take};
use rustix::process::{Pid, Signal, kill_process};
use sandbox::Confinement;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, ReadBuf};
use tokio::net::UnixStream;
use tokio::net::unix::pipe;

use super::handover::send_with_pipes;
use super::host::{Belongings, Buried, Host, Spare};

/// A running command. Dropping it kills everything of the command.
#[derive(Debug)]
pub struct Running {
    /// Its standard output; with [`Streams::Merged`] its standard error too, in the order
    /// written. Ends when nothing of it is left.
    ///
    /// [`Streams::Merged`]: super::Streams::Merged
    pub log: LogPipe,
    /// Its standard error, with [`Streams::Apart`]. To be read along with `log`: a full pipe
    /// holds its writers back.
    ///
    /// [`Streams::Apart`]: super::Streams::Apart
    pub errors: Option<LogPipe>,
    /// The other end of its standard input, with [`Input::Channel`].
    ///
    /// [`Input::Channel`]: super::Input::Channel
    pub channel: Option<UnixStream>,
    /// Its end, and the means to bring it about.
    pub control: Control,
}

/// Standard output of a command, its standard error, or both.
#[derive(Debug)]
pub struct LogPipe(pipe::Receiver);

impl LogPipe {
    pub(super) fn new(receiver: pipe::Receiver) -> Self {
        Self(receiver)
    }

    /// What is there at this moment, without waiting: the kernel is asked, not the runtime, which hears of bytes
    /// later. 0 is the end.
    ///
    /// # Errors
    /// Nothing is there ([`io::ErrorKind::WouldBlock`]), or the pipe broke.
    pub fn read_now(&mut self, into: &mut [u8]) -> io::Result<usize> {
        Ok(rustix::io::retry_on_intr(|| rustix::io::read(&self.0, &mut *into))?)
    }
}

impl AsyncRead for LogPipe {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, into)
    }
}

/// How a command ended, with nothing of it left.
#[derive(Clone, Copy, Debug)]
pub struct Ended {
    /// Its own account.
    pub exit: Exit,
    /// The limit it has hit, if that ended it or was in its way.
    pub hit: Option<Hit>,
}

/// Why there is no [`Ended`].
#[derive(Debug, thiserror::Error)]
pub enum Lost {
    /// The command never ran.
    #[error("the command could not be started: {0}")]
    Refused(Refusal),
    /// The supervisor was killed; what was left in its session got SIGKILL.
    #[error("the supervisor of the command was killed")]
    SupervisorDied,
    /// The socket to it broke.
    #[error("the supervisor cannot be reached: {0}")]
    Io(#[from] io::Error),
}

/// The host's end of a supervisor's socket. Dropping it kills everything of the command.
#[derive(Debug)]
pub struct Control {
    socket: UnixStream,
    buffer: Vec<u8>,
    group: Option<i32>,
    /// What it said of the last job of its command, until it is asked for.
    rested: Option<Rested>,
    /// Its command has ended, nothing of it is left, and it takes another.
    idle: bool,
    child: Buried,
    // the starting thread must outlive what it started
    _host: Host,
}

impl Control {
    pub(super) fn new(socket: UnixStream, child: Buried, host: Host) -> Self {
        Self { socket, buffer: Vec::new(), group: None, rested: None, idle: true, child, _host: host }
    }

    /// Sends the order to start a command, with the pipes it writes to.
    pub(super) async fn begin(&mut self, order: &Order, pipes: &[BorrowedFd<'_>]) -> io::Result<()> {
        self.idle = false;
        send_with_pipes(&mut self.socket, order, pipes).await
    }

    pub(super) fn keep(&mut self, belongings: Arc<dyn Belongings>) {
        self.child.keep(belongings);
    }

    /// Has a launcher wait for the next command.
    pub(super) async fn prepare(&mut self, wanted: Confinement) -> Result<(), Lost> {
        self.socket.write_all(&encode(&Order::Prepare(wanted))?).await?;
        match self.report().await? {
            Some(Report::Prepared) => Ok(()),
            Some(Report::Unprepared { message }) => Err(Lost::Refused(Refusal::because(message))),
            Some(Report::Started { .. } | Report::Refused(_) | Report::Rested(_) | Report::Ended { .. }) => {
                Err(Lost::Io(io::Error::other("the supervisor answered another order")))
            }
            None => Err(Lost::SupervisorDied),
        }
    }

    /// The supervisor, ready for another command, if this one has ended and left it as it was.
    pub fn into_spare(mut self) -> Option<Spare> {
        self.group = None;
        self.idle.then_some(Spare { control: self })
    }

    /// Waits until the command has ended and nothing of it is left. Safe to drop and call again.
    ///
    /// # Errors
    /// The command could not be started, or its supervisor is gone.
    pub async fn exited(&mut self) -> Result<Ended, Lost> {
        loop {
            if let Some(exit) = self.next().await? {
                return Ok(exit);
            }
        }
    }

    /// Waits until the main process runs; its id, which is also its process group's.
    ///
    /// # Errors
    /// As [`Control::exited`].
    pub async fn started(&mut self) -> Result<i32, Lost> {
        loop {
            if let Some(group) = self.group {
                return Ok(group);
            }
            self.next().await?;
        }
    }

    /// Takes in one report; the exit, if it was the last.
    async fn next(&mut self) -> Result<Option<Ended>, Lost> {
        match self.report().await? {
            Some(Report::Started { pid }) => self.group = Some(pid),
            Some(Report::Refused(why)) => {
                self.idle = true;
                return Err(Lost::Refused(why));
            }
            Some(Report::Ended { exit, reusable, hit }) => {
                self.idle = reusable;
                return Ok(Some(Ended { exit, hit }));
            }
            Some(Report::Rested(rested)) => self.rested = Some(rested),
            Some(Report::Prepared | Report::Unprepared { .. }) => {
                return Err(Lost::Io(io::Error::other("the supervisor answered another order")));
            }
            None => {
                self.kill_orphans();
                return Err(Lost::SupervisorDied);
            }
        }
        Ok(None)
    }

    async fn report(&mut self) -> io::Result<Option<Report>> {
        loop {
            if let Some(report) = take(&mut self.buffer)? {
                return Ok(Some(report));
            }
            if self.socket.read_buf(&mut self.buffer).await? == 0 {
                return Ok(None);
            }
        }
    }

    /// A job of the command, which takes one after the other, has ended: what it used, and what is left of it. What
    /// is used from now on is the next one's.
    ///
    /// # Errors
    /// The command has ended ([`Lost::Refused`]), or its supervisor is gone.
    pub async fn rest(&mut self) -> Result<Rested, Lost> {
        self.order(&Order::Rest);
        loop {
            if let Some(rested) = self.rested.take() {
                return Ok(rested);
            }
            if self.next().await?.is_some() {
                return Err(Lost::Refused(Refusal::because("the command has ended")));
            }
        }
    }

    /// Has nothing of the command, which has no job, run until [`Control::thaw`].
    pub fn freeze(&self) {
        self.order(&Order::Freeze);
    }

    /// Lets it go on.
    pub fn thaw(&self) {
        self.order(&Order::Thaw);
    }

    /// Has everything of the command killed at once.
    pub fn kill(&self) {
        self.order(&Order::Kill { grace: Duration::ZERO });
    }

    /// SIGTERM first; what is left after `grace` is killed.
    pub fn kill_gently(&self, grace: Duration) {
        self.order(&Order::Kill { grace });
    }

    /// Orders are tens of bytes and few, so the socket always has room; if it breaks, the
    /// supervisor sees its end and kills.
    fn order(&self, order: &Order) {
        if let Ok(bytes) = encode(order) {
            let _ = self.socket.try_write(&bytes);
        }
    }

    /// Sets a supervisor going that its command may have stopped. From us this signal says that we are
    /// gone, so it kills everything, and then ends without a report.
    pub fn wake(&self) {
        self.signal(Signal::CONT);
    }

    /// Ends a supervisor that does not end its command, and whoever is in its session.
    pub fn destroy(&self) {
        self.signal(Signal::KILL);
        self.kill_orphans();
    }

    fn signal(&self, signal: Signal) {
        if let Some(supervisor) = self.child.id().and_then(|id| Pid::from_raw(id.cast_signed())) {
            let _ = kill_process(supervisor, signal);
        }
    }

    /// Its children have gone to `init`, and it may have been killed before it could name any.
    fn kill_orphans(&self) {
        if let Some(supervisor) = self.child.id() {
            kill_session(supervisor);
        }
    }
}
