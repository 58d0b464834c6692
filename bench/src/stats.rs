//! Percentiles of what was measured: exact, by sorting.

use std::time::Duration;

use serde::Serialize;

/// The spread of one quantity, in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Spread {
    /// How many samples.
    pub(crate) samples: usize,
    /// The median.
    pub(crate) p50_ms: f64,
    /// 95 of 100 are at most this.
    pub(crate) p95_ms: f64,
    /// 99 of 100 are at most this.
    pub(crate) p99_ms: f64,
}

impl Spread {
    /// Of these; all zero without any.
    pub(crate) fn of(times: impl IntoIterator<Item = Duration>) -> Self {
        Self::of_ms(times.into_iter().map(|time| time.as_secs_f64() * 1e3))
    }

    /// Of these milliseconds, which may be below zero.
    pub(crate) fn of_ms(values: impl IntoIterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let at = |percent| nearest_rank(&values, percent);
        Self { samples: values.len(), p50_ms: at(50), p95_ms: at(95), p99_ms: at(99) }
    }
}

/// The smallest value that `percent` of all are at most.
fn nearest_rank(sorted: &[f64], percent: usize) -> f64 {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_nearest_ranks() {
        let spread = Spread::of((1..=100).rev().map(Duration::from_millis));
        assert_eq!(spread, Spread { samples: 100, p50_ms: 50.0, p95_ms: 95.0, p99_ms: 99.0 });
        let spread = Spread::of_ms([3.0, -1.0, 2.0]);
        assert_eq!((spread.p50_ms, spread.p95_ms, spread.p99_ms), (2.0, 3.0, 3.0));
    }

    #[test]
    fn one_and_none() {
        assert!((Spread::of([Duration::from_micros(1500)]).p99_ms - 1.5).abs() < 1e-9);
        assert_eq!(Spread::of([]), Spread::default());
    }
}
