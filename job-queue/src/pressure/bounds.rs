//! Where new jobs are refused, and what is said then.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use proto::Tag;

/// A part of a limit, in per cent: from 1 to 100.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Share(u8);

/// What is no [`Share`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a share from 1% to 100%, such as 80%")]
pub struct NoShare;

impl FromStr for Share {
    type Err = NoShare;

    fn from_str(text: &str) -> Result<Self, NoShare> {
        let number = text.strip_suffix('%').ok_or(NoShare)?;
        let number = Some(number).filter(|number| number.bytes().all(|byte| byte.is_ascii_digit()));
        let percent: u8 = number.and_then(|number| number.parse().ok()).ok_or(NoShare)?;
        if (1..=100).contains(&percent) { Ok(Self(percent)) } else { Err(NoShare) }
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", self.0)
    }
}

impl Share {
    /// Whether so much is this share of the limit, or more.
    pub(super) fn reached(self, used: u64, limit: u64) -> bool {
        u128::from(used) * 100 >= u128::from(limit) * u128::from(self.0)
    }

    /// How many per cent of the limit so much is, at most 999.
    pub fn percent(used: u64, limit: u64) -> u16 {
        let percent = u128::from(used) * 100 / u128::from(limit.max(1));
        u16::try_from(percent.min(999)).unwrap_or(999)
    }
}

/// Where new jobs are refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// At which share of a stream's size.
    pub stream_share: Share,
    /// At which share of Redis' memory.
    pub redis_share: Share,
    /// The size of Redis' memory, beside what the server says of itself; none: only that counts.
    pub redis_bytes: Option<u64>,
    /// The size of the stream of timers: it has none of its own.
    pub timers_bytes: u64,
    /// The size of the store of large arguments, likewise.
    pub args_bytes: u64,
    /// How long the oldest job of a tag may wait for a worker before new ones are refused; none: as long as it takes.
    pub oldest_waits: Option<Duration>,
}

/// A stream that fills up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Of jobs that may start.
    Jobs,
    /// Of jobs that are put aside, and of schedules' ticks.
    Timers,
    /// Of large arguments.
    Args,
}

impl Stream {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Jobs => "jobs",
            Self::Timers => "timers",
            Self::Args => "args",
        }
    }
}

/// In what a stream's size is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Bytes.
    Bytes,
    /// Messages.
    Messages,
}

/// Why a new job may not come in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A stream fills up.
    #[error("the stream of {} is at {used} of {limit} {unit:?}, refused from {share} on", stream.as_str())]
    Stream {
        /// Which.
        stream: Stream,
        /// How much it holds.
        used: u64,
        /// How much it may hold.
        limit: u64,
        /// Of what.
        unit: Unit,
        /// From which share of it on new jobs are refused.
        share: Share,
    },
    /// Redis runs out of memory.
    #[error("Redis is at {used} of {limit} bytes, refused from {share} on")]
    Memory {
        /// How many bytes it uses.
        used: u64,
        /// How many it may use.
        limit: u64,
        /// From which share of it on new jobs are refused.
        share: Share,
    },
    /// Jobs of this tag wait for too long.
    #[error("the oldest job of `{tag}` waits since {} s, refused above {} s", waited.as_secs(), bound.as_secs())]
    Waits {
        /// The tag.
        tag: Tag,
        /// How long its oldest job has been waiting.
        waited: Duration,
        /// How long it may.
        bound: Duration,
    },
}

impl Refusal {
    /// As the metric's label says it.
    pub(super) fn reason(&self) -> &'static str {
        match self {
            Self::Stream { stream: Stream::Jobs, .. } => "jobs_size",
            Self::Stream { stream: Stream::Timers, .. } => "timers_size",
            Self::Stream { stream: Stream::Args, .. } => "args_size",
            Self::Memory { .. } => "redis_memory",
            Self::Waits { .. } => "oldest_wait",
        }
    }
}

/// For gauges, which have no other numbers.
#[expect(clippy::cast_precision_loss, reason = "what is lost lies beyond 2^53")]
pub(super) fn float(number: u64) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_one_to_a_hundred_per_cent() {
        for (text, share) in [("1%", 1), ("80%", 80), ("100%", 100)] {
            assert_eq!(text.parse(), Ok(Share(share)));
            assert_eq!(Share(share).to_string(), text);
        }
        for bad in ["", "%", "80", "0%", "101%", "-1%", "+80%", "8.5%", "256%", "80 %", "80%%"] {
            assert_eq!(bad.parse::<Share>(), Err(NoShare), "{bad}");
        }
    }

    #[test]
    fn a_share_is_reached_from_its_first_byte_on() {
        let share = Share(80);
        assert!(!share.reached(799, 1000) && share.reached(800, 1000) && share.reached(1001, 1000));
        assert!(share.reached(u64::MAX, u64::MAX), "no overflow");
        assert!(!Share(100).reached(999, 1000) && Share(100).reached(1000, 1000));
        let table = [(0, 1000, 0), (809, 1000, 80), (810, 1000, 81), (u64::MAX, 1, 999), (1, 0, 100)];
        for (used, limit, percent) in table {
            assert_eq!(Share::percent(used, limit), percent);
        }
    }
}
