//! Who the caller is: the account, and the user of a workspace.

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use crate::app::App;
use crate::auth::{Account, Caller, username_of};
use crate::error::ApiResult;
use crate::present::timestamp;

/// The caller's account.
#[utoipa::path(get, path = "/api/users/whoami", tag = "users",
    responses((status = 200, description = "GlobalUserInfo", body = serde_json::Value)))]
pub(crate) async fn whoami(account: Account) -> Json<Value> {
    let identity = &account.known.identity;
    Json(json!({
        "email": identity.email, "login_type": "password", "super_admin": identity.super_admin, "verified": true,
        "username": username_of(&identity.email), "operator_only": false, "first_time_user": false,
        "role_source": "manual", "disabled": false, "devops": false,
    }))
}

/// The caller as a user of the workspace.
#[utoipa::path(get, path = "/api/w/{workspace}/users/whoami", tag = "users", params(("workspace" = String, Path)),
    responses((status = 200, description = "User", body = serde_json::Value)))]
pub(crate) async fn whoami_here(State(app): State<App>, caller: Caller) -> ApiResult<Json<Value>> {
    let identity = &caller.known.identity;
    let user = app.catalog.user_by_email(&caller.workspace, &identity.email)?;
    let created_at_ms = user.as_ref().map_or(0, |user| user.created_at_ms);
    Ok(Json(json!({
        "workspace_id": caller.workspace, "email": identity.email, "username": caller.rights.username,
        "is_admin": caller.rights.is_admin, "is_super_admin": identity.super_admin,
        "created_at": timestamp(created_at_ms * 1000), "operator": caller.rights.is_operator, "disabled": false,
        "groups": ["all"], "folders": [], "folders_read": [], "folders_owners": [], "non_member": user.is_none(),
    })))
}
