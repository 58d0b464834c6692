//! Streams of bytes → one text, cleaned and struck. Each stream has its own state, so that what
//! another one writes in between splits neither a character nor a secret, and whole lines are
//! what they take turns with: a line begun waits for its end unless it is made to go on.

use std::sync::Arc;

use super::super::mask::{MaskStream, Masks};
use super::super::text::Utf8Stream;

/// Bytes of one stream that wait for a line's end at most.
const WAIT_BYTES: usize = 16 * 1024;

/// The streams of one script.
pub(super) struct Weave {
    strands: Vec<Strand>,
    /// Whose line the text ends in the middle of.
    open: Option<usize>,
}

struct Strand {
    utf8: Utf8Stream,
    struck: MaskStream,
    clean: Vec<u8>,
    waiting: Vec<u8>,
    ended: bool,
}

impl Weave {
    pub(super) fn new(strands: usize, masks: &Arc<Masks>) -> Self {
        let strands = (0..strands).map(|_| Strand::new(Arc::clone(masks))).collect();
        Self { strands, open: None }
    }

    /// Takes in what stream `at` wrote; appends to `out` what can stand now.
    pub(super) fn push(&mut self, at: usize, bytes: &[u8], out: &mut Vec<u8>) {
        self.strands[at].push(bytes);
        self.settle(at, out);
    }

    /// Bytes of stream `at` are left out here: neither a character nor a secret spans the gap.
    pub(super) fn gap(&mut self, at: usize) {
        self.strands[at].finish();
    }

    /// Stream `at` has ended.
    pub(super) fn end(&mut self, at: usize, out: &mut Vec<u8>) {
        self.strands[at].finish();
        self.strands[at].ended = true;
        self.settle(at, out);
    }

    /// Appends all that waits, but for what may be the beginning of a secret or a character.
    pub(super) fn let_go(&mut self, out: &mut Vec<u8>) {
        // the begun line goes on first
        let owner = self.open.into_iter();
        let others = (0..self.strands.len()).filter(|at| self.open != Some(*at));
        for at in owner.chain(others).collect::<Vec<_>>() {
            self.place(at, self.strands[at].waiting.len(), out);
        }
    }

    /// Whether something waits for a line's end.
    pub(super) fn waits(&self) -> bool {
        self.strands.iter().any(|strand| !strand.waiting.is_empty())
    }

    /// Stream `changed` first: it may end the line that the others wait for.
    fn settle(&mut self, changed: usize, out: &mut Vec<u8>) {
        let others = (0..self.strands.len()).filter(|at| *at != changed);
        for at in [changed].into_iter().chain(others) {
            self.place(at, self.ready(at), out);
            if self.strands[at].ended && self.open == Some(at) {
                self.open = None;
            }
        }
    }

    /// How many bytes of a stream can stand now.
    fn ready(&self, at: usize) -> usize {
        let strand = &self.strands[at];
        let alone = self.strands.iter().enumerate().all(|(other, strand)| other == at || strand.over());
        if alone || strand.waiting.len() >= WAIT_BYTES {
            return strand.waiting.len();
        }
        match self.open {
            Some(owner) if owner != at => 0,
            Some(_) | None if strand.ended => strand.waiting.len(),
            Some(_) | None => strand.whole_lines(),
        }
    }

    fn place(&mut self, at: usize, count: usize, out: &mut Vec<u8>) {
        let Strand { waiting, ended, .. } = &mut self.strands[at];
        let Some(last) = waiting[..count].last() else { return };
        self.open = (*last != b'\n' && !*ended).then_some(at);
        out.extend(waiting.drain(..count));
    }
}

impl Strand {
    fn new(masks: Arc<Masks>) -> Self {
        Self {
            utf8: Utf8Stream::default(),
            struck: MaskStream::new(masks),
            clean: Vec::new(),
            waiting: Vec::new(),
            ended: false,
        }
    }

    fn push(&mut self, bytes: &[u8]) {
        self.clean.clear();
        self.utf8.push(bytes, &mut self.clean);
        self.struck.push(&self.clean, &mut self.waiting);
    }

