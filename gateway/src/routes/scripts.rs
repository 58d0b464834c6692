//! Scripts: deploy a version, read the latest of a path or one by its hash.

use axum::Json;
use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Response};
use catalog::{Author, Head, IfUnchanged, NewScript, SandboxSettings, Script};
use http::{HeaderMap, StatusCode};
use proto::rights::Action;
use proto::{Language, ScriptHash, ScriptPath};
use serde_json::{Map, Value, json};

use super::jobs::asks;
use super::{Tail, workspaces};
use crate::app::App;
use crate::auth::Caller;
use crate::error::{ApiError, ApiResult};
use crate::present::timestamp;
use crate::request;

/// Settings of the contract that ask for something this server does not do yet. One that
/// is sent with its default value is stored and changes nothing.
const NOT_BUILT: [&str; 22] = [
    "concurrent_limit",
    "concurrency_time_window_s",
    "concurrency_key",
    "debounce_key",
    "debounce_delay_s",
    "debounce_args_to_accumulate",
    "max_total_debouncing_time",
    "max_total_debounces_amount",
    "cache_ttl",
    "cache_ignore_s3_path",
    "dedicated_worker",
    "priority",
    "restart_unless_cancelled",
    "delete_after_secs",
    "delete_after_use",
    "visible_to_runner_only",
    "codebase",
    "has_preprocessor",
    "on_behalf_of_email",
    "on_behalf_of",
    "modules",
    "job_token_scopes",
];

/// Deploy a version of a script; it is callable when this answers.
#[utoipa::path(post, path = "/api/w/{workspace}/scripts/create", tag = "scripts",
    params(("workspace" = String, Path), ("skip_if_noop" = Option<bool>, Query)),
    request_body(content = serde_json::Value, description = "path, summary, content, language and settings"),
    responses((status = 201, description = "the version's hash", body = String, content_type = "text/plain"), (status = 400)))]
pub(crate) async fn create(
    State(app): State<App>,
    RawQuery(query): RawQuery,
    caller: Caller,
    headers: HeaderMap,
    body: Body,
) -> ApiResult<Response> {
    let body = request::read(&headers, body, app.config.body_limit).await?;
    let new: NewScript = serde_json::from_slice(&body)
        .map_err(|error| ApiError::bad_request(format!("invalid script: {error}")))?;
    caller.may(Action::WriteScript(&new.path))?;
    let asked = check_settings(&new)?;
    workspaces::allow(&app, &caller.workspace, &asked).await?;
    check_language(new.language, &app.config.languages)?;
    let if_unchanged =
        if asks(query.as_deref(), "skip_if_noop") { IfUnchanged::Skip } else { IfUnchanged::Deploy };
    let author = Author { username: caller.rights.username.clone() };
    let deployed = app.catalog.deploy(&caller.workspace, &author, new, if_unchanged).await?;
    Ok((StatusCode::CREATED, deployed.hash.to_string()).into_response())
}

fn check_language(language: Language, runs: &[Language]) -> ApiResult<()> {
    if runs.contains(&language) {
        return Ok(());
    }
    let names: Vec<&str> = runs.iter().map(|language| language.as_str()).collect();
    Err(ApiError::bad_request(format!(
        "no worker here runs `{language}`; these languages run: {}",
        names.join(", ")
    )))
}

/// What the script asks of its sandbox, if its settings are such that it can be run.
fn check_settings(new: &NewScript) -> ApiResult<SandboxSettings> {
    let unbuilt = NOT_BUILT.iter().find(|name| new.other.get(**name).is_some_and(|value| !is_default(value)));
    if let Some(name) = unbuilt {
        return Err(ApiError::bad_request(format!("the script setting `{name}` is not supported yet")));
    }
    if new.lock.as_deref().is_some_and(|lock| !lock.trim().is_empty()) {
        return Err(ApiError::bad_request(
            "the script setting `lock` is not supported yet: dependencies are not installed",
        ));
    }
    if let Err(error) = new.retries_on_worker_loss() {
        return Err(ApiError::bad_request(format!("the script setting `retry_on_worker_loss`: {error}")));
    }
    if let Err(error) = new.retry() {
        return Err(ApiError::bad_request(format!("the script setting `retry`: {error}")));
    }
    let sandbox = new.sandbox();
    let asked =
        sandbox.map_err(|error| ApiError::bad_request(format!("the script setting `sandbox`: {error}")))?;
    match new.timeout {
        Some(seconds) if seconds <= 0 => {
            Err(ApiError::bad_request(format!("timeout: {seconds} is not a number of seconds")))
        }
        _ => Ok(asked),
    }
}

