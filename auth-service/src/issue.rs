//! Job tokens for workers: a grant from a job's envelope becomes the short-lived token
//! of one attempt, if whoever triggered the job may still run it.

use catalog::now_ms;
use proto::auth::{Grant, IssueJobTokenReply, IssueJobTokenRequest};
use proto::{Action, JobId, Rights, Scopes, ScriptPath, WorkspaceId};

use crate::grant;
use crate::job_token::{self, Claims};
use crate::refusal::{Refusal, denied, invalid};
use crate::service::AuthService;

/// How much longer than its job a token lives.
const MARGIN_MS: i64 = 60_000;
/// The longest life of a job token.
const MAX_LIFE_MS: i64 = 24 * 3_600_000;

impl AuthService {
    pub(crate) async fn issue(&self, request: IssueJobTokenRequest) -> Result<IssueJobTokenReply, Refusal> {
        let workspace: WorkspaceId = request.workspace.parse().map_err(invalid)?;
        let job: JobId = request.job_id.parse().map_err(invalid)?;
        let path: ScriptPath = request.script_path.parse().map_err(invalid)?;
        let life_ms = life_ms(request.timeout_ms)?;
        let grant = self.granted(&request, &workspace)?;
        let holder = self.holder(&grant, &workspace).await?;
        holder.rights.permits(Action::RunScript(&path))?;
        let said = self.said_by(&workspace).await?;
        let now = now_ms();
        // seconds, rounded up: a token never ends before its job
        let expires_at_s = (now + life_ms + 999) / 1000;
        let claims = Claims {
            ws: workspace.to_string(),
            job: job.to_string(),
            attempt: request.attempt,
            username: holder.rights.username.clone(),
            super_admin: holder.super_admin,
            ..Claims::new(&grant.email, now / 1000, expires_at_s)
        };
        let token = job_token::make(&self.signer, &claims).map_err(invalid)?;
        Ok(IssueJobTokenReply {
            token,
            expires_at_ms: expires_at_s * 1000,
            sandbox: said.sandbox,
            retention_s: said.retention_s,
        })
    }

    fn granted(&self, request: &IssueJobTokenRequest, workspace: &WorkspaceId) -> Result<Grant, Refusal> {
        let signed = request.grant.as_ref().and_then(|signed| grant::verify(&self.signer, signed));
        let grant = signed.ok_or_else(|| denied("the grant is not one of this instance"))?;
        if grant.workspace.is_empty() || grant.workspace == workspace.as_str() {
            return Ok(grant);
        }
        Err(denied("the grant is bound to another workspace"))
    }

    /// Who the grant is for, as they are now.
    async fn holder(&self, grant: &Grant, workspace: &WorkspaceId) -> Result<Holder, Refusal> {
        let account = self.catalog.account(&grant.email).await?;
        let account = account.filter(|account| !account.disabled);
        let account = account.ok_or_else(|| denied("the account is gone or disabled"))?;
        let super_admin = grant.super_admin && account.super_admin;
        let own = Rights {
            username: String::new(),
            email: grant.email.clone(),
            is_admin: super_admin,
            is_operator: false,
            read_only: false,
            scopes: Scopes::parse(&grant.scopes).map_err(invalid)?,
        };
        Ok(Holder { rights: self.as_member(own, workspace)?, super_admin })
    }
}

struct Holder {
    rights: Rights,
    super_admin: bool,
}

fn life_ms(timeout_ms: i64) -> Result<i64, Refusal> {
    if timeout_ms <= 0 {
        return Err(Refusal::Invalid("timeout_ms is not positive".to_owned()));
    }
    Ok(timeout_ms.saturating_add(MARGIN_MS).min(MAX_LIFE_MS))
}
