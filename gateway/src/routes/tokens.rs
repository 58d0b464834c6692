//! The caller's own tokens: made, listed and revoked at auth-service, the only writer.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use chrono::DateTime;
use http::StatusCode;
use proto::auth::{CreateTokenRequest, Credential, ListTokensRequest, RevokeTokenRequest, TokenInfo};
use proto::rights::Action;
use proto::{ErrorCode, Rights};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Tail;
use crate::app::App;
use crate::auth::{Account, api_error, credential_of};
use crate::error::{ApiError, ApiResult};
use crate::present::timestamp;

#[derive(Default, Deserialize)]
struct NewToken {
    #[serde(default)]
    label: Option<String>,
    #[serde(default)]
    expiration: Option<String>,
    #[serde(default)]
    scopes: Option<Vec<String>>,
    #[serde(default)]
    workspace_id: Option<String>,
    #[serde(default)]
    read_only: Option<bool>,
}

/// Make a token; this is the only time it is shown.
#[utoipa::path(post, path = "/api/users/tokens/create", tag = "tokens",
    request_body(content = serde_json::Value, description = "label, expiration, scopes, workspace_id, read_only; all optional"),
    responses((status = 201, description = "the token", body = String, content_type = "text/plain")))]
pub(crate) async fn create(State(app): State<App>, account: Account, body: Bytes) -> ApiResult<Response> {
    let caller = manager(&account)?;
    let new = parse(&body)?;
    let request = CreateTokenRequest {
        caller: Some(caller),
        label: new.label.unwrap_or_default(),
        expires_at_ms: new.expiration.as_deref().map(expiration).transpose()?.unwrap_or(0),
        scopes: new.scopes.unwrap_or_default(),
        workspace: new.workspace_id.unwrap_or_default(),
        read_only: new.read_only.unwrap_or(false),
    };
    let made =
        app.auth.client().call(request, async |client, request| client.create_token(request).await).await;
    let made = made.map_err(|status| api_error(&status))?;
    Ok((StatusCode::CREATED, [("cache-control", "no-store")], made.token).into_response())
}

fn parse(body: &[u8]) -> ApiResult<NewToken> {
    if body.trim_ascii().is_empty() {
        return Ok(NewToken::default());
    }
    serde_json::from_slice(body).map_err(|error| ApiError::bad_request(format!("invalid JSON: {error}")))
}

fn expiration(text: &str) -> ApiResult<i64> {
    let parsed = DateTime::parse_from_rfc3339(text);
    let at = parsed
        .map_err(|error| ApiError::bad_request(format!("expiration `{text}` is not RFC 3339: {error}")))?;
    Ok(at.timestamp_millis())
}

/// The caller's tokens, newest first, without the tokens themselves.
#[utoipa::path(get, path = "/api/users/tokens/list", tag = "tokens",
    responses((status = 200, description = "TruncatedToken rows", body = serde_json::Value)))]
pub(crate) async fn list(State(app): State<App>, account: Account) -> ApiResult<Json<Vec<Value>>> {
    let request = ListTokensRequest { caller: Some(manager(&account)?) };
    let listed =
        app.auth.client().call(request, async |client, request| client.list_tokens(request).await).await;
    let listed = listed.map_err(|status| api_error(&status))?;
    Ok(Json(listed.tokens.iter().map(shown).collect()))
}

/// Revoke a token by its first ten characters; gateways refuse it from then on.
#[utoipa::path(delete, path = "/api/users/tokens/delete/{token_prefix}", tag = "tokens",
    params(("token_prefix" = String, Path)),
    responses((status = 200, description = "done", body = String, content_type = "text/plain"), (status = 404)))]
pub(crate) async fn delete(
    State(app): State<App>,
    account: Account,
    Tail(prefix): Tail<String>,
) -> ApiResult<String> {
    let request = RevokeTokenRequest { caller: Some(manager(&account)?), prefix: prefix.clone() };
    let revoked =
        app.auth.client().call(request, async |client, request| client.revoke_token(request).await).await;
    revoked.map_err(|status| api_error(&status))?;
    Ok(format!("deleted token {prefix}"))
}

/// The caller's credential, if its token may manage tokens.
fn manager(account: &Account) -> ApiResult<Credential> {
    let identity = &account.known.identity;
    let rights = Rights {
        username: String::new(),
        email: identity.email.clone(),
        is_admin: identity.super_admin,
        is_operator: false,
        read_only: identity.read_only,
        scopes: account.known.scopes.clone(),
    };
    rights
        .permits(Action::ManageTokens)
        .map_err(|refusal| ApiError::new(ErrorCode::PermissionDenied, refusal.message))?;
    credential_of(&account.token)
}

fn shown(token: &TokenInfo) -> Value {
    let mut row = json!({
        "token_prefix": token.prefix,
        "created_at": timestamp(token.created_at_ms * 1000),
        "last_used_at": timestamp(token.last_used_at_ms.max(token.created_at_ms) * 1000),
        "read_only": token.read_only,
        "email": token.email,
    });
    let optional = [
        ("label", (!token.label.is_empty()).then(|| json!(token.label))),
        ("expiration", (token.expires_at_ms != 0).then(|| json!(timestamp(token.expires_at_ms * 1000)))),
        ("scopes", (!token.scopes.is_empty()).then(|| json!(token.scopes))),
        ("workspace_id", (!token.workspace.is_empty()).then(|| json!(token.workspace))),
    ];
    for (key, value) in optional {
        if let Some(value) = value {
            row[key] = value;
        }
    }
    row
}
