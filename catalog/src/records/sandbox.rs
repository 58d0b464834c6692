//! What a script asks of its sandbox: the setting `sandbox` of its version.

use std::num::NonZeroU64;

use serde::{Deserialize, Serialize};

/// Each is the worker's default where a script does not say, and never more than the worker allows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SandboxSettings {
    /// Whom it may reach.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<Reach>,
    /// Bytes of memory of all its processes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<NonZeroU64>,
    /// Seconds of CPU time of all its processes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_seconds: Option<NonZeroU64>,
    /// Processes and threads at a time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub processes: Option<NonZeroU64>,
    /// Open files of each process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open_files: Option<NonZeroU64>,
    /// Bytes of the largest file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file_bytes: Option<NonZeroU64>,
    /// Bytes of all files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk_bytes: Option<NonZeroU64>,
}

/// Whom a script may reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reach {
    /// Nobody.
    None,
    /// The services of the world, not those beside the worker.
    Internet,
    /// Whatever the worker's machine reaches.
    Host,
}

impl Reach {
    /// Its word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Internet => "internet",
            Self::Host => "host",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_named() {
        let parse = |text: &str| serde_json::from_str::<SandboxSettings>(text);
        let asked = parse(r#"{"network":"none","memory":1048576}"#).unwrap();
        assert_eq!((asked.network, asked.memory.map(NonZeroU64::get)), (Some(Reach::None), Some(1 << 20)));
        assert_eq!(parse("{}").unwrap(), SandboxSettings::default());
        for (text, named) in [
            (r#"{"memroy":1}"#, "memroy"),
            (r#"{"memory":0}"#, "nonzero"),
            (r#"{"memory":-1}"#, "-1"),
            (r#"{"memory":"2GiB"}"#, "2GiB"),
            (r#"{"network":"all"}"#, "all"),
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains(named), "{text}: {error}");
        }
    }
}
