//! Every route in one list; the middleware around them is in [`crate::middleware`].

use axum::Router;
use axum::routing::{delete, get, post};

use crate::app::App;
use crate::routes::{
    cancel, dead_letters, instance, jobs, list, queue, run, run_now, schedules, scripts, tokens, updates,
    users, workspaces,
};

/// The API.
pub(crate) fn build(app: App) -> Router {
    let workspaced = webhooks().merge(inspection()).merge(definitions()).merge(scheduling());
    let api = Router::new()
        .nest("/w/{workspace}", workspaced)
        .route("/users/whoami", get(users::whoami))
        .route("/users/tokens/create", post(tokens::create))
        .route("/users/tokens/list", get(tokens::list))
        .route("/users/tokens/delete/{token_prefix}", delete(tokens::delete))
        .route("/schedules/preview", post(schedules::preview))
        .route("/workspaces/exists", post(workspaces::exists))
        .route("/version", get(instance::version))
        .route("/openapi.json", get(instance::openapi));
    let router = Router::new().nest("/api", api).fallback(instance::nothing);
    let body_idle = app.config.body_idle;
    let router = router.method_not_allowed_fallback(instance::no_such_method).with_state(app);
    crate::middleware::apply(router, body_idle)
}

fn webhooks() -> Router<App> {
    Router::new()
        .route("/jobs/run/p/{*path}", post(run::by_path).head(run::head).options(run::options))
        .route("/jobs/run/h/{hash}", post(run::by_hash).head(run::head).options(run::options))
        .route(
            "/jobs/run_wait_result/p/{*path}",
            post(run::wait_by_path).get(run::wait_by_path).head(run::head).options(run::options),
        )
        .route(
            "/jobs/run_wait_result/h/{hash}",
            post(run::wait_by_hash).get(run::wait_by_hash).head(run::head).options(run::options),
        )
}

fn inspection() -> Router<App> {
    Router::new()
        .route("/jobs_u/get/{id}", get(jobs::get))
        .route("/jobs_u/get_logs/{id}", get(jobs::logs))
        .route("/jobs_u/get_args/{id}", get(jobs::args))
        .route("/jobs_u/getupdate/{id}", get(updates::get))
        .route("/jobs_u/completed/get/{id}", get(jobs::completed))
        .route("/jobs_u/completed/get_result/{id}", get(jobs::result))
        .route("/jobs_u/completed/get_result_maybe/{id}", get(jobs::result_maybe))
        .route("/jobs_u/queue/cancel/{id}", post(cancel::cancel))
        .route("/jobs/queue/run_now/{id}", post(run_now::run_now))
        .route("/jobs/list", get(list::jobs))
        .route("/jobs/queue/list", get(queue::list))
        .route("/jobs/queue/list_filtered_uuids", get(queue::uuids))
        .route("/jobs/queue/count", get(queue::count))
        .route("/jobs/queue/position/{scheduled_for}", get(queue::position))
        .route("/jobs/queue/scheduled_for/{id}", get(queue::scheduled_for))
        .route("/dead_letters/list", get(dead_letters::list))
        .route("/dead_letters/get/{id}", get(dead_letters::get))
        .route("/dead_letters/replay", post(dead_letters::replay_many))
        .route("/dead_letters/replay/{id}", post(dead_letters::replay))
        .route("/dead_letters/discard", post(dead_letters::discard_many))
        .route("/dead_letters/discard/{id}", post(dead_letters::discard))
}

fn definitions() -> Router<App> {
    Router::new()
        .route("/scripts/create", post(scripts::create))
        .route("/scripts/get/p/{*path}", get(scripts::by_path))
        .route("/scripts/get/h/{hash}", get(scripts::by_hash))
        .route("/users/whoami", get(users::whoami_here))
        .route("/workspaces/get_settings", get(workspaces::settings))
        .route("/workspaces/edit_sandbox", post(workspaces::edit_sandbox))
        .route("/workspaces/edit_retention", post(workspaces::edit_retention))
}

fn scheduling() -> Router<App> {
    Router::new()
        .route("/schedules/create", post(schedules::create))
        .route("/schedules/update/{*path}", post(schedules::update))
        .route("/schedules/get/{*path}", get(schedules::get))
        .route("/schedules/list", get(schedules::list))
        .route("/schedules/list_with_jobs", get(schedules::list_with_jobs))
        .route("/schedules/setdefaulthandler", post(schedules::set_default_handler))
        .route("/schedules/exists/{*path}", get(schedules::exists))
        .route("/schedules/delete/{*path}", delete(schedules::delete))
        .route("/schedules/setenabled/{*path}", post(schedules::set_enabled))
}
