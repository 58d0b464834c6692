//! The rules of lineage (contract 3.2), pure: what is in the store → what a deploy may do.

use std::sync::Arc;

use proto::ScriptHash;

use super::IfUnchanged;
use crate::batch::Expect;
use crate::{CatalogError, Head, NewScript, Script};

/// What of the store matters for one deploy.
pub(crate) struct Seen {
    /// The head of the new script's path; its record is none when it was deleted.
    pub(crate) head: Option<SeenHead>,
    /// The parent asked for, or found by `auto_parent`.
    pub(crate) parent_hash: Option<ScriptHash>,
    /// That parent, if it exists.
    pub(crate) parent: Option<Box<Parent>>,
    /// The very same version, if it exists.
    pub(crate) exists: Option<ScriptHash>,
}

/// A head and the revision of its last write.
#[derive(Clone)]
pub(crate) struct SeenHead {
    pub(crate) revision: u64,
    pub(crate) head: Option<Head>,
}

/// The version a deploy replaces.
pub(crate) struct Parent {
    pub(crate) script: Arc<Script>,
    /// The head of its path, where the deploy is to another.
    pub(crate) moved_from: Option<SeenHead>,
}

/// What to write.
pub(crate) enum Plan {
    /// Nothing: this version says the same.
    Noop(ScriptHash),
    /// A version after `parent`, whose head replaces what is seen of the path's.
    Deploy {
        /// None: the first version of its path.
        parent: Option<Box<Parent>>,
        /// What the write of the head expects.
        replaces: Expect,
    },
}

impl SeenHead {
    pub(crate) fn is_live(&self) -> bool {
        self.head.as_ref().is_some_and(|head| !head.archived)
    }
}

/// Decides what a deploy does.
///
/// # Errors
/// [`CatalogError::Rejected`] naming the rule that is broken.
pub(crate) fn plan(new: &NewScript, seen: Seen, if_unchanged: IfUnchanged) -> Result<Plan, CatalogError> {
    let Seen { head, parent_hash, parent, exists } = seen;
    let parent = match (parent_hash, parent) {
        (Some(_), None) => return rejected("The parent hash does not seem to exist"),
        (_, parent) => parent,
    };
    if let Some(parent) =
        parent.as_ref().filter(|parent| if_unchanged == IfUnchanged::Skip && says_the_same(new, parent))
    {
        return Ok(Plan::Noop(parent.script.hash));
    }
    if let Some(hash) = exists {
        return rejected(format!("A script with hash {hash} already exists: the same was deployed before"));
    }
    check_lineage(new, head.as_ref(), parent.as_deref())?;
    let replaces = head.map_or(Expect::Absent, |head| Expect::Revision(head.revision));
    Ok(Plan::Deploy { parent, replaces })
}

fn check_lineage(
    new: &NewScript,
    head: Option<&SeenHead>,
    parent: Option<&Parent>,
) -> Result<(), CatalogError> {
    let live = head.filter(|head| head.is_live()).and_then(|head| head.head.as_ref());
    let Some(parent) = parent else {
        return live.map_or(Ok(()), |head| path_conflict(new, head.hash));
    };
    let same_path = parent.script.script.path == new.path;
    let current = if same_path { live } else { parent.moved_from.as_ref().and_then(live_head) };
    if current.is_none_or(|head| head.hash != parent.script.hash) {
        return not_linear(parent.script.hash);
    }
    match live {
        Some(head) if !same_path => path_conflict(new, head.hash),
        _ => Ok(()),
    }
}

fn live_head(seen: &SeenHead) -> Option<&Head> {
    seen.head.as_ref().filter(|head| !head.archived)
}

/// Whether nothing changed but what belongs to the deploy itself.
fn says_the_same(new: &NewScript, parent: &Parent) -> bool {
    essence(new) == essence(&parent.script.script)
}

fn essence(script: &NewScript) -> NewScript {
    let mut script = script.clone();
    script.parent_hash = None;
    script.auto_parent = None;
    script.deployment_message = None;
    script.other.remove("skip_draft_deletion");
    script
}

fn path_conflict<T>(new: &NewScript, hash: ScriptHash) -> Result<T, CatalogError> {
    rejected(format!("Path conflict for {} with non-archived hash {hash}", new.path))
}

fn not_linear<T>(hash: ScriptHash) -> Result<T, CatalogError> {
    rejected(format!("The lineage must be linear: {hash} is not the current version of its path"))
}

fn rejected<T>(text: impl Into<String>) -> Result<T, CatalogError> {
    Err(CatalogError::Rejected(text.into()))
}
