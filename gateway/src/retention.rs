//! How long a workspace keeps its ended runs, as far as this gateway knows.

use std::time::Duration;

use proto::WorkspaceId;

use crate::app::App;

/// As the workspace says, else the default; the default, too, where its word cannot be read.
pub(crate) async fn retention(app: &App, id: &WorkspaceId) -> Duration {
    known_retention(app, id).await.unwrap_or_else(|| app.config.retention.or(None))
}

/// The same; none where its word cannot be read: then what a job says of itself counts.
pub(crate) async fn known_retention(app: &App, id: &WorkspaceId) -> Option<Duration> {
    let workspace = app.catalog.workspace(id).await.ok()?;
    Some(app.config.retention.or(workspace.and_then(|workspace| workspace.retention())))
}

/// How long an idempotency key stands for its job: a run that nobody knows any more would be made anew.
pub(crate) async fn key_memory(app: &App, id: &WorkspaceId) -> Duration {
    app.config.idempotency_memory.min(retention(app, id).await)
}
