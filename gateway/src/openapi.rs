//! The OpenAPI document, declared at the handlers.

use serde_json::Value;
use utoipa::OpenApi;

use crate::routes::{
    cancel, dead_letters, instance, jobs, list, queue, run, run_now, schedules, scripts, tokens, updates,
    users, workspaces,
};

#[derive(OpenApi)]
#[openapi(
    info(title = "Hookmill", description = "Scripts as webhooks. Compatible with Windmill's public API."),
    security(("bearer" = []), ("query" = [])),
    modifiers(&Security),
    paths(
        run::by_path, run::by_hash, run::wait_by_path, run::wait_by_hash,
        jobs::get, jobs::completed, jobs::result, jobs::result_maybe, jobs::logs, jobs::args, updates::get,
        cancel::cancel, run_now::run_now, list::jobs,
        queue::list, queue::uuids, queue::count, queue::position, queue::scheduled_for,
        dead_letters::list, dead_letters::get, dead_letters::replay, dead_letters::discard,
        dead_letters::replay_many, dead_letters::discard_many,
        scripts::create, scripts::by_path, scripts::by_hash,
        schedules::create, schedules::update, schedules::set_enabled, schedules::delete,
        schedules::get, schedules::exists, schedules::list, schedules::list_with_jobs,
        schedules::set_default_handler, schedules::preview,
        tokens::create, tokens::list, tokens::delete,
        users::whoami, users::whoami_here,
        workspaces::exists, workspaces::settings, workspaces::edit_sandbox, workspaces::edit_retention, instance::version, instance::openapi,
    )
)]
struct Document;

/// How a request is authenticated.
struct Security;

impl utoipa::Modify for Security {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        use utoipa::openapi::security::{ApiKey, ApiKeyValue, Http, HttpAuthScheme, SecurityScheme};
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("bearer", SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer)));
        components
            .add_security_scheme("query", SecurityScheme::ApiKey(ApiKey::Query(ApiKeyValue::new("token"))));
    }
}

/// The document as JSON.
pub fn document() -> Value {
    serde_json::to_value(Document::openapi()).unwrap_or_default()
}
