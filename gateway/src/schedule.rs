//! Schedules as they are written: what a change makes of the stored one, who may make it,
//! and the one place that hears of it.

mod defaults;
mod filter;
mod sent;
mod shown;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use catalog::{
    AuditEntry, Batch, CatalogError, DefaultHandlers, Expect, HandlerKind, Operation, Schedule, now_ms,
};
use proto::rights::Action;
use proto::{ScriptPath, WorkspaceId};

use crate::app::App;
use crate::auth::Caller;
use crate::error::{ApiError, ApiResult};
use crate::ticks;

pub(crate) use defaults::SetDefault;
pub(crate) use filter::Filter;
pub(crate) use sent::{Preview, Sent};
pub(crate) use shown::Shown;

/// How often a change is planned anew after another one was first.
const MAX_ATTEMPTS: usize = 10;

/// What is to become of a schedule.
pub(crate) enum Change {
    /// A new one.
    Create(Box<Sent>),
    /// New settings in the place of all old ones.
    Edit(Box<Sent>),
    /// On or off.
    Enable(bool),
    /// No more of it.
    Delete,
}

/// Makes a change, whole or not at all, and tells of it.
///
/// # Errors
/// 403 where the caller may not, 404 and 400 where the change cannot be, 503 where it is unknown whether it was made.
pub(crate) async fn write(app: &App, caller: &Caller, path: &ScriptPath, change: &Change) -> ApiResult<()> {
    caller.may(Action::WriteSchedule(path))?;
    let defaults = change.defaults(app, &caller.workspace).await?;
    let mut attempt = 1;
    loop {
        let (expect, before) = seen(app, &caller.workspace, path).await?;
        let after = change.after(before, path, caller, &defaults)?;
        if let Some(after) = after.as_ref().filter(|_| change.starts_jobs()) {
            check_scripts(app, caller, after).await?;
        }
        match commit(app, caller, path, expect, after.as_ref(), change.operation()).await {
            Err(CatalogError::Conflict(_)) if attempt < MAX_ATTEMPTS => attempt += 1,
            outcome => {
                outcome?;
                changed(app, &caller.workspace, path, after.as_ref()).await;
                return Ok(());
            }
        }
    }
}

/// A schedule was written, or deleted where there is none any more.
async fn changed(app: &App, workspace: &WorkspaceId, path: &ScriptPath, after: Option<&Schedule>) {
    let generation = after.map(|schedule| schedule.generation.as_str());
    let enabled = after.is_some_and(|schedule| schedule.enabled);
    tracing::info!(%workspace, %path, generation, enabled, "a schedule was changed");
    if let Err(error) = ticks::rearm(app, workspace, path).await {
        tracing::warn!(%workspace, %path, %error, "a schedule that was changed gets its timer later");
    }
    if after.is_none()
        && let Err(error) = app.records.forget_tally(workspace, path).await
    {
        tracing::warn!(%workspace, %path, %error, "what was counted of a schedule that is gone expires by itself");
    }
}

/// What is stored, and what a write after it expects.
async fn seen(
    app: &App,
    workspace: &WorkspaceId,
    path: &ScriptPath,
) -> ApiResult<(Expect, Option<Schedule>)> {
    let read = app.catalog.read::<Schedule>(&Schedule::key_of(workspace, path)).await?;
    Ok(read.map_or((Expect::Absent, None), |(revision, schedule)| (Expect::Revision(revision), schedule)))
}

/// The schedule of a path, as it is stored at this moment.
///
/// # Errors
/// 404 where there is none.
pub(crate) async fn stored(app: &App, workspace: &WorkspaceId, path: &ScriptPath) -> ApiResult<Schedule> {
    seen(app, workspace, path).await?.1.ok_or_else(|| absent(path.as_str()))
}

pub(crate) fn absent(path: &str) -> ApiError {
    ApiError::not_found(format!("Schedule not found at path {path}"))
}

