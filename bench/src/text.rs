//! What a run found, for people.

use std::fmt::{self, Display, Formatter};

use crate::facts::Facts;
use crate::launcher::{self, LauncherReport, PROGRAM};
use crate::overhead::{Overhead, PROMISE_MS};
use crate::report::{CaseReport, ProfileReport, Report};
use crate::stats::Spread;

impl Display for Report {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.host)?;
        if !self.launcher.is_empty() {
            writeln!(f, "\nlauncher: {PROGRAM}, from the order to the end of everything, ms")?;
            let [level, n, p50, p95, added, ready] =
                ["level", "n", "p50", "p95", "added", "made ready before"];
            writeln!(f, "  {level:<12}{n:>6}{p50:>9}{p95:>9}{added:>9}{ready:>19}")?;
        }
        self.launcher.iter().try_for_each(|launcher| writeln!(f, "  {launcher}"))?;
        if let Some(backlog) = &self.backlog {
            write!(f, "\n{backlog}")?;
        }
        for profile in &self.profiles {
            write!(f, "\n{profile}")?;
        }
        if !self.warnings.is_empty() {
            writeln!(f)?;
        }
        self.warnings.iter().try_for_each(|warning| writeln!(f, "warning: {warning}"))
    }
}

impl Display for Facts {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} cores, {} MiB, Linux {}, load {:.2}",
            self.cores, self.memory_mib, self.kernel, self.load
        )?;
        let Spread { p50_ms, p95_ms, .. } = self.fdatasync;
        writeln!(f, "append 256 B + fdatasync: p50 {p50_ms:.3} ms, p95 {p95_ms:.3} ms")?;
        self.programs.iter().try_for_each(|(name, version)| writeln!(f, "{name}: {version}"))
    }
}

impl Display for LauncherReport {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Spread { samples, p50_ms, p95_ms, .. } = self.order_to_end;
        write!(f, "{:<12}{samples:>6}{p50_ms:>9.2}{p95_ms:>9.2}{:>9.2}", self.level, self.added_ms)?;
        let Some(ready) = self.made_ready else { return Ok(()) };
        let kept = if self.added_ms <= launcher::PROMISE_MS { "kept" } else { "MISSED" };
        write!(f, "{:>19.2}   at most {} ms added: {kept}", ready.p50_ms, launcher::PROMISE_MS)
    }
}

impl Display for ProfileReport {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "profile {}", self.profile)?;
        let head = ["what", "webhook", "c", "n", "req/s", "p50 ms", "p95 ms", "p99 ms", "jobs/s"];
        let [what, webhook, c, n, rate, p50, p95, p99, jobs] = head;
        writeln!(f, "  {what:<8}{webhook:<8}{c:>4}{n:>7}{rate:>9}{p50:>9}{p95:>9}{p99:>9}{jobs:>9}")?;
        self.cases.iter().try_for_each(|case| writeln!(f, "  {case}"))?;
        if !self.overhead.is_empty() {
            writeln!(f, "  overhead: sync, concurrency 1, latency less fork-to-exit of the same job, ms")?;
        }
        self.overhead.iter().try_for_each(|overhead| write!(f, "{overhead}"))?;
        let Self { compared, left_in_queue, .. } = self;
        writeln!(
            f,
            "  {compared} stored results fetched and as expected; {left_in_queue} messages left in the queue"
        )
    }
}

impl Display for CaseReport {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { what, mode, concurrency, per_second, latency, worked_off_per_second } = self;
        let Spread { samples, p50_ms, p95_ms, p99_ms } = latency;
        write!(f, "{what:<8}{mode:<8}{concurrency:>4}{samples:>7}{per_second:>9.0}")?;
        write!(f, "{p50_ms:>9.2}{p95_ms:>9.2}{p99_ms:>9.2}")?;
        worked_off_per_second.map_or(Ok(()), |rate| write!(f, "{rate:>9.0}"))
    }
}

impl Display for Overhead {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let promise = match (self.script, self.kept()) {
            ("bash", true) => format!(", under {PROMISE_MS} ms: kept"),
            ("bash", false) => format!(", under {PROMISE_MS} ms: MISSED"),
            _ => String::new(),
        };
        let Spread { samples, p50_ms, p95_ms, .. } = self.added;
        writeln!(f, "    {:<8}p50 {p50_ms:.2}, p95 {p95_ms:.2} of {samples}{promise}", self.script)?;
        let line = |f: &mut Formatter<'_>, name: &str, spread: &Spread| {
            writeln!(f, "      {name:<34}{:>8.2}{:>8.2}", spread.p50_ms, spread.p95_ms)
        };
        line(f, "caller's latency", &self.latency)?;
        line(f, "fork to exit", &self.run)?;
        line(f, "sent to job made", &self.to_created)?;
        line(f, "to start write (publish, pull)", &self.to_started)?;
        line(f, "around the process", &self.around_run)?;
        line(f, "end write to answered", &self.to_answered)
    }
}
