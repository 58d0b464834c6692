//! What is remembered of a log while it streams by: its end, for errors, and its last line,
//! which is a Bash script's result.

/// Bytes of a log's end that an error shows.
const TAIL_BYTES: usize = 4 * 1024;

/// The end of a stream.
#[derive(Debug, Default)]
pub(super) struct Tail {
    bytes: Vec<u8>,
    cut: bool,
}

impl Tail {
    /// Takes in the next chunk.
    pub(super) fn push(&mut self, chunk: &[u8]) {
        let wanted = &chunk[chunk.len().saturating_sub(2 * TAIL_BYTES)..];
        self.cut |= wanted.len() < chunk.len();
        self.bytes.extend_from_slice(wanted);
        // trimmed at twice the size, so that each byte is moved once at most
        if self.bytes.len() > 4 * TAIL_BYTES {
            self.bytes.drain(..self.bytes.len() - 2 * TAIL_BYTES);
            self.cut = true;
        }
    }

    /// The last whole lines; the end of the last one if it is longer than the tail.
    pub(super) fn lines(&self) -> &[u8] {
        let from = self.bytes.len().saturating_sub(TAIL_BYTES);
        let shown = &self.bytes[from..];
        if !self.cut && from == 0 {
            return shown;
        }
        match shown.iter().position(|byte| *byte == b'\n') {
            Some(end) if end + 1 < shown.len() => &shown[end + 1..],
            Some(_) | None => shown,
        }
    }
}

/// The last line of a stream, with a bound on its length.
#[derive(Debug)]
pub(super) struct LastLine {
    line: Vec<u8>,
    ended: bool,
    seen: bool,
    limit: usize,
}

impl LastLine {
    /// Keeps at most one byte more than `limit`, so that a longer line shows as longer.
    pub(super) fn new(limit: u64) -> Self {
        Self {
            line: Vec::new(),
            ended: false,
            seen: false,
            limit: usize::try_from(limit).unwrap_or(usize::MAX),
        }
    }

    /// Takes in the next chunk.
    pub(super) fn push(&mut self, chunk: &[u8]) {
        let Some((last, before)) = chunk.split_last() else { return };
        self.seen = true;
        let ends = *last == b'\n';
        let body = if ends { before } else { chunk };
        // `contains` is a fast search, which most chunks of a flood need only
        let newline = body.contains(&b'\n').then(|| body.iter().rposition(|byte| *byte == b'\n')).flatten();
        match newline {
            Some(newline) => self.start(&body[newline + 1..]),
            None if self.ended => self.start(body),
            None => self.extend(body),
        }
        self.ended = ends;
    }

    /// The line without its end; `None` if nothing was ever written.
    pub(super) fn get(&self) -> Option<&[u8]> {
        self.seen.then_some(self.line.as_slice())
    }

    fn start(&mut self, text: &[u8]) {
        self.line.clear();
        self.extend(text);
    }

    fn extend(&mut self, text: &[u8]) {
        let room = self.limit.saturating_add(1).saturating_sub(self.line.len());
        self.line.extend_from_slice(&text[..text.len().min(room)]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn last(text: &[u8], size: usize) -> Option<Vec<u8>> {
        let mut line = LastLine::new(100);
        text.chunks(size).for_each(|chunk| line.push(chunk));
        line.get().map(<[u8]>::to_vec)
    }

    #[test]
    fn last_line_whatever_the_chunks() {
        for size in 1..20 {
            assert_eq!(last(b"one\ntwo\nthree\n", size).unwrap(), b"three");
            assert_eq!(last(b"one\ntwo\nthree", size).unwrap(), b"three");
            assert_eq!(last(b"one\n\n", size).unwrap(), b"");
            assert_eq!(last(b"one\n\ntwo", size).unwrap(), b"two");
            assert_eq!(last(b"\n", size).unwrap(), b"");
        }
        assert_eq!(last(b"", 1), None);
    }

    #[test]
    fn long_last_line_shows_as_too_long() {
        assert_eq!(last(&[b'x'; 500], 7).unwrap().len(), 101);
    }

    #[test]
    fn tail_keeps_whole_lines() {
        let mut tail = Tail::default();
        tail.push(b"short\n");
        assert_eq!(tail.lines(), b"short\n");
        for n in 0..10_000 {
            tail.push(format!("line {n}\n").as_bytes());
        }
        let lines = std::str::from_utf8(tail.lines()).unwrap();
        assert!(lines.starts_with("line ") && lines.ends_with("line 9999\n"), "{lines}");
        assert!(lines.len() <= TAIL_BYTES && lines.len() > TAIL_BYTES - 20);
        tail.push(&vec![b'x'; 100_000]);
        assert_eq!(tail.lines(), [b'x'; TAIL_BYTES]);
    }
}
