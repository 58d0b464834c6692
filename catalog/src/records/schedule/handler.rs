//! What runs after a schedule's jobs: a script, written `script/<path>`.

use std::fmt;
use std::str::FromStr;

use proto::ScriptPath;
use serde::{Deserialize, Serialize};

/// A script that hears of the ends of a schedule's jobs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Handler(ScriptPath);

/// What a handler hears of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HandlerKind {
    /// Failures.
    Failure,
    /// That it works again after failures.
    Recovery,
    /// Each success.
    Success,
}

impl HandlerKind {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::Failure, Self::Recovery, Self::Success];

    /// Its name in metrics, and in the ids of jobs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Failure => "failure",
            Self::Recovery => "recovery",
            Self::Success => "success",
        }
    }

    /// The setting of a schedule that names the handler (contract 6.3).
    pub fn setting(self) -> &'static str {
        match self {
            Self::Failure => "on_failure",
            Self::Recovery => "on_recovery",
            Self::Success => "on_success",
        }
    }
}

/// Why a text names no handler.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidHandler {
    /// It names a flow.
    #[error("`{0}`: flows are not built yet")]
    Flow(String),
    /// It is not of the form.
    #[error("`{0}` is not `script/` and the path of a script")]
    Form(String),
}

impl Handler {
    /// The script.
    pub fn script(&self) -> &ScriptPath {
        &self.0
    }
}

impl fmt::Display for Handler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "script/{}", self.0)
    }
}

impl FromStr for Handler {
    type Err = InvalidHandler;

    fn from_str(text: &str) -> Result<Self, InvalidHandler> {
        let shown = || text.chars().take(100).collect::<String>();
        if text.starts_with("flow/") {
            return Err(InvalidHandler::Flow(shown()));
        }
        let path = text.strip_prefix("script/").and_then(|path| path.parse().ok());
        path.map(Self).ok_or_else(|| InvalidHandler::Form(shown()))
    }
}

impl TryFrom<String> for Handler {
    type Error = InvalidHandler;

    fn try_from(text: String) -> Result<Self, InvalidHandler> {
        text.parse()
    }
}

impl From<Handler> for String {
    fn from(handler: Handler) -> Self {
        handler.to_string()
    }
}
