//! Workspaces as this service changes them, and what it tells workers of them. It is their only writer, so what
//! it answered for here it knows when the next job asks for its token.

use std::num::NonZeroU64;
use std::time::Duration;

use catalog::{AuditEntry, Batch, CatalogError, Expect, Operation, Workspace, WorkspaceSandbox};
use proto::auth::{Credential, EditRetentionRequest, EditSandboxRequest};
use proto::{Action, Rights, WorkspaceId};
use serde_json::Value;

use crate::refusal::{Refusal, denied, invalid};
use crate::service::AuthService;

/// How often a change is made anew after another one was first.
const MAX_ATTEMPTS: usize = 10;

/// What workers are told of a workspace.
pub(crate) struct Said {
    /// What it asks of its scripts' sandboxes, as JSON; empty: nothing.
    pub(crate) sandbox: String,
    /// How many seconds it keeps ended runs; 0: it does not say.
    pub(crate) retention_s: u64,
}

/// A setting of a workspace, and what it is to be.
#[derive(Clone, Copy)]
enum Setting {
    Sandbox(Option<WorkspaceSandbox>),
    Retention(Option<NonZeroU64>),
}

impl AuthService {
    pub(crate) async fn edit_sandbox_for(&self, request: EditSandboxRequest) -> Result<(), Refusal> {
        let may = self.may_edit(request.caller, &request.workspace, "the sandbox of scripts").await?;
        self.edit(may, Setting::Sandbox(parsed(&request.sandbox)?)).await
    }

    pub(crate) async fn edit_retention_for(&self, request: EditRetentionRequest) -> Result<(), Refusal> {
        let may = self.may_edit(request.caller, &request.workspace, "how long runs are kept").await?;
        let (asked, bounds) = (request.retention_s, &self.retention);
        if asked != 0 && !bounds.contains(&Duration::from_secs(asked)) {
            let (least, most) = (bounds.start().as_secs(), bounds.end().as_secs());
            return Err(invalid(format!("retention_period_secs: {asked} is not between {least} and {most}")));
        }
        self.edit(may, Setting::Retention(NonZeroU64::new(asked))).await
    }

    /// Whether the caller may change what binds the scripts of a workspace.
    async fn may_edit(
        &self,
        caller: Option<Credential>,
        workspace: &str,
        what: &str,
    ) -> Result<(WorkspaceId, Rights), Refusal> {
        let caller = self.authenticate(caller).await?;
        let id: WorkspaceId = workspace.parse().map_err(invalid)?;
        caller.may_enter(&id)?;
        let rights = self.as_member(caller.own_rights()?, &id)?;
        rights.permits(Action::WriteWorkspace)?;
        if caller.by_job {
            // an admin who runs a script lends it their rights, but not that of lifting what it is bounded by
            return Err(denied(format!("a job's token, or one made with it, may not change {what}")));
        }
        Ok((id, rights))
    }

    async fn edit(&self, (id, rights): (WorkspaceId, Rights), setting: Setting) -> Result<(), Refusal> {
        let mut attempt = 1;
        loop {
            match self.write(&id, &rights, setting).await {
                Err(Refusal::Catalog(CatalogError::Conflict(_))) if attempt < MAX_ATTEMPTS => attempt += 1,
                outcome => return outcome,
            }
        }
    }

    async fn write(&self, id: &WorkspaceId, rights: &Rights, setting: Setting) -> Result<(), Refusal> {
        let stored = self.catalog.read::<Workspace>(&Workspace::key_of(id)).await?;
        let Some((revision, Some(workspace))) = stored else { return Err(absent(id)) };
        if workspace.archived {
            return Err(absent(id));
        }
        let (workspace, name, value) = match setting {
            Setting::Sandbox(sandbox) => {
                (Workspace { sandbox, ..workspace }, "sandbox", serde_json::to_value(sandbox))
            }
            Setting::Retention(retention_s) => {
                let value = serde_json::to_value(retention_s);
                (Workspace { retention_s, ..workspace }, "retention_period_secs", value)
            }
        };
        let mut audit = AuditEntry::new(Some(id), &rights.username, Operation::WorkspacesUpdate, id.as_str());
        audit.parameters.insert(name.to_owned(), value.map_err(invalid)?);
        let mut batch = Batch::new();
        batch.put(workspace.key(), &workspace, Expect::Revision(revision))?;
        batch.put(audit.key(), &audit, Expect::Absent)?;
        self.catalog.commit(&batch).await?;
        Ok(())
    }

    /// What workers are told of a workspace at this moment.
    pub(crate) async fn said_by(&self, id: &WorkspaceId) -> Result<Said, Refusal> {
        let workspace = self.catalog.current_workspace(id).await?;
        let workspace = workspace.ok_or_else(|| denied(format!("the workspace {id} does not exist")))?;
        let sandbox = match workspace.sandbox {
            Some(sandbox) => serde_json::to_string(&sandbox).map_err(invalid)?,
            None => String::new(),
        };
        Ok(Said { sandbox, retention_s: workspace.retention_s.map_or(0, NonZeroU64::get) })
    }
}

/// Settings that say nothing are stored as none.
fn parsed(sent: &str) -> Result<Option<WorkspaceSandbox>, Refusal> {
    if sent.is_empty() {
        return Ok(None);
    }
    // as a value first: its errors say nothing of lines and columns that the caller has never seen
    let sent: Value = serde_json::from_str(sent).map_err(invalid)?;
    let sandbox: WorkspaceSandbox =
        serde_json::from_value(sent).map_err(|error| invalid(format!("sandbox: {error}")))?;
    Ok(Some(sandbox).filter(|sandbox| *sandbox != WorkspaceSandbox::default()))
}

fn absent(id: &WorkspaceId) -> Refusal {
    Refusal::NotFound(format!("there is no workspace {id}"))
}
