//! Atomic batches (NATS ADR-50): all writes of a batch happen or none does, each under
//! the revision it expects of its key.

use std::time::Duration;

use async_nats::HeaderMap;
use bytes::Bytes;

use crate::{CatalogError, Key, Record, records};

/// A record over this is refused; NATS takes 1 MiB, headers included.
const MAX_RECORD_BYTES: usize = 768 * 1024;

/// What a write expects of its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// Nothing was ever written there.
    Absent,
    /// Its last write (a deletion too) has this revision.
    Revision(u64),
    /// Whatever is there.
    Any,
}

/// Writes that happen together or not at all.
#[derive(Debug, Default)]
pub struct Batch {
    pub(crate) writes: Vec<Write>,
}

/// One write of a batch.
#[derive(Clone, Debug)]
pub(crate) struct Write {
    pub(crate) key: Key,
    /// None: a deletion.
    pub(crate) value: Option<Bytes>,
    expect: Expect,
    ttl: Option<Duration>,
}

/// What a batch became.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Committed {
    /// The revision of its first write; the others follow without a gap.
    pub first_revision: u64,
}

impl Batch {
    /// A batch without writes.
    pub fn new() -> Self {
        Self::default()
    }

    /// Writes a record.
    ///
    /// # Errors
    /// [`CatalogError::Rejected`] when it is over 768 KiB.
    pub fn put<T: Record>(&mut self, key: Key, record: &T, expect: Expect) -> Result<(), CatalogError> {
        self.add(key, record, expect, None)
    }

    /// Writes a record that expires after `ttl` (whole seconds).
    ///
    /// # Errors
    /// [`CatalogError::Rejected`] when it is over 768 KiB.
    pub fn put_for<T: Record>(&mut self, key: Key, record: &T, ttl: Duration) -> Result<(), CatalogError> {
        self.add(key, record, Expect::Any, Some(ttl))
    }

    /// Deletes a key: what remains is a mark that it was deleted.
    pub fn delete(&mut self, key: Key, expect: Expect) {
        self.writes.push(Write { key, value: None, expect, ttl: None });
    }

    fn add<T: Record>(
        &mut self,
        key: Key,
        record: &T,
        expect: Expect,
        ttl: Option<Duration>,
    ) -> Result<(), CatalogError> {
        let value = records::encode(&key, record)?;
        if value.len() > MAX_RECORD_BYTES {
            let size = value.len();
            return Err(CatalogError::Rejected(format!(
                "{key} would be {size} bytes, the limit is {MAX_RECORD_BYTES}"
            )));
        }
        self.writes.push(Write { key, value: Some(value.into()), expect, ttl });
        Ok(())
    }
}

impl Write {
    pub(crate) fn payload(&self) -> Bytes {
        self.value.clone().unwrap_or_default()
    }

    /// Its headers as the `sequence`th of `count` writes of the batch `id`.
    pub(crate) fn headers(&self, id: &str, sequence: usize, count: usize) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert("Nats-Batch-Id", id);
        headers.insert("Nats-Batch-Sequence", sequence.to_string().as_str());
        if sequence == count {
            headers.insert("Nats-Batch-Commit", "1");
        }
        if let Some(revision) = self.expect.revision() {
            headers.insert("Nats-Expected-Last-Subject-Sequence", revision.to_string().as_str());
        }
        if self.value.is_none() {
            headers.insert("KV-Operation", "DEL");
        }
        if let Some(ttl) = self.ttl {
            headers.insert("Nats-TTL", format!("{}s", ttl.as_secs().max(1)).as_str());
        }
        headers
    }
}

impl Expect {
    fn revision(self) -> Option<u64> {
        match self {
            Self::Absent => Some(0),
            Self::Revision(revision) => Some(revision),
            Self::Any => None,
        }
    }
}
