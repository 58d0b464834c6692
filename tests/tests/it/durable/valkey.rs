//! Valkey: a script is asked for, its writes go into the append-only file, and it is answered.

use std::path::Path;

use system_tests::trace::{Call, Kind, Trace};

use super::keeping::{Early, Kept, kept, syncs_between};

/// What Valkey did.
pub(super) struct Valkey(Trace);

impl Valkey {
    pub(super) async fn of(file: &Path) -> Self {
        Self(Trace::whole(file).await)
    }

    pub(super) fn file(&self) -> String {
        self.0.file().display().to_string()
    }

    /// Whether a job's end was on disk when whoever wrote it was told so.
    pub(super) fn ended(&self, job: &str) -> Result<Kept, Early> {
        self.changed(&[&format!(":res:{job}")])
    }

    /// Whether it was on disk for which job a key stands when whoever reserved it was told so.
    pub(super) fn reserved(&self, job: &str) -> Result<Kept, Early> {
        self.changed(&[":key:", job])
    }

    pub(super) fn syncs_between(&self, from: u64, to: u64) -> usize {
        syncs_between(&self.0.calls, is_log, from, to)
    }

    /// The first write to the file with all of these words, and the answer to who asked for it.
    fn changed(&self, words: &[&str]) -> Result<Kept, Early> {
        let has = |call: &Call| words.iter().all(|word| call.text.contains(word));
        let calls = &self.0.calls;
        let written = calls.iter().find(|call| call.kind == Kind::Write && is_log(call.path()) && has(call));
        let written = written.unwrap_or_else(|| panic!("{words:?} was never written"));
        let before = || calls.iter().filter(|call| call.is_socket() && call.ended < written.begun);
        let asked = before().rfind(|call| call.kind == Kind::Read && has(call));
        let asked = asked.unwrap_or_else(|| panic!("nobody asked for {words:?}"));
        // it may have come in several pieces, of which the last one counts
        let ours = || calls.iter().filter(|call| call.target == asked.target);
        let asked = ours().rfind(|call| call.kind == Kind::Read && call.ended < written.begun);
        let asked = asked.unwrap_or_else(|| panic!("nobody asked for {words:?}"));
        let answered = ours().find(|call| call.kind == Kind::Write && call.begun > asked.ended);
        kept(calls, written, answered.unwrap_or_else(|| panic!("no answer to {words:?}")))
    }
}

fn is_log(path: &str) -> bool {
    path.contains("/appendonlydir/") && path.ends_with(".incr.aof")
}
