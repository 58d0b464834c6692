//! Each promise: one job, and an answer.

use std::collections::{BTreeMap, BTreeSet};

use super::jobs::ended_us;
use super::{Evidence, Rule, Violation};
use crate::chaos::fault::{Fault, Victim};
use crate::chaos::ledger::{Call, Heard, Struck};
use crate::chaos::ticks;

/// How long after the end, and after everything that was wrong, who waits may still wait.
const PROMPT_US: i64 = 6_000_000;

pub(super) fn check(evidence: &Evidence) -> Vec<Violation> {
    let mut found = one_job(evidence);
    found.extend(evidence.calls.iter().filter_map(|call| answered(evidence, call)));
    found
}

/// Jobs by the value they were called with.
fn one_job(evidence: &Evidence) -> Vec<Violation> {
    let mut jobs: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    let told = evidence.calls.iter().filter_map(|call| Some((call.value.as_str(), call.heard.promised()?)));
    let ran = evidence.runs.iter().map(|run| (run.value.as_str(), run.job.as_str()));
    // those of a schedule are judged by their ticks
    for (value, job) in told.chain(ran).filter(|(value, _)| *value != ticks::VALUE) {
        jobs.entry(value).or_default().insert(job);
    }
    let several = jobs.into_iter().filter(|(_, jobs)| jobs.len() > 1);
    several
        .map(|(value, jobs)| Violation::new(Rule::OneJob, value, format!("made several jobs: {jobs:?}")))
        .collect()
}

fn answered(evidence: &Evidence, call: &Call) -> Option<Violation> {
    let wrong = match &call.heard {
        Heard::Nothing => format!("gateway-{} did not answer within {:?}", call.gateway, span(call)),
        Heard::Odd { status, body } => format!("was answered {status}: {body}"),
        Heard::Broken { why } if !excused(&evidence.struck, call) => {
            format!("gateway-{} broke off for no reason within {:?}: {why}", call.gateway, span(call))
        }
        Heard::Ended { job, body } => return told(evidence, call, job, Some(body)),
        Heard::TimedOut { job } => return told(evidence, call, job, None),
        Heard::Accepted { .. } | Heard::Refused { .. } | Heard::Broken { .. } => return None,
    };
    Some(Violation::new(Rule::Answered, call.value.as_str(), wrong))
}

/// From when to when, in Unix ms, as the faults are told.
fn span(call: &Call) -> (i64, i64) {
    (call.sent_us / 1000, call.answered_us / 1000)
}

/// Whether its gateway died, or its callers' network did, while it was on its way.
fn excused(struck: &[Struck], call: &Call) -> bool {
    struck.iter().any(|struck| {
        let gateway = match struck.fault {
            Fault::Kill(Victim::Gateway(number)) => Some(number),
            Fault::KillAt(moment, number) => Some(moment.victim(number)).and_then(|victim| match victim {
                Victim::Gateway(number) => Some(number),
                _ => None,
            }),
            _ => None,
        };
        gateway == Some(call.gateway) && struck.within(call.sent_us, call.answered_us) > 0
    })
}

/// Who waited was told the end that is recorded, and in time.
fn told(evidence: &Evidence, call: &Call, job: &str, body: Option<&String>) -> Option<Violation> {
    let shown = evidence.shown.get(job)?;
    let wrong = |what: String| Some(Violation::new(Rule::Answered, job, what));
    if let (Some(body), Some(result)) = (body, shown["result"].as_str())
        && serde_json::from_str(body).ok() != Some(serde_json::json!(result))
    {
        return wrong(format!("who waited was told {body}, the record says {result}"));
    }
    let ended = ended_us(shown)?.max(call.sent_us);
    let late = call.answered_us - ended - wrong_for(&evidence.struck, ended, call.answered_us);
    if late > PROMPT_US {
        return wrong(format!("who waited was told {} ms after the end, with nothing wrong", late / 1000));
    }
    None
}

/// How much of a span something was wrong. Faults come one after the other.
pub(in crate::chaos) fn wrong_for(struck: &[Struck], from_us: i64, to_us: i64) -> i64 {
    struck.iter().map(|struck| struck.within(from_us, to_us)).sum()
}
