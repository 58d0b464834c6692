//! From what a caller presented to who that is. A token that is not in the table is
//! read from the store before it is called unknown, so that a token just made works
//! everywhere and an absent NATS is never told as "who are you".

use std::sync::Arc;

use catalog::{Account, Catalog, Token, now_ms};
use proto::auth::credential::Kind;
use proto::auth::{Credential, Identity, JobBinding};
use proto::{Rights, Scopes, WorkspaceId};

use crate::job_token::{self, Claims};
use crate::refusal::{Refusal, denied, invalid};
use crate::service::AuthService;

/// What tokens made while a job runs are called.
const JOB_LABEL: &str = "ephemeral-script";

/// A caller, known.
pub(crate) struct Caller {
    pub(crate) identity: Identity,
    /// The workspace its credential is bound to.
    pub(crate) workspace: Option<WorkspaceId>,
    /// Its credential is a job's, or was made with one.
    pub(crate) by_job: bool,
}

impl AuthService {
    pub(crate) async fn authenticate(&self, credential: Option<Credential>) -> Result<Caller, Refusal> {
        match credential.and_then(|credential| credential.kind) {
            Some(Kind::TokenSha256(sha256)) => self.by_token(&sha256).await,
            Some(Kind::JobToken(token)) => self.by_job_token(&token).await,
            None => Err(Refusal::Unauthenticated("no credential")),
        }
    }

    async fn by_token(&self, sha256: &[u8]) -> Result<Caller, Refusal> {
        if sha256.len() != 32 {
            return Err(Refusal::Invalid("token_sha256 is not 32 bytes".to_owned()));
        }
        let token =
            self.catalog.token(sha256).await?.ok_or(Refusal::Unauthenticated("unknown or revoked token"))?;
        if token.expires_at_ms.is_some_and(|expiry| expiry <= now_ms()) {
            return Err(Refusal::Unauthenticated("token expired"));
        }
        let account = active_account(&self.catalog, &token.email).await?;
        self.last_used.note(sha256, &token);
        let workspace = token.workspace.clone();
        Ok(Caller { identity: identity_of(&token, &account), workspace, by_job: token.made_by_job })
    }

    async fn by_job_token(&self, token: &str) -> Result<Caller, Refusal> {
        let claims = job_token::verify(&self.signer, token, now_ms())?;
        let workspace: WorkspaceId = claims.ws.parse().map_err(invalid)?;
        let account = active_account(&self.catalog, &claims.sub).await?;
        let user = self.catalog.user_by_email(&workspace, &claims.sub)?;
        if user.is_some_and(|user| user.disabled) {
            return Err(Refusal::Unauthenticated("the user is disabled in this workspace"));
        }
        Ok(Caller { identity: identity_of_job(claims, &account), workspace: Some(workspace), by_job: true })
    }

    /// The rights of an account in a workspace: those of its user there. A super admin who is no member goes
    /// by the email.
    pub(crate) fn as_member(&self, own: Rights, workspace: &WorkspaceId) -> Result<Rights, Refusal> {
        match self.catalog.user_by_email(workspace, &own.email)? {
            Some(user) if user.disabled => Err(denied("the user is disabled in this workspace")),
            Some(user) => Ok(Rights {
                username: user.username.clone(),
                is_admin: own.is_admin || user.is_admin,
                is_operator: user.operator,
                ..own
            }),
            None if own.is_admin => Ok(Rights { username: own.email.clone(), ..own }),
            None => Err(denied("the account is no member of this workspace")),
        }
    }
}

/// The account, if it may still authenticate.
async fn active_account(catalog: &Catalog, email: &str) -> Result<Arc<Account>, Refusal> {
    let account = catalog.account(email).await?.ok_or(Refusal::Unauthenticated("the account is gone"))?;
    if account.disabled { Err(Refusal::Unauthenticated("the account is disabled")) } else { Ok(account) }
}

fn identity_of(token: &Token, account: &Account) -> Identity {
    Identity {
        token_id: token.token_id.to_string(),
        email: account.email.clone(),
        super_admin: account.super_admin,
        label: token.label.clone(),
        scopes: token.scopes.clone(),
        workspace: token.workspace.as_ref().map(ToString::to_string).unwrap_or_default(),
        expires_at_ms: token.expires_at_ms.unwrap_or_default(),
        job: None,
        read_only: token.read_only,
    }
}

fn identity_of_job(claims: Claims, account: &Account) -> Identity {
    Identity {
        token_id: format!("job-{}-{}", claims.job, claims.attempt),
        email: claims.sub,
        super_admin: claims.super_admin && account.super_admin,
        label: JOB_LABEL.to_owned(),
        scopes: claims.scopes,
        workspace: claims.ws.clone(),
        expires_at_ms: claims.exp.saturating_mul(1000),
        job: Some(JobBinding {
            workspace: claims.ws,
            job_id: claims.job,
            attempt: claims.attempt,
            username: claims.username,
        }),
        read_only: false,
    }
}

impl Caller {
    pub(crate) fn scopes(&self) -> Result<Scopes, Refusal> {
        Scopes::parse(&self.identity.scopes).map_err(invalid)
    }

    /// Its rights over its own account, where no role in a workspace matters.
    pub(crate) fn own_rights(&self) -> Result<Rights, Refusal> {
        Ok(Rights {
            username: String::new(),
            email: self.identity.email.clone(),
            is_admin: self.identity.super_admin,
            is_operator: false,
            read_only: self.identity.read_only,
            scopes: self.scopes()?,
        })
    }

    /// A credential bound to a workspace is good for no other.
    pub(crate) fn may_enter(&self, workspace: &WorkspaceId) -> Result<(), Refusal> {
        if self.workspace.as_ref().is_some_and(|own| own != workspace) {
            return Err(denied(format!("your token is bound to another workspace than {workspace}")));
        }
        Ok(())
    }

    /// A credential bound to a workspace sees and touches only what is bound to it too.
    pub(crate) fn reaches(&self, token: &Token) -> bool {
        self.workspace.is_none() || self.workspace == token.workspace
    }
}
