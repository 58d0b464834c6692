//! Workspaces.

use axum::Json;
use axum::extract::State;
use bytes::Bytes;
use proto::WorkspaceId;
use serde::Deserialize;

use crate::app::App;
use crate::auth::Account;
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
