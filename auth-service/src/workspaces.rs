//! Workspaces as this service changes them, and what it tells workers of them. It is their only writer, so what
//! it answered for here it knows when the next job asks for its token.

use catalog::{AuditEntry, Batch, CatalogError, Expect, Operation, Workspace, WorkspaceSandbox};
use proto::auth::EditSandboxRequest;
use proto::{Action, Rights, WorkspaceId};
use serde_json::Value;

use crate::refusal::{Refusal, denied, invalid};
use crate::service::AuthService;

/// How often a change is made anew after another one was first.
const MAX_ATTEMPTS: usize = 10;

impl AuthService {
    pub(crate) async fn edit_sandbox_for(&self, request: EditSandboxRequest) -> Result<(), Refusal> {
        let caller = self.authenticate(request.caller).await?;
        let id: WorkspaceId = request.workspace.parse().map_err(invalid)?;
        caller.may_enter(&id)?;
        let rights = self.as_member(caller.own_rights()?, &id)?;
        rights.permits(Action::WriteWorkspace)?;
        if caller.by_job {
            // an admin who runs a script lends it their rights, but not that of lifting what it is bounded by
            return Err(denied("a job's token, or one made with it, may not change the sandbox of scripts"));
        }
        let sandbox = parsed(&request.sandbox)?;
        let mut attempt = 1;
        loop {
            match self.write_sandbox(&id, &rights, sandbox).await {
                Err(Refusal::Catalog(CatalogError::Conflict(_))) if attempt < MAX_ATTEMPTS => attempt += 1,
                outcome => return outcome,
            }
        }
    }

    async fn write_sandbox(
        &self,
        id: &WorkspaceId,
        rights: &Rights,
        sandbox: Option<WorkspaceSandbox>,
    ) -> Result<(), Refusal> {
        let stored = self.catalog.read::<Workspace>(&Workspace::key_of(id)).await?;
        let Some((revision, Some(workspace))) = stored else { return Err(absent(id)) };
        if workspace.archived {
            return Err(absent(id));
        }
        let workspace = Workspace { sandbox, ..workspace };
        let mut audit = AuditEntry::new(Some(id), &rights.username, Operation::WorkspacesUpdate, id.as_str());
        audit.parameters.insert("sandbox".to_owned(), serde_json::to_value(sandbox).map_err(invalid)?);
        let mut batch = Batch::new();
        batch.put(workspace.key(), &workspace, Expect::Revision(revision))?;
        batch.put(audit.key(), &audit, Expect::Absent)?;
        self.catalog.commit(&batch).await?;
        Ok(())
    }

    /// What a workspace asks of its scripts' sandboxes at this moment, as JSON; empty: nothing.
    pub(crate) async fn sandbox_of(&self, id: &WorkspaceId) -> Result<String, Refusal> {
        let workspace = self.catalog.current_workspace(id).await?;
        let workspace = workspace.ok_or_else(|| denied(format!("the workspace {id} does not exist")))?;
        match workspace.sandbox {
            Some(sandbox) => serde_json::to_string(&sandbox).map_err(invalid),
            None => Ok(String::new()),
        }
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
