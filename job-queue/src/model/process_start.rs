//! How a job's process came to it.

use std::str::FromStr;

use proto::IsolationMode;
use serde::Serialize;

/// As its worker tells it once the job has ended. On a record it is `<isolation>:<origin>:<µs>`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ProcessStart {
    /// How much of its process the job left to the next one.
    pub isolation: IsolationMode,
    /// Where the process came from: `warm` had run a job of the version before, `spare` waited for any script of the
    /// language, `cold` was started for it.
    pub origin: String,
    /// Microseconds until it could take the job.
    pub took_us: u64,
}

impl std::fmt::Display for ProcessStart {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}:{}", self.isolation, self.origin, self.took_us)
    }
}

impl FromStr for ProcessStart {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let [isolation, origin, took_us] = text.splitn(3, ':').collect::<Vec<_>>()[..] else {
            return Err(());
        };
        Ok(Self {
            isolation: isolation.parse().map_err(drop)?,
            origin: origin.to_owned(),
            took_us: took_us.parse().map_err(drop)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_keeps_it_in_one_field() {
        let start =
            ProcessStart { isolation: IsolationMode::Fork, origin: "spare".to_owned(), took_us: 1234 };
        assert_eq!(start.to_string(), "fork:spare:1234");
        assert_eq!("fork:spare:1234".parse(), Ok(start));
        for bad in ["", "fork", "fork:spare", "cosy:spare:1", "fork:spare:x", "fork:spare:1:2"] {
            assert_eq!(bad.parse::<ProcessStart>(), Err(()), "{bad}");
        }
    }
}
