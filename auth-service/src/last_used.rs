//! When a token was last used, exact to a day: written behind the answers, several
//! tokens in one batch, and forgotten rather than waited for.

use std::collections::HashSet;
use std::time::Duration;

use catalog::{Batch, Catalog, CatalogError, Expect, Key, Token, now_ms};
use tokio::sync::mpsc;
use tokio::time::timeout;

/// A use is written when the last one written is older than this.
const EXACT_TO_MS: i64 = 24 * 3_600_000;
/// Tokens waiting to be written; further ones are written at their next use.
const WAITING: usize = 1024;
/// How long a batch gathers after its first token.
const GATHER: Duration = Duration::from_secs(1);
/// The most tokens of one batch.
const BATCH: usize = 100;

/// Where uses are noted.
#[derive(Clone)]
pub(crate) struct LastUsed {
    notes: mpsc::Sender<Key>,
}

/// Where they are written from.
pub(crate) struct Writer {
    notes: mpsc::Receiver<Key>,
}

pub(crate) fn channel() -> (LastUsed, Writer) {
    let (sender, receiver) = mpsc::channel(WAITING);
    (LastUsed { notes: sender }, Writer { notes: receiver })
}

impl LastUsed {
    /// Notes that a token is in use now; never waits.
    pub(crate) fn note(&self, sha256: &[u8], token: &Token) {
        if token.last_used_at_ms.is_none_or(|last| now_ms() - last > EXACT_TO_MS) {
            // a full queue means only that this use is noted at the next one
            drop(self.notes.try_send(Key::token(sha256)));
        }
    }
}

impl Writer {
    /// Writes what is noted until nobody can note any more.
    pub(crate) async fn run(mut self, catalog: Catalog) {
        while let Some(first) = self.notes.recv().await {
            let keys = self.gather(first).await;
            if let Err(error) = write(&catalog, keys).await {
                tracing::debug!(%error, "uses of tokens were not written");
            }
        }
    }

    async fn gather(&mut self, first: Key) -> HashSet<Key> {
        let mut keys = HashSet::from([first]);
        let more = async {
            while keys.len() < BATCH {
                let Some(key) = self.notes.recv().await else { return };
                keys.insert(key);
            }
        };
        // the bound is the end of gathering, not a failure
        let _ = timeout(GATHER, more).await;
        keys
    }
}

async fn write(catalog: &Catalog, keys: HashSet<Key>) -> Result<(), CatalogError> {
    let mut batch = Batch::new();
    let mut any = false;
    for key in keys {
        // a token revoked meanwhile stays revoked: its key is gone, or its revision another
        if let Some((revision, Some(token))) = catalog.read::<Token>(&key).await? {
            let used = Token { last_used_at_ms: Some(now_ms()), ..token };
            batch.put(key, &used, Expect::Revision(revision))?;
            any = true;
        }
    }
    if any { catalog.commit(&batch).await.map(drop) } else { Ok(()) }
}
