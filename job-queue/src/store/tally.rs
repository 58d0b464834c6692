//! What is counted of a schedule: how its jobs have ended, one after the other as their ends become known, and the
//! latest of these ends. Each job counts once, whoever counts it and however often.

use std::num::NonZeroU32;
use std::time::Duration;

use proto::{JobId, ScriptPath, WorkspaceId};

use super::keys;
use super::write::{text, unexpected};
use super::{Records, StoreError};
use crate::model::{JobState, Outcome};

/// A tally is forgotten when no job of its schedule has ended for so long: schedules may come once a year.
const KEPT: Duration = Duration::from_hours(24 * 400);
/// Ends kept of each schedule, the latest ones.
const ENDS: usize = 20;

/// A job of a schedule has ended.
pub struct CountRequest<'a> {
    /// Its workspace.
    pub workspace: &'a WorkspaceId,
    /// The job.
    pub id: JobId,
    /// Its schedule.
    pub schedule: &'a ScriptPath,
    /// Which of the schedules that have had this path: another one's ends do not count for it.
    pub life: &'a str,
    /// After how many failures in a row the schedule is down.
    pub failures: NonZeroU32,
    /// Whether failures after these are not told of.
    pub exact: bool,
    /// After how many successes in a row it is up again.
    pub successes: NonZeroU32,
}

/// What came of counting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CountAnswer {
    /// There is no record of the job, or it has not ended.
    Open,
    /// It counts.
    Counted(Counted),
}

/// What a job's end was for its schedule: decided once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Counted {
    /// It failed, or was cancelled.
    Failure {
        /// How many have in a row, this one included.
        times: u32,
        /// Whether these are as many as are to be told of.
        due: bool,
    },
    /// It succeeded.
    Success {
        /// How many have in a row, this one included.
        times: u32,
        /// Set when the schedule was down and is up again with this job.
        recovered: bool,
        /// The job that failed last, if one has.
        failed: Option<JobId>,
    },
}

/// One of the latest ends of a schedule's jobs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CountedEnd {
    /// The job.
    pub id: JobId,
    /// How it ended.
    pub outcome: Outcome,
    /// From its start to its end, in milliseconds.
    pub took_ms: i64,
}

impl Records {
    /// Counts a job's end for its schedule. The same job counts once: what was decided then is answered again.
    ///
    /// # Errors
    /// The store is away; nothing is known, and the same call may be repeated.
    pub async fn count(&self, request: &CountRequest<'_>) -> Result<CountAnswer, StoreError> {
        let CountRequest { workspace, id, schedule, .. } = *request;
        let mut script = self.scripts.count.prepare_invoke();
        script.key(keys::record(workspace, id)).key(keys::tally(workspace, schedule));
        script.key(keys::ends(workspace, schedule));
        script.arg(id.to_string()).arg(request.life).arg(request.failures.get());
        script.arg(u8::from(request.exact)).arg(request.successes.get());
        script.arg(KEPT.as_secs()).arg(ENDS);
        let answer: Vec<redis::Value> = self.invoke(&script).await?;
        match text(&answer, 0)?.as_str() {
            "open" => Ok(CountAnswer::Open),
            "counted" => {
                let kept = text(&answer, 1)?;
                counted(&kept).map(CountAnswer::Counted).ok_or_else(|| unexpected(&kept))
            }
            other => Err(unexpected(other)),
        }
    }

    /// Forgets what was counted of a schedule that is no more.
    ///
    /// # Errors
    /// The store is away; what stays does not count for another schedule of that path.
    pub async fn forget_tally(
        &self,
        workspace: &WorkspaceId,
        schedule: &ScriptPath,
    ) -> Result<(), StoreError> {
        let mut ask = redis::cmd("DEL");
        ask.arg(keys::tally(workspace, schedule)).arg(keys::ends(workspace, schedule));
        self.connection.query::<u64>(&ask).await.map(drop)
    }

    /// The latest ends of each schedule's jobs, the latest first.
    ///
    /// # Errors
    /// The store is away.
    pub async fn latest_ends(
        &self,
        workspace: &WorkspaceId,
        schedules: &[&ScriptPath],
    ) -> Result<Vec<Vec<CountedEnd>>, StoreError> {
        if schedules.is_empty() {
            return Ok(Vec::new());
        }
        let mut reads = redis::pipe();
        for schedule in schedules {
            reads.cmd("LRANGE").arg(keys::ends(workspace, schedule)).arg(0).arg(-1);
        }
        let kept: Vec<Vec<String>> = self.connection.pipeline(&reads).await?;
        Ok(kept.iter().map(|rows| rows.iter().filter_map(|row| ended(row)).collect()).collect())
    }
}

/// As `lua/count.lua` writes it; none where it is not of that form.
fn counted(text: &str) -> Option<Counted> {
    let [outcome, times, due, failed] = text.split(' ').collect::<Vec<_>>().try_into().ok()?;
    let (times, due) = (times.parse().ok()?, due == "1");
    match outcome {
        "failure" => Some(Counted::Failure { times, due }),
        "success" => Some(Counted::Success { times, recovered: due, failed: failed.parse().ok() }),
        _ => None,
    }
}

/// As `lua/count.lua` writes it; none where it is not of that form.
fn ended(text: &str) -> Option<CountedEnd> {
    let [id, state, took_ms] = text.split(' ').collect::<Vec<_>>().try_into().ok()?;
    let JobState::Ended(outcome) = JobState::parse(state)? else { return None };
    Some(CountedEnd { id: id.parse().ok()?, outcome, took_ms: took_ms.parse().ok()? })
}