/// Whether a setting asks for what happens without it.
pub(crate) fn is_default(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(on) => !on,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(elements) => elements.is_empty(),
        Value::Object(members) => members.is_empty(),
    }
}

/// The latest version of a path.
#[utoipa::path(get, path = "/api/w/{workspace}/scripts/get/p/{path}", tag = "scripts",
    params(("workspace" = String, Path), ("path" = String, Path)),
    responses((status = 200, description = "Script", body = serde_json::Value), (status = 404)))]
pub(crate) async fn by_path(
    State(app): State<App>,
    caller: Caller,
    Tail(path): Tail<String>,
) -> ApiResult<Json<Value>> {
    let absent = || ApiError::not_found(format!("Script not found at name {path}"));
    let path: ScriptPath = path.parse().map_err(|_| absent())?;
    caller.may(Action::ReadScript(&path))?;
    let head = app.catalog.head(&caller.workspace, &path).await?.ok_or_else(absent)?;
    let script = app.catalog.script(&caller.workspace, head.hash).await?.ok_or_else(absent)?;
    Ok(Json(shown(&script, Some(&head))))
}

/// One version.
#[utoipa::path(get, path = "/api/w/{workspace}/scripts/get/h/{hash}", tag = "scripts",
    params(("workspace" = String, Path), ("hash" = String, Path)),
    responses((status = 200, description = "Script", body = serde_json::Value), (status = 404)))]
pub(crate) async fn by_hash(
    State(app): State<App>,
    caller: Caller,
    Tail(hash): Tail<ScriptHash>,
) -> ApiResult<Json<Value>> {
    let absent = || ApiError::not_found(format!("Script not found at hash {hash}"));
    let script = app.catalog.script(&caller.workspace, hash).await?.ok_or_else(absent)?;
    caller.may(Action::ReadScript(&script.script.path))?;
    let head = app.catalog.head(&caller.workspace, &script.script.path).await?;
    Ok(Json(shown(&script, head.as_deref())))
}

/// A version as the contract shows it (0.3, 3.4). A version that is not its path's head
/// is archived, as the contract's lineage has it.
fn shown(script: &Script, head: Option<&Head>) -> Value {
    let new = &script.script;
    let current = head.is_some_and(|head| head.hash == script.hash && !head.archived);
    let hashes: Vec<String> = script.parent_hashes.iter().map(ToString::to_string).collect();
    let mut shown = Map::new();
    shown.extend(new.other.clone());
    let own = json!({
        "workspace_id": script.workspace, "hash": script.hash, "path": new.path, "parent_hashes": hashes,
        "summary": new.summary, "description": new.description, "content": new.content, "language": new.language,
        "created_by": script.created_by, "created_at": timestamp(script.created_at_ms * 1000), "archived": !current,
        "deleted": false, "is_template": new.other.get("is_template").cloned().unwrap_or(json!(false)), "extra_perms": {},
        "kind": new.kind.as_deref().unwrap_or("script"), "starred": false, "has_preprocessor": false, "is_draft": false,
        "draft_only": false, "lock": new.lock.as_deref().unwrap_or_default(),
    });
    if let Value::Object(own) = own {
        shown.extend(own);
    }
    let optional = [
        ("schema", new.schema.clone()),
        ("tag", new.tag.as_ref().map(|tag| json!(tag))),
        ("timeout", new.timeout.map(|timeout| json!(timeout))),
        ("deployment_message", new.deployment_message.as_ref().map(|message| json!(message))),
    ];
    shown.extend(optional.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))));
    Value::Object(shown)
}
