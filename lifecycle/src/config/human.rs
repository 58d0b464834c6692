//! Durations and sizes as people write them: `250ms`, `15s`, `8MiB`.
//! A duration needs its unit, so that nobody has to guess between seconds and milliseconds.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// A duration written as a whole number and a unit: `250ms`, `15s`, `2m`, `1h`, `7d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HumanDuration(pub Duration);

/// A size in bytes: `8MiB`, `64KiB`, `1GiB`, or a plain number of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HumanSize(pub usize);

/// Why a duration or size could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HumanError {
    /// Not `<number><unit>` with a unit of durations.
    #[error("expected a whole number and a unit, such as 250ms, 15s, 2m, 1h or 7d")]
    Duration,
    /// Not `<number>` or `<number><unit>` with a unit of sizes.
    #[error("expected a number of bytes, or one with a unit, such as 64KiB, 8MiB or 1GiB")]
    Size,
    /// The number does not fit.
    #[error("the number is too large")]
    TooLarge,
}

impl FromStr for HumanDuration {
    type Err = HumanError;

    fn from_str(text: &str) -> Result<Self, HumanError> {
        let (number, unit) = split(text, HumanError::Duration)?;
        let scale_ms = match unit {
            "ms" => 1,
            "s" => 1000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return Err(HumanError::Duration),
        };
        let ms = number.checked_mul(scale_ms).ok_or(HumanError::TooLarge)?;
        Ok(Self(Duration::from_millis(ms)))
    }
}

impl FromStr for HumanSize {
    type Err = HumanError;

    fn from_str(text: &str) -> Result<Self, HumanError> {
        let (number, unit) = split(text, HumanError::Size)?;
        let scale = match unit {
            "" | "B" => 1,
            "KiB" => 1 << 10,
            "MiB" => 1 << 20,
            "GiB" => 1 << 30,
            _ => return Err(HumanError::Size),
        };
        let bytes = number.checked_mul(scale).ok_or(HumanError::TooLarge)?;
        usize::try_from(bytes).map(Self).map_err(|_| HumanError::TooLarge)
    }
}

/// Splits `15s` into the number and the unit.
fn split(text: &str, malformed: HumanError) -> Result<(u64, &str), HumanError> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(end);
    if digits.is_empty() {
        return Err(malformed);
    }
    let number = digits.parse().map_err(|_| HumanError::TooLarge)?;
    Ok((number, unit.trim_start()))
}

impl fmt::Display for HumanDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = self.0.as_millis();
        let units = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1000, "s")];
        let fits = units.into_iter().find(|(scale, _)| ms != 0 && ms.is_multiple_of(*scale));
        let (scale, unit) = fits.unwrap_or((1, "ms"));
        write!(f, "{}{unit}", ms / scale)
    }
}

impl fmt::Display for HumanSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
        let fits = units.into_iter().find(|(scale, _)| self.0 != 0 && self.0.is_multiple_of(*scale));
        let (scale, unit) = fits.unwrap_or((1, ""));
        write!(f, "{}{unit}", self.0 / scale)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_need_a_unit() {
        assert_eq!("250ms".parse(), Ok(HumanDuration(Duration::from_millis(250))));
        assert_eq!("15s".parse(), Ok(HumanDuration(Duration::from_secs(15))));
        assert_eq!("2m".parse(), Ok(HumanDuration(Duration::from_mins(2))));
        assert_eq!("1h".parse(), Ok(HumanDuration(Duration::from_hours(1))));
        for bad in ["", "15", "s", "-1s", "1.5s", "15 parsecs", "15S"] {
            assert_eq!(bad.parse::<HumanDuration>(), Err(HumanError::Duration), "{bad}");
        }
        assert_eq!("18446744073709551615d".parse::<HumanDuration>(), Err(HumanError::TooLarge));
        assert_eq!("99999999999999999999s".parse::<HumanDuration>(), Err(HumanError::TooLarge));
    }

    #[test]
    fn sizes_may_be_plain() {
        assert_eq!("8MiB".parse(), Ok(HumanSize(8 << 20)));
        assert_eq!("64KiB".parse(), Ok(HumanSize(64 << 10)));
        assert_eq!("123".parse(), Ok(HumanSize(123)));
        for bad in ["", "MiB", "8MB", "8mib", "-8", "8.5MiB"] {
            assert_eq!(bad.parse::<HumanSize>(), Err(HumanError::Size), "{bad}");
        }
        assert_eq!("18446744073709551615GiB".parse::<HumanSize>(), Err(HumanError::TooLarge));
    }

    #[test]
    fn both_print_what_they_parse() {
        for text in ["0ms", "250ms", "15s", "90m", "1h", "7d"] {
            assert_eq!(text.parse::<HumanDuration>().unwrap().to_string(), text);
        }
        for text in ["0", "1", "1025", "64KiB", "8MiB", "1GiB"] {
            assert_eq!(text.parse::<HumanSize>().unwrap().to_string(), text);
        }
    }
}
