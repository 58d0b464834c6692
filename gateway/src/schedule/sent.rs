//! What is sent to write a schedule (contract 6.3), read field by field so that what is wrong is named.

use std::collections::BTreeMap;

use catalog::{Cadence, DefaultHandlers, Handler, HandlerKind, Json, Schedule, ScheduleSettings};
use proto::ScriptPath;
use proto::json::RawObject;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use crate::error::{ApiError, ApiResult};
use crate::request::refuse_references;
use crate::routes::scripts::is_default;

/// Settings of the contract that ask for something this server does not do yet. One that
/// is sent with its default value is stored and changes nothing.
const NOT_BUILT: [&str; 3] = ["ws_error_handler_muted", "dynamic_skip", "preserve_permissioned_as"];

/// What this server says of a schedule; a client that sends back what it was shown may leave it in.
const OURS: [&str; 8] = [
    "workspace_id",
    "edited_by",
    "edited_at",
    "email",
    "permissioned_as",
    "extra_perms",
    "error",
    "is_draft",
];

/// A schedule as it is sent, sound by itself.
#[derive(Debug)]
pub(crate) struct Sent {
    path: Option<ScriptPath>,
    script_path: Option<ScriptPath>,
    enabled: Option<bool>,
    settings: ScheduleSettings,
    /// The handlers of which nothing is said: a new schedule gets those of its workspace.
    unsaid: Vec<HandlerKind>,
    other: BTreeMap<String, Json>,
}

/// A cadence to be previewed.
pub(crate) struct Preview(pub(crate) Cadence);

/// The fields of a body that were not read yet.
struct Fields<'a>(BTreeMap<String, &'a RawValue>);

impl Sent {
    /// Reads a body.
    ///
    /// # Errors
    /// 400 that names what is wrong with it.
    pub(crate) fn parse(body: &[u8]) -> ApiResult<Self> {
        let mut fields = Fields::parse(body)?;
        fields.refuse_unbuilt()?;
        fields.check_version()?;
        if fields.take::<bool>("is_flow")? == Some(true) {
            return Err(ApiError::bad_request("is_flow: flows are not built yet"));
        }
        let sent = Self {
            path: fields.take("path")?,
            script_path: fields.take("script_path")?,
            enabled: fields.take("enabled")?,
            unsaid: fields.unsaid(),
            settings: fields.settings()?,
            other: fields.rest()?,
        };
        check(&sent.settings)?;
        Ok(sent)
    }

    /// The path a new one is to have.
    ///
    /// # Errors
    /// 400 where none was sent.
    pub(crate) fn path(&self) -> ApiResult<&ScriptPath> {
        self.path.as_ref().ok_or_else(|| missing("path"))
    }

    /// The schedule that begins so; who wrote it is still to be filled in.
    pub(super) fn created(
        &self,
        defaults: &DefaultHandlers,
        path: &ScriptPath,
        author: &str,
    ) -> ApiResult<Schedule> {
        let mut settings = self.settings.clone();
        for kind in &self.unsaid {
            if let Some(handler) = defaults.of(*kind) {
                settings.set_handler(*kind, Some(handler));
            }
        }
        Ok(Schedule {
            workspace: defaults.workspace.clone(),
            path: path.clone(),
            script_path: self.script_path.clone().ok_or_else(|| missing("script_path"))?,
            is_flow: false,
            enabled: self.enabled.unwrap_or(false),
            settings,
            other: self.other.clone(),
            edited_by: String::new(),
            edited_at_ms: 0,
            email: String::new(),
            permissioned_as: String::new(),
            created_by: author.to_owned(),
            generation: String::new(),
            life: uuid::Uuid::new_v4().to_string(),
            grant: String::new(),
            grant_signature: String::new(),
        })
    }

    /// The schedule with all settings replaced; its script and whether it runs stay where nothing is said of them.
    pub(super) fn edited(&self, before: Schedule) -> ApiResult<Schedule> {
        if let Some(path) = self.path.as_ref().filter(|path| **path != before.path) {
            let text = format!("path: {} is not moved to {path}: make a new schedule there", before.path);
            return Err(ApiError::bad_request(text));
        }
        Ok(Schedule {
            script_path: self.script_path.clone().unwrap_or(before.script_path),
            enabled: self.enabled.unwrap_or(before.enabled),
            settings: self.settings.clone(),
            other: self.other.clone(),
            ..before
        })
    }
}

impl Preview {
    /// Reads a body.
    ///
    /// # Errors
    /// 400 that names what is wrong with it.
    pub(crate) fn parse(body: &[u8]) -> ApiResult<Self> {
        let mut fields = Fields::parse(body)?;
        fields.check_version()?;
        let (schedule, zone): (String, String) = (fields.required("schedule")?, fields.required("timezone")?);
        Cadence::parse(&schedule, &zone).map(Self).map_err(bad)
    }
}

impl<'a> Fields<'a> {
    fn parse(body: &'a [u8]) -> ApiResult<Self> {
        let object = RawObject::parse(body).map_err(bad)?;
        let members = object.members.into_iter().map(|(name, value)| (name.into_owned(), value));
        Ok(Self(members.collect()))
    }

