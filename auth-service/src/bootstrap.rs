//! The very first start: an account that may do everything, two workspaces, and a
//! token; made together, and only when there is no account at all.

use anyhow::{Context, bail};
use catalog::{
    Account, AuditEntry, Batch, Catalog, CatalogError, Expect, Key, Operation, Token, User, Workspace, now_ms,
};
use proto::{Bearer, TokenId, WorkspaceId};

/// The workspace that always exists.
const ADMINS: &str = "admins";

/// Who and what to make.
#[derive(Clone, Debug)]
pub struct FirstAdmin {
    /// The account's email.
    pub email: String,
    /// The first workspace besides `admins`.
    pub workspace: WorkspaceId,
    /// Its name, for people.
    pub workspace_name: String,
}

/// Makes the first admin and returns the full token, which is shown nowhere else; none
/// when there is an account already. Of several at the same time one succeeds. The
/// catalog must be open as auth-service ([`catalog::kinds::AUTH_SERVICE`]); this waits
/// for its first load.
///
/// # Errors
/// The email cannot be one, or NATS is away.
pub async fn bootstrap(catalog: &Catalog, first: &FirstAdmin) -> anyhow::Result<Option<Bearer>> {
    if !looks_like_email(&first.email) {
        bail!("`{}` is not an email address", first.email);
    }
    catalog.ready().await;
    if !catalog.accounts()?.is_empty() {
        return Ok(None);
    }
    let bearer = Bearer::generate().ok().context("the operating system gave no randomness")?;
    match catalog.commit(&everything(first, &bearer)?).await {
        Ok(_) => Ok(Some(bearer)),
        // another one was first: it shows its token
        Err(CatalogError::Conflict(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn everything(first: &FirstAdmin, bearer: &Bearer) -> Result<Batch, CatalogError> {
    let mut batch = Batch::new();
    // `admins` is the same for everyone who tries, so only one can be first
    let admins: Option<WorkspaceId> = ADMINS.parse().ok();
    let others = Some(first.workspace.clone()).filter(|id| id.as_str() != ADMINS);
    for id in admins.into_iter().chain(others) {
        let workspace = workspace(first, id);
        let user = user(first, &workspace.id);
        batch.put(workspace.key(), &workspace, Expect::Absent)?;
        batch.put(user.key(), &user, Expect::Absent)?;
        let entry = AuditEntry::new(
            Some(&workspace.id),
            &first.email,
            Operation::WorkspacesCreate,
            workspace.id.as_str(),
        );
        batch.put(entry.key(), &entry, Expect::Absent)?;
    }
    let account = account(first);
    batch.put(account.key(), &account, Expect::Absent)?;
    let token = token(first, bearer);
    batch.put(Key::token(&bearer.sha256()), &token, Expect::Absent)?;
    let entry = AuditEntry::new(None, &first.email, Operation::UsersCreate, &first.email);
    batch.put(entry.key(), &entry, Expect::Absent)?;
    Ok(batch)
}

fn workspace(first: &FirstAdmin, id: WorkspaceId) -> Workspace {
    let name = if id == first.workspace { first.workspace_name.clone() } else { id.to_string() };
    Workspace {
        id,
        name,
        owner: first.email.clone(),
        archived: false,
        created_at_ms: now_ms(),
        sandbox: None,
        retention_s: None,
    }
}

fn user(first: &FirstAdmin, workspace: &WorkspaceId) -> User {
    User {
        workspace: workspace.clone(),
        username: username_of(&first.email),
        email: first.email.clone(),
        is_admin: true,
        operator: false,
        disabled: false,
        created_at_ms: now_ms(),
    }
}

fn account(first: &FirstAdmin) -> Account {
    Account {
        email: first.email.clone(),
        super_admin: true,
        name: None,
        company: None,
        disabled: false,
        created_at_ms: now_ms(),
    }
}

fn token(first: &FirstAdmin, bearer: &Bearer) -> Token {
    Token {
        token_id: TokenId::random(),
        prefix: bearer.handle().to_owned(),
        email: first.email.clone(),
        label: "first admin".to_owned(),
        scopes: Vec::new(),
        workspace: None,
        created_at_ms: now_ms(),
        expires_at_ms: None,
        read_only: false,
        last_used_at_ms: None,
        made_by_job: false,
    }
}

/// The user name of an email: its first part, in `[a-z0-9_]` (contract 5.2).
fn username_of(email: &str) -> String {
    let local = email.split('@').next().unwrap_or_default().to_ascii_lowercase();
    local.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect()
}

fn looks_like_email(text: &str) -> bool {
    let plain = text.len() <= 254 && !text.chars().any(|c| c.is_whitespace() || c.is_control());
    plain
        && text
            .split_once('@')
            .is_some_and(|(local, domain)| !local.is_empty() && !domain.is_empty() && !domain.contains('@'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usernames_and_emails() {
        assert_eq!(username_of("Ada.Lovelace+x@example.com"), "ada_lovelace_x");
        for good in ["a@b", "admin@example.com"] {
            assert!(looks_like_email(good), "{good}");
        }
        for bad in ["", "a", "@b", "a@", "a@b@c", "a b@c", "a@b\n"] {
            assert!(!looks_like_email(bad), "{bad:?}");
        }
    }
}
