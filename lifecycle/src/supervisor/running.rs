//! A command that runs under its supervisor, seen from the host.

use std::io;
use std::os::fd::BorrowedFd;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt, ReadBuf};
use tokio::net::UnixStream;
use tokio::net::unix::pipe;

use super::handover::send_first;
use super::host::{Buried, Host};
use super::wire::{Exit, Order, Report, encode, take};

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

/// Why there is no [`Exit`].
#[derive(Debug, thiserror::Error)]
pub enum Lost {
    /// The command never ran.
    #[error("the command could not be started: {0}")]
    Refused(String),
    /// The supervisor was killed; what was left in the command's process group got SIGKILL.
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
    group: Option<Pid>,
    _child: Buried,
    // the starting thread must outlive what it started
    _host: Host,
}

impl Control {
    pub(super) fn new(socket: UnixStream, child: Buried, host: Host) -> Self {
        Self { socket, buffer: Vec::new(), group: None, _child: child, _host: host }
    }

    /// Sends the order that a supervisor waits for, with the pipe it may need.
    pub(super) async fn begin(&mut self, order: &Order, pipe: Option<BorrowedFd<'_>>) -> io::Result<()> {
        send_first(&mut self.socket, order, pipe).await
    }

    /// Waits until the command has ended and nothing of it is left. Safe to drop and call again.
    ///
    /// # Errors
    /// The command could not be started, or its supervisor is gone.
    pub async fn exited(&mut self) -> Result<Exit, Lost> {
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
                return Ok(group.as_raw_nonzero().get());
            }
            self.next().await?;
        }
    }

    /// Takes in one report; the exit, if it was the last.
    async fn next(&mut self) -> Result<Option<Exit>, Lost> {
        match self.report().await? {
            Some(Report::Started { pid }) => self.group = Pid::from_raw(pid),
            Some(Report::Refused { message }) => return Err(Lost::Refused(message)),
            Some(Report::Ended(exit)) => return Ok(Some(exit)),
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

    /// Has everything of the command killed at once.
    pub fn kill(&self) {
        self.order(Duration::ZERO);
    }

    /// SIGTERM first; what is left after `grace` is killed.
    pub fn kill_gently(&self, grace: Duration) {
        self.order(grace);
    }

    /// Orders are tens of bytes and few, so the socket always has room; if it breaks, the
    /// supervisor sees its end and kills.
    fn order(&self, grace: Duration) {
        if let Ok(bytes) = encode(&Order::Kill { grace }) {
            let _ = self.socket.try_write(&bytes);
        }
    }

    /// The best left when a supervisor was killed under us: its children have gone to `init`,
    /// but the process group is still known by name.
    fn kill_orphans(&self) {
        if let Some(group) = self.group {
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}
