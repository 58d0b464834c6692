//! Accounts and their tokens, written to the catalog with auth-service's rights.

use auth_service::FirstAdmin;
use broker::permissions::AUTH_SERVICE;
use broker::{Broker, BrokerConfig};
use catalog::{Account, Batch, Catalog, Expect, Key, Token, User, kinds, now_ms};
use hookmill::up::credentials::Credentials;
use proto::{Bearer, TokenId};

/// A connection as one of the services.
pub(crate) async fn broker(nats_url: &str, credentials: &Credentials, user: &str) -> Broker {
    let config = BrokerConfig {
        url: nats_url.to_owned(),
        user: user.to_owned(),
        password: credentials.nats_password(user).to_owned(),
        name: "system tests".to_owned(),
    };
    Broker::connect(config).await.expect("the address is one")
}

async fn catalog(nats_url: &str, credentials: &Credentials) -> Catalog {
    let catalog = Catalog::open(broker(nats_url, credentials, AUTH_SERVICE).await, kinds::AUTH_SERVICE);
    catalog.ready().await;
    catalog
}

/// Makes the first admin and the first workspace.
pub(crate) async fn first_token(nats_url: &str, credentials: &Credentials, workspace: &str) -> String {
    let first = FirstAdmin {
        email: "admin@hookmill.test".to_owned(),
        workspace: workspace.parse().expect("a workspace id"),
        workspace_name: workspace.to_owned(),
    };
    let made = auth_service::bootstrap(&catalog(nats_url, credentials).await, &first).await;
    made.expect("the catalog is writable").expect("there is no admin yet").expose().to_owned()
}

/// Makes a member of a workspace who does not administer it; the token.
pub(crate) async fn member(nats_url: &str, credentials: &Credentials, workspace: &str, name: &str) -> String {
    let bearer = Bearer::generate().expect("the system has randomness");
    let email = format!("{name}@hookmill.test");
    let account = Account {
        email: email.clone(),
        super_admin: false,
        name: None,
        company: None,
        disabled: false,
        created_at_ms: now_ms(),
    };
    let user = User {
        workspace: workspace.parse().expect("a workspace id"),
        username: name.to_owned(),
        email: email.clone(),
        is_admin: false,
        operator: false,
        disabled: false,
        created_at_ms: now_ms(),
    };
    let mut batch = Batch::new();
    let written = batch
        .put(account.key(), &account, Expect::Absent)
        .and_then(|()| batch.put(user.key(), &user, Expect::Absent))
        .and_then(|()| batch.put(Key::token(&bearer.sha256()), &token(&bearer, email), Expect::Absent));
    written.expect("they are small");
    catalog(nats_url, credentials).await.commit(&batch).await.expect("the catalog is writable");
    bearer.expose().to_owned()
}

fn token(bearer: &Bearer, email: String) -> Token {
    Token {
        token_id: TokenId::random(),
        prefix: bearer.handle().to_owned(),
        email,
        label: String::new(),
        scopes: Vec::new(),
        workspace: None,
        created_at_ms: now_ms(),
        expires_at_ms: None,
        read_only: false,
        last_used_at_ms: None,
        made_by_job: false,
    }
}
