//! Reads several pipes by turns, each chunk as soon as it is there.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, ReadBuf};
use tokio::time::Instant;

/// A quarter of what a pipe holds: every job has a buffer, and few write that much.
const READ_BYTES: usize = 16 * 1024;

/// The pipes of one script.
pub(super) struct Pipes<R> {
    /// `None` once ended.
    open: Vec<Option<R>>,
    /// Who is asked first: not the one that was read last, so that a flood holds up nobody.
    turn: usize,
    buffer: Vec<u8>,
}

/// What came of waiting.
pub(super) enum Read<'b> {
    /// The pipe at this index has given bytes, at least one.
    Bytes(usize, &'b [u8]),
    /// The pipe at this index has ended.
    End(usize),
    /// The time has come.
    Time,
    /// All had ended before.
    AllEnded,
}

impl<R: AsyncRead + Unpin> Pipes<R> {
    pub(super) fn new(pipes: Vec<R>) -> Self {
        Self { open: pipes.into_iter().map(Some).collect(), turn: 0, buffer: vec![0; READ_BYTES] }
    }

    /// Waits for bytes or an end, but not beyond `until`. Nothing is lost if it is dropped.
    pub(super) async fn read_until(&mut self, until: Option<Instant>) -> Read<'_> {
        if self.open.iter().all(Option::is_none) {
            return Read::AllEnded;
        }
        let read = poll_fn(|cx| self.poll_any(cx));
        let (at, count) = match until {
            Some(until) => match tokio::time::timeout_at(until, read).await {
                Ok(read) => read,
                Err(_) => return Read::Time,
            },
            None => read.await,
        };
        self.turn = at + 1;
        if count == 0 {
            self.open[at] = None;
            return Read::End(at);
        }
        Read::Bytes(at, &self.buffer[..count])
    }

    fn poll_any(&mut self, cx: &mut Context<'_>) -> Poll<(usize, usize)> {
        let count = self.open.len();
        for at in (self.turn..self.turn + count).map(|turn| turn % count) {
            if let Some(pipe) = &mut self.open[at]
                && let Poll::Ready(read) = poll_read(pipe, &mut self.buffer, cx)
            {
                return Poll::Ready((at, read));
            }
        }
        Poll::Pending
    }
}

/// The number of bytes read; 0 at the end, which an error is too.
fn poll_read(pipe: &mut (impl AsyncRead + Unpin), into: &mut [u8], cx: &mut Context<'_>) -> Poll<usize> {
    let mut into = ReadBuf::new(into);
    let read = ready!(Pin::new(pipe).poll_read(cx, &mut into));
    Poll::Ready(read.map_or(0, |()| into.filled().len()))
}
