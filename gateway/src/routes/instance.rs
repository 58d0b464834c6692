//! What the instance says of itself.

use axum::Json;
use axum::http::Uri;
use serde_json::Value;

use crate::error::ApiError;

/// The contract's version this server answers for. Below 1.585, because raw workspace
/// dependencies are not supported; clients split it at the letter `v`.
const VERSION: &str = "CE v1.584.0";

/// The version of the contract.
#[utoipa::path(get, path = "/api/version", tag = "instance",
    responses((status = 200, description = "such as `CE v1.584.0`", body = String, content_type = "text/plain")))]
pub(crate) async fn version() -> &'static str {
    VERSION
}

/// This description.
#[utoipa::path(get, path = "/api/openapi.json", tag = "instance",
    responses((status = 200, description = "OpenAPI", body = serde_json::Value)))]
pub(crate) async fn openapi() -> Json<Value> {
    Json(crate::openapi::document())
}

/// Anything else: never HTML below `/api`, clients take that for a login page.
pub(crate) async fn nothing(uri: Uri) -> ApiError {
    ApiError::not_found(format!("there is nothing at {}", uri.path()))
}

/// A path that exists, with a method it does not have.
pub(crate) async fn no_such_method(method: axum::http::Method, uri: Uri) -> ApiError {
    ApiError::new(proto::ErrorCode::MethodNotAllowed, format!("{method} is not served at {}", uri.path()))
}
