//! The environment of a script: the contract's reserved variables (8.1), each present and
//! empty where it does not apply, the script's own, and nothing of the worker's.

use catalog::Script;
use job_queue::Job;
use proto::{InstanceId, ScriptPath};

/// What the worker adds to a job's own facts.
pub(crate) struct Platform<'a> {
    pub(crate) base_internal_url: &'a str,
    pub(crate) base_url: &'a str,
    pub(crate) group: &'a str,
    pub(crate) worker: &'a InstanceId,
}

/// All variables of one attempt.
pub(crate) fn of(job: &Job, script: &Script, token: &str, platform: &Platform<'_>) -> Vec<(String, String)> {
    let mut env: Vec<(String, String)> = own(script);
    let root = job.root.map(|id| id.to_string()).unwrap_or_default();
    let state = format!("{}/{}", job.path, job.caller.username);
    let reserved: [(&str, &str); 28] = [
        ("WM_WORKSPACE", job.workspace.as_str()),
        ("WM_TOKEN", token),
        ("WM_EMAIL", &job.caller.email),
        ("WM_USERNAME", &job.caller.username),
        ("WM_END_USER_EMAIL", ""),
        ("WM_BASE_URL", platform.base_url),
        ("WM_JOB_ID", &job.id.to_string()),
        ("WM_JOB_PATH", job.path.as_str()),
        ("WM_FLOW_JOB_ID", ""),
        ("WM_ROOT_FLOW_JOB_ID", &root),
        ("WM_FLOW_PATH", ""),
        ("WM_FLOW_STEP_ID", ""),
        ("WM_SCHEDULE_PATH", job.schedule.as_ref().map_or("", ScriptPath::as_str)),
        ("WM_PERMISSIONED_AS", &job.caller.permissioned_as),
        ("WM_STATE_PATH", &state),
        ("WM_STATE_PATH_NEW", &state),
        ("WM_OBJECT_PATH", ""),
        ("WM_OIDC_JWT", ""),
        ("WM_RUNNABLE_ID", &job.hash.to_string()),
        ("WM_WORKER_GROUP", platform.group),
        ("WM_WORKER_NAME", platform.worker.as_str()),
        ("WM_SCRIPT_HASH", &job.hash.to_string()),
        ("BASE_INTERNAL_URL", platform.base_internal_url),
        ("BASE_URL", platform.base_url),
        ("TRACEPARENT", &job.trace.parent),
        ("TRACESTATE", &job.trace.state),
        ("LANG", "C.UTF-8"),
        ("NO_COLOR", "1"),
    ];
    for (name, value) in reserved {
        // a script's own variables never replace the reserved ones
        env.retain(|(known, _)| known != name);
        env.push((name.to_owned(), value.to_owned()));
    }
    env
}

/// `envs` of the script's settings: `NAME=value` each.
fn own(script: &Script) -> Vec<(String, String)> {
    let entries = script.script.other.get("envs").and_then(serde_json::Value::as_array);
    let pairs = entries.into_iter().flatten().filter_map(|entry| entry.as_str()?.split_once('='));
    pairs
        .filter(|(name, _)| !name.is_empty())
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}
