//! The handlers that new schedules of a workspace get, and how they are set.

use catalog::{
    AuditEntry, Batch, CatalogError, DefaultHandler, DefaultHandlers, Expect, Handler, HandlerKind, Json,
    Operation,
};
use futures::{StreamExt, TryStreamExt};
use proto::json::RawObject;
use proto::rights::Action;
use proto::{ScriptPath, WorkspaceId};
use serde::Deserialize;

use super::{MAX_ATTEMPTS, check_script, commit, seen};
use crate::app::App;
use crate::auth::Caller;
use crate::error::{ApiError, ApiResult};
use crate::request::refuse_references;

/// Schedules written together.
const TOGETHER: usize = 16;

/// What is sent (contract 6.3): the contract's own spelling.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    handler_type: HandlerType,
    override_existing: bool,
    path: Option<String>,
    extra_args: Option<Json>,
    number_of_occurence: Option<u32>,
    number_of_occurence_exact: Option<bool>,
    workspace_handler_muted: Option<bool>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum HandlerType {
    Error,
    Recovery,
    Success,
}

/// A default that is to be set, or taken back.
pub(crate) struct SetDefault {
    kind: HandlerKind,
    handler: Option<DefaultHandler>,
    /// Whether the schedules that are there get it, too.
    everywhere: bool,
}

impl SetDefault {
    /// Reads a body.
    ///
    /// # Errors
    /// 400 that names what is wrong with it.
    pub(crate) fn parse(body: &[u8]) -> ApiResult<Self> {
        let asked: Asked = serde_json::from_slice(body)
            .map_err(|error| ApiError::bad_request(format!("invalid JSON: {error}")))?;
        let kind = match asked.handler_type {
            HandlerType::Error => HandlerKind::Failure,
            HandlerType::Recovery => HandlerKind::Recovery,
            HandlerType::Success => HandlerKind::Success,
        };
        Ok(Self { kind, everywhere: asked.override_existing, handler: asked.handler()? })
    }

    /// Sets it; how many schedules have got it.
    ///
    /// # Errors
    /// 403 where the caller may not, 400 where there is no such script; 503 where it may have been done in part: the
    /// same may be sent again.
    pub(crate) async fn set(&self, app: &App, caller: &Caller) -> ApiResult<usize> {
        caller.may(Action::WriteScheduleDefaults)?;
        if let Some(handler) = &self.handler {
            check_script(app, caller, "path", handler.handler.script()).await?;
        }
        self.store(app, caller).await?;
        if !self.everywhere {
            return Ok(0);
        }
        let schedules = app.catalog.schedules(&caller.workspace)?;
        let paths: Vec<ScriptPath> = schedules.iter().map(|schedule| schedule.path.clone()).collect();
        let writes: Vec<_> = paths.iter().map(|path| self.give(app, caller, path)).collect();
        let given = futures::stream::iter(writes).buffer_unordered(TOGETHER);
        given.try_fold(0, async |count, given| Ok(count + usize::from(given))).await
    }

    async fn store(&self, app: &App, caller: &Caller) -> ApiResult<()> {
        let key = DefaultHandlers::key_of(&caller.workspace);
        let mut attempt = 1;
        loop {
            let read = app.catalog.read::<DefaultHandlers>(&key).await?;
            let (expect, before) =
                read.map_or((Expect::Absent, None), |(revision, is)| (Expect::Revision(revision), is));
            let before = before.unwrap_or_else(|| DefaultHandlers::none(&caller.workspace));
            let mut batch = Batch::new();
            batch.put(key.clone(), &before.with(self.kind, self.handler.clone()), expect)?;
            let entry = self.audit(caller);
            batch.put(entry.key(), &entry, Expect::Absent)?;
            match app.catalog.commit(&batch).await {
                Err(CatalogError::Conflict(_)) if attempt < MAX_ATTEMPTS => attempt += 1,
                outcome => return Ok(outcome.map(drop)?),
            }
        }
    }

    fn audit(&self, caller: &Caller) -> AuditEntry {
        let (username, workspace) = (&caller.rights.username, &caller.workspace);
        let operation = Operation::WorkspacesUpdate;
        let mut entry = AuditEntry::new(Some(workspace), username, operation, workspace.as_str());
        let handler = self.handler.as_ref().map(|set| set.handler.to_string());
        entry.parameters.insert(format!("default_{}", self.kind.setting()), handler.into());
        entry
    }

