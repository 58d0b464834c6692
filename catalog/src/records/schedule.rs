//! Schedules: what is sent to make one, and what is stored of it.

mod cadence;
mod defaults;
mod handler;

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use proto::{InvalidRetry, RetryPolicy, ScriptPath, Tag, WorkspaceId};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use super::Record;
use crate::{Key, Kind};

pub use cadence::{Cadence, InvalidCadence};
pub use defaults::{DefaultHandler, DefaultHandlers};
pub use handler::{Handler, HandlerKind, InvalidHandler};

/// A JSON value, kept in the characters it was sent in.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Json(Box<RawValue>);

/// What a schedule says, under the names of the contract (6.3).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ScheduleSettings {
    /// A cron expression of six fields.
    pub schedule: String,
    /// The name of the time zone whose clocks the expression is read on.
    pub timezone: String,
    /// The arguments of its jobs: an object; none: `{}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub args: Option<Json>,
    /// What runs after failures.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_failure: Option<Handler>,
    /// After how many failures in a row; none: one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_failure_times: Option<u32>,
    /// After just so many, not after each further one too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_failure_exact: Option<bool>,
    /// Arguments of that script beside its own: an object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_failure_extra_args: Option<Json>,
    /// What runs when a job succeeds after failures.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_recovery: Option<Handler>,
    /// After how many successes in a row; none: one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_recovery_times: Option<u32>,
    /// Arguments of that script beside its own: an object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_recovery_extra_args: Option<Json>,
    /// What runs after each success.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_success: Option<Handler>,
    /// Arguments of that script beside its own: an object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_success_extra_args: Option<Json>,
    /// Whether a job starts only when the one before it has ended.
    #[serde(default, deserialize_with = "or_default")]
    pub no_flow_overlap: bool,
    /// One line, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<String>,
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The queue its jobs wait in; none: the script's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<Tag>,
    /// Nothing runs before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused_until: Option<DateTime<Utc>>,
    /// What follows a failure of its jobs; none: what the script says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<Json>,
}

/// A schedule: a script that is run again and again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Schedule {
    /// The workspace.
    pub workspace: WorkspaceId,
    /// Its name.
    pub path: ScriptPath,
    /// The script it runs, by its latest version.
    pub script_path: ScriptPath,
    /// Whether that is a flow.
    #[serde(default)]
    pub is_flow: bool,
    /// Whether it runs.
    pub enabled: bool,
    /// When and how.
    pub settings: ScheduleSettings,
    /// Every other field as sent: known ones of the contract and unknown ones alike.
    #[serde(default)]
    pub other: BTreeMap<String, Json>,
    /// The user name of whoever wrote it last.
    pub edited_by: String,
    /// Unix milliseconds.
    pub edited_at_ms: i64,
    /// The account of whoever wrote it last.
    pub email: String,
    /// Whom its jobs run as: whoever wrote it last.
    pub permissioned_as: String,
    /// The user name of whoever made it.
    pub created_by: String,
    /// A new one at every write: what was put aside for an older one is void.
    pub generation: String,
    /// The same from when it is made until it is deleted: another one at its path is another one.
    #[serde(default)]
    pub life: String,
    /// Base64 of the grant of whoever wrote it last. Never shown.
    pub grant: String,
    /// Base64 of auth-service's signature over it. Never shown.
    pub grant_signature: String,
}

impl Json {
    /// As it was sent.
    pub fn text(&self) -> &str {
        self.0.get()
    }

    /// Whether it is an object.
    pub fn is_object(&self) -> bool {
        self.text().starts_with('{')
    }
}

impl PartialEq for Json {
    fn eq(&self, other: &Self) -> bool {
        self.text() == other.text()
    }
}

impl ScheduleSettings {
    /// When it comes.
    ///
    /// # Errors
    /// The expression or the time zone is none, or it never comes.
    pub fn cadence(&self) -> Result<Cadence, InvalidCadence> {
        Cadence::parse(&self.schedule, &self.timezone)
    }

    /// What follows a failure of its jobs; none: what the script says.
    ///
    /// # Errors
    /// It is no policy; the text says what of it.
    pub fn retry_policy(&self) -> Result<Option<RetryPolicy>, InvalidRetry> {
        self.retry.as_ref().map_or(Ok(None), |asked| RetryPolicy::parse(asked.text()))
    }
}

impl Schedule {
    /// Where it is stored.
    pub fn key(&self) -> Key {
        Self::key_of(&self.workspace, &self.path)
    }

    /// Where the schedule of a path is stored.
    pub fn key_of(workspace: &WorkspaceId, path: &ScriptPath) -> Key {
        Key::scoped(Kind::Schedule, workspace, path.as_str())
    }
}

/// Clients send `null` for what is not there.
fn or_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(from: D) -> Result<T, D::Error> {
    Option::<T>::deserialize(from).map(Option::unwrap_or_default)
}

impl Record for Schedule {
    const KIND: Kind = Kind::Schedule;
}

#[cfg(test)]
mod tests;
