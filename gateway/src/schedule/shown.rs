//! A schedule as the contract shows it (0.3, 6.3): all that was sent, and who wrote it; never the grant it runs with.

use std::collections::BTreeMap;

use catalog::{Json, Schedule, ScheduleSettings};
use job_queue::{CountedEnd, Outcome};
use proto::{JobId, ScriptPath, WorkspaceId};
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
    /// The latest of its jobs that have ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    jobs: Option<Vec<ShownEnd>>,
}

/// How a job of it has ended.
#[derive(Serialize)]
struct ShownEnd {
    id: JobId,
    success: bool,
    duration_ms: i64,
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
            jobs: None,
        }
    }

    /// A row of a list that shows jobs.
    pub(crate) fn with_jobs(schedule: &'a Schedule, ends: &[CountedEnd]) -> Self {
        let shown = |end: &CountedEnd| ShownEnd {
            id: end.id,
            success: end.outcome == Outcome::Success,
            duration_ms: end.took_ms,
        };
        Self { jobs: Some(ends.iter().map(shown).collect()), ..Self::row(schedule) }
    }

    /// One schedule.
    pub(crate) fn whole(schedule: &'a Schedule) -> Self {
        Self { is_draft: Some(false), ..Self::row(schedule) }
    }
}
