//! What is done with dead letters.

use broker::names;
use chrono::{DateTime, Utc};
use job_queue::{ArgsError, CancelRequest, DeathReason, Job, KeptLetter, PublishError, now_us};
use proto::{JobId, ScriptPath, WorkspaceId};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::app::App;
use crate::auth::Caller;
use crate::error::{ApiError, ApiResult};
use crate::job_id::derived;
use crate::present::timestamp;
use crate::retention;
use crate::trigger;

/// A letter as callers see it.
#[derive(Debug, Serialize)]
pub(crate) struct Shown {
    job_id: JobId,
    reason: &'static str,
    message: String,
    attempts: u32,
    died_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    script_path: Option<ScriptPath>,
    #[serde(skip_serializing_if = "Option::is_none")]
    script_hash: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    created_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    created_by: Option<String>,
}

impl Shown {
    pub(crate) fn of(workspace: &WorkspaceId, kept: &KeptLetter) -> Self {
        let (letter, job) = (&kept.letter, kept.letter.job(workspace, kept.id));
        Self {
            job_id: kept.id,
            reason: name(letter.reason),
            message: letter.message.clone(),
            attempts: letter.attempts,
            died_at: timestamp(letter.died_us),
            script_path: job.as_ref().map(|job| job.path.clone()),
            script_hash: job.as_ref().map(|job| job.hash.to_string()),
            created_at: job.as_ref().map(|job| timestamp(job.created_us)),
            created_by: job.map(|job| job.caller.created_by),
        }
    }
}

fn name(reason: DeathReason) -> &'static str {
    match reason {
        DeathReason::WorkerLost => "worker_lost",
        DeathReason::Unreadable => "unreadable",
        DeathReason::Unspecified => "unknown",
    }
}

/// Which letters are meant: those that fit all that is given.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Selection {
    reason: Option<String>,
    script_path: Option<ScriptPath>,
    died_after: Option<DateTime<Utc>>,
    died_before: Option<DateTime<Utc>>,
}

impl Selection {
    pub(crate) fn fits(&self, workspace: &WorkspaceId, kept: &KeptLetter) -> bool {
        let letter = &kept.letter;
        let path = || letter.job(workspace, kept.id).map(|job| job.path);
        self.reason.as_deref().is_none_or(|reason| reason == name(letter.reason))
            && self.died_after.is_none_or(|after| letter.died_us > after.timestamp_micros())
            && self.died_before.is_none_or(|before| letter.died_us < before.timestamp_micros())
            && self.script_path.as_ref().is_none_or(|wanted| path().as_ref() == Some(wanted))
    }
}

/// Has the job tried again and forgets the letter; the id it has now. Should we end in between, the letter is still
/// there, and trying it again makes no second job while the new one's record is kept.
///
/// # Errors
/// Somebody else has seen to it; its arguments are gone; NATS is away or full, or there is no room for new jobs. The
/// letter stays.
pub(crate) async fn replay(app: &App, workspace: &WorkspaceId, kept: &KeptLetter) -> ApiResult<JobId> {
    let there = app.dead_letters.find(workspace, kept.id).await?;
    if there.is_none_or(|there| there.sequence != kept.sequence) {
        return Err(ApiError::not_found(format!("no such dead letter of job {} any more", kept.id)));
    }
    let job = kept.letter.job(workspace, kept.id);
    // whoever asks may ask again, and nothing is lost until then
    // one that is put back as it was has its arguments still
    let copied = job.as_ref().filter(|_| kept.letter.reason == DeathReason::WorkerLost);
    let bytes = copied.map_or(0, |job| job.args.bytes());
    app.pressure.admit(job.as_ref().map(|job| &job.tag), bytes, None).await?;
    let (id, published) = match (kept.letter.reason, job) {
        (DeathReason::WorkerLost, Some(job)) => {
            let job = Job {
                id: successor(workspace, kept),
                reply_to: None,
                created_us: now_us(),
                scheduled_us: None,
                retries: 0,
                retention: Some(retention::retention(app, workspace).await),
                keyed_until_us: None,
                ..job
            };
            (job.id, republish(app, job).await?)
        }
        _ => (kept.id, put_back(app, workspace, kept).await),
    };
    match published {
        Ok(()) | Err(PublishError::Duplicate) => {}
        Err(PublishError::Refused(why)) => return Err(ApiError::bad_request(why)),
        Err(error) => return Err(trigger::not_published(error, id, trigger::Again::Replay)),
    }
    app.dead_letters.discard(kept).await?;
    Ok(id)
}

