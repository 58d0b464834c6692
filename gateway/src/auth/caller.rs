//! The caller of a request: an identity, and its rights in one workspace.

use std::sync::Arc;

use axum::extract::{FromRequestParts, RawPathParams};
use http::request::Parts;
use job_queue::{CallerInfo, Renewal};
use proto::rights::Action;
use proto::{ErrorCode, JobId, Rights, WorkspaceId};

use super::cache::Known;
use super::credential::unauthenticated;
use super::{Source, present};
use crate::app::App;
use crate::error::{ApiError, ApiResult};

/// A caller whose token is good, outside any workspace.
pub(crate) struct Account {
    pub(crate) known: Arc<Known>,
    /// The token itself, for calls that act on the caller's own tokens.
    pub(crate) token: String,
}

/// A caller in the workspace of the request's path.
pub(crate) struct Caller {
    pub(crate) known: Arc<Known>,
    pub(crate) workspace: WorkspaceId,
    pub(crate) rights: Rights,
    pub(crate) source: Source,
    /// The token itself, for what auth-service does in the caller's name.
    pub(crate) token: String,
}

impl FromRequestParts<App> for Account {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> ApiResult<Self> {
        let presented = present(parts)?;
        let known = app.auth.identify(&presented).await?;
        still_good(app, &known).await?;
        Ok(Self { known, token: presented.token })
    }
}

impl FromRequestParts<App> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> ApiResult<Self> {
        let presented = present(parts)?;
        let known = app.auth.identify(&presented).await?;
        still_good(app, &known).await?;
        let workspace = workspace_of(parts, app).await?;
        let rights = rights_in(app, &known, &workspace)?;
        Ok(Self { known, workspace, rights, source: presented.source, token: presented.token })
    }
}

/// Revoked, expired, or the token of an attempt that is over.
async fn still_good(app: &App, known: &Known) -> ApiResult<()> {
    if app.catalog.is_revoked(&known.token_id)? {
        return Err(unauthenticated("the token is revoked"));
    }
    let expires = known.identity.expires_at_ms;
    if expires != 0 && expires <= catalog::now_ms() {
        return Err(unauthenticated("the token is expired"));
    }
    match &known.identity.job {
        Some(job) => attempt_runs(app, job).await,
        None => Ok(()),
    }
}

/// A job token is as good as the attempt it was made for.
async fn attempt_runs(app: &App, job: &proto::auth::JobBinding) -> ApiResult<()> {
    let invalid = || unauthenticated("the job token is not valid");
    let workspace: WorkspaceId = job.workspace.parse().map_err(|_| invalid())?;
    let id: JobId = job.job_id.parse().map_err(|_| invalid())?;
    match app.records.renew(&workspace, id, job.attempt).await? {
        Renewal::Go | Renewal::Canceled(_) => Ok(()),
        Renewal::Fenced => Err(unauthenticated("the job this token was made for does not run any more")),
    }
}

async fn workspace_of(parts: &mut Parts, app: &App) -> ApiResult<WorkspaceId> {
    let params = RawPathParams::from_request_parts(parts, app).await;
    let params = params.map_err(|error| ApiError::bad_request(error.body_text()))?;
    let named = params.iter().find(|(name, _)| *name == "workspace").map(|(_, value)| value);
    let id: WorkspaceId = named.unwrap_or_default().parse()?;
    match app.catalog.workspace(&id).await? {
        Some(workspace) if !workspace.archived => Ok(id),
        _ => Err(ApiError::not_found(format!("workspace `{id}` does not exist or you don't have access"))),
    }
}

fn rights_in(app: &App, known: &Known, workspace: &WorkspaceId) -> ApiResult<Rights> {
    let identity = &known.identity;
    if !identity.workspace.is_empty() && identity.workspace != workspace.as_str() {
        let message = format!("the token is bound to workspace `{}`", identity.workspace);
        return Err(ApiError::new(ErrorCode::PermissionDenied, message));
    }
    let user = app.catalog.user_by_email(workspace, &identity.email)?.filter(|user| !user.disabled);
    let absent =
        || ApiError::not_found(format!("workspace `{workspace}` does not exist or you don't have access"));
    let username = match &user {
        Some(user) => user.username.clone(),
        None if identity.super_admin => username_of(&identity.email),
        None => return Err(absent()),
    };
    Ok(Rights {
        username,
        email: identity.email.clone(),
        is_admin: identity.super_admin || user.as_ref().is_some_and(|user| user.is_admin),
        is_operator: user.as_ref().is_some_and(|user| user.operator),
        read_only: identity.read_only,
        scopes: known.scopes.clone(),
    })
}

/// The name of an account that is no member: its email's local part, `[a-z0-9_]`.
pub(crate) fn username_of(email: &str) -> String {
    let local = email.split('@').next().unwrap_or_default().to_lowercase();
    local.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect()
}

impl Caller {
    /// Whether the caller may do this.
    ///
    /// # Errors
    /// 403 that names what is missing.
    pub(crate) fn may(&self, action: Action<'_>) -> ApiResult<()> {
        Ok(self.rights.permits(action)?)
    }

    /// The caller as shown on a job (contract 0.4).
    pub(crate) fn info(&self) -> CallerInfo {
        let username = self.rights.username.clone();
        CallerInfo {
            created_by: shown_name(&self.known.identity.label, &username),
            permissioned_as: format!("u/{username}"),
            email: self.rights.email.clone(),
            username,
        }
    }
}

fn shown_name(label: &str, username: &str) -> String {
    let as_is = ["webhook-", "http-", "email-", "ws-"].iter().any(|prefix| label.starts_with(prefix));
    match label {
        label if as_is => label.to_owned(),
        "" | "session" => username.to_owned(),
        label if label.starts_with("ephemeral") => username.to_owned(),
        label => format!("label-{label}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_shown_on_jobs() {
        for (label, shown) in [
            ("", "eve"),
            ("session", "eve"),
            ("ephemeral-script-end", "eve"),
            ("webhook-abc", "webhook-abc"),
            ("ci", "label-ci"),
        ] {
            assert_eq!(shown_name(label, "eve"), shown);
        }
    }

    #[test]
    fn names_from_addresses() {
        assert_eq!(username_of("Ada.Lovelace@example.com"), "ada_lovelace");
    }
}
