//! Keys: `<kind>.<workspace token>.<id token>`, with `_` where a kind belongs to no
//! workspace. The kind stands first, so that NATS permissions can tell kinds apart.

use std::fmt;

use broker::names::CATALOG_PREFIX;
use proto::WorkspaceId;
use proto::subject::{NONE, encode};

/// The kinds of records, each with its own key space, permissions and watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A workspace, by its id.
    Workspace,
    /// An account of the instance, by its email.
    Account,
    /// An account's membership in a workspace, by its user name there.
    User,
    /// A token, by the SHA-256 of its bearer.
    Token,
    /// A revoked token's id; expires by itself.
    Revoked,
    /// One immutable version of a script, by its hash.
    Script,
    /// The current version of a path.
    Head,
    /// A script that is run again and again, by the path of the schedule.
    Schedule,
    /// The handlers that a workspace's new schedules get.
    ScheduleDefaults,
    /// One entry of the audit trail.
    Audit,
}

impl Kind {
    /// The first token of its keys.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Workspace => "workspace",
            Self::Account => "account",
            Self::User => "user",
            Self::Token => "token",
            Self::Revoked => "revoked",
            Self::Script => "script",
            Self::Head => "head",
            Self::Schedule => "schedule",
            Self::ScheduleDefaults => "schedule_defaults",
            Self::Audit => "audit",
        }
    }

    /// The subject that matches every key of the kind.
    pub(crate) fn filter(self) -> String {
        format!("{CATALOG_PREFIX}{}.>", self.as_str())
    }
}

/// Where a record is stored.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    pub(crate) kind: Kind,
    /// `<workspace token>.<id token>`: what tables are keyed by.
    pub(crate) tail: String,
}

impl Key {
    /// A key that belongs to no workspace.
    pub fn global(kind: Kind, id: &str) -> Self {
        Self { kind, tail: format!("{NONE}.{}", encode(id)) }
    }

    /// A key within a workspace.
    pub fn scoped(kind: Kind, workspace: &WorkspaceId, id: &str) -> Self {
        Self { kind, tail: format!("{}.{}", workspace.token(), encode(id)) }
    }

    /// A token's key: the lower-case hexadecimal SHA-256 of its bearer.
    pub fn token(sha256: &[u8]) -> Self {
        Self::global(Kind::Token, &hex::encode(sha256))
    }

    pub(crate) fn subject(&self) -> String {
        format!("{CATALOG_PREFIX}{}.{}", self.kind.as_str(), self.tail)
    }

    /// The key of a subject that was received under the filter of `kind`.
    pub(crate) fn of_subject(kind: Kind, subject: &str) -> Option<Self> {
        let rest = subject.strip_prefix(CATALOG_PREFIX)?.strip_prefix(kind.as_str())?;
        Some(Self { kind, tail: rest.strip_prefix('.')?.to_owned() })
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // what is shown of a token's digest cannot be used to look it up
        let shown =
            if self.kind == Kind::Token { self.tail.get(..10).unwrap_or_default() } else { &self.tail };
        write!(f, "{}.{shown}", self.kind.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subjects_round_trip() {
        let workspace: WorkspaceId = "demo".parse().unwrap();
        let key = Key::scoped(Kind::Head, &workspace, "f/demo/hello");
        assert_eq!(key.subject(), "$KV.CATALOG.head.demo.f=2Fdemo=2Fhello");
        assert_eq!(Key::of_subject(Kind::Head, &key.subject()), Some(key));
        assert_eq!(Key::of_subject(Kind::User, "$KV.CATALOG.head.demo.x"), None);
        let defaults = Key::scoped(Kind::ScheduleDefaults, &workspace, "x");
        assert_eq!(Key::of_subject(Kind::Schedule, &defaults.subject()), None);
    }

    #[test]
    fn no_workspace_cannot_be_mistaken_for_one() {
        let key = Key::global(Kind::Account, "a.b@example.com");
        assert_eq!(key.subject(), "$KV.CATALOG.account._.a=2Eb=40example=2Ecom");
    }
}
