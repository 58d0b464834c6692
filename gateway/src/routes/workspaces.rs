//! Workspaces: whether there is one, and its settings. These are changed by auth-service, the only writer.

use axum::Json;
use axum::extract::State;
use bytes::Bytes;
use catalog::{SandboxSettings, Workspace};
use proto::WorkspaceId;
use proto::auth::{EditRetentionRequest, EditSandboxRequest};
use proto::rights::Action;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::app::App;
use crate::auth::{Account, Caller, api_error, credential_of};
use crate::error::{ApiError, ApiResult};

#[derive(Deserialize)]
struct Asked {
    id: String,
}

/// Whether a workspace of this id exists.
#[utoipa::path(post, path = "/api/workspaces/exists", tag = "workspaces",
    request_body(content = serde_json::Value, description = "{\"id\": …}"),
    responses((status = 200, description = "whether it does", body = bool)))]
pub(crate) async fn exists(State(app): State<App>, _: Account, body: Bytes) -> ApiResult<Json<bool>> {
    let asked: Asked = serde_json::from_slice(&body)
        .map_err(|error| ApiError::bad_request(format!("invalid JSON: {error}")))?;
    // no workspace has an id that is not one
    let Ok(id) = asked.id.parse::<WorkspaceId>() else { return Ok(Json(false)) };
    Ok(Json(app.catalog.workspace(&id).await?.is_some()))
}

/// The workspace's settings, as far as this server has them.
#[utoipa::path(get, path = "/api/w/{workspace}/workspaces/get_settings", tag = "workspaces",
    params(("workspace" = String, Path)),
    responses((status = 200, description = "workspace_id, name, owner, sandbox, retention_period_secs", body = serde_json::Value)))]
pub(crate) async fn settings(State(app): State<App>, caller: Caller) -> ApiResult<Json<Value>> {
    caller.may(Action::ReadWorkspace)?;
    let workspace = stored(&app, &caller.workspace).await?;
    Ok(Json(json!({
        "workspace_id": workspace.id, "name": workspace.name, "owner": workspace.owner, "sandbox": workspace.sandbox,
        "retention_period_secs": workspace.retention_s,
    })))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Edit {
    /// Null takes them back; leaving the key out is a mistake.
    sandbox: Value,
}

/// What the workspace asks of its scripts' sandboxes; holds for the jobs that start from now on.
#[utoipa::path(post, path = "/api/w/{workspace}/workspaces/edit_sandbox", tag = "workspaces",
    params(("workspace" = String, Path)),
    request_body(content = serde_json::Value,
        description = "{\"sandbox\": {…} or null}: a script's setting `sandbox`, and network_max"),
    responses((status = 200, description = "done", body = String, content_type = "text/plain"), (status = 400), (status = 403)))]
pub(crate) async fn edit_sandbox(State(app): State<App>, caller: Caller, body: Bytes) -> ApiResult<String> {
    caller.may(Action::WriteWorkspace)?;
    let edit: Edit = serde_json::from_slice(&body)
        .map_err(|error| ApiError::bad_request(format!("invalid settings: {error}")))?;
    let sandbox = if edit.sandbox.is_null() { String::new() } else { edit.sandbox.to_string() };
    let workspace = caller.workspace.to_string();
    let request = EditSandboxRequest { caller: Some(credential_of(&caller.token)?), workspace, sandbox };
    let edited =
        app.auth.client().call(request, async |client, request| client.edit_sandbox(request).await).await;
    edited.map_err(|status| api_error(&status))?;
    Ok(format!("edited the sandbox of workspace {}", caller.workspace))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EditRetention {
    /// Null takes it back; leaving the key out is a mistake.
    retention_period_secs: Value,
}

/// How long the workspace keeps its ended runs; holds for the jobs that end from now on.
#[utoipa::path(post, path = "/api/w/{workspace}/workspaces/edit_retention", tag = "workspaces",
    params(("workspace" = String, Path)),
    request_body(content = serde_json::Value, description = "{\"retention_period_secs\": seconds or null}"),
    responses((status = 200, description = "done", body = String, content_type = "text/plain"), (status = 400), (status = 403)))]
pub(crate) async fn edit_retention(State(app): State<App>, caller: Caller, body: Bytes) -> ApiResult<String> {
    caller.may(Action::WriteWorkspace)?;
    let edit: EditRetention = serde_json::from_slice(&body)
        .map_err(|error| ApiError::bad_request(format!("invalid settings: {error}")))?;
    let request = EditRetentionRequest {
        caller: Some(credential_of(&caller.token)?),
        workspace: caller.workspace.to_string(),
        retention_s: seconds(&edit.retention_period_secs)?,
    };
    let edited =
        app.auth.client().call(request, async |client, request| client.edit_retention(request).await).await;
    edited.map_err(|status| api_error(&status))?;
    Ok(format!("edited the retention of workspace {}", caller.workspace))
}

/// 0: none.
fn seconds(sent: &Value) -> ApiResult<u64> {
    match sent {
        Value::Null => Ok(0),
        sent => sent.as_u64().filter(|seconds| *seconds > 0).ok_or_else(|| {
            ApiError::bad_request(format!(
                "retention_period_secs: {sent} is no whole number of seconds from 1 on"
            ))
        }),
    }
}

/// Whether a script of this workspace may ask for this, by what is stored at this moment.
///
/// # Errors
/// 400 that names what it may not ask for, and what is the most.
pub(crate) async fn allow(app: &App, id: &WorkspaceId, asked: &SandboxSettings) -> ApiResult<()> {
    if *asked == SandboxSettings::default() {
        return Ok(());
    }
    let bounds = stored(app, id).await?.sandbox.unwrap_or_default();
    bounds
        .allows(asked)
        .map_err(|refused| ApiError::bad_request(format!("the script setting `sandbox`: {refused}")))
}

/// From the store: a change that another gateway has just answered for counts here too.
async fn stored(app: &App, id: &WorkspaceId) -> ApiResult<Workspace> {
    let read = app.catalog.read::<Workspace>(&Workspace::key_of(id)).await?;
    let workspace = read.and_then(|(_, workspace)| workspace);
    workspace.ok_or_else(|| ApiError::not_found(format!("workspace `{id}` does not exist any more")))
}
