//! The caller's own tokens: make, list, revoke. A token can never do more than the
//! credential that made it.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use catalog::{AuditEntry, Batch, Expect, Key, Operation, Revoked, Token, now_ms};
use proto::auth::{CreateTokenReply, CreateTokenRequest, TokenInfo};
use proto::{Action, Bearer, Scopes, TokenId, WorkspaceId};

use crate::identify::Caller;
use crate::refusal::{Refusal, invalid};
use crate::service::AuthService;

/// The longest label, in characters.
const MAX_LABEL_CHARS: usize = 100;
/// The most scopes of one token.
const MAX_SCOPES: usize = 100;
/// The most tokens of one account that have not expired.
const MAX_TOKENS: usize = 1000;
/// How long a token made by a job token may live at most.
const MAX_JOB_MADE_MS: i64 = 7 * 24 * 3_600_000;
/// How long a revocation is kept: longer than any cache of identities.
const REVOKED_FOR: Duration = Duration::from_hours(24);
/// Tokens that expired so long ago go when their account makes a new one.
const FORGET_AFTER_MS: i64 = 7 * 24 * 3_600_000;
/// How many of those go with one new token.
const FORGET_AT_ONCE: usize = 20;

impl AuthService {
    pub(crate) async fn create_token_for(
        &self,
        request: CreateTokenRequest,
    ) -> Result<CreateTokenReply, Refusal> {
        let caller = self.authenticate(request.caller.clone()).await?;
        caller.own_rights()?.permits(Action::ManageTokens)?;
        check_label(&request.label)?;
        check_scopes(&request.scopes, &caller)?;
        let expires_at_ms = check_expiry(request.expires_at_ms, &caller)?;
        let workspace = self.check_workspace(&request.workspace, &caller).await?;
        let existing = self.catalog.tokens_of(&caller.identity.email)?;
        check_count(&existing)?;
        let bearer = fresh_bearer(&existing)?;
        let token = Token {
            token_id: TokenId::random(),
            prefix: bearer.handle().to_owned(),
            email: caller.identity.email.clone(),
            label: request.label,
            scopes: request.scopes,
            workspace,
            created_at_ms: now_ms(),
            expires_at_ms,
            read_only: request.read_only,
            last_used_at_ms: None,
            made_by_job: caller.by_job,
        };
        self.write_token(&caller, &bearer, &token, &existing).await?;
        Ok(CreateTokenReply { token: bearer.expose().to_owned(), info: Some(info(&token)) })
    }

    pub(crate) fn list_tokens_of(&self, caller: &Caller) -> Result<Vec<TokenInfo>, Refusal> {
        // reading changes nothing, so a read-only token may
        let rights = proto::Rights { read_only: false, ..caller.own_rights()? };
        rights.permits(Action::ManageTokens)?;
        let mut tokens = self.catalog.tokens_of(&caller.identity.email)?;
        tokens.retain(|(_, token)| caller.reaches(token));
        tokens.sort_by(|(_, one), (_, two)| {
            (two.created_at_ms, &two.token_id).cmp(&(one.created_at_ms, &one.token_id))
        });
        Ok(tokens.iter().map(|(_, token)| info(token)).collect())
    }

    pub(crate) async fn revoke_token_of(&self, caller: &Caller, prefix: &str) -> Result<(), Refusal> {
        caller.own_rights()?.permits(Action::ManageTokens)?;
        let tokens = self.catalog.tokens_of(&caller.identity.email)?;
        let found = tokens.into_iter().find(|(_, token)| token.prefix == prefix && caller.reaches(token));
        let Some((key, token)) = found else {
            return Err(Refusal::NotFound(format!("no token of yours begins with {}", shortened(prefix))));
        };
        let revoked = Revoked { token_id: token.token_id.clone(), revoked_at_ms: now_ms() };
        let audit = audit_entry(caller, Operation::UsersTokenDelete, &token);
        let mut batch = Batch::new();
        batch.delete(key, Expect::Any);
        batch.put_for(revoked.key(), &revoked, REVOKED_FOR)?;
        batch.put(audit.key(), &audit, Expect::Absent)?;
        self.catalog.commit(&batch).await?;
        Ok(())
    }

    /// Bound callers make bound tokens: an empty wish means the same workspace.
    async fn check_workspace(&self, wish: &str, caller: &Caller) -> Result<Option<WorkspaceId>, Refusal> {
        if wish.is_empty() {
            return Ok(caller.workspace.clone());
        }
        let workspace: WorkspaceId = wish.parse().map_err(invalid)?;
        caller.may_enter(&workspace)?;
        match self.catalog.workspace(&workspace).await? {
            None => return Err(Refusal::Invalid(format!("there is no workspace {workspace}"))),
            Some(known) if known.archived => {
                return Err(Refusal::Invalid(format!("the workspace {workspace} is archived")));
            }
            Some(_) => {}
        }
        let member = self
            .catalog
            .user_by_email(&workspace, &caller.identity.email)?
            .is_some_and(|user| !user.disabled);
        if !member && !caller.identity.super_admin {
            return Err(Refusal::PermissionDenied(format!("you are no member of the workspace {workspace}")));
        }
        Ok(Some(workspace))
    }

