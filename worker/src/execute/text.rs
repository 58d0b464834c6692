//! Any bytes → text that a log can hold, chunk by chunk: invalid UTF-8 becomes U+FFFD,
//! NUL bytes vanish, characters split over two chunks are joined.

/// Carries the unfinished character from one chunk to the next.
#[derive(Debug, Default)]
pub(super) struct Utf8Stream {
    unfinished: Vec<u8>,
}

impl Utf8Stream {
    /// Appends the text of `chunk` to `out`.
    pub(super) fn push(&mut self, chunk: &[u8], out: &mut Vec<u8>) {
        if self.unfinished.is_empty() {
            self.append(chunk, out);
        } else {
            let mut joined = std::mem::take(&mut self.unfinished);
            joined.extend_from_slice(chunk);
            self.append(&joined, out);
        }
    }

    /// Appends what an unfinished last character leaves.
    pub(super) fn finish(&mut self, out: &mut Vec<u8>) {
        if !std::mem::take(&mut self.unfinished).is_empty() {
            out.extend_from_slice("\u{fffd}".as_bytes());
        }
    }

    fn append(&mut self, mut bytes: &[u8], out: &mut Vec<u8>) {
        loop {
            let Err(error) = std::str::from_utf8(bytes) else {
                return without_nul(bytes, out);
            };
            let (valid, rest) = bytes.split_at(error.valid_up_to());
            without_nul(valid, out);
            let Some(length) = error.error_len() else {
                self.unfinished = rest.to_vec();
                return;
            };
            out.extend_from_slice("\u{fffd}".as_bytes());
            bytes = &rest[length..];
        }
    }
}

fn without_nul(bytes: &[u8], out: &mut Vec<u8>) {
    if bytes.contains(&0) {
        out.extend(bytes.iter().filter(|byte| **byte != 0));
    } else {
        out.extend_from_slice(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(chunks: &[&[u8]]) -> String {
        let (mut stream, mut out) = (Utf8Stream::default(), Vec::new());
        for chunk in chunks {
            stream.push(chunk, &mut out);
        }
        stream.finish(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn characters_survive_any_split() {
        let whole = "aé€😀b".as_bytes();
        for at in 0..whole.len() {
            assert_eq!(text(&[&whole[..at], &whole[at..]]), "aé€😀b");
        }
        let bytes: Vec<&[u8]> = whole.chunks(1).collect();
        assert_eq!(text(&bytes), "aé€😀b");
    }

    #[test]
    fn rubbish_becomes_a_mark() {
        assert_eq!(text(&[b"a\xff\xfeb", b"\0c\0"]), "a\u{fffd}\u{fffd}bc");
        assert_eq!(text(&[b"\xe2\x82"]), "\u{fffd}");
        assert_eq!(text(&[b"\xe2\x82", b"x"]), "\u{fffd}x");
        assert_eq!(text(&[]), "");
    }
}
