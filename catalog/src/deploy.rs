//! A deploy: version, head and audit entry in one atomic batch, so that no reader ever
//! sees one without the other. The rules are pure (`lineage`); here they meet the store.

mod hash;
mod lineage;

use proto::{ScriptHash, WorkspaceId};

use crate::batch::{Batch, Expect};
use crate::open::Catalog;
use crate::{AuditEntry, CatalogError, Head, NewScript, Operation, Script, blobs, now_ms};

pub use hash::script_hash;
use lineage::{Parent, Plan, Seen, SeenHead};

/// How often a deploy is planned anew after another one was first.
const MAX_ATTEMPTS: usize = 10;
/// The lineage kept with a version.
const MAX_PARENTS: usize = 20;

/// Who deploys.
#[derive(Clone, Debug)]
pub struct Author {
    /// The user name in the workspace.
    pub username: String,
}

/// What a deploy that changes nothing does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IfUnchanged {
    /// A new version all the same.
    Deploy,
    /// Nothing: it answers with the parent (`skip_if_noop`).
    Skip,
}

/// What a deploy became.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deployed {
    /// The version that is current now.
    pub hash: ScriptHash,
    /// Nothing had changed and nothing was written.
    pub noop: bool,
}

impl Catalog {
    /// Deploys a script by the contract's rules of hash and lineage (3.2).
    ///
    /// # Errors
    /// [`CatalogError::Rejected`] when a rule is broken, [`CatalogError::Conflict`] when
    /// others deployed to the path ten times meanwhile, [`CatalogError::Unavailable`]
    /// when NATS is away or silent.
    pub async fn deploy(
        &self,
        workspace: &WorkspaceId,
        author: &Author,
        new: NewScript,
        if_unchanged: IfUnchanged,
    ) -> Result<Deployed, CatalogError> {
        let blob = self.store_body(&new.content).await?;
        let mut attempt = 1;
        loop {
            let seen = self.see(workspace, &new).await?;
            let plan = lineage::plan(&new, seen, if_unchanged)?;
            let outcome = match plan {
                Plan::Noop(hash) => return Ok(Deployed { hash, noop: true }),
                Plan::Deploy { parent, replaces } => {
                    let deploy =
                        Prepared { workspace, author, new: &new, blob: blob.as_deref(), parent, replaces };
                    self.write(deploy).await
                }
            };
            match outcome {
                Err(CatalogError::Conflict(_)) if attempt < MAX_ATTEMPTS => attempt += 1,
                outcome => return outcome.map(|hash| Deployed { hash, noop: false }),
            }
        }
    }

    /// Puts a large source where it can be found before anything refers to it.
    async fn store_body(&self, content: &str) -> Result<Option<String>, CatalogError> {
        match content.len() {
            size if size > blobs::MAX_BODY_BYTES => Err(CatalogError::Rejected(format!(
                "the script is {size} bytes, the limit is {} bytes",
                blobs::MAX_BODY_BYTES
            ))),
            size if size > blobs::INLINE_MAX_BYTES => {
                self.store.reachable()?;
                blobs::put(self.store.broker(), content).await.map(Some)
            }
            _ => Ok(None),
        }
    }

    /// Reads from the store what the rules need to know.
    async fn see(&self, workspace: &WorkspaceId, new: &NewScript) -> Result<Seen, CatalogError> {
        let head = self.seen_head(workspace, &new.path).await?;
        let auto = new.auto_parent == Some(true);
        let live = head.as_ref().filter(|head| head.is_live()).and_then(|head| head.head.as_ref());
        let parent_hash = match live {
            Some(head) if auto => Some(head.hash),
            _ => new.parent_hash,
        };
        let parent = match parent_hash {
            Some(hash) => self.seen_parent(workspace, new, hash).await?.map(Box::new),
            None => None,
        };
        let hash = script_hash(new, parent_hash);
        let exists = self.store.get(&Script::key_of(workspace, hash)).await?.is_some();
        Ok(Seen { head, parent_hash, parent, exists: exists.then_some(hash) })
    }

    async fn seen_head(
        &self,
        workspace: &WorkspaceId,
        path: &proto::ScriptPath,
    ) -> Result<Option<SeenHead>, CatalogError> {
        let read = self.store.read::<Head>(&Head::key_of(workspace, path)).await?;
        Ok(read.map(|(revision, head)| SeenHead { revision, head }))
    }

    /// The parent, and the head of its path where that is another than the new one.
    async fn seen_parent(
        &self,
        workspace: &WorkspaceId,
        new: &NewScript,
        hash: ScriptHash,
    ) -> Result<Option<Parent>, CatalogError> {
        let Some(script) = self.script(workspace, hash).await? else { return Ok(None) };
        let moved_from = if script.script.path == new.path {
            None
        } else {
            self.seen_head(workspace, &script.script.path).await?
        };
        Ok(Some(Parent { script, moved_from }))
    }

    async fn write(&self, deploy: Prepared<'_>) -> Result<ScriptHash, CatalogError> {
        let (batch, hash) = deploy.batch()?;
        self.commit(&batch).await?;
        Ok(hash)
    }
}

/// A deploy that keeps the rules, as far as the store was seen.
struct Prepared<'a> {
    workspace: &'a WorkspaceId,
    author: &'a Author,
    new: &'a NewScript,
    blob: Option<&'a str>,
    parent: Option<Box<Parent>>,
    replaces: Expect,
}

impl Prepared<'_> {
    fn batch(&self) -> Result<(Batch, ScriptHash), CatalogError> {
        let script = self.version();
        let head = Head::of(&script);
        let mut batch = Batch::new();
        batch.put(script.key(), &script, Expect::Absent)?;
        batch.put(head.key(), &head, self.replaces)?;
        self.leave_old_path(&mut batch)?;
        let entry = self.audit_entry(script.hash);
        batch.put(entry.key(), &entry, Expect::Absent)?;
        Ok((batch, script.hash))
    }

    fn version(&self) -> Script {
        let parent = self.parent.as_ref().map(|parent| &parent.script);
        let mut new = self.new.clone();
        new.parent_hash = parent.map(|parent| parent.hash);
        if self.blob.is_some() {
            new.content = String::new();
        }
        let earlier = parent.iter().flat_map(|parent| &parent.parent_hashes).copied();
        Script {
            workspace: self.workspace.clone(),
            hash: script_hash(self.new, new.parent_hash),
            parent_hashes: new.parent_hash.into_iter().chain(earlier).take(MAX_PARENTS).collect(),
            created_by: self.author.username.clone(),
            created_at_ms: now_ms(),
            content_blob: self.blob.map(str::to_owned),
            script: new,
        }
    }

    /// A renamed script's old path is archived in the same step.
    fn leave_old_path(&self, batch: &mut Batch) -> Result<(), CatalogError> {
        let old = self.parent.as_ref().and_then(|parent| parent.moved_from.as_ref());
        let Some(SeenHead { revision, head: Some(head) }) = old else { return Ok(()) };
        let archived = Head { archived: true, ..head.clone() };
        batch.put(archived.key(), &archived, Expect::Revision(*revision))
    }

    fn audit_entry(&self, hash: ScriptHash) -> AuditEntry {
        let operation =
            if self.parent.is_some() { Operation::ScriptsUpdate } else { Operation::ScriptsCreate };
        let mut entry =
            AuditEntry::new(Some(self.workspace), &self.author.username, operation, self.new.path.as_str());
        entry.parameters.insert("hash".to_owned(), hash.to_string().into());
        entry
    }
}
