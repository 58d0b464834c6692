//! The job of a tick.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use catalog::{Head, Schedule};
use job_queue::{Args, CallerInfo, Grant, Job, JobState, PublishError, Tick, Trace, now_us};
use proto::{JobId, ScriptPath, WorkspaceId};
use tokio::time::Instant;

use super::{TickError, WITHIN};
use crate::app::App;
use crate::job_id::derived;
use crate::retention::retention;

/// Makes the job, once whoever does it: its id follows from schedule and tick.
pub(super) async fn make(app: &App, schedule: &Schedule, tick: &Tick) -> Result<(), TickError> {
    let Some(head) = app.catalog.resolve(&schedule.workspace, &schedule.script_path).await? else {
        tracing::warn!(schedule = %schedule.path, script = %schedule.script_path, "a tick without its script makes no job");
        metrics::counter!("gateway_ticks_total", "outcome" => "no_script").increment(1);
        return Ok(());
    };
    let mut job = job(schedule, &head, tick);
    job.retention = Some(retention(app, &schedule.workspace).await);
    let args = schedule.settings.args.as_ref().map_or("{}", |args| args.text());
    let args = Bytes::copy_from_slice(args.as_bytes());
    match app.publisher.publish(&mut job, args, Instant::now() + WITHIN).await {
        Ok(()) => {
            metrics::counter!("gateway_ticks_total", "outcome" => "job").increment(1);
            app.queued_rows.note(job);
            Ok(())
        }
        // somebody has made it, and has died before he could say so
        Err(PublishError::Duplicate) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Whether the job of an earlier tick has yet to end, and the schedule wants one at a time.
pub(super) async fn overlaps(app: &App, schedule: &Schedule, tick: &Tick) -> Result<bool, TickError> {
    let Some(last_us) = tick.last_us.filter(|_| schedule.settings.no_flow_overlap) else { return Ok(false) };
    let id = id(&schedule.workspace, &schedule.path, last_us);
    match app.records.get(&schedule.workspace, id).await?.map(|record| record.state) {
        Some(JobState::Ended(_)) => Ok(false),
        Some(JobState::Running) => Ok(true),
        Some(JobState::Queued) | None => Ok(app.finder.find(&schedule.workspace, id).await?.is_some()),
    }
}

fn id(workspace: &WorkspaceId, path: &ScriptPath, due_us: i64) -> JobId {
    derived(&format!("hookmill tick v1 {workspace} {path} {due_us}"))
}

fn job(schedule: &Schedule, head: &Head, tick: &Tick) -> Job {
    let settings = &schedule.settings;
    let trace = lifecycle::trace_context::TraceContext::generate();
    let job = owned(schedule, head, id(&schedule.workspace, &schedule.path, tick.due_us));
    Job {
        tag: settings.tag.clone().unwrap_or(job.tag),
        trace: Trace { parent: trace.traceparent.to_string(), state: trace.tracestate },
        scheduled_us: Some(tick.due_us),
        retry: settings.retry_policy().ok().flatten(),
        schedule: Some(schedule.path.clone()),
        ..job
    }
}

/// A job that runs as the schedule's owner, who is whoever wrote it last.
pub(super) fn owned(schedule: &Schedule, head: &Head, id: JobId) -> Job {
    Job {
        id,
        workspace: schedule.workspace.clone(),
        path: head.path.clone(),
        hash: head.hash,
        language: head.language,
        tag: head.tag.clone().unwrap_or_else(|| crate::trigger::default_tag(head.language)),
        args: Args::Inline(Bytes::new()),
        caller: CallerInfo {
            created_by: schedule.edited_by.clone(),
            username: schedule.edited_by.clone(),
            email: schedule.email.clone(),
            permissioned_as: schedule.permissioned_as.clone(),
        },
        grant: grant(schedule),
        trace: Trace::default(),
        reply_to: None,
        created_us: now_us(),
        scheduled_us: None,
        retry: None,
        retries: 0,
        schedule: None,
        retention: None,
        keyed_until_us: None,
        parent: None,
        root: None,
    }
}

/// That of whoever wrote the schedule last; what is none is refused where the job would start.
fn grant(schedule: &Schedule) -> Grant {
    let bytes = |text: &str| Bytes::from(STANDARD.decode(text).unwrap_or_default());
    Grant { grant: bytes(&schedule.grant), signature: bytes(&schedule.grant_signature) }
}
