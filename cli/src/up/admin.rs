//! The first admin and its token: made on the first start, and again when the token is lost.

use anyhow::{Context, bail};
use auth_service::FirstAdmin;
use broker::permissions::AUTH_SERVICE;
use broker::{Broker, BrokerConfig};
use catalog::{AuditEntry, Batch, Catalog, Expect, Key, Operation, Token, kinds, now_ms};
use proto::{Bearer, TokenId, WorkspaceId};

/// The catalog as auth-service sees it, which alone may write accounts and tokens.
///
/// # Errors
/// The address of NATS cannot be parsed.
pub(crate) async fn open_catalog(nats_url: &str, password: &str) -> anyhow::Result<Catalog> {
    let config = BrokerConfig {
        url: nats_url.to_owned(),
        user: AUTH_SERVICE.to_owned(),
        password: password.to_owned(),
        name: "hookmill first admin".to_owned(),
    };
    Ok(Catalog::open(Broker::connect(config).await?, kinds::AUTH_SERVICE))
}

/// Makes the first admin when there is none; its token, on the first start alone.
///
/// # Errors
/// The email cannot be one, or NATS is away.
pub(crate) async fn first_token(
    catalog: &Catalog,
    email: &str,
    workspace: &WorkspaceId,
) -> anyhow::Result<Option<Bearer>> {
    let (email, name) = (email.to_owned(), workspace.to_string());
    let first = FirstAdmin { email, workspace: workspace.clone(), workspace_name: name };
    auth_service::bootstrap(catalog, &first).await.context("cannot make the first admin")
}

/// Makes another token for the first of the instance's admins.
///
/// # Errors
/// There is no admin, or NATS is away.
pub(super) async fn new_token(catalog: &Catalog) -> anyhow::Result<Bearer> {
    catalog.ready().await;
    let accounts = catalog.accounts()?;
    let admins = accounts.iter().filter(|account| account.super_admin && !account.disabled);
    let Some(admin) = admins.min_by_key(|account| account.created_at_ms) else {
        bail!("there is no admin to make a token for");
    };
    let bearer = Bearer::generate().ok().context("the operating system gave no randomness")?;
    let token = token(&admin.email, &bearer);
    let mut batch = Batch::new();
    batch.put(Key::token(&bearer.sha256()), &token, Expect::Absent)?;
    let entry = AuditEntry::new(None, &admin.email, Operation::UsersTokenCreate, &token.prefix);
    batch.put(entry.key(), &entry, Expect::Absent)?;
    catalog.commit(&batch).await?;
    Ok(bearer)
}

fn token(email: &str, bearer: &Bearer) -> Token {
    Token {
        token_id: TokenId::random(),
        prefix: bearer.handle().to_owned(),
        email: email.to_owned(),
        label: "reset by hookmill up".to_owned(),
        scopes: Vec::new(),
        workspace: None,
        created_at_ms: now_ms(),
        expires_at_ms: None,
        read_only: false,
        last_used_at_ms: None,
        made_by_job: false,
    }
}
