//! What is put away for later, within bounds: of each kind the one that was used last is taken first, and of all the
//! one that was not used for longest goes when there are too many.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;

/// How many processes may wait for a next job.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// So many.
    pub count: usize,
    /// So much memory of all together, in KiB.
    pub kib: u64,
}

/// Items by key.
#[derive(Debug)]
pub(super) struct Shelf<K, T> {
    bounds: Bounds,
    /// By the turn in which they were put here: the oldest first.
    items: BTreeMap<u64, Item<K, T>>,
    turns: HashMap<K, Vec<u64>>,
    kib: u64,
    next: u64,
}

#[derive(Debug)]
struct Item<K, T> {
    key: K,
    thing: T,
    kib: u64,
}

impl<K: Clone + Eq + Hash, T> Shelf<K, T> {
    pub(super) fn new(bounds: Bounds) -> Self {
        Self { bounds, items: BTreeMap::new(), turns: HashMap::new(), kib: 0, next: 0 }
    }

    /// Puts one here; its turn, and those that have to go for it, itself perhaps among them.
    pub(super) fn put(&mut self, key: K, thing: T, kib: u64) -> (u64, Vec<T>) {
        let turn = self.next;
        self.next += 1;
        self.kib += kib;
        self.turns.entry(key.clone()).or_default().push(turn);
        self.items.insert(turn, Item { key, thing, kib });
        let mut gone = Vec::new();
        while self.items.len() > self.bounds.count || self.kib > self.bounds.kib {
            let Some((_, oldest)) = self.pop_oldest() else { break };
            gone.push(oldest);
        }
        (turn, gone)
    }

    /// Takes that of this key that was put here last.
    pub(super) fn take(&mut self, key: &K) -> Option<T> {
        let turn = *self.turns.get(key)?.last()?;
        self.remove(turn)
    }

    /// The oldest, by its turn.
    pub(super) fn oldest(&self) -> Option<(u64, &T)> {
        self.items.first_key_value().map(|(turn, item)| (*turn, &item.thing))
    }

    /// Takes the oldest.
    pub(super) fn pop_oldest(&mut self) -> Option<(u64, T)> {
        let turn = *self.items.first_key_value()?.0;
        self.remove(turn).map(|thing| (turn, thing))
    }

    /// The first at or after this turn.
    pub(super) fn from(&mut self, turn: u64) -> Option<(u64, &mut T)> {
        self.items.range_mut(turn..).next().map(|(turn, item)| (*turn, &mut item.thing))
    }

    /// How many are here, and how much memory they have.
    pub(super) fn size(&self) -> (usize, u64) {
        (self.items.len(), self.kib)
    }

    fn remove(&mut self, turn: u64) -> Option<T> {
        let Item { key, thing, kib } = self.items.remove(&turn)?;
        self.kib -= kib;
        if let Some(turns) = self.turns.get_mut(&key) {
            turns.retain(|other| *other != turn);
            if turns.is_empty() {
                self.turns.remove(&key);
            }
        }
        Some(thing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shelf(count: usize, kib: u64) -> Shelf<&'static str, u32> {
        Shelf::new(Bounds { count, kib })
    }

    #[test]
    fn the_one_used_last_comes_first_and_the_oldest_goes() {
        let mut shelf = shelf(3, 1000);
        for (key, thing) in [("a", 1), ("a", 2), ("b", 3)] {
            assert!(shelf.put(key, thing, 10).1.is_empty());
        }
        assert_eq!(shelf.take(&"a"), Some(2));
        assert_eq!(shelf.take(&"c"), None);
        shelf.put("a", 4, 10);
        assert_eq!(shelf.put("c", 5, 10).1, [1]);
        assert_eq!((shelf.take(&"a"), shelf.take(&"a")), (Some(4), None));
        assert_eq!(shelf.size(), (2, 20));
        assert!(shelf.turns.len() == 2 && !shelf.turns.contains_key("a"));
    }

    #[test]
    fn memory_is_bounded_too() {
        let mut shelf = shelf(100, 100);
        shelf.put("a", 1, 60);
        shelf.put("b", 2, 30);
        assert_eq!(shelf.put("c", 3, 50).1, [1]);
        // one that does not fit at all leaves nobody else
        assert_eq!(shelf.put("d", 4, 101).1, [2, 3, 4]);
        assert_eq!(shelf.size(), (0, 0));
        assert!(shelf.turns.is_empty());
    }

    #[test]
    fn turns_go_on() {
        let mut shelf = shelf(10, 1000);
        let turns: Vec<u64> = (0..3).map(|n| shelf.put("a", n, 1).0).collect();
        assert_eq!(turns, [0, 1, 2]);
        assert_eq!(shelf.oldest(), Some((0, &0)));
        assert_eq!(shelf.from(1).map(|(turn, thing)| (turn, *thing)), Some((1, 1)));
        shelf.pop_oldest();
        assert_eq!(shelf.from(0).map(|(turn, _)| turn), Some(1));
        assert_eq!(shelf.from(3), None);
    }
}