/// Forgets the letter. A job that was never more than queued, as far as anybody knows, ends with it.
///
/// # Errors
/// NATS or Redis is away; the letter stays.
pub(crate) async fn discard(app: &App, caller: &Caller, kept: &KeptLetter) -> ApiResult<()> {
    let job = kept.letter.job(&caller.workspace, kept.id);
    if let (DeathReason::Unreadable, Some(job)) = (kept.letter.reason, job) {
        let reason = "its dead letter was discarded".to_owned();
        let request = CancelRequest { by: caller.rights.username.clone(), reason };
        let said = retention::known_retention(app, &caller.workspace).await;
        app.records.cancel(&caller.workspace, kept.id, &request, Some(&job), said).await?;
        let told = app.afters.tell(&job, Instant::now() + trigger::PUBLISH).await;
        told.map_err(|error| ApiError::unavailable("the job queue", &error))?;
    }
    Ok(app.dead_letters.discard(kept).await?)
}

/// Under another id: the record of the old one is terminal, and it would never run. Large arguments are kept anew, as they
/// go with the job that they are named after.
async fn republish(app: &App, mut job: Job) -> ApiResult<Result<(), PublishError>> {
    let args = match app.args.load(&job.args).await {
        Ok(args) => args,
        Err(ArgsError::Lost { .. }) => {
            let message =
                "its arguments, which were too large for its message, are not kept any more".to_owned();
            return Ok(Err(PublishError::Refused(message)));
        }
        Err(error @ ArgsError::Unavailable(_)) => {
            return Err(ApiError::unavailable("the argument store", &error));
        }
    };
    let published = app.publisher.publish(&mut job, args, Instant::now() + trigger::PUBLISH).await;
    if published.is_ok() {
        app.queued_rows.note(job);
    }
    Ok(published)
}

/// As it was: there may be somebody now who can read it. What workers write is looked at twice: they have no right
/// to publish jobs.
async fn put_back(app: &App, workspace: &WorkspaceId, kept: &KeptLetter) -> Result<(), PublishError> {
    let (subject, id) = (&kept.letter.subject, kept.id);
    let (token, text) = (workspace.token(), id.to_string());
    let its_own = names::job_of(subject) == Some((token.as_str(), text.as_str()));
    if !its_own || kept.letter.is_another_jobs(workspace, id) {
        return Err(PublishError::Refused(format!("the letter of job {id} does not hold that job")));
    }
    let (envelope, nonce) = (kept.letter.envelope.clone(), kept.sequence.to_string());
    app.publisher.put_back(subject, envelope, &nonce, Instant::now() + trigger::PUBLISH).await
}

/// The same for the same job, which dies once, so that it is replayed once.
fn successor(workspace: &WorkspaceId, kept: &KeptLetter) -> JobId {
    derived(&format!("hookmill replay v1 {workspace} {}", kept.id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_knows_its_words() {
        assert!(serde_json::from_str::<Selection>("{}").is_ok());
        let all = r#"{"reason":"worker_lost","script_path":"f/a/b","died_after":"2026-01-01T00:00:00Z","died_before":"2026-02-01T00:00:00+01:00"}"#;
        assert!(serde_json::from_str::<Selection>(all).is_ok());
        for bad in
            [r#"{"reson":"x"}"#, r#"{"script_path":"no path"}"#, r#"{"died_after":"yesterday"}"#, "[]", ""]
        {
            assert!(serde_json::from_str::<Selection>(bad).is_err(), "{bad}");
        }
    }
}
