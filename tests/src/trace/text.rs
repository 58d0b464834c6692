//! What went over a connection one way, as one text: a message may come in pieces, and several in one.

use std::collections::BTreeMap;

use super::call::{Call, Kind, Target};

/// The bytes of one connection, one way.
#[derive(Debug)]
pub struct Told {
    /// Which connection.
    pub target: Target,
    /// All of it, as a C string would write it.
    pub text: String,
    /// Where each call's part ends, and its place among all calls.
    parts: Vec<(usize, usize)>,
}

impl Told {
    pub(super) fn all(calls: &[Call], kind: Kind) -> Vec<Self> {
        let mut all: BTreeMap<String, Self> = BTreeMap::new();
        for (place, call) in calls.iter().enumerate().filter(|(_, call)| call.kind == kind && call.done) {
            let Target::Socket(number) = &call.target else { continue };
            let told = all.entry(number.clone()).or_insert_with(|| Self {
                target: call.target.clone(),
                text: String::new(),
                parts: Vec::new(),
            });
            told.text.push_str(&call.text);
            told.parts.push((told.text.len(), place));
        }
        all.into_values().collect()
    }

    /// The place among all calls of the one that carried this byte.
    pub fn carried(&self, byte: usize) -> usize {
        let part = self.parts.partition_point(|(end, _)| *end <= byte);
        self.parts[part.min(self.parts.len() - 1)].1
    }

    /// Every place of `what` in the text.
    pub fn places<'a>(&'a self, what: &'a str) -> impl Iterator<Item = usize> + 'a {
        self.text.match_indices(what).map(|(place, _)| place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(socket: &str, text: &str) -> Call {
        Call {
            kind: Kind::Read,
            target: Target::Socket(socket.to_owned()),
            text: text.to_owned(),
            begun: 0,
            ended: 0,
            begun_ns: 0,
            ended_ns: 0,
            done: true,
        }
    }

    #[test]
    fn a_word_in_two_pieces_is_found_in_both() {
        let calls = [read("1", "ab"), read("2", "zzz"), read("1", "cd"), read("1", "ab")];
        let told = Told::all(&calls, Kind::Read);
        assert_eq!(told.iter().map(|told| told.text.as_str()).collect::<Vec<_>>(), ["abcdab", "zzz"]);
        assert_eq!(told[0].places("bc").collect::<Vec<_>>(), [1]);
        assert_eq!((told[0].carried(1), told[0].carried(2), told[0].carried(4)), (0, 2, 3));
        assert!(Told::all(&calls, Kind::Write).is_empty());
    }
}