    /// Gives it to one schedule, which goes on to run as whoever wrote it; whether that is there.
    async fn give(&self, app: &App, caller: &Caller, path: &ScriptPath) -> ApiResult<bool> {
        let mut attempt = 1;
        loop {
            let (expect, before) = seen(app, &caller.workspace, path).await?;
            let Some(mut schedule) = before else { return Ok(false) };
            schedule.settings.set_handler(self.kind, self.handler.as_ref());
            let written = commit(app, caller, path, expect, Some(&schedule), Operation::ScheduleEdit).await;
            match written {
                Err(CatalogError::Conflict(_)) if attempt < MAX_ATTEMPTS => attempt += 1,
                outcome => return Ok(outcome.map(|()| true)?),
            }
        }
    }
}

impl Asked {
    /// None: there is to be none any more.
    fn handler(self) -> ApiResult<Option<DefaultHandler>> {
        if self.workspace_handler_muted == Some(true) {
            let text = "`workspace_handler_muted` is not supported yet: there is no handler of workspaces";
            return Err(ApiError::bad_request(text));
        }
        if self.number_of_occurence == Some(0) {
            return Err(ApiError::bad_request("number_of_occurence: 0 is not a number of times"));
        }
        if let Some(extra) = self.extra_args.as_ref().map(|args| args.text().as_bytes()) {
            RawObject::parse(extra).map_err(|error| ApiError::bad_request(format!("extra_args: {error}")))?;
            refuse_references(extra)?;
        }
        let Some(path) = self.path.filter(|path| !path.is_empty()) else { return Ok(None) };
        let handler: Handler =
            path.parse().map_err(|error| ApiError::bad_request(format!("path: {error}")))?;
        let (times, exact) = (self.number_of_occurence, self.number_of_occurence_exact);
        Ok(Some(DefaultHandler { handler, times, exact, extra_args: self.extra_args }))
    }
}

/// The defaults of a workspace, as they are stored at this moment.
pub(super) async fn stored(app: &App, workspace: &WorkspaceId) -> ApiResult<DefaultHandlers> {
    let read = app.catalog.read::<DefaultHandlers>(&DefaultHandlers::key_of(workspace)).await?;
    Ok(read.and_then(|(_, defaults)| defaults).unwrap_or_else(|| DefaultHandlers::none(workspace)))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn parse(more: &Value) -> ApiResult<SetDefault> {
        let mut sent =
            json!({"handler_type": "error", "override_existing": false, "path": "script/f/a/alarm"});
        sent.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        SetDefault::parse(sent.to_string().as_bytes())
    }

    #[test]
    fn what_is_sent_is_read() {
        let set = parse(&json!({"extra_args": {"to": 1.0}, "number_of_occurence": 3,
            "number_of_occurence_exact": true, "workspace_handler_muted": false}));
        let set = set.unwrap().handler.unwrap();
        assert_eq!(
            (set.handler.to_string().as_str(), set.times, set.exact),
            ("script/f/a/alarm", Some(3), Some(true))
        );
        assert_eq!(set.extra_args.unwrap().text(), r#"{"to":1.0}"#);
        for none in [json!({"path": null}), json!({"path": ""})] {
            assert!(parse(&none).unwrap().handler.is_none(), "{none}");
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (more, named) in [
            (json!({"handler_type": "failure"}), "failure"),
            (json!({"override_existing": null}), "null"),
            (json!({"path": "flow/f/a/x"}), "path: `flow/f/a/x`: flows are not built yet"),
            (json!({"path": "f/a/x"}), "path: `f/a/x`"),
            (json!({"number_of_occurence": 0}), "number_of_occurence: 0"),
            (json!({"extra_args": [1]}), "extra_args: "),
            (json!({"workspace_handler_muted": true}), "workspace_handler_muted"),
            (json!({"odd": 1}), "odd"),
        ] {
            let error = parse(&more).err().unwrap();
            assert!(error.message.contains(named), "{more}: {}", error.message);
        }
        let bare = SetDefault::parse(br#"{"handler_type": "error"}"#).err().unwrap();
        assert!(bare.message.contains("override_existing"), "{}", bare.message);
    }
}
