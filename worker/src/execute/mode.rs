//! How much of its process a job leaves to the next, and who may share one.

use std::time::Duration;

use proto::{IsolationMode, ScriptHash, WorkspaceId};

/// Whose jobs may run in one process, one after the other: those of one version that run as the same user.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Owner {
    /// The workspace.
    pub workspace: WorkspaceId,
    /// The version of the script.
    pub version: ScriptHash,
    /// Whom its jobs run as, complete.
    pub identity: String,
}

/// Where the process of a job came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// It had run a job of the same kind before.
    Warm,
    /// It waited, with its interpreter started, for any script of its language.
    Spare,
    /// It was started for this job.
    Cold,
}

impl Origin {
    /// As it is shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Warm => "warm",
            Self::Spare => "spare",
            Self::Cold => "cold",
        }
    }
}

/// How a job was started.
#[derive(Clone, Copy, Debug)]
pub struct Start {
    /// What was asked for, or nearest to it in its language.
    pub mode: IsolationMode,
    /// Where its process came from.
    pub origin: Origin,
    /// How long it took until that could take the job.
    pub took: Duration,
}
