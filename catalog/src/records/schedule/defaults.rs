//! The handlers that a workspace's new schedules get where they say nothing of their own.

use proto::WorkspaceId;
use serde::{Deserialize, Serialize};

use super::{Handler, HandlerKind, Json, ScheduleSettings};
use crate::records::Record;
use crate::{Key, Kind};

/// A handler, and what goes with it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DefaultHandler {
    /// The script.
    pub handler: Handler,
    /// After how many ends in a row; none: one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub times: Option<u32>,
    /// After just so many; of failures alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exact: Option<bool>,
    /// Arguments of the script beside its own: an object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extra_args: Option<Json>,
}

/// Those of a workspace.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DefaultHandlers {
    /// The workspace.
    pub workspace: WorkspaceId,
    /// What runs after failures.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_failure: Option<DefaultHandler>,
    /// What runs when a job succeeds after failures.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_recovery: Option<DefaultHandler>,
    /// What runs after each success.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_success: Option<DefaultHandler>,
}

impl DefaultHandlers {
    /// A workspace has none.
    pub fn none(workspace: &WorkspaceId) -> Self {
        Self { workspace: workspace.clone(), on_failure: None, on_recovery: None, on_success: None }
    }

    /// Where those of a workspace are stored.
    pub fn key_of(workspace: &WorkspaceId) -> Key {
        Key::scoped(Kind::ScheduleDefaults, workspace, "handlers")
    }

    /// The one of a kind.
    pub fn of(&self, kind: HandlerKind) -> Option<&DefaultHandler> {
        match kind {
            HandlerKind::Failure => self.on_failure.as_ref(),
            HandlerKind::Recovery => self.on_recovery.as_ref(),
            HandlerKind::Success => self.on_success.as_ref(),
        }
    }

    /// The same with another one of a kind, or none.
    #[must_use]
    pub fn with(self, kind: HandlerKind, handler: Option<DefaultHandler>) -> Self {
        match kind {
            HandlerKind::Failure => Self { on_failure: handler, ..self },
            HandlerKind::Recovery => Self { on_recovery: handler, ..self },
            HandlerKind::Success => Self { on_success: handler, ..self },
        }
    }
}

impl ScheduleSettings {
    /// The script that hears of this.
    pub fn handler(&self, kind: HandlerKind) -> Option<&Handler> {
        match kind {
            HandlerKind::Failure => self.on_failure.as_ref(),
            HandlerKind::Recovery => self.on_recovery.as_ref(),
            HandlerKind::Success => self.on_success.as_ref(),
        }
    }

    /// What that script gets beside its own arguments.
    pub fn extra_args(&self, kind: HandlerKind) -> Option<&Json> {
        match kind {
            HandlerKind::Failure => self.on_failure_extra_args.as_ref(),
            HandlerKind::Recovery => self.on_recovery_extra_args.as_ref(),
            HandlerKind::Success => self.on_success_extra_args.as_ref(),
        }
    }

    /// Replaces all that is said of a kind of handler.
    pub fn set_handler(&mut self, kind: HandlerKind, set: Option<&DefaultHandler>) {
        let handler = set.map(|set| set.handler.clone());
        let times = set.and_then(|set| set.times);
        let extra_args = set.and_then(|set| set.extra_args.clone());
        match kind {
            HandlerKind::Failure => {
                (self.on_failure, self.on_failure_times, self.on_failure_extra_args) =
                    (handler, times, extra_args);
                self.on_failure_exact = set.and_then(|set| set.exact);
            }
            HandlerKind::Recovery => {
                (self.on_recovery, self.on_recovery_times, self.on_recovery_extra_args) =
                    (handler, times, extra_args);
            }
            HandlerKind::Success => (self.on_success, self.on_success_extra_args) = (handler, extra_args),
        }
    }
}

impl Record for DefaultHandlers {
    const KIND: Kind = Kind::ScheduleDefaults;
}
