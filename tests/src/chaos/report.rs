//! What came of it all, in figures.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use serde_json::{Value, json};

use super::verify::{Evidence, Rule, Violation, ended_us, time_us, wrong_for};

/// What is counted.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Figures {
    /// Jobs that were accepted.
    pub jobs: usize,
    /// Requests, and how many of them were refused, or broken off.
    pub requests: usize,
    /// Refused.
    pub refused: usize,
    /// Broken off.
    pub broken: usize,
    /// Faults struck, and how many of them did not find their moment.
    pub faults: usize,
    /// Without effect.
    pub missed: Vec<String>,
    /// Starts beyond the first of a try: its worker was lost, or gave it back.
    pub redeliveries: u64,
    /// Starts because a try had failed and its caller had asked for more.
    pub retries: u64,
    /// Dead letters.
    pub dead: usize,
    /// Messages of the store of large arguments: a meta entry and some chunks each. They stay for their age.
    pub stored_args: Option<u64>,
    /// The longest time in which no job ended.
    pub longest_stall: Duration,
    /// The job whose end ended it.
    pub stalled: String,
    /// The longest that a job took from its trigger to its end, without the time in which something was wrong, and which.
    pub slowest: (Duration, String),
    /// From the end of a fault to the next end of a job: the middle one, and the longest.
    pub recovery: (Duration, Duration),
    /// From the first request to the last end.
    pub took: Duration,
}

/// A campaign that is over.
#[derive(Clone, Debug)]
pub struct Report {
    /// The number that repeats it.
    pub seed: u64,
    /// What was counted.
    pub figures: Figures,
    /// What did not hold.
    pub violations: Vec<Violation>,
}

impl Report {
    pub(super) fn of(seed: u64, evidence: &Evidence, violations: Vec<Violation>) -> Self {
        Self { seed, figures: figures(evidence), violations }
    }

    /// Whether everything that was promised was kept.
    pub fn holds(&self) -> bool {
        self.violations.is_empty()
    }

    /// Whether a rule was broken.
    pub fn breaks(&self, rule: Rule) -> bool {
        self.violations.iter().any(|violation| violation.rule == rule)
    }

    /// The same as JSON.
    pub fn json(&self) -> Value {
        let figures = &self.figures;
        let violations: Vec<String> = self.violations.iter().map(ToString::to_string).collect();
        json!({
            "seed": self.seed, "jobs": figures.jobs, "requests": figures.requests, "refused": figures.refused,
            "broken": figures.broken, "faults": figures.faults, "missed": figures.missed,
            "redeliveries": figures.redeliveries, "retries": figures.retries, "dead": figures.dead,
            "stored_args": figures.stored_args, "stalled": figures.stalled,
            "slowest_ms": figures.slowest.0.as_millis(), "slowest": figures.slowest.1,
            "longest_stall_ms": figures.longest_stall.as_millis(),
            "recovery_median_ms": figures.recovery.0.as_millis(),
            "recovery_longest_ms": figures.recovery.1.as_millis(),
            "took_ms": figures.took.as_millis(), "violations": violations,
        })
    }
}