    fn finish(&mut self) {
        self.clean.clear();
        self.utf8.finish(&mut self.clean);
        self.struck.push(&self.clean, &mut self.waiting);
        self.struck.finish(&mut self.waiting);
    }

    fn over(&self) -> bool {
        self.ended && self.waiting.is_empty()
    }

    fn whole_lines(&self) -> usize {
        self.waiting.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Woven(Weave, Vec<u8>);

    impl Woven {
        fn new(strands: usize) -> Self {
            let masks = Arc::new(Masks::new(&["topsecret".to_owned()]));
            Self(Weave::new(strands, &masks), Vec::new())
        }

        fn push(&mut self, at: usize, text: &str) -> &mut Self {
            self.0.push(at, text.as_bytes(), &mut self.1);
            self
        }

        fn let_go(&mut self) -> &mut Self {
            self.0.let_go(&mut self.1);
            self
        }

        fn end(&mut self, at: usize) -> &mut Self {
            self.0.end(at, &mut self.1);
            self
        }

        fn text(&self) -> &str {
            std::str::from_utf8(&self.1).unwrap()
        }
    }

    #[test]
    fn one_stream_alone_waits_for_nothing() {
        assert_eq!(Woven::new(1).push(0, "a").push(0, "b\nc").text(), "ab\nc");
        assert_eq!(Woven::new(2).end(1).push(0, "a").text(), "a");
        assert_eq!(Woven::new(2).push(0, "a").end(1).text(), "a");
    }

    #[test]
    fn lines_are_not_split_by_another_stream() {
        let mut woven = Woven::new(2);
        woven.push(0, "one ").push(1, "warn\nwar").push(0, "line\nnext").push(1, "n 2\n");
        assert_eq!(woven.text(), "warn\none line\nwarn 2\n");
        assert!(woven.0.waits());
        assert_eq!(woven.end(0).end(1).text(), "warn\none line\nwarn 2\nnext");
        assert!(!woven.0.waits());
    }

    #[test]
    fn a_line_let_go_is_still_finished_first() {
        let mut woven = Woven::new(2);
        woven.push(0, "prompt: ").let_go().push(1, "warn\n");
        assert_eq!(woven.text(), "prompt: ");
        assert_eq!(woven.push(0, "yes\nno").text(), "prompt: yes\nwarn\n");
        woven.let_go().push(1, "late\n").let_go();
        assert_eq!(woven.text(), "prompt: yes\nwarn\nnolate\n");
        // what was split once is not waited for again
        assert_eq!(woven.push(1, "later\n").text(), "prompt: yes\nwarn\nnolate\nlater\n");
    }

    #[test]
    fn the_end_of_a_stream_ends_its_line() {
        let mut woven = Woven::new(2);
        woven.push(0, "begun").let_go().push(1, "warn\n").end(0);
        assert_eq!(woven.text(), "begunwarn\n");
    }

    #[test]
    fn secrets_and_characters_survive_what_comes_between() {
        for at in 0..="é topsecret é".len() {
            let (before, after) = "é topsecret é".as_bytes().split_at(at);
            for forced in [false, true] {
                let mut woven = Woven::new(2);
                woven.0.push(1, before, &mut woven.1);
                woven.push(0, "out top\n");
                if forced {
                    woven.let_go();
                }
                woven.0.push(1, after, &mut woven.1);
                woven.push(0, "secret\n").end(1).end(0);
                let text = woven.text().replace("out top\n", "").replace("secret\n", "");
                assert_eq!(text, "é ******** é", "{at} {forced}");
            }
        }
    }

    #[test]
    fn a_long_line_does_not_wait_for_its_end() {
        let long = "x".repeat(WAIT_BYTES);
        let mut woven = Woven::new(2);
        woven.push(0, "begun").let_go();
        assert_eq!(woven.push(1, &long).text().len(), "begun".len() + WAIT_BYTES);
    }
}
