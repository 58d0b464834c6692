//! Trying a job again that has failed: how often, when, and for which failures (contract 4.5).

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Tries after the first at most.
const MAX_RETRIES: u64 = 1000;
/// The longest pause between two tries.
const MAX_PAUSE: Duration = Duration::from_hours(6);
/// Bytes of an expression at most.
const MAX_EXPRESSION: usize = 10_000;

/// What follows a failed try. The constant ones come first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RetryPolicy {
    /// Tries after equal pauses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub constant: Option<Constant>,
    /// Tries after pauses that grow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exponential: Option<Exponential>,
    /// Which failures are tried again; none: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_if: Option<RetryIf>,
}

/// Equal pauses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Constant {
    /// How many tries.
    #[serde(default)]
    pub attempts: u32,
    /// The pause before each, in seconds.
    #[serde(default)]
    pub seconds: u32,
}

/// Growing pauses: `multiplier × seconds^n` seconds after the n-th failure of the job.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exponential {
    /// How many tries.
    #[serde(default)]
    pub attempts: u32,
    /// Of each pause; 1 unless given.
    #[serde(default = "one")]
    pub multiplier: u32,
    /// The base of the power.
    #[serde(default)]
    pub seconds: u32,
    /// How much of a pause, in percent, it may be longer or shorter by chance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub random_factor: Option<u32>,
}

/// A condition of a failure.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RetryIf {
    /// A JavaScript expression over `result` (`{"error": …}`) and `error`; tried again where it is truthy.
    pub expr: String,
}

/// What is wrong with a policy.
#[derive(Debug, thiserror::Error)]
#[error("retry: {0}")]
pub struct InvalidRetry(String);

fn one() -> u32 {
    1
}

impl RetryPolicy {
    /// From its JSON; `null` and `{}` are none.
    ///
    /// # Errors
    /// It is not of this form, or beyond its bounds.
    pub fn parse(json: &str) -> Result<Option<Self>, InvalidRetry> {
        let policy: Option<Self> =
            serde_json::from_str(json).map_err(|error| InvalidRetry(error.to_string()))?;
        policy.filter(|policy| *policy != Self::default()).map(Self::checked).transpose()
    }

    fn checked(self) -> Result<Self, InvalidRetry> {
        let refuse = |why: String| Err(InvalidRetry(why));
        let exponential = self.exponential.unwrap_or_default();
        if exponential.attempts > 0 && exponential.seconds == 0 {
            return refuse("exponential: seconds is 0".to_owned());
        }
        if exponential.attempts > 0 && exponential.multiplier == 0 {
            return refuse("exponential: multiplier is 0".to_owned());
        }
        if exponential.random_factor.is_some_and(|factor| factor > 100) {
            return refuse("exponential: random_factor is over 100 percent".to_owned());
        }
        if self.tries() > MAX_RETRIES {
            return refuse(format!("{} attempts are over {MAX_RETRIES}", self.tries()));
        }
        match self.retry_if.as_ref().map(|condition| condition.expr.trim().len()) {
            Some(0) => refuse("retry_if: expr is empty".to_owned()),
            Some(bytes) if bytes > MAX_EXPRESSION => {
                refuse(format!("retry_if: expr is over {MAX_EXPRESSION} bytes"))
            }
            _ => Ok(self),
        }
    }

    /// Tries after the first.
    fn tries(&self) -> u64 {
        let constant = self.constant.unwrap_or_default().attempts;
        u64::from(constant) + u64::from(self.exponential.unwrap_or_default().attempts)
    }

    /// The pause before the next try after so many failures; none when there is to be none. `chance`, from −1 to 1,
    /// is what a pause is varied by.
    pub fn pause(&self, failures: u32, chance: f64) -> Option<Duration> {
        let constant = self.constant.unwrap_or_default();
        if u64::from(failures) > self.tries() {
            return None;
        }
        let pause = if failures <= constant.attempts {
            Duration::from_secs(constant.seconds.into())
        } else {
            self.exponential.unwrap_or_default().pause(failures, chance)
        };
        Some(pause.min(MAX_PAUSE))
    }
}

