//! Who there is: workspaces, accounts, their users in workspaces, and tokens.

use std::num::NonZeroU64;
use std::time::Duration;

use proto::{TokenId, WorkspaceId};
use serde::{Deserialize, Serialize};

use super::{Record, WorkspaceSandbox};
use crate::{Key, Kind};

/// A workspace.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Workspace {
    /// Its id, in every path and key.
    pub id: WorkspaceId,
    /// Its name, for people.
    pub name: String,
    /// The email of the account that made it.
    pub owner: String,
    /// Hidden, and nothing new may be made in it.
    #[serde(default)]
    pub archived: bool,
    /// Unix milliseconds.
    pub created_at_ms: i64,
    /// What it asks of the sandboxes of its scripts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sandbox: Option<WorkspaceSandbox>,
    /// How many seconds it keeps ended runs; none: as the installation's default says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention_s: Option<NonZeroU64>,
}

/// An account of the instance.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Account {
    /// Its email, which identifies it.
    pub email: String,
    /// May do everything everywhere.
    #[serde(default)]
    pub super_admin: bool,
    /// A person's name.
    #[serde(default)]
    pub name: Option<String>,
    /// A person's company.
    #[serde(default)]
    pub company: Option<String>,
    /// May not authenticate any more.
    #[serde(default)]
    pub disabled: bool,
    /// Unix milliseconds.
    pub created_at_ms: i64,
}

/// An account's membership in one workspace.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct User {
    /// The workspace.
    pub workspace: WorkspaceId,
    /// The name in this workspace.
    pub username: String,
    /// The account.
    pub email: String,
    /// Administers the workspace.
    #[serde(default)]
    pub is_admin: bool,
    /// May run and look, not write.
    #[serde(default)]
    pub operator: bool,
    /// Has no rights in the workspace any more.
    #[serde(default)]
    pub disabled: bool,
    /// Unix milliseconds.
    pub created_at_ms: i64,
}

/// A token, without anything its bearer could be made from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Token {
    /// The internal id, which revocations name.
    pub token_id: TokenId,
    /// The first ten characters, its public handle.
    pub prefix: String,
    /// The account it belongs to.
    pub email: String,
    /// What its maker called it.
    #[serde(default)]
    pub label: String,
    /// What it is narrowed to; empty: all rights of the account.
    #[serde(default)]
    pub scopes: Vec<String>,
    /// The workspace it is bound to.
    #[serde(default)]
    pub workspace: Option<WorkspaceId>,
    /// Unix milliseconds.
    pub created_at_ms: i64,
    /// Unix milliseconds; none: never.
    #[serde(default)]
    pub expires_at_ms: Option<i64>,
    /// May only read.
    #[serde(default)]
    pub read_only: bool,
    /// Unix milliseconds, exact to a day.
    #[serde(default)]
    pub last_used_at_ms: Option<i64>,
    /// It was made with a job's token, or with a token that was: whoever has it may be a script.
    #[serde(default)]
    pub made_by_job: bool,
}

/// That a token was revoked; kept for 24 hours, longer than any cache of identities.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Revoked {
    /// The token.
    pub token_id: TokenId,
    /// Unix milliseconds.
    pub revoked_at_ms: i64,
}

impl Workspace {
    /// How long it keeps ended runs, where it says so.
    pub fn retention(&self) -> Option<Duration> {
        self.retention_s.map(|seconds| Duration::from_secs(seconds.get()))
    }

    /// Where it is stored.
    pub fn key(&self) -> Key {
        Self::key_of(&self.id)
    }

    /// Where a workspace is stored.
    pub fn key_of(id: &WorkspaceId) -> Key {
        Key::global(Kind::Workspace, id.as_str())
    }
}

impl Account {
    /// Where it is stored.
    pub fn key(&self) -> Key {
        Key::global(Kind::Account, &self.email)
    }
}

impl User {
    /// Where it is stored.
    pub fn key(&self) -> Key {
        Key::scoped(Kind::User, &self.workspace, &self.username)
    }
}

impl Revoked {
    /// Where it is stored.
    pub fn key(&self) -> Key {
        Key::global(Kind::Revoked, self.token_id.as_str())
    }
}

impl Record for Workspace {
    const KIND: Kind = Kind::Workspace;
}

impl Record for Account {
    const KIND: Kind = Kind::Account;
}

impl Record for User {
    const KIND: Kind = Kind::User;

    fn index(&self) -> Option<&str> {
        Some(&self.email)
    }
}

impl Record for Token {
    const KIND: Kind = Kind::Token;

    fn index(&self) -> Option<&str> {
        Some(&self.email)
    }
}

impl Record for Revoked {
    const KIND: Kind = Kind::Revoked;
}
