//! What was found about a long queue, for JSON and for people.

use std::fmt::{self, Display, Formatter};

use serde::Serialize;

use super::memory::MemoryReport;
use super::reads::ReadReport;
use crate::stats::Spread;

/// The promise: what a full queue may change, as a share of an empty one's.
const SHARE: f64 = 0.2;

/// The promise: how long an answer about jobs may take at p99, in milliseconds.
const READ_MS: f64 = 50.0;

/// One backlog beside an empty queue.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct BacklogReport {
    /// `durable` or `relaxed`.
    pub(crate) profile: String,
    /// Jobs in the queue when the questions were asked.
    pub(crate) queued: u64,
    /// Triggers a second while it was filled.
    pub(crate) filled_per_second: f64,
    /// New triggers with an empty queue.
    pub(crate) empty: Acceptance,
    /// New triggers with the backlog.
    pub(crate) full: Acceptance,
    /// Jobs a second that a worker ends of a short queue.
    pub(crate) drained_short: f64,
    /// Jobs a second that it ends of the backlog.
    pub(crate) drained_long: f64,
    /// What is asked about jobs, with the backlog.
    pub(crate) reads: Vec<ReadReport>,
    /// Each process.
    pub(crate) memory: Vec<MemoryReport>,
    /// Jobs whose stored result was fetched and compared.
    pub(crate) compared: usize,
}

/// How new triggers are accepted.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Acceptance {
    /// By one caller.
    pub(crate) latency: Spread,
    /// By many at once, the median of the rounds.
    pub(crate) per_second: f64,
}

impl Display for BacklogReport {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { profile, queued, filled_per_second, empty, full, .. } = self;
        writeln!(f, "backlog, {profile}: {queued} jobs queued, filled at {filled_per_second:.0} triggers/s")?;
        writeln!(f, "  {:<28}{:>10}{:>10}", "", "empty", "full")?;
        let (before, after) = (empty.latency, full.latency);
        line(f, "triggers, c=1, p50 ms", before.p50_ms, after.p50_ms)?;
        writeln!(f, "{}", kept(after.p50_ms <= before.p50_ms * (1.0 + SHARE)))?;
        line(f, "triggers, c=1, p95 ms", before.p95_ms, after.p95_ms)?;
        writeln!(f)?;
        line(f, "triggers/s, c=16", empty.per_second, full.per_second)?;
        writeln!(f, "{}", kept(full.per_second >= empty.per_second * (1.0 - SHARE)))?;
        line(f, "drained jobs/s", self.drained_short, self.drained_long)?;
        writeln!(f, "{}", kept(self.drained_long >= self.drained_short * (1.0 - SHARE)))?;
        self.reads.iter().try_for_each(|read| writeln!(f, "  {read}"))?;
        self.memory.iter().try_for_each(|memory| writeln!(f, "  {memory}"))?;
        writeln!(f, "  {} stored results fetched and as expected", self.compared)
    }
}

fn line(f: &mut Formatter<'_>, what: &str, empty: f64, full: f64) -> fmt::Result {
    write!(f, "  {what:<28}{empty:>10.2}{full:>10.2}")
}

fn kept(kept: bool) -> &'static str {
    if kept { "   within 20 %: kept" } else { "   within 20 %: MISSED" }
}

impl Display for ReadReport {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Spread { p50_ms, p99_ms, .. } = self.latency;
        let kept = if p99_ms < READ_MS { "kept" } else { "MISSED" };
        let what = format!("{}, ms", self.route);
        write!(f, "{what:<28}p50 {p50_ms:>6.2} p99 {p99_ms:>6.2}   under {READ_MS} ms: {kept}")
    }
}

impl Display for MemoryReport {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let what = format!("{}, resident MiB", self.process);
        write!(f, "{what:<28}{:>10.0}{:>10.0}", self.empty_mib, self.full_mib)
    }
}
