//! What a process writes during one of its jobs: to the end of the job, not of the process.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use lifecycle::supervisor::LogPipe;
use tokio::io::{AsyncRead, ReadBuf};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// Bytes that are thrown away at once.
const CHUNK: usize = 4096;

/// A log that ends when its job is over and all that was written by then is read.
pub(super) struct Output<'p> {
    log: &'p mut LogPipe,
    over: Pin<Box<WaitForCancellationFutureOwned>>,
    is_over: bool,
}

impl<'p> Output<'p> {
    /// The job is over when `over` is cancelled. What came before it belongs to nobody.
    pub(super) fn of(log: &'p mut LogPipe, over: CancellationToken) -> Self {
        while matches!(log.read_now(&mut [0; CHUNK]), Ok(1..)) {}
        Self { log, over: Box::pin(over.cancelled_owned()), is_over: false }
    }
}

impl AsyncRead for Output<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.is_over {
            if let Poll::Ready(read) = Pin::new(&mut *self.log).poll_read(cx, into) {
                return Poll::Ready(read);
            }
            ready!(self.over.as_mut().poll(cx));
            self.is_over = true;
        }
        // the kernel is asked: what it has told us so far may be older than the last line
        match self.log.read_now(into.initialize_unfilled()) {
            Ok(count) => into.advance(count),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Poll::Ready(Err(error)),
        }
        Poll::Ready(Ok(()))
    }
}
