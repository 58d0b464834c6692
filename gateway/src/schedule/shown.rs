//! A schedule as the contract shows it (0.3, 6.3): all that was sent, and who wrote it; never the grant it runs with.

use std::collections::BTreeMap;

use catalog::{Json, Schedule, ScheduleSettings};
use proto::{ScriptPath, WorkspaceId};
use serde::Serialize;

use crate::present::timestamp;

/// A schedule on its way to a caller.
#[derive(Serialize)]
pub(crate) struct Shown<'a> {
    workspace_id: &'a WorkspaceId,
    path: &'a ScriptPath,
    edited_by: &'a str,
    edited_at: String,
    script_path: &'a ScriptPath,
    is_flow: bool,
    enabled: bool,
    cron_version: &'static str,
    email: &'a str,
    permissioned_as: &'a str,
    extra_perms: BTreeMap<String, bool>,
    #[serde(flatten)]
    settings: &'a ScheduleSettings,
    #[serde(flatten)]
    other: &'a BTreeMap<String, Json>,
    #[serde(skip_serializing_if = "Option::is_none")]
    is_draft: Option<bool>,
}

impl<'a> Shown<'a> {
    /// A row of a list.
    pub(crate) fn row(schedule: &'a Schedule) -> Self {
        Self {
            workspace_id: &schedule.workspace,
            path: &schedule.path,
            edited_by: &schedule.edited_by,
            edited_at: timestamp(schedule.edited_at_ms * 1000),
            script_path: &schedule.script_path,
            is_flow: schedule.is_flow,
            enabled: schedule.enabled,
            cron_version: "v2",
            email: &schedule.email,
            permissioned_as: &schedule.permissioned_as,
            extra_perms: BTreeMap::new(),
            settings: &schedule.settings,
            other: &schedule.other,
            is_draft: None,
        }
    }

    /// One schedule.
    pub(crate) fn whole(schedule: &'a Schedule) -> Self {
        Self { is_draft: Some(false), ..Self::row(schedule) }
    }
}
