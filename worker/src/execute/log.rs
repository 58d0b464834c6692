//! A script's output on its way to the store: cleaned, struck, bounded, in few chunks.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::AsyncRead;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::invocation::Limits;
use super::lines::{LastLine, Tail};
use super::mask::Masks;

mod pipes;
mod weave;

use pipes::{Pipes, Read};
use weave::Weave;

/// The longest a written line waits before it is handed on.
const FLUSH_AFTER: Duration = Duration::from_millis(50);
/// The size at which a chunk is handed on at once, in bytes.
const FLUSH_AT: usize = 16 * 1024;
/// Bytes of each read that are looked at once the log is cut: its end is still wanted.
const FLOOD_BYTES: usize = 8 * 1024;

/// Time for the rest of a log to reach its sink after the script's end; then it is given up.
pub(super) const LOG_DRAIN: Duration = Duration::from_secs(10);

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

/// One script's output, from its pipes to its sink.
pub(super) struct LogPump<S> {
    sink: S,
    masks: Arc<Masks>,
    fresh: Vec<u8>,
    pending: Vec<u8>,
    left: usize,
    cut: bool,
    limits: Limits,
    seen: Seen,
}

/// What is remembered of the output.
pub(super) struct Seen {
    /// Bytes read, of all pipes.
    pub(super) bytes: u64,
    /// The log's end, as the log would show it were it not cut.
    pub(super) tail: Tail,
    /// The last line of the first pipe, raw.
    pub(super) last_line: LastLine,
}

impl<S: LogSink> LogPump<S> {
    pub(super) fn new(sink: S, masks: Arc<Masks>, limits: Limits) -> Self {
        let seen = Seen { bytes: 0, tail: Tail::default(), last_line: LastLine::new(limits.result_bytes) };
        Self {
            sink,
            masks,
            fresh: Vec::new(),
            pending: Vec::new(),
            left: usize::try_from(limits.log_bytes).unwrap_or(usize::MAX),
            cut: false,
            limits,
            seen,
        }
    }

    /// Reads all pipes to their ends; the first is standard output. `too_much` is notified when
    /// the script has written more than it may.
    pub(super) async fn run<R: AsyncRead + Unpin>(&mut self, pipes: Vec<R>, too_much: &Notify) {
        let mut weave = Weave::new(pipes.len(), &self.masks);
        let mut pipes = Pipes::new(pipes);
        let mut flush_at = None;
        loop {
            let read = pipes.read_until(flush_at).await;
            let due = matches!(read, Read::Time);
            match read {
                Read::Bytes(at, bytes) => self.take(&mut weave, at, bytes, too_much),
                Read::End(at) => weave.end(at, &mut self.fresh),
                Read::Time => weave.let_go(&mut self.fresh),
                Read::AllEnded => break,
            }
            self.hand_on();
            if self.pending.len() >= FLUSH_AT || due {
                self.flush().await;
            }
            flush_at = next_flush(flush_at, !self.pending.is_empty() || weave.waits());
        }
        self.finish().await;
    }

    /// What was seen, once it has run.
    pub(super) fn into_seen(self) -> Seen {
        self.seen
    }

    fn take(&mut self, weave: &mut Weave, at: usize, mut bytes: &[u8], too_much: &Notify) {
        self.seen.bytes += bytes.len() as u64;
        if at == 0 {
            self.seen.last_line.push(bytes);
        }
        if self.seen.bytes > self.limits.output_kill_bytes {
            too_much.notify_one();
        }
        if self.cut && bytes.len() > FLOOD_BYTES {
            weave.gap(at);
            bytes = &bytes[bytes.len() - FLOOD_BYTES..];
        }
        weave.push(at, bytes, &mut self.fresh);
    }

    /// Fresh text into the log.
    fn hand_on(&mut self) {
        self.seen.tail.push(&self.fresh);
        if !self.cut {
            self.pending.extend_from_slice(&self.fresh);
            self.bound();
        }
        self.fresh.clear();
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
        if !self.pending.is_empty() {
            let rest = Bytes::from(std::mem::take(&mut self.pending));
            self.sink.finish(rest).await;
        }
    }
}

/// The clock starts with the first byte that waits and is not moved by later ones.
fn next_flush(running: Option<Instant>, waits: bool) -> Option<Instant> {
    if waits { running.or_else(|| Some(Instant::now() + FLUSH_AFTER)) } else { None }
}

#[cfg(test)]
mod tests;
