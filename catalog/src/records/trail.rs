//! The audit trail: who did what, when, to what. An entry is part of the batch of the
//! change it tells of, so that neither exists without the other.

use proto::WorkspaceId;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Record, now_ms};
use crate::{Key, Kind};

/// What was done, by the contract's closed list of names (6.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names are the documentation")]
pub enum Operation {
    #[serde(rename = "scripts.create")]
    ScriptsCreate,
    #[serde(rename = "scripts.update")]
    ScriptsUpdate,
    #[serde(rename = "scripts.archive")]
    ScriptsArchive,
    #[serde(rename = "schedule.create")]
    ScheduleCreate,
    #[serde(rename = "schedule.edit")]
    ScheduleEdit,
    #[serde(rename = "schedule.setenabled")]
    ScheduleSetEnabled,
    #[serde(rename = "schedule.delete")]
    ScheduleDelete,
    #[serde(rename = "users.create")]
    UsersCreate,
    #[serde(rename = "users.token.create")]
    UsersTokenCreate,
    #[serde(rename = "users.token.delete")]
    UsersTokenDelete,
    #[serde(rename = "workspaces.create")]
    WorkspacesCreate,
    #[serde(rename = "workspaces.update")]
    WorkspacesUpdate,
}

/// The contract's `action_kind`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names are the documentation")]
pub enum ActionKind {
    Created,
    Updated,
    Delete,
    Execute,
}

/// One entry of the audit trail.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AuditEntry {
    /// A uuid of version 7: entries sort by time.
    pub id: String,
    /// Where; none for what belongs to no workspace.
    pub workspace: Option<WorkspaceId>,
    /// Unix milliseconds.
    pub timestamp_ms: i64,
    /// Who, by user name or email.
    pub username: String,
    /// What.
    pub operation: Operation,
    /// Its class.
    pub action_kind: ActionKind,
    /// To what: a path or a public handle, never a secret.
    pub resource: Option<String>,
    /// More about it.
    #[serde(default)]
    pub parameters: Map<String, Value>,
}

impl AuditEntry {
    /// An entry of now.
    pub fn new(
        workspace: Option<&WorkspaceId>,
        username: &str,
        operation: Operation,
        resource: &str,
    ) -> Self {
        Self {
            id: uuid::Uuid::now_v7().to_string(),
            workspace: workspace.cloned(),
            timestamp_ms: now_ms(),
            username: username.to_owned(),
            action_kind: operation.action_kind(),
            operation,
            resource: Some(resource.to_owned()),
            parameters: Map::new(),
        }
    }

    /// Where it is stored.
    pub fn key(&self) -> Key {
        match &self.workspace {
            Some(workspace) => Key::scoped(Kind::Audit, workspace, &self.id),
            None => Key::global(Kind::Audit, &self.id),
        }
    }
}

impl Operation {
    fn action_kind(self) -> ActionKind {
        match self {
            Self::ScriptsCreate
            | Self::ScheduleCreate
            | Self::UsersCreate
            | Self::UsersTokenCreate
            | Self::WorkspacesCreate => ActionKind::Created,
            Self::ScriptsUpdate | Self::ScheduleEdit | Self::ScheduleSetEnabled | Self::WorkspacesUpdate => {
                ActionKind::Updated
            }
            Self::ScriptsArchive | Self::ScheduleDelete | Self::UsersTokenDelete => ActionKind::Delete,
        }
    }
}

impl Record for AuditEntry {
    const KIND: Kind = Kind::Audit;
}
