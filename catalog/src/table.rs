//! A table: every record of one kind in memory, ordered by revision. The watch and this
//! process's own writes both feed it, so what was just written here is read here at once.

use std::collections::hash_map::Entry as Place;
use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use bytes::Bytes;
use tokio::sync::watch;

use crate::{CatalogError, Key, Record, records};

/// How current a table is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WatchState {
    /// Not all of the store was read yet.
    Loading,
    /// Everything is here, and changes arrive.
    Current,
    /// It was complete; the watch is broken and being opened again.
    Behind,
}

pub(crate) struct Table<T> {
    rows: RwLock<Rows<T>>,
    state: watch::Sender<WatchState>,
    /// Ticks with every change of any table.
    changes: watch::Sender<u64>,
}

struct Rows<T> {
    by_key: HashMap<String, Row<T>>,
    by_index: HashMap<String, BTreeSet<String>>,
    /// Counts the loads: a row an older load has left untouched is gone from the store.
    load: u64,
}

struct Row<T> {
    revision: u64,
    load: u64,
    /// None: deleted at this revision.
    record: Option<Arc<T>>,
}

impl<T: Record> Table<T> {
    pub(crate) fn new(changes: watch::Sender<u64>) -> Self {
        let rows = Rows { by_key: HashMap::new(), by_index: HashMap::new(), load: 0 };
        Self { rows: RwLock::new(rows), state: watch::channel(WatchState::Loading).0, changes }
    }

    pub(crate) fn get(&self, key: &Key) -> Option<Arc<T>> {
        self.read().by_key.get(&key.tail)?.record.clone()
    }

    /// The records that share an index value.
    pub(crate) fn indexed(&self, index: &str) -> Vec<Arc<T>> {
        self.indexed_keys(index).into_iter().map(|(_, record)| record).collect()
    }

    /// The records that share an index value, with their keys.
    pub(crate) fn indexed_keys(&self, index: &str) -> Vec<(Key, Arc<T>)> {
        let rows = self.read();
        let key = |tail: &str| Key { kind: T::KIND, tail: tail.to_owned() };
        let tails = rows.by_index.get(index).into_iter().flatten();
        tails.filter_map(|tail| Some((key(tail), rows.by_key.get(tail)?.record.clone()?))).collect()
    }

    pub(crate) fn all(&self) -> Vec<Arc<T>> {
        self.read().by_key.values().filter_map(|row| row.record.clone()).collect()
    }

    /// Takes one write, unless a newer one of its key is here already. A record that
    /// cannot be read leaves no older one in its place.
    pub(crate) fn apply(&self, key: &Key, revision: u64, value: Option<&Bytes>) -> Result<(), CatalogError> {
        let decoded = value.map(|bytes| records::decode::<T>(key, bytes)).transpose();
        let (record, outcome) = match decoded {
            Ok(record) => (record.map(Arc::new), Ok(())),
            Err(error) => (None, Err(error)),
        };
        self.write().take(&key.tail, revision, record);
        self.tick();
        outcome
    }

    /// A full load begins: what it does not touch is dropped at its end.
    pub(crate) fn begin_load(&self) {
        self.write().load += 1;
        self.broken();
    }

    pub(crate) fn end_load(&self) {
        self.write().sweep();
        self.state.send_replace(WatchState::Current);
        self.tick();
    }

    /// Changes may be missed from here on.
    pub(crate) fn broken(&self) {
        self.state.send_if_modified(|state| {
            let was_current = *state == WatchState::Current;
            if was_current {
                *state = WatchState::Behind;
            }
            was_current
        });
        self.tick();
    }

    fn tick(&self) {
        self.changes.send_modify(|count| *count += 1);
    }

    pub(crate) fn state(&self) -> watch::Receiver<WatchState> {
        self.state.subscribe()
    }

    /// Each critical section leaves the rows whole, also one that panicked.
    fn read(&self) -> RwLockReadGuard<'_, Rows<T>> {
        self.rows.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Rows<T>> {
        self.rows.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Record> Rows<T> {
    fn take(&mut self, tail: &str, revision: u64, record: Option<Arc<T>>) {
        let load = self.load;
        let index = record.as_ref().and_then(|record| record.index().map(str::to_owned));
        let old = match self.by_key.entry(tail.to_owned()) {
            Place::Occupied(place) if place.get().load == load && place.get().revision > revision => return,
            Place::Occupied(mut place) => place.insert(Row { revision, load, record }).record,
            Place::Vacant(place) => {
                place.insert(Row { revision, load, record });
                None
            }
        };
        self.unindex(tail, old.as_deref());
        if let Some(index) = index {
            self.by_index.entry(index).or_default().insert(tail.to_owned());
        }
    }

    fn unindex(&mut self, tail: &str, record: Option<&T>) {
        let Some(index) = record.and_then(Record::index) else { return };
        if let Place::Occupied(mut keys) = self.by_index.entry(index.to_owned()) {
            keys.get_mut().remove(tail);
            if keys.get().is_empty() {
                keys.remove();
            }
        }
    }

    fn sweep(&mut self) {
        let load = self.load;
        let gone: Vec<String> =
            self.by_key.iter().filter(|(_, row)| row.load != load).map(|(tail, _)| tail.clone()).collect();
        for tail in gone {
            let row = self.by_key.remove(&tail);
            self.unindex(&tail, row.and_then(|row| row.record).as_deref());
        }
    }
}

#[cfg(test)]
mod tests;