    async fn write_token(
        &self,
        caller: &Caller,
        bearer: &Bearer,
        token: &Token,
        existing: &[(Key, Arc<Token>)],
    ) -> Result<(), Refusal> {
        let audit = audit_entry(caller, Operation::UsersTokenCreate, token);
        let mut batch = Batch::new();
        for key in long_expired(existing) {
            batch.delete(key, Expect::Any);
        }
        batch.put(Key::token(&bearer.sha256()), token, Expect::Absent)?;
        batch.put(audit.key(), &audit, Expect::Absent)?;
        self.catalog.commit(&batch).await?;
        Ok(())
    }
}

fn audit_entry(caller: &Caller, operation: Operation, token: &Token) -> AuditEntry {
    AuditEntry::new(token.workspace.as_ref(), &caller.identity.email, operation, &token.prefix)
}

fn check_label(label: &str) -> Result<(), Refusal> {
    if label.chars().count() > MAX_LABEL_CHARS {
        return Err(Refusal::Invalid(format!("the label is longer than {MAX_LABEL_CHARS} characters")));
    }
    if label.chars().any(char::is_control) {
        return Err(Refusal::Invalid("the label contains a control character".to_owned()));
    }
    if label == "session" || label.starts_with("ephemeral") {
        return Err(Refusal::Invalid(format!("the label {label} is reserved")));
    }
    Ok(())
}

fn check_scopes(wish: &[String], caller: &Caller) -> Result<(), Refusal> {
    if wish.len() > MAX_SCOPES {
        return Err(Refusal::Invalid(format!("more than {MAX_SCOPES} scopes")));
    }
    let scopes = Scopes::parse(wish).map_err(invalid)?;
    if scopes.within(&caller.scopes()?) {
        return Ok(());
    }
    Err(Refusal::PermissionDenied("a token cannot have more scopes than the one that makes it".to_owned()))
}

fn check_expiry(wish: i64, caller: &Caller) -> Result<Option<i64>, Refusal> {
    let now = now_ms();
    let expiry = (wish != 0).then_some(wish);
    if expiry.is_some_and(|expiry| expiry <= now) {
        return Err(Refusal::Invalid("the expiration is not in the future".to_owned()));
    }
    let too_late = expiry.is_none_or(|expiry| expiry > now + MAX_JOB_MADE_MS);
    if caller.identity.job.is_some() && too_late {
        return Err(Refusal::Invalid("a token made by a job must expire within 7 days".to_owned()));
    }
    Ok(expiry)
}

fn check_count(existing: &[(Key, Arc<Token>)]) -> Result<(), Refusal> {
    let now = now_ms();
    let alive =
        existing.iter().filter(|(_, token)| token.expires_at_ms.is_none_or(|expiry| expiry > now)).count();
    if alive < MAX_TOKENS {
        return Ok(());
    }
    Err(Refusal::Invalid(format!("this account has {MAX_TOKENS} tokens, the limit; revoke some")))
}

/// A token whose public handle none of the account's others has.
fn fresh_bearer(existing: &[(Key, Arc<Token>)]) -> Result<Bearer, Refusal> {
    let taken: HashSet<&str> = existing.iter().map(|(_, token)| token.prefix.as_str()).collect();
    loop {
        let bearer = Bearer::generate().map_err(|_| Refusal::Randomness)?;
        if !taken.contains(bearer.handle()) {
            return Ok(bearer);
        }
    }
}

fn long_expired(existing: &[(Key, Arc<Token>)]) -> impl Iterator<Item = Key> {
    let before = now_ms() - FORGET_AFTER_MS;
    let gone = move |token: &Token| token.expires_at_ms.is_some_and(|expiry| expiry < before);
    existing.iter().filter(move |(_, token)| gone(token)).map(|(key, _)| key.clone()).take(FORGET_AT_ONCE)
}

/// What may be repeated of a handle that might be a whole token.
fn shortened(prefix: &str) -> String {
    prefix.chars().take(proto::bearer::HANDLE_LEN).collect()
}

fn info(token: &Token) -> TokenInfo {
    TokenInfo {
        token_id: token.token_id.to_string(),
        prefix: token.prefix.clone(),
        label: token.label.clone(),
        created_at_ms: token.created_at_ms,
        last_used_at_ms: token.last_used_at_ms.unwrap_or(token.created_at_ms),
        expires_at_ms: token.expires_at_ms.unwrap_or_default(),
        scopes: token.scopes.clone(),
        workspace: token.workspace.as_ref().map(ToString::to_string).unwrap_or_default(),
        email: token.email.clone(),
        read_only: token.read_only,
    }
}