fn figures(evidence: &Evidence) -> Figures {
    let promised = evidence.calls.iter().filter_map(|call| call.heard.promised());
    let promised: BTreeSet<&str> = promised.collect();
    let mut ended: Vec<(i64, &str)> =
        evidence.shown.iter().filter_map(|(id, shown)| Some((ended_us(shown)?, id.as_str()))).collect();
    ended.sort_unstable();
    let ends: Vec<i64> = ended.iter().map(|(at, _)| *at).collect();
    let stall = ended.windows(2).map(|pair| (pair[1].0 - pair[0].0, pair[1].1)).max().unwrap_or((0, ""));
    let count = |what: fn(&super::ledger::Heard) -> bool| {
        evidence.calls.iter().filter(|call| what(&call.heard)).count()
    };
    let attempts = evidence.shown.values().filter_map(|shown| shown["attempt"].as_u64());
    let retries: u64 = evidence.shown.values().map(retries).sum();
    let missed = evidence.struck.iter().filter(|struck| struck.missed);
    let first = evidence.calls.iter().map(|call| call.sent_us).min().unwrap_or(0);
    Figures {
        jobs: promised.len(),
        requests: evidence.calls.len(),
        refused: count(|heard| matches!(heard, super::ledger::Heard::Refused { .. })),
        broken: count(|heard| matches!(heard, super::ledger::Heard::Broken { .. })),
        faults: evidence.struck.len(),
        missed: missed.map(|struck| struck.fault.to_string()).collect(),
        redeliveries: attempts
            .map(|attempts| attempts.saturating_sub(1))
            .sum::<u64>()
            .saturating_sub(retries),
        retries,
        dead: evidence.letters.len(),
        stored_args: evidence.remains.stored_args,
        longest_stall: micros(stall.0),
        stalled: stall.1.to_owned(),
        slowest: slowest(evidence, &promised),
        recovery: recovery(evidence, &ends),
        took: micros(ends.last().map_or(0, |last| last - first)),
    }
}

/// Tries of a job that failed and were not its last.
fn retries(shown: &Value) -> u64 {
    let attempts = shown["attempts"].as_array().map_or(&[][..], Vec::as_slice);
    let before = attempts.split_last().map_or(&[][..], |(_, before)| before);
    before.iter().filter(|attempt| attempt["state"] == "failure").count() as u64
}

fn slowest(evidence: &Evidence, promised: &BTreeSet<&str>) -> (Duration, String) {
    let shown = evidence.shown.iter().filter(|(id, _)| promised.contains(id.as_str()));
    let took = shown.filter_map(|(id, shown)| {
        let (created, ended) = (time_us(&shown["created_at"])?, ended_us(shown)?);
        Some((ended - created - wrong_for(&evidence.struck, created, ended), id))
    });
    took.max().map_or_else(Default::default, |(us, id)| (micros(us), id.clone()))
}

fn recovery(evidence: &Evidence, ends: &[i64]) -> (Duration, Duration) {
    let healed = evidence.struck.iter().map(|struck| struck.healed_us);
    let mut times: Vec<i64> = healed
        .filter_map(|healed| Some(ends.get(ends.partition_point(|end| *end < healed))? - healed))
        .collect();
    times.sort_unstable();
    let middle = times.get(times.len() / 2).copied().unwrap_or(0);
    (micros(middle), micros(times.last().copied().unwrap_or(0)))
}

fn micros(us: i64) -> Duration {
    Duration::from_micros(u64::try_from(us).unwrap_or(0))
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let figures = &self.figures;
        writeln!(f, "seed {}: {} jobs in {:.1?}", self.seed, figures.jobs, figures.took)?;
        writeln!(
            f,
            "  {} requests, {} refused, {} broken off",
            figures.requests, figures.refused, figures.broken
        )?;
        writeln!(
            f,
            "  {} faults, {} redeliveries, {} retries, {} dead letters",
            figures.faults, figures.redeliveries, figures.retries, figures.dead
        )?;
        writeln!(f, "  longest stall {:.1?}, ended by {}", figures.longest_stall, figures.stalled)?;
        writeln!(f, "  recovery: median {:.1?}, longest {:.1?}", figures.recovery.0, figures.recovery.1)?;
        writeln!(f, "  slowest job {:.1?} beside faults: {}", figures.slowest.0, figures.slowest.1)?;
        for missed in &figures.missed {
            writeln!(f, "  did not happen: {missed}")?;
        }
        let mut kinds: BTreeMap<Rule, usize> = BTreeMap::new();
        for violation in &self.violations {
            *kinds.entry(violation.rule).or_default() += 1;
            writeln!(f, "  VIOLATION {violation}")?;
        }
        if self.holds() { writeln!(f, "  everything held") } else { writeln!(f, "  broken: {kinds:?}") }
    }
}