async fn commit(
    app: &App,
    caller: &Caller,
    path: &ScriptPath,
    expect: Expect,
    after: Option<&Schedule>,
    operation: Operation,
) -> Result<(), CatalogError> {
    let key = Schedule::key_of(&caller.workspace, path);
    let mut batch = Batch::new();
    match after {
        Some(schedule) => batch.put(key, schedule, expect)?,
        None => batch.delete(key, expect),
    }
    let username = &caller.rights.username;
    let mut entry = AuditEntry::new(Some(&caller.workspace), username, operation, path.as_str());
    if let Some(schedule) = after {
        entry.parameters.insert("script_path".to_owned(), schedule.script_path.to_string().into());
        entry.parameters.insert("enabled".to_owned(), schedule.enabled.into());
    }
    batch.put(entry.key(), &entry, Expect::Absent)?;
    app.catalog.commit(&batch).await.map(|_| ())
}

/// Whether the caller may run what the schedule runs, and all of it is there.
async fn check_scripts(app: &App, caller: &Caller, schedule: &Schedule) -> ApiResult<()> {
    let settings = &schedule.settings;
    let handlers = HandlerKind::ALL
        .into_iter()
        .filter_map(|kind| Some((kind.setting(), settings.handler(kind)?.script())));
    for (name, script) in std::iter::once(("script_path", &schedule.script_path)).chain(handlers) {
        check_script(app, caller, name, script).await?;
    }
    Ok(())
}

/// Whether the caller may run the script that a setting names, and it is there.
async fn check_script(app: &App, caller: &Caller, name: &str, script: &ScriptPath) -> ApiResult<()> {
    caller.may(Action::RunScript(script))?;
    match app.catalog.resolve(&caller.workspace, script).await? {
        Some(_) => Ok(()),
        None => Err(ApiError::bad_request(format!("{name}: there is no script at {script}"))),
    }
}

impl Change {
    /// The schedule after the change; none: there is none any more.
    fn after(
        &self,
        before: Option<Schedule>,
        path: &ScriptPath,
        caller: &Caller,
        defaults: &DefaultHandlers,
    ) -> ApiResult<Option<Schedule>> {
        let after = match (self, before) {
            (Self::Create(_), Some(_)) => {
                return Err(ApiError::bad_request(format!("a schedule {path} exists already")));
            }
            (Self::Create(sent), None) => sent.created(defaults, path, &caller.rights.username)?,
            (_, None) => return Err(absent(path.as_str())),
            (Self::Edit(sent), Some(before)) => sent.edited(before)?,
            (Self::Enable(enabled), Some(before)) => Schedule { enabled: *enabled, ..before },
            (Self::Delete, Some(_)) => return Ok(None),
        };
        Ok(Some(signed(after, caller)))
    }

    /// The handlers of a new schedule that says nothing of them.
    async fn defaults(&self, app: &App, workspace: &WorkspaceId) -> ApiResult<DefaultHandlers> {
        match self {
            Self::Create(_) => defaults::stored(app, workspace).await,
            Self::Edit(_) | Self::Enable(_) | Self::Delete => Ok(DefaultHandlers::none(workspace)),
        }
    }

    /// Whether jobs may follow from it: switching off is also for those who may not run the script.
    fn starts_jobs(&self) -> bool {
        !matches!(self, Self::Enable(false) | Self::Delete)
    }

    fn operation(&self) -> Operation {
        match self {
            Self::Create(_) => Operation::ScheduleCreate,
            Self::Edit(_) => Operation::ScheduleEdit,
            Self::Enable(_) => Operation::ScheduleSetEnabled,
            Self::Delete => Operation::ScheduleDelete,
        }
    }
}

/// A schedule runs with the rights of whoever wrote it last.
fn signed(schedule: Schedule, caller: &Caller) -> Schedule {
    let info = caller.info();
    let grant = &caller.known.grant;
    Schedule {
        edited_by: info.username,
        edited_at_ms: now_ms(),
        email: info.email,
        permissioned_as: info.permissioned_as,
        generation: uuid::Uuid::new_v4().to_string(),
        grant: STANDARD.encode(&grant.grant),
        grant_signature: STANDARD.encode(&grant.signature),
        ..schedule
    }
}