    /// Takes a field; null is none.
    fn take<T: DeserializeOwned>(&mut self, name: &str) -> ApiResult<Option<T>> {
        let Some(value) = self.0.remove(name) else { return Ok(None) };
        serde_json::from_str(value.get()).map_err(|error| {
            // the place is that within the field
            let text = error.to_string();
            let what = text.split(" at line ").next().unwrap_or_default();
            ApiError::bad_request(format!("{name}: {what}"))
        })
    }

    fn required<T: DeserializeOwned>(&mut self, name: &str) -> ApiResult<T> {
        self.take(name)?.ok_or_else(|| missing(name))
    }

    /// Takes a handler; the empty text is none, too.
    fn handler(&mut self, kind: HandlerKind) -> ApiResult<Option<Handler>> {
        let name = kind.setting();
        let sent = self.take::<String>(name)?.filter(|text| !text.is_empty());
        let handler = sent.map(|text| text.parse()).transpose();
        handler.map_err(|error| ApiError::bad_request(format!("{name}: {error}")))
    }

    /// The handlers that were not sent: whoever wants none, whatever others want, sends an empty text.
    fn unsaid(&self) -> Vec<HandlerKind> {
        let said = |kind: &HandlerKind| self.0.get(kind.setting()).is_some_and(|value| value.get() != "null");
        HandlerKind::ALL.into_iter().filter(|kind| !said(kind)).collect()
    }

    fn refuse_unbuilt(&self) -> ApiResult<()> {
        let asks = |name: &&&str| self.0.get(**name).is_some_and(|value| !asks_for_nothing(value));
        match NOT_BUILT.iter().find(asks) {
            Some(name) => {
                Err(ApiError::bad_request(format!("the schedule setting `{name}` is not supported yet")))
            }
            None => Ok(()),
        }
    }

    fn check_version(&mut self) -> ApiResult<()> {
        match self.take::<String>("cron_version")?.as_deref() {
            None | Some("v2") => Ok(()),
            Some(other) => {
                Err(ApiError::bad_request(format!("cron_version: `{other}` is not supported, `v2` is")))
            }
        }
    }

    fn settings(&mut self) -> ApiResult<ScheduleSettings> {
        Ok(ScheduleSettings {
            schedule: self.required("schedule")?,
            timezone: self.required("timezone")?,
            args: self.take("args")?,
            on_failure: self.handler(HandlerKind::Failure)?,
            on_failure_times: self.take("on_failure_times")?,
            on_failure_exact: self.take("on_failure_exact")?,
            on_failure_extra_args: self.take("on_failure_extra_args")?,
            on_recovery: self.handler(HandlerKind::Recovery)?,
            on_recovery_times: self.take("on_recovery_times")?,
            on_recovery_extra_args: self.take("on_recovery_extra_args")?,
            on_success: self.handler(HandlerKind::Success)?,
            on_success_extra_args: self.take("on_success_extra_args")?,
            no_flow_overlap: self.take("no_flow_overlap")?.unwrap_or_default(),
            summary: self.take("summary")?,
            description: self.take("description")?,
            tag: self.take("tag")?,
            paused_until: self.take("paused_until")?,
            retry: self.take("retry")?,
        })
    }

    /// What has no meaning here, kept as it was sent.
    fn rest(mut self) -> ApiResult<BTreeMap<String, Json>> {
        self.0.retain(|name, _| !OURS.contains(&name.as_str()));
        let json = |value: &RawValue| serde_json::from_str(value.get()).map_err(bad);
        self.0.into_iter().map(|(name, value)| Ok((name, json(value)?))).collect()
    }
}

/// What cannot be read is nothing that is there by default.
fn asks_for_nothing(value: &RawValue) -> bool {
    serde_json::from_str(value.get()).is_ok_and(|value| is_default(&value))
}

fn check(settings: &ScheduleSettings) -> ApiResult<()> {
    settings.cadence().map_err(bad)?;
    settings.retry_policy().map_err(bad)?;
    for (name, args) in [
        ("args", &settings.args),
        ("on_failure_extra_args", &settings.on_failure_extra_args),
        ("on_recovery_extra_args", &settings.on_recovery_extra_args),
        ("on_success_extra_args", &settings.on_success_extra_args),
    ] {
        let Some(args) = args.as_ref().map(|args| args.text().as_bytes()) else { continue };
        RawObject::parse(args).map_err(|error| ApiError::bad_request(format!("{name}: {error}")))?;
        refuse_references(args)?;
    }
    for (name, times) in
        [("on_failure_times", settings.on_failure_times), ("on_recovery_times", settings.on_recovery_times)]
    {
        if times == Some(0) {
            return Err(ApiError::bad_request(format!("{name}: 0 is not a number of times")));
        }
    }
    Ok(())
}

fn missing(name: &str) -> ApiError {
    ApiError::bad_request(format!("{name} is missing"))
}

fn bad(error: impl std::fmt::Display) -> ApiError {
    ApiError::bad_request(error.to_string())
}

#[cfg(test)]
mod tests;
