//! How long a connection may be silent. hyper has one bound for it, on the time to a whole head, and counts the time
//! before the head begins, too: a short one closes connections that a load balancer is just about to use, and its
//! caller sees a 502; a long one is held by whoever sends a head byte by byte. Here these are two bounds.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

/// How long a connection may be silent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// From the connection to the first whole head, and from the first byte of each further one to its last.
    pub(crate) head: Duration,
    /// Between two requests, and while nothing of an answer can be written.
    pub(crate) idle: Duration,
}

impl Patience {
    /// The first look after bytes: hyper does not read again once it has answered, so the end of an idle time that is
    /// shorter than a head's would be missed.
    fn least(self) -> Duration {
        self.head.min(self.idle)
    }
}

/// The first bytes of HTTP/2 (RFC 9113, section 3.4), which has no heads to wait for.
const HTTP2: &[u8] = b"PRI * HTTP/2";

/// When a process was stopped, its timers may be noticed before the bytes that came meanwhile: these get a moment.
const SECOND_LOOK: Duration = Duration::from_millis(250);

/// The requests of a connection, told by whoever answers them.
#[derive(Clone, Debug)]
pub(crate) struct Requests(Arc<Counts>);

#[derive(Debug)]
struct Counts {
    opened: Instant,
    begun: AtomicU64,
    answered: AtomicU64,
    /// ms from `opened` to when something was last done for the caller.
    last_ms: AtomicU64,
}

/// A request that has no answer yet, until it is dropped.
pub(crate) struct Unanswered(Requests);

impl Requests {
    /// A whole head has come.
    pub(crate) fn begin(&self) -> Unanswered {
        self.0.begun.fetch_add(1, Ordering::Relaxed);
        Unanswered(self.clone())
    }

    fn begun(&self) -> u64 {
        self.0.begun.load(Ordering::Relaxed)
    }

    fn is_any_unanswered(&self) -> bool {
        self.begun() > self.0.answered.load(Ordering::Relaxed)
    }

    fn touch(&self) {
        let ms = u64::try_from(self.0.opened.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.0.last_ms.store(ms, Ordering::Relaxed);
    }

    fn last(&self) -> Instant {
        self.0.opened + Duration::from_millis(self.0.last_ms.load(Ordering::Relaxed))
    }
}

impl Drop for Unanswered {
    fn drop(&mut self) {
        self.0.touch();
        self.0.0.answered.fetch_add(1, Ordering::Relaxed);
    }
}

/// A connection whose reader fails once it was silent for too long.
#[derive(Debug)]
pub(crate) struct Connection<S> {
    stream: S,
    patience: Patience,
    requests: Requests,
    /// The head that is awaited: how many requests came before it, and since when.
    head: (u64, Instant),
    is_http2: bool,
    timer: Pin<Box<Sleep>>,
    looked: bool,
}

impl<S> Connection<S> {
    pub(crate) fn new(stream: S, patience: Patience) -> Self {
        let opened = Instant::now();
        let requests = Requests(Arc::new(Counts {
            opened,
            begun: AtomicU64::new(0),
            answered: AtomicU64::new(0),
            last_ms: AtomicU64::new(0),
        }));
        let timer = Box::pin(sleep(patience.least()));
        Self { stream, patience, requests, head: (0, opened), is_http2: false, timer, looked: false }
    }

    /// Where its requests are told.
    pub(crate) fn requests(&self) -> Requests {
        self.requests.clone()
    }

    fn heard(&mut self, bytes: &[u8]) {
        self.looked = false;
        let before = self.requests.begun();
        if before == 0 && bytes.starts_with(HTTP2) {
            self.is_http2 = true;
        }
        // while a request is unanswered these are of its body
        if self.head.0 != before && !self.requests.is_any_unanswered() {
            let now = Instant::now();
            self.head = (before, now);
            self.timer.as_mut().reset(now + self.patience.least());
        }
    }

    fn deadline(&self) -> Instant {
        if self.requests.is_any_unanswered() {
            return Instant::now() + self.patience.idle;
        }
        let awaits_head = self.head.0 == self.requests.begun() && !self.is_http2;
        if awaits_head { self.head.1 + self.patience.head } else { self.requests.last() + self.patience.idle }
    }

    /// Whoever sends requests and does not read their answers is not read from either, so this is where the time is told.
    fn wrote(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if written.is_ready() {
            self.requests.touch();
            return written;
        }
        if self.is_overdue(cx) { Poll::Ready(Err(io::ErrorKind::TimedOut.into())) } else { Poll::Pending }
    }

