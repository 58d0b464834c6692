//! The rule: asked, written, brought to the disk, answered; each after the one before.

use std::fmt;

use system_tests::trace::{Call, Kind};

/// What was done in time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kept {
    /// When it began to be written.
    pub(super) written_ns: u64,
    /// When it was on disk.
    pub(super) synced_ns: u64,
}

/// An answer that came too early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Early {
    /// Before anything was written.
    Unwritten,
    /// Before the file was synced, which it was later.
    Unsynced,
    /// The file was never synced.
    NeverSynced,
}

impl fmt::Display for Early {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unwritten => "answered before it was written",
            Self::Unsynced => "answered before it was brought to the disk",
            Self::NeverSynced => "answered, and never brought to the disk",
        })
    }
}

/// Whether `answered` waited for the disk. Lines, not times: within a process the order is what strace saw.
pub(super) fn kept(calls: &[Call], written: &Call, answered: &Call) -> Result<Kept, Early> {
    if answered.begun < written.ended {
        return Err(Early::Unwritten);
    }
    let synced = calls.iter().find(|call| {
        call.kind == Kind::Sync && call.done && call.target == written.target && call.begun > written.ended
    });
    match synced {
        None => Err(Early::NeverSynced),
        Some(synced) if answered.begun < synced.ended => Err(Early::Unsynced),
        Some(synced) => Ok(Kept { written_ns: written.begun_ns, synced_ns: synced.ended_ns }),
    }
}

/// Syncs of such files that came to their end between two moments.
pub(super) fn syncs_between(calls: &[Call], of: impl Fn(&str) -> bool, from: u64, to: u64) -> usize {
    let within = |call: &&Call| call.begun_ns >= from && call.ended_ns <= to;
    calls.iter().filter(|call| call.kind == Kind::Sync && call.done && of(call.path())).filter(within).count()
}
