//! A script's output on its way to the store: cleaned, struck, bounded, in few chunks.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::invocation::Limits;
use super::lines::{LastLine, Tail};
use super::mask::{MaskStream, Masks};
use super::text::Utf8Stream;

/// The longest a written line waits before it is handed on.
const FLUSH_AFTER: Duration = Duration::from_millis(50);
/// The size at which a chunk is handed on at once, in bytes.
const FLUSH_AT: usize = 16 * 1024;
const READ_BYTES: usize = 64 * 1024;

/// Where a run's log goes.
pub trait LogSink: Send {
    /// Takes the next chunk: whole characters of UTF-8, no NUL, no secret. A slow sink slows the
    /// script's writes, nothing else.
    fn write(&mut self, chunk: Bytes) -> impl Future<Output = ()> + Send;

    /// Takes what is left when the output has ended: a store may keep it together with the
    /// job's end, in one step.
    fn finish(&mut self, rest: Bytes) -> impl Future<Output = ()> + Send {
        self.write(rest)
    }
}

/// One script's output, from its pipe to its sink.
pub(super) struct LogPump<S> {
    sink: S,
    utf8: Utf8Stream,
    struck: MaskStream,
    clean: Vec<u8>,
    pending: Vec<u8>,
    left: usize,
    cut: bool,
    limits: Limits,
    seen: Seen,
}

/// What is remembered of the output, raw.
pub(super) struct Seen {
    pub(super) bytes: u64,
    pub(super) tail: Tail,
    pub(super) last_line: LastLine,
}

impl<S: LogSink> LogPump<S> {
    pub(super) fn new(sink: S, masks: Arc<Masks>, limits: Limits) -> Self {
        let seen = Seen { bytes: 0, tail: Tail::default(), last_line: LastLine::new(limits.result_bytes) };
        Self {
            sink,
            utf8: Utf8Stream::default(),
            struck: MaskStream::new(masks),
            clean: Vec::new(),
            pending: Vec::new(),
            left: usize::try_from(limits.log_bytes).unwrap_or(usize::MAX),
            cut: false,
            limits,
            seen,
        }
    }

    /// Reads to the end. `too_much` is notified when the script has written more than it may.
    pub(super) async fn run(&mut self, mut from: impl AsyncRead + Unpin, too_much: &Notify) {
        let mut buffer = vec![0; READ_BYTES];
        let mut flush_at = None;
        loop {
            let read = read_until(&mut from, &mut buffer, flush_at).await;
            match read {
                Read::Bytes(count) => self.take(&buffer[..count], too_much),
                Read::Time => self.flush().await,
                Read::End => break,
            }
            if self.pending.len() >= FLUSH_AT {
                self.flush().await;
            }
            flush_at = next_flush(flush_at, &self.pending);
        }
        self.finish().await;
    }

    /// What was seen, once it has run.
    pub(super) fn into_seen(self) -> Seen {
        self.seen
    }

    fn take(&mut self, bytes: &[u8], too_much: &Notify) {
        self.seen.bytes += bytes.len() as u64;
        self.seen.tail.push(bytes);
        self.seen.last_line.push(bytes);
        if self.seen.bytes > self.limits.output_kill_bytes {
            too_much.notify_one();
        }
        if !self.cut {
            self.clean.clear();
            self.utf8.push(bytes, &mut self.clean);
            self.struck.push(&self.clean, &mut self.pending);
            self.bound();
        }
    }

    /// Cuts once the bound is passed, at a character, with a mark.
    fn bound(&mut self) {
        if self.pending.len() <= self.left {
            return;
        }
        let mut end = self.left;
        while self.pending[end] & 0b1100_0000 == 0b1000_0000 {
            end -= 1;
        }
        self.pending.truncate(end);
        let limit = self.limits.log_bytes;
        let mark = format!("\n[the log is cut here: over {limit} bytes; the job goes on]\n");
        self.pending.extend_from_slice(mark.as_bytes());
        self.cut = true;
    }

    async fn flush(&mut self) {
        if self.pending.is_empty() {
            return;
        }
        let chunk = Bytes::from(std::mem::take(&mut self.pending));
        self.left = self.left.saturating_sub(chunk.len());
        self.sink.write(chunk).await;
    }

    async fn finish(&mut self) {
        if !self.cut {
            self.clean.clear();
            self.utf8.finish(&mut self.clean);
            self.struck.push(&self.clean, &mut self.pending);
            self.struck.finish(&mut self.pending);
            self.bound();
        }
        if !self.pending.is_empty() {
            let rest = Bytes::from(std::mem::take(&mut self.pending));
            self.sink.finish(rest).await;
        }
    }
}

enum Read {
    Bytes(usize),
    Time,
    End,
}

async fn read_until(from: &mut (impl AsyncRead + Unpin), into: &mut [u8], until: Option<Instant>) -> Read {
    let read = from.read(into);
    let read = match until {
        Some(until) => match tokio::time::timeout_at(until, read).await {
            Ok(read) => read,
            Err(_) => return Read::Time,
        },
        None => read.await,
    };
    match read {
        Ok(0) | Err(_) => Read::End,
        Ok(count) => Read::Bytes(count),
    }
}

/// The clock starts with the first byte that waits and is not moved by later ones.
fn next_flush(running: Option<Instant>, pending: &[u8]) -> Option<Instant> {
    if pending.is_empty() { None } else { running.or_else(|| Some(Instant::now() + FLUSH_AFTER)) }
}

#[cfg(test)]
mod tests;