    /// Whether it was silent for too long; if not, its task is woken when it will have been.
    fn is_overdue(&mut self, cx: &mut Context<'_>) -> bool {
        while self.timer.as_mut().poll(cx).is_ready() {
            let (now, deadline) = (Instant::now(), self.deadline());
            if deadline > now {
                self.looked = false;
                self.timer.as_mut().reset(deadline);
            } else if self.looked {
                return true;
            } else {
                self.looked = true;
                self.timer.as_mut().reset(now + SECOND_LOOK);
            }
        }
        false
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Connection<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = into.filled().len();
        if Pin::new(&mut self.stream).poll_read(cx, into)?.is_ready() {
            self.heard(&into.filled()[before..]);
            return Poll::Ready(Ok(()));
        }
        if self.is_overdue(cx) { Poll::Ready(Err(io::ErrorKind::TimedOut.into())) } else { Poll::Pending }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Connection<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.wrote(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.wrote(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    use super::*;

    const HEAD: Duration = Duration::from_secs(15);
    const IDLE: Duration = Duration::from_secs(600);

    fn connected() -> (DuplexStream, Connection<DuplexStream>) {
        patient(IDLE)
    }

    fn patient(idle: Duration) -> (DuplexStream, Connection<DuplexStream>) {
        let (caller, stream) = duplex(1024);
        (caller, Connection::new(stream, Patience { head: HEAD, idle }))
    }

    /// How long until the reader fails, whole seconds; what comes until then is read.
    async fn fails_after(connection: &mut Connection<DuplexStream>) -> u64 {
        let began = Instant::now();
        let mut buffer = [0; 64];
        loop {
            match connection.read(&mut buffer).await {
                Ok(read) => assert_ne!(read, 0, "the caller is there"),
                Err(error) => {
                    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
                    return began.elapsed().as_secs();
                }
            }
        }
    }

    async fn answered(caller: &mut DuplexStream, connection: &mut Connection<DuplexStream>) {
        caller.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
        assert_ne!(connection.read(&mut [0; 64]).await.unwrap(), 0);
        let request = connection.requests().begin();
        connection.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
        drop(request);
    }

    #[tokio::test(start_paused = true)]
    async fn who_says_nothing_or_too_little_is_not_waited_for() {
        let (_caller, mut silent) = connected();
        assert_eq!(fails_after(&mut silent).await, HEAD.as_secs());
        let (mut caller, mut slow) = connected();
        let drips = async {
            loop {
                caller.write_all(b"G").await.unwrap();
                sleep(Duration::from_secs(1)).await;
            }
        };
        tokio::select! {
            () = drips => {}
            after = fails_after(&mut slow) => assert_eq!(after, HEAD.as_secs()),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn between_requests_it_may_be_silent_for_long_but_not_within_a_head() {
        let (mut caller, mut connection) = connected();
        answered(&mut caller, &mut connection).await;
        assert_eq!(fails_after(&mut connection).await, IDLE.as_secs());
        let (mut caller, mut connection) = patient(Duration::from_secs(2));
        answered(&mut caller, &mut connection).await;
        assert_eq!(fails_after(&mut connection).await, 2);
        let (mut caller, mut connection) = connected();
        answered(&mut caller, &mut connection).await;
        let begins = async {
            sleep(Duration::from_secs(300)).await;
            caller.write_all(b"GET").await.unwrap();
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = begins => {}
            after = fails_after(&mut connection) => assert_eq!(after, 300 + HEAD.as_secs()),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_waits_for_its_answer_has_no_bound_here() {
        let (mut caller, mut connection) = connected();
        caller.write_all(b"x").await.unwrap();
        assert_eq!(connection.read(&mut [0; 64]).await.unwrap(), 1);
        let request = connection.requests().begin();
        let answers = async {
            sleep(IDLE * 3).await;
            drop(request);
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = answers => {}
            after = fails_after(&mut connection) => assert_eq!(after, IDLE.as_secs() * 4),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_written_keeps_it() {
        let (mut caller, mut connection) = connected();
        answered(&mut caller, &mut connection).await;
        sleep(HEAD * 2).await;
        connection.write_all(b": still there\n").await.unwrap();
        assert_eq!(fails_after(&mut connection).await, IDLE.as_secs());
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_nobody_reads_ends_it() {
        let (mut caller, mut connection) = connected();
        answered(&mut caller, &mut connection).await;
        let began = Instant::now();
        // more than there is room for on the way
        let error = connection.write_all(&[b'x'; 4096]).await.unwrap_err();
        assert_eq!((error.kind(), began.elapsed().as_secs()), (io::ErrorKind::TimedOut, IDLE.as_secs()));
    }

    #[tokio::test(start_paused = true)]
    async fn frames_of_http2_are_no_heads() {
        let (mut caller, mut connection) = connected();
        caller.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
        assert_eq!(fails_after(&mut connection).await, IDLE.as_secs());
    }
}
