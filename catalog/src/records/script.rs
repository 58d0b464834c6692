//! Scripts: what is sent to deploy one, a stored version, and the head of a path.

use proto::{InvalidRetry, IsolationMode, Language, RetryPolicy, ScriptHash, ScriptPath, Tag, WorkspaceId};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use super::{Record, SandboxSettings};
use crate::{Key, Kind};

/// A script as it is sent (contract 3.4). Nothing sent is lost: what this program gives
/// no meaning to yet stays in `other`, known fields of the contract and unknown ones alike.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NewScript {
    /// Where it is deployed.
    pub path: ScriptPath,
    /// One line, for people.
    #[serde(default, deserialize_with = "text_or_null")]
    pub summary: String,
    /// For people.
    #[serde(default, deserialize_with = "text_or_null")]
    pub description: String,
    /// The source.
    pub content: String,
    /// The language of the source.
    pub language: Language,
    /// The version it replaces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent_hash: Option<ScriptHash>,
    /// The current version of the path is the parent, whichever it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auto_parent: Option<bool>,
    /// The JSON schema of its arguments.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<Value>,
    /// `script`, `failure`, `trigger`, `command`, `approval` or `preprocessor`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// The queue its jobs wait in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<Tag>,
    /// How long a job may run, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<i64>,
    /// Its resolved dependencies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lock: Option<String>,
    /// Why it was deployed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deployment_message: Option<String>,
    /// Every other field as sent.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

impl NewScript {
    /// What it asks of its sandbox: its setting `sandbox`, and what its first line says of `isolation`.
    ///
    /// # Errors
    /// The setting is none; the text says what of it.
    pub fn sandbox(&self) -> Result<SandboxSettings, serde_json::Error> {
        let asked = match self.other.get("sandbox") {
            None | Some(Value::Null) => SandboxSettings::default(),
            Some(Value::Object(asked)) => SandboxSettings::named(asked)?,
            Some(_) => return Err(serde::de::Error::custom("it is not an object")),
        };
        let commented = IsolationMode::of_source(&self.content).map_err(serde::de::Error::custom)?;
        Ok(SandboxSettings { isolation: commented.or(asked.isolation), ..asked })
    }

    /// Whether a job whose worker was lost is to be run again: its setting `retry_on_worker_loss`, true unless it
    /// says no.
    ///
    /// # Errors
    /// The setting is neither true nor false.
    pub fn retries_on_worker_loss(&self) -> Result<bool, serde_json::Error> {
        match self.other.get("retry_on_worker_loss") {
            None | Some(Value::Null) => Ok(true),
            Some(Value::Bool(retry)) => Ok(*retry),
            Some(other) => Err(serde::de::Error::custom(format!("{other} is not true or false"))),
        }
    }
}

impl NewScript {
    /// What follows a failure of its jobs: its setting `retry`.
    ///
    /// # Errors
    /// The setting is none; the text says what of it.
    pub fn retry(&self) -> Result<Option<RetryPolicy>, InvalidRetry> {
        self.other.get("retry").map_or(Ok(None), |asked| RetryPolicy::parse(&asked.to_string()))
    }
}

/// One immutable version of a script.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Script {
    /// The workspace.
    pub workspace: WorkspaceId,
    /// Its id.
    pub hash: ScriptHash,
    /// The versions before it, newest first, at most 20.
    pub parent_hashes: Vec<ScriptHash>,
    /// The user name of its author.
    pub created_by: String,
    /// Unix milliseconds.
    pub created_at_ms: i64,
    /// The SHA-256 of the source when that is stored as a blob; `script.content` is then
    /// empty in the store, and filled by [`crate::Catalog::script`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_blob: Option<String>,
    /// What was sent, with the parent that was chosen.
    pub script: NewScript,
}

/// The current version of a path, with what a trigger needs to make a job of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Head {
    /// The workspace.
    pub workspace: WorkspaceId,
    /// The path.
    pub path: ScriptPath,
    /// The current version.
    pub hash: ScriptHash,
    /// The versions before it, newest first, at most 20.
    pub parent_hashes: Vec<ScriptHash>,
    /// The language of the current version.
    pub language: Language,
    /// The queue its jobs wait in.
    #[serde(default)]
    pub tag: Option<Tag>,
    /// How long a job may run, in seconds.
    #[serde(default)]
    pub timeout: Option<i64>,
    /// One line, for people.
    #[serde(default)]
    pub summary: String,
    /// The contract's `kind`.
    #[serde(default)]
    pub kind: Option<String>,
    /// The user name of the current version's author.
    pub created_by: String,
    /// Unix milliseconds.
    pub created_at_ms: i64,
    /// The path is not callable any more; its versions are, by hash.
    #[serde(default)]
    pub archived: bool,
}

/// Clients send `null` for a text that is not there.
fn text_or_null<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Option::<String>::deserialize(deserializer).map(Option::unwrap_or_default)
}

impl Script {
    /// Where it is stored.
    pub fn key(&self) -> Key {
        Self::key_of(&self.workspace, self.hash)
    }

    /// Where a version is stored.
    pub fn key_of(workspace: &WorkspaceId, hash: ScriptHash) -> Key {
        Key::scoped(Kind::Script, workspace, &hash.to_string())
    }
}

impl Head {
    /// Where it is stored.
    pub fn key(&self) -> Key {
        Self::key_of(&self.workspace, &self.path)
    }

    /// Where the head of a path is stored.
    pub fn key_of(workspace: &WorkspaceId, path: &ScriptPath) -> Key {
        Key::scoped(Kind::Head, workspace, path.as_str())
    }

    /// The tag its jobs wait under: the script's own, else its language's.
    pub fn effective_tag(&self) -> &str {
        self.tag.as_ref().map_or(self.language.default_tag(), Tag::as_str)
    }

    /// The head that makes `script` current.
    pub(crate) fn of(script: &Script) -> Self {
        Self {
            workspace: script.workspace.clone(),
            path: script.script.path.clone(),
            hash: script.hash,
            parent_hashes: script.parent_hashes.clone(),
            language: script.script.language,
            tag: script.script.tag.clone(),
            timeout: script.script.timeout,
            summary: script.script.summary.clone(),
            kind: script.script.kind.clone(),
            created_by: script.created_by.clone(),
            created_at_ms: script.created_at_ms,
            archived: false,
        }
    }
}

impl Record for Script {
    const KIND: Kind = Kind::Script;
}

impl Record for Head {
    const KIND: Kind = Kind::Head;
}
