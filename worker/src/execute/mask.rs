//! Strikes secrets from what a script writes and returns: plain, and as they look in a URL.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;

const MARK: &[u8] = b"********";

/// A shorter secret is not struck: it would strike ordinary text.
const MIN_SECRET: usize = 6;

/// The texts to strike, the longest first.
#[derive(Debug, Default)]
pub(super) struct Masks {
    patterns: Vec<Vec<u8>>,
}

enum Found {
    Whole(usize),
    /// The text ends within a pattern.
    Begun,
    Nothing,
}

impl Masks {
    pub(super) fn new(secrets: &[String]) -> Self {
        let long = secrets.iter().filter(|secret| secret.len() >= MIN_SECRET);
        let forms: BTreeSet<String> = long.flat_map(|secret| forms(secret)).collect();
        let mut patterns: Vec<Vec<u8>> = forms.into_iter().map(String::into_bytes).collect();
        patterns.sort_by_key(|pattern| std::cmp::Reverse(pattern.len()));
        Self { patterns }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }

    fn at(&self, text: &[u8]) -> Found {
        for pattern in &self.patterns {
            if text.starts_with(pattern) {
                return Found::Whole(pattern.len());
            }
            if pattern.starts_with(text) {
                return Found::Begun;
            }
        }
        Found::Nothing
    }

    /// Where the next pattern could begin.
    fn candidate(&self, text: &[u8]) -> Option<usize> {
        text.iter().position(|byte| self.patterns.iter().any(|pattern| pattern.first() == Some(byte)))
    }

    /// Strikes in `text` and appends to `out`; returns what must wait for more text, unless `last`.
    fn strike<'t>(&self, mut text: &'t [u8], out: &mut Vec<u8>, last: bool) -> &'t [u8] {
        while let Some(at) = self.candidate(text) {
            out.extend_from_slice(&text[..at]);
            text = &text[at..];
            let taken = match self.at(text) {
                Found::Whole(length) => {
                    out.extend_from_slice(MARK);
                    length
                }
                Found::Begun if !last => return text,
                Found::Begun | Found::Nothing => {
                    out.push(text[0]);
                    1
                }
            };
            text = &text[taken..];
        }
        out.extend_from_slice(text);
        &[]
    }

    /// All of `text`, struck.
    pub(super) fn strike_all(&self, text: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(text.len());
        self.strike(text, &mut out, true);
        out
    }

    /// JSON text, struck within its strings; still JSON. A number that holds a secret becomes the mark as a string.
    pub(super) fn strike_json(&self, json: Bytes) -> Bytes {
        if self.is_empty() || !(json.contains(&b'\\') || self.occurs(&json)) {
            return json;
        }
        let mut out = Vec::with_capacity(json.len());
        let mut rest = &json[..];
        while let Some(start) = rest.iter().position(|byte| *byte == b'"') {
            self.strike_bare(&rest[..start], &mut out);
            let end = string_end(&rest[start..]) + start;
            self.strike_string(&rest[start..end], &mut out);
            rest = &rest[end..];
        }
        self.strike_bare(rest, &mut out);
        Bytes::from(out)
    }

    fn occurs(&self, text: &[u8]) -> bool {
        (0..text.len()).any(|at| matches!(self.at(&text[at..]), Found::Whole(_)))
    }

    /// Numbers, literals and punctuation.
    fn strike_bare(&self, text: &[u8], out: &mut Vec<u8>) {
        let punctuation = |byte: &u8| b"[]{},: \t\r\n".contains(byte);
        for token in text.split_inclusive(punctuation) {
            let (word, mark) = match token.split_last() {
                Some((mark, word)) if punctuation(mark) => (word, Some(*mark)),
                Some(_) | None => (token, None),
            };
            if self.occurs(word) {
                out.extend_from_slice(b"\"********\"");
            } else {
                out.extend_from_slice(word);
            }
            out.extend(mark);
        }
    }

    /// A string with its quotes. One with escapes is judged by what it means.
    fn strike_string(&self, quoted: &[u8], out: &mut Vec<u8>) {
        if !quoted.contains(&b'\\') {
            out.extend(self.strike_all(quoted));
            return;
        }
        match serde_json::from_slice::<String>(quoted) {
            Ok(text) if self.occurs(text.as_bytes()) => {
                let struck = self.strike_all(text.as_bytes());
                out.extend(
                    serde_json::Value::from(String::from_utf8_lossy(&struck)).to_string().into_bytes(),
                );
            }
            Ok(_) | Err(_) => out.extend(self.strike_all(quoted)),
        }
    }
}

/// The index behind the closing quote of the string that `text` begins with.
fn string_end(text: &[u8]) -> usize {
    let mut escaped = true;
    for (at, byte) in text.iter().enumerate() {
        match byte {
            b'"' if !escaped => return at + 1,
            b'\\' => escaped = !escaped,
            _ => escaped = false,
        }
    }
    text.len()
}

/// A secret as it is written plain, by `encodeURIComponent`, by Python's `quote` and in a form.
fn forms(secret: &str) -> [String; 5] {
    [
        secret.to_owned(),
        percent(secret, b"-_.~"),
        percent(secret, b"-_.~/"),
        percent(secret, b"-_.~!'()*"),
        percent(secret, b"-_.~ ").replace(' ', "+"),
    ]
}

fn percent(text: &str, kept: &[u8]) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || kept.contains(&byte) {
            out.push(char::from(byte));
        } else {
            let hex = |digit: u8| char::from(b"0123456789ABCDEF"[usize::from(digit)]);
            out.extend(['%', hex(byte >> 4), hex(byte & 15)]);
        }
    }
    out
}

/// Strikes secrets from a stream, also those split over chunks.
#[derive(Debug)]
pub(super) struct MaskStream {
    masks: Arc<Masks>,
    held: Vec<u8>,
}

impl MaskStream {
    pub(super) fn new(masks: Arc<Masks>) -> Self {
        Self { masks, held: Vec::new() }
    }

    /// Appends what of `text` is sure to `out`; only the beginning of a possible secret waits.
    pub(super) fn push(&mut self, text: &[u8], out: &mut Vec<u8>) {
        if self.held.is_empty() {
            self.held.extend_from_slice(self.masks.strike(text, out, false));
        } else {
            let mut joined = std::mem::take(&mut self.held);
            joined.extend_from_slice(text);
            self.held.extend_from_slice(self.masks.strike(&joined, out, false));
        }
    }

    /// Appends what waited.
    pub(super) fn finish(&mut self, out: &mut Vec<u8>) {
        let held = std::mem::take(&mut self.held);
        self.masks.strike(&held, out, true);
    }
}

#[cfg(test)]
mod tests;
