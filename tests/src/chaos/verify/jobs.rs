//! Each job by itself: its end, its attempts, its runs.

use std::collections::BTreeMap;

use chrono::DateTime;
use serde_json::Value;

use super::{Evidence, Rule, Violation};
use crate::chaos::kind::{Expected, Kind};
use crate::chaos::runs::Run;

/// What is known of one job.
struct Known<'a> {
    id: &'a str,
    kind: Option<Kind>,
    promised: bool,
    runs: Vec<&'a Run>,
    shown: Option<&'a Value>,
    buried: bool,
}

pub(super) fn check(evidence: &Evidence) -> Vec<Violation> {
    known(evidence).values().flat_map(one).collect()
}

fn known(evidence: &Evidence) -> BTreeMap<&str, Known<'_>> {
    let mut known: BTreeMap<&str, Known<'_>> = BTreeMap::new();
    let kinds: BTreeMap<&str, Kind> =
        evidence.calls.iter().map(|call| (call.value.as_str(), call.kind)).collect();
    let empty = |id| Known {
        id,
        kind: None,
        promised: false,
        runs: Vec::new(),
        shown: evidence.shown.get(id),
        buried: evidence.letters.contains_key(id),
    };
    for call in &evidence.calls {
        let Some(id) = call.heard.perhaps() else { continue };
        let job = known.entry(id).or_insert_with(|| empty(id));
        job.promised |= call.heard.promised().is_some();
        job.kind = Some(call.kind);
    }
    for run in &evidence.runs {
        let job = known.entry(&run.job).or_insert_with(|| empty(&run.job));
        job.kind = job.kind.or(kinds.get(run.value.as_str()).copied());
        job.runs.push(run);
    }
    known
}

fn one(job: &Known<'_>) -> Vec<Violation> {
    let mut found = attempts(job);
    let Some(shown) = job.shown else {
        if job.promised || !job.runs.is_empty() {
            found.push(Violation::new(Rule::OneEnd, job.id, "it is not known any more"));
        }
        return found;
    };
    if shown["type"] != "CompletedJob" {
        found.push(Violation::new(Rule::OneEnd, job.id, format!("it has not ended: {shown}")));
        return found;
    }
    let wrong = [outcome(job, shown), tries(job, shown), last_attempt(job, shown), buried(job, shown)];
    found.extend(wrong.into_iter().flatten());
    found.extend(after_end(job, shown));
    found
}

fn attempts(job: &Known<'_>) -> Vec<Violation> {
    let mut found = Vec::new();
    let allowed = job.kind.map_or(u64::MAX, Kind::attempts);
    if job.runs.len() as u64 > allowed {
        found.push(Violation::new(Rule::Attempts, job.id, format!("{} runs of {allowed}", job.runs.len())));
    }
    for (number, run) in job.runs.iter().enumerate() {
        if job.runs[..number].iter().any(|other| other.attempt == run.attempt) {
            found.push(Violation::new(Rule::Attempts, job.id, format!("attempt {} ran twice", run.attempt)));
        }
    }
    let counted = job.shown.and_then(|shown| shown["attempt"].as_u64()).unwrap_or(u64::MAX);
    if let Some(run) = job.runs.iter().find(|run| run.attempt > counted) {
        let what = format!("attempt {} ran, {counted} are counted", run.attempt);
        found.push(Violation::new(Rule::Attempts, job.id, what));
    }
    found
}

/// Whether a job ended because its workers were lost each time.
fn is_lost(shown: &Value) -> bool {
    shown["result"]["error"]["name"] == "WorkerLost"
}

fn outcome(job: &Known<'_>, shown: &Value) -> Option<Violation> {
    let kind = job.kind?;
    let spent = shown["attempt"].as_u64().unwrap_or(0) >= kind.losses();
    let (success, canceled) = (shown["success"] == true, shown["canceled"] == true);
    let result = shown["result"].as_str().unwrap_or_default();
    let fits = match kind.expected() {
        _ if is_lost(shown) => spent,
        Expected::Value => success && result.split('/').count() == 2,
        Expected::Size(size) => success && result.ends_with(&format!("/{size}")),
        Expected::Failure => !success && shown["result"]["error"]["name"] == "ExecutionErr",
        // nobody asked for the end of one that was not promised
        Expected::Canceled => canceled || !job.promised,
    };
    (!fits).then(|| Violation::new(Rule::Outcome, job.id, format!("a {kind:?} ended so: {shown}")))
}

/// Each try that failed is shown, and there are as many as were asked for.
fn tries(job: &Known<'_>, shown: &Value) -> Option<Violation> {
    let kind = job.kind.filter(|kind| kind.tries() > 1 && !is_lost(shown))?;
    let attempts = shown["attempts"].as_array().map_or(&[][..], Vec::as_slice);
    let failed = attempts.iter().filter(|attempt| attempt["state"] == "failure").count() as u64;
    let what = format!("{failed} tries of {}: {shown}", kind.tries());
    (failed != kind.tries()).then(|| Violation::new(Rule::Outcome, job.id, what))
}

/// The result names the run that made it, and the record the attempt that counts.
fn last_attempt(job: &Known<'_>, shown: &Value) -> Option<Violation> {
    let nonce = shown["result"].as_str()?.split('/').nth(1)?;
    let run = job.runs.iter().find(|run| run.nonce == nonce);
    let wrong = match run {
        None => format!("its result is of a run that nobody knows: {shown}"),
        Some(run) if shown["attempt"] != run.attempt => {
            format!("its result is of attempt {}, and attempt {} counts", run.attempt, shown["attempt"])
        }
        Some(run) if shown["worker"] != run.worker.as_str() => {
            format!("its result is of {}, and {} has ended it", run.worker, shown["worker"])
        }
        Some(_) => return None,
    };
    Some(Violation::new(Rule::LastAttempt, job.id, wrong))
}

fn buried(job: &Known<'_>, shown: &Value) -> Option<Violation> {
    let wrong = match (is_lost(shown), job.buried) {
        (true, false) => "it was lost, and is no dead letter",
        (false, true) => "it is a dead letter, and was not lost",
        _ => return None,
    };
    Some(Violation::new(Rule::DeadLetters, job.id, wrong))
}

/// What began when the end was there already.
fn after_end(job: &Known<'_>, shown: &Value) -> Vec<Violation> {
    let Some(ended_us) = ended_us(shown) else { return Vec::new() };
    let late = job.runs.iter().filter(|run| run.begun_us > ended_us);
    let late = late.map(|run| {
        let after = (run.begun_us - ended_us) / 1000;
        let what = format!("attempt {} began {after} ms after the end", run.attempt);
        Violation::new(Rule::RanAfterEnd, job.id, what)
    });
    late.collect()
}

/// When a job ended, in Unix µs: the API says it to the millisecond, so at the end of that.
pub(in crate::chaos) fn ended_us(shown: &Value) -> Option<i64> {
    Some(time_us(&shown["completed_at"])? + 1000)
}

/// A time of the API in Unix µs.
pub(in crate::chaos) fn time_us(shown: &Value) -> Option<i64> {
    Some(DateTime::parse_from_rfc3339(shown.as_str()?).ok()?.timestamp_micros())
}
