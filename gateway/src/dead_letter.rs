//! What is done with dead letters.

use broker::names;
use chrono::{DateTime, Utc};
use job_queue::{DeathReason, Job, KeptLetter, PublishError, now_us};
use proto::{JobId, ScriptPath, WorkspaceId};
use ring::digest;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::app::App;
use crate::error::ApiResult;
use crate::present::timestamp;
use crate::trigger;

/// Letters read at once while some are looked for.
const PAGE: usize = 200;

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

/// The first letters that fit, at most so many, and whether there may be more.
///
/// # Errors
/// NATS is away.
pub(crate) async fn select(
    app: &App,
    workspace: &WorkspaceId,
    most: usize,
    fits: impl Fn(&KeptLetter) -> bool,
) -> ApiResult<(Vec<KeptLetter>, bool)> {
    let (mut chosen, mut behind) = (Vec::new(), 0);
    loop {
        let page = app.dead_letters.page(workspace, behind, PAGE).await?;
        let Some(last) = page.last() else { return Ok((chosen, false)) };
        behind = last.sequence;
        for kept in page.into_iter().filter(|kept| fits(kept)) {
            if chosen.len() == most {
                return Ok((chosen, true));
            }
            chosen.push(kept);
        }
    }
}

/// Has the job tried again and forgets the letter; the id it has now. Should we end in between, the letter is still
/// there, and trying it again makes no second job.
///
/// # Errors
/// NATS is away or full; the letter stays.
pub(crate) async fn replay(app: &App, workspace: &WorkspaceId, kept: &KeptLetter) -> ApiResult<JobId> {
    let (id, published) = if let Some(job) = kept.letter.job(workspace, kept.id) {
        let job = Job { id: successor(workspace, kept), reply_to: None, created_us: now_us(), ..job };
        (job.id, republish(app, job).await)
    } else {
        (kept.id, put_back(app, workspace, kept).await)
    };
    match published {
        Ok(()) | Err(PublishError::Duplicate) => {}
        Err(error) => return Err(trigger::not_published(error, id, trigger::Again::Replay)),
    }
    app.dead_letters.discard(kept).await?;
    Ok(id)
}

/// Under another id: the record of the old one is terminal, and it would never run.
async fn republish(app: &App, job: Job) -> Result<(), PublishError> {
    app.publisher.republish(&job, Instant::now() + trigger::PUBLISH).await?;
    app.queued_rows.note(job);
    Ok(())
}

/// As it was: there may be somebody now who can read it.
async fn put_back(app: &App, workspace: &WorkspaceId, kept: &KeptLetter) -> Result<(), PublishError> {
    let subject = &kept.letter.subject;
    if names::job_of(subject) != Some((&workspace.token(), &kept.id.to_string())) {
        return Err(PublishError::Refused(format!("`{subject}` is not where job {} waited", kept.id)));
    }
    let (envelope, nonce) = (kept.letter.envelope.clone(), kept.sequence.to_string());
    app.publisher.put_back(subject, envelope, &nonce, Instant::now() + trigger::PUBLISH).await
}

/// The same for the same job, which dies once, so that it is replayed once.
fn successor(workspace: &WorkspaceId, kept: &KeptLetter) -> JobId {
    let text = format!("hookmill replay v1 {workspace} {}", kept.id);
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest::digest(&digest::SHA256, text.as_bytes()).as_ref()[..16]);
    uuid::Builder::from_random_bytes(bytes).into_uuid().into()
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
