//! The one decision of who may do what: [`Rights::permits`]. Gateways ask it on every
//! request and auth-service before it issues a job token; it is pure, its inputs come
//! from the token (scopes) and the catalog's tables (role).

mod scope;

pub use scope::{InvalidScope, Scopes};

use crate::{ErrorCode, ScriptPath};

/// Something a caller may want to do in a workspace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action<'a> {
    /// Run a deployed script.
    RunScript(&'a ScriptPath),
    /// Read a script, its versions and its settings.
    ReadScript(&'a ScriptPath),
    /// Deploy, change or remove a script.
    WriteScript(&'a ScriptPath),
    /// Read a schedule.
    ReadSchedule(&'a ScriptPath),
    /// Make, change, switch or remove a schedule.
    WriteSchedule(&'a ScriptPath),
    /// List schedules.
    ListSchedules,
    /// Set the handlers that new schedules get, and those that are there.
    WriteScheduleDefaults,
    /// Read a job: its record, result and log.
    ReadJob(JobOwner<'a>),
    /// Cancel a job.
    CancelJob(JobOwner<'a>),
    /// List jobs.
    ListJobs,
    /// Read one's own account, memberships and rights.
    ReadSelf,
    /// Make, list and revoke one's own tokens.
    ManageTokens,
    /// Read the workspace's settings.
    ReadWorkspace,
    /// Change the workspace's settings.
    WriteWorkspace,
}

/// Whose a job is: what decides who may read or cancel it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JobOwner<'a> {
    /// The script it runs.
    pub path: &'a ScriptPath,
    /// The account that triggered it.
    pub email: &'a str,
}

/// What a caller is in one workspace, through one token.
#[derive(Clone, Debug)]
pub struct Rights {
    /// The name in this workspace.
    pub username: String,
    /// The account.
    pub email: String,
    /// Administers the workspace (or the whole instance).
    pub is_admin: bool,
    /// May run and look, not write.
    pub is_operator: bool,
    /// The token may only read.
    pub read_only: bool,
    /// What the token is narrowed to.
    pub scopes: Scopes,
}

/// Why not: a code and a text that names what is missing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// Always a permission refusal today; kept so that callers map it by the table.
    pub code: ErrorCode,
    /// Names the scope or right that is missing.
    pub message: String,
}

impl Refusal {
    fn new(message: impl Into<String>) -> Self {
        Self { code: ErrorCode::PermissionDenied, message: message.into() }
    }
}

impl Rights {
    /// Whether the caller may do `action`: token first, then role, then path.
    ///
    /// # Errors
    /// A [`Refusal`] that names what is missing.
    pub fn permits(&self, action: Action<'_>) -> Result<(), Refusal> {
        self.token_permits(action)?;
        self.role_permits(action)?;
        self.path_permits(action)
    }

    /// Whether the token is one for webhooks: it can do nothing but run, so its holder
    /// may not steer a job (`tag`, `parent_job`, `job_id`). Its label decides nothing.
    pub fn is_webhook_token(&self) -> bool {
        self.scopes.only_run()
    }

    fn token_permits(&self, action: Action<'_>) -> Result<(), Refusal> {
        if self.read_only && action.changes_something() {
            return Err(Refusal::new("the token is read-only"));
        }
        let (needed, granted) = match action {
            Action::RunScript(path) => (format!("jobs:run:scripts:{path}"), self.scopes.run_script(path)),
            Action::ReadScript(path) => {
                (format!("scripts:read:{path}"), self.scopes.allow("scripts", "read", path.as_str()))
            }
            Action::WriteScript(path) => {
                (format!("scripts:write:{path}"), self.scopes.allow("scripts", "write", path.as_str()))
            }
            Action::ReadSchedule(path) => {
                (format!("schedules:read:{path}"), self.scopes.allow("schedules", "read", path.as_str()))
            }
            Action::WriteSchedule(path) => {
                (format!("schedules:write:{path}"), self.scopes.allow("schedules", "write", path.as_str()))
            }
            Action::ListSchedules => {
                ("schedules:read".to_owned(), self.scopes.allow("schedules", "read", ""))
            }
            Action::WriteScheduleDefaults => {
                ("schedules:write".to_owned(), self.scopes.allow("schedules", "write", ""))
            }
            Action::ReadJob(owner) => ("jobs:read".to_owned(), self.job_scope("read", owner)),
            Action::CancelJob(owner) => ("jobs:write".to_owned(), self.job_scope("write", owner)),
            Action::ListJobs => ("jobs:read".to_owned(), self.scopes.allow("jobs", "read", "")),
            Action::ReadSelf => return Ok(()),
            Action::ManageTokens => ("users:write".to_owned(), self.scopes.allow("users", "write", "")),
            Action::ReadWorkspace => {
                ("workspaces:read".to_owned(), self.scopes.allow("workspaces", "read", ""))
            }
            Action::WriteWorkspace => {
                ("workspaces:write".to_owned(), self.scopes.allow("workspaces", "write", ""))
            }
        };
        if granted { Ok(()) } else { Err(Refusal::new(format!("Access denied. Required scope: {needed}"))) }
    }

    /// `jobs:run` implies reading and cancelling the runs one has made oneself.
    fn job_scope(&self, verb: &str, owner: JobOwner<'_>) -> bool {
        let own_run = owner.email == self.email && self.scopes.run_script(owner.path);
        own_run || self.scopes.allow("jobs", verb, owner.path.as_str())
    }

    fn role_permits(&self, action: Action<'_>) -> Result<(), Refusal> {
        match action {
            Action::WriteScript(_) if self.is_operator && !self.is_admin => {
                Err(Refusal::new("operators may not write scripts"))
            }
            Action::WriteSchedule(_) if self.is_operator && !self.is_admin => {
                Err(Refusal::new("operators may not write schedules"))
            }
            Action::WriteScheduleDefaults if !self.is_admin => {
                Err(Refusal::new("Require Admin privileges for the default handlers of schedules"))
            }
            Action::WriteWorkspace if !self.is_admin => {
                Err(Refusal::new("Require Admin privileges for the settings of the workspace"))
            }
            Action::WriteScript(_)
            | Action::WriteSchedule(_)
            | Action::WriteScheduleDefaults
            | Action::WriteWorkspace
            | Action::ReadWorkspace
            | Action::RunScript(_)
            | Action::ReadScript(_)
            | Action::ReadSchedule(_)
            | Action::ListSchedules
            | Action::ReadJob(_)
            | Action::CancelJob(_)
            | Action::ListJobs
            | Action::ReadSelf
            | Action::ManageTokens => Ok(()),
        }
    }

    fn path_permits(&self, action: Action<'_>) -> Result<(), Refusal> {
        let (path, writes, own) = match action {
            Action::RunScript(path) | Action::ReadScript(path) | Action::ReadSchedule(path) => {
                (path, false, false)
            }
            Action::WriteScript(path) | Action::WriteSchedule(path) => (path, true, false),
            Action::ReadJob(owner) => (owner.path, false, owner.email == self.email),
            Action::CancelJob(owner) => (owner.path, true, owner.email == self.email),
            Action::ListJobs
            | Action::ListSchedules
            | Action::ReadSelf
            | Action::ManageTokens
            | Action::ReadWorkspace
            | Action::WriteScheduleDefaults
            | Action::WriteWorkspace => return Ok(()),
        };
        let owner_of_path = path.user().map(|user| user == self.username);
        if self.is_admin || own {
            return Ok(());
        }
        match owner_of_path {
            Some(false) => Err(Refusal::new(format!("{path} belongs to another user"))),
            None if writes => Err(Refusal::new(format!("only admins may change {path}"))),
            Some(true) | None => Ok(()),
        }
    }
}

impl Action<'_> {
    fn changes_something(self) -> bool {
        match self {
            Self::RunScript(_)
            | Self::WriteScript(_)
            | Self::WriteSchedule(_)
            | Self::CancelJob(_)
            | Self::ManageTokens
            | Self::WriteScheduleDefaults
            | Self::WriteWorkspace => true,
            Self::ReadScript(_)
            | Self::ReadSchedule(_)
            | Self::ListSchedules
            | Self::ReadJob(_)
            | Self::ListJobs
            | Self::ReadSelf
            | Self::ReadWorkspace => false,
        }
    }
}

#[cfg(test)]
mod tests;
