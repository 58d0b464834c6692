//! The schedule: each of its jobs is that of one tick. That a job runs no more often than it may, and has one end, is
//! judged as of all others.

use super::{Evidence, Rule, Violation};
use crate::chaos::ticks;

pub(super) fn check(evidence: &Evidence) -> Vec<Violation> {
    let runs: Vec<_> = evidence.runs.iter().filter(|run| run.value == ticks::VALUE).collect();
    let begun = runs.iter().map(|run| run.begun_us);
    let Some((first, last)) = begun.clone().min().zip(begun.max()) else {
        return vec![Violation::new(Rule::Ticks, "the schedule", "none of its ticks ran")];
    };
    let ids = ticks::ids(first, last);
    let others = runs.into_iter().filter(|run| !ids.contains(&run.job));
    others.map(|run| Violation::new(Rule::Ticks, &run.job, "it is the job of no tick")).collect()
}
