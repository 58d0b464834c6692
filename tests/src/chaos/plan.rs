//! Which faults come in which order: a pure function of the seed.

use std::fmt;
use std::time::Duration;

use super::fault::Fault;
use super::seed::Seed;

/// Milliseconds that a fault lasts at least, and how many more it may.
const LASTS: (u64, u64) = (300, 2900);
/// The same for the time before it.
const QUIET: (u64, u64) = (200, 1300);

/// One fault of a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// How long nothing goes wrong before it.
    pub quiet: Duration,
    /// What goes wrong.
    pub fault: Fault,
    /// For how long.
    pub lasts: Duration,
}

/// All faults of a run, in their order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The number that repeats it.
    pub seed: u64,
    /// Its steps.
    pub steps: Vec<Step>,
}

impl Plan {
    /// So many of these faults: each once in random order, then again in another.
    pub fn of(seed: u64, faults: &[Fault], steps: usize) -> Self {
        let mut random = Seed::new(seed);
        let mut planned = Vec::new();
        while planned.len() < steps && !faults.is_empty() {
            let mut round = faults.to_vec();
            random.shuffle(&mut round);
            planned.extend(round.into_iter().map(|fault| step(fault, &mut random)));
        }
        planned.truncate(steps);
        Self { seed, steps: planned }
    }
}

fn step(fault: Fault, random: &mut Seed) -> Step {
    let mut time = |(least, more)| Duration::from_millis(least + random.below(more));
    Step { quiet: time(QUIET), fault, lasts: time(LASTS) }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {}: {} faults at most", self.seed, self.steps.len())?;
        for (number, step) in self.steps.iter().enumerate() {
            let (quiet, lasts) = (step.quiet.as_millis(), step.lasts.as_millis());
            writeln!(f, "  {:3}. after {quiet:4} ms: {}, for {lasts} ms", number + 1, step.fault)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_is_its_seed_and_has_every_fault() {
        let all = Fault::all();
        let plan = Plan::of(3, &all, all.len());
        assert_eq!(plan, Plan::of(3, &all, all.len()));
        assert_ne!(plan, Plan::of(4, &all, all.len()));
        assert!(all.iter().all(|fault| plan.steps.iter().any(|step| step.fault == *fault)));
    }
}
