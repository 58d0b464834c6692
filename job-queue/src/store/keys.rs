//! Key names; `docs/redis-keys.md` is the table.

use super::sweep::{Turn, Walk};
use crate::stream::Waiting;
use proto::{JobId, ScriptPath, WorkspaceId};

/// Held by the gateway whose turn it is.
pub(super) fn turn(turn: Turn) -> &'static str {
    match turn {
        Turn::Rows => "hm:sweep:lock",
        Turn::Args => "hm:sweep:lock-args",
    }
}

/// How far something was walked along.
pub(super) fn swept(walk: Walk) -> &'static str {
    match walk {
        Walk::Jobs(Waiting::Ready) => "hm:sweep:at",
        Walk::Jobs(Waiting::Aside) => "hm:sweep:aside",
        Walk::Args => "hm:sweep:args",
    }
}

/// All keys of one job, in the order every record script takes them.
pub(super) struct JobKeys([String; 10]);

impl JobKeys {
    pub(super) fn new(workspace: &WorkspaceId, path: Option<&ScriptPath>, id: JobId) -> Self {
        let path_index = path.map_or_else(|| runs(workspace), |path| runs_of(workspace, path));
        Self([
            record(workspace, id),
            runs(workspace),
            path_index,
            running(workspace),
            result(workspace, id),
            log(workspace, id),
            args(workspace, id),
            queued(workspace),
            attempts(workspace, id),
            expiry(workspace),
        ])
    }

    pub(super) fn invoke<'a>(&self, script: &'a redis::Script) -> redis::ScriptInvocation<'a> {
        let mut invocation = script.prepare_invoke();
        for key in &self.0 {
            invocation.key(key);
        }
        invocation
    }
}

fn of(workspace: &WorkspaceId, rest: &str) -> String {
    format!("hm:{{{}}}:{rest}", workspace.token())
}

pub(super) fn record(workspace: &WorkspaceId, id: JobId) -> String {
    of(workspace, &format!("job:{id}"))
}

pub(super) fn result(workspace: &WorkspaceId, id: JobId) -> String {
    of(workspace, &format!("res:{id}"))
}

pub(super) fn log(workspace: &WorkspaceId, id: JobId) -> String {
    of(workspace, &format!("log:{id}"))
}

pub(super) fn args(workspace: &WorkspaceId, id: JobId) -> String {
    of(workspace, &format!("arg:{id}"))
}

pub(super) fn attempts(workspace: &WorkspaceId, id: JobId) -> String {
    of(workspace, &format!("att:{id}"))
}

pub(super) fn reservation(workspace: &WorkspaceId, key: &str) -> String {
    of(workspace, &format!("key:{key}"))
}

pub(super) fn runs(workspace: &WorkspaceId) -> String {
    of(workspace, "runs")
}

pub(super) fn runs_of(workspace: &WorkspaceId, path: &ScriptPath) -> String {
    of(workspace, &format!("runs:{}", path.token()))
}

pub(super) fn expiry(workspace: &WorkspaceId) -> String {
    of(workspace, "expiry")
}

pub(super) fn running(workspace: &WorkspaceId) -> String {
    of(workspace, "running")
}

pub(super) fn queued(workspace: &WorkspaceId) -> String {
    of(workspace, "queued")
}

pub(super) fn tally(workspace: &WorkspaceId, schedule: &ScriptPath) -> String {
    of(workspace, &format!("tally:{}", schedule.token()))
}

pub(super) fn ends(workspace: &WorkspaceId, schedule: &ScriptPath) -> String {
    of(workspace, &format!("ends:{}", schedule.token()))
}

pub(super) fn worker(id: &str) -> String {
    format!("hm:worker:{id}")
}

pub(super) fn tag(tag: &proto::Tag) -> String {
    format!("hm:tags:{}", tag.token())
}