impl Exponential {
    fn pause(self, failures: u32, chance: f64) -> Duration {
        let power = u64::from(self.seconds).saturating_pow(failures);
        let seconds = power.saturating_mul(self.multiplier.into()).min(MAX_PAUSE.as_secs());
        let part = f64::from(self.random_factor.unwrap_or(0)) / 100.0;
        Duration::from_secs(seconds).mul_f64(1.0 + part * chance.clamp(-1.0, 1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pauses(json: &str, chance: f64) -> Vec<f64> {
        let policy = RetryPolicy::parse(json).unwrap().unwrap();
        (1..).map_while(|failures| policy.pause(failures, chance)).map(|pause| pause.as_secs_f64()).collect()
    }

    fn close(left: &[f64], right: &[f64]) {
        assert_eq!(left.len(), right.len(), "{left:?}");
        assert!(left.iter().zip(right).all(|(a, b)| (a - b).abs() < 1e-6), "{left:?} is not {right:?}");
    }

    /// The expected values are worked out by hand from contract 4.5.
    #[test]
    fn constant_pauses_come_before_growing_ones() {
        close(&pauses(r#"{"constant":{"attempts":2,"seconds":5}}"#, 0.5), &[5.0, 5.0]);
        close(
            &pauses(r#"{"exponential":{"attempts":3,"multiplier":2,"seconds":3}}"#, 0.0),
            &[6.0, 18.0, 54.0],
        );
        let both = r#"{"constant":{"attempts":1,"seconds":0},"exponential":{"attempts":2,"multiplier":1,"seconds":2}}"#;
        close(&pauses(both, 0.0), &[0.0, 4.0, 8.0]);
    }

    #[test]
    fn chance_varies_a_pause_by_its_factor() {
        let json = r#"{"exponential":{"attempts":1,"multiplier":10,"seconds":1,"random_factor":40}}"#;
        close(&pauses(json, -1.0), &[6.0]);
        close(&pauses(json, 1.0), &[14.0]);
        close(&pauses(json, 7.0), &[14.0]);
    }

    #[test]
    fn no_pause_is_longer_than_six_hours() {
        let json = r#"{"exponential":{"attempts":1000,"multiplier":4000000000,"seconds":4000000000,"random_factor":100}}"#;
        let all = pauses(json, 1.0);
        assert_eq!(all.len(), 1000);
        assert!(all.iter().all(|pause| (*pause - 21_600.0).abs() < 1e-6), "{:?}", &all[..3]);
    }

    #[test]
    fn what_asks_for_nothing_is_none() {
        for nothing in ["null", "{}"] {
            assert!(RetryPolicy::parse(nothing).unwrap().is_none());
        }
        assert!(pauses(r#"{"constant":{"attempts":0,"seconds":9}}"#, 0.0).is_empty());
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (json, named) in [
            ("", "retry:"),
            ("3", "retry:"),
            (r#"{"constants":{}}"#, "constants"),
            (r#"{"constant":{"attempts":-1}}"#, "-1"),
            (r#"{"constant":{"attempts":1,"secs":1}}"#, "secs"),
            (r#"{"constant":{"attempts":1001,"seconds":1}}"#, "1001 attempts"),
            (
                r#"{"constant":{"attempts":4000000000},"exponential":{"attempts":4000000000,"seconds":1}}"#,
                "8000000000",
            ),
            (r#"{"exponential":{"attempts":1,"seconds":0}}"#, "seconds is 0"),
            (r#"{"exponential":{"attempts":1,"seconds":2,"multiplier":0}}"#, "multiplier is 0"),
            (r#"{"exponential":{"attempts":1,"seconds":1,"random_factor":101}}"#, "random_factor"),
            (r#"{"retry_if":{"expr":" "}}"#, "expr is empty"),
        ] {
            let error = RetryPolicy::parse(json).unwrap_err().to_string();
            assert!(error.contains(named), "{json}: {error}");
        }
    }
}
