//! What is asked of a sandbox: by a script, in the setting `sandbox` of its version, and by its workspace for
//! the scripts that do not say.

use std::num::NonZeroU64;

use proto::IsolationMode;
use serde::de::Error as _;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Each is the workspace's, else the worker's default where a script does not say, and never more than the
/// worker allows.
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
    /// How much of its process a job leaves to the next one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub isolation: Option<IsolationMode>,
}

/// What a workspace asks of the sandboxes of its scripts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Map<String, Value>")]
pub struct WorkspaceSandbox {
    /// What a script gets that does not say itself.
    #[serde(flatten)]
    pub settings: SandboxSettings,
    /// The widest network that a script may ask for, and that one which does not say is given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network_max: Option<Reach>,
}

/// A script asks for a wider network than its workspace allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it asks for the network {}, its workspace allows {} at most (network_max)", asked.as_str(), most.as_str())]
pub struct TooWide {
    asked: Reach,
    most: Reach,
}

/// Whom a script may reach, the narrowest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
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

impl SandboxSettings {
    /// Settings as they were sent. Each is read on its own first, so that an error names the one that is wrong.
    ///
    /// # Errors
    /// Which setting is none, and why.
    pub(super) fn named(sent: &Map<String, Value>) -> Result<Self, serde_json::Error> {
        for (name, value) in sent {
            let alone = Value::Object(Map::from_iter([(name.clone(), value.clone())]));
            Self::deserialize(alone).map_err(|error| of(name, &error))?;
        }
        Self::deserialize(Value::Object(sent.clone()))
    }

    /// What it says, and where it says nothing, what `other` says.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self {
            network: self.network.or(other.network),
            memory: self.memory.or(other.memory),
            cpu_seconds: self.cpu_seconds.or(other.cpu_seconds),
            processes: self.processes.or(other.processes),
            open_files: self.open_files.or(other.open_files),
            file_bytes: self.file_bytes.or(other.file_bytes),
            disk_bytes: self.disk_bytes.or(other.disk_bytes),
            isolation: self.isolation.or(other.isolation),
        }
    }
}

impl WorkspaceSandbox {
    /// Whether a script of the workspace may ask for this.
    ///
    /// # Errors
    /// What it may not ask for, and what is the most.
    pub fn allows(&self, asked: &SandboxSettings) -> Result<(), TooWide> {
        match (asked.network, self.network_max) {
            (Some(asked), Some(most)) if asked > most => Err(TooWide { asked, most }),
            _ => Ok(()),
        }
    }
}

impl TryFrom<Map<String, Value>> for WorkspaceSandbox {
    type Error = serde_json::Error;

    fn try_from(mut sent: Map<String, Value>) -> Result<Self, serde_json::Error> {
        let most = sent.remove("network_max").unwrap_or_default();
        let network_max = Option::deserialize(most).map_err(|error| of("network_max", &error))?;
        let own = Self { settings: SandboxSettings::named(&sent)?, network_max };
        match (own.settings.network, network_max) {
            (Some(given), Some(most)) if given > most => {
                let (given, most) = (given.as_str(), most.as_str());
                Err(serde_json::Error::custom(format!("network: {given} is wider than network_max, {most}")))
            }
            _ => Ok(own),
        }
    }
}

fn of(name: &str, error: &serde_json::Error) -> serde_json::Error {
    serde_json::Error::custom(format!("{name}: {error}"))
}

#[cfg(test)]
mod tests;
