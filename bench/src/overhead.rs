//! What the platform adds to a script: the caller's latency less fork-to-exit of that same job, joined by the
//! job's id, and where that time goes, from the times on the job's record.

use anyhow::Context;
use chrono::DateTime;
use serde::Serialize;
use serde_json::Value;

use crate::load::Sample;
use crate::stats::Spread;

/// The promise, in milliseconds, for the durable profile and the trivial Bash script.
pub(crate) const PROMISE_MS: f64 = 4.0;

/// Of all samples of one case.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Overhead {
    /// The language.
    pub(crate) script: &'static str,
    /// The caller's latency.
    pub(crate) latency: Spread,
    /// From the fork to the exit of the script's process, as its supervisor measured it.
    pub(crate) run: Spread,
    /// The difference, of each job.
    pub(crate) added: Spread,
    /// Sent → the gateway made the job: HTTP in, token, script, arguments, Redis asked whether it is there.
    pub(crate) to_created: Spread,
    /// → the worker asks for its start: stream write, its acknowledgement, delivery, script, job token.
    pub(crate) to_started: Spread,
    /// → the worker asks for its end, less fork-to-exit: start write, folder, files, process, log, result.
    pub(crate) around_run: Spread,
    /// → the caller has the answer: end write, completion, HTTP out.
    pub(crate) to_answered: Spread,
}

/// The parts of one job's overhead, in milliseconds.
struct Parts {
    run: f64,
    added: f64,
    to_created: f64,
    to_started: f64,
    around_run: f64,
    to_answered: f64,
}

impl Overhead {
    /// Joins samples with the records of their jobs, which come in the same order.
    ///
    /// # Errors
    /// A record is of another job, or lacks a time.
    pub(crate) fn of(script: &'static str, samples: &[Sample], records: &[Value]) -> anyhow::Result<Self> {
        let joined = samples.iter().zip(records).map(|(sample, record)| Parts::of(sample, record));
        let parts: Vec<Parts> = joined.collect::<anyhow::Result<_>>()?;
        let spread = |part: fn(&Parts) -> f64| Spread::of_ms(parts.iter().map(part));
        Ok(Self {
            script,
            latency: Spread::of(samples.iter().map(|sample| sample.took)),
            run: spread(|parts| parts.run),
            added: spread(|parts| parts.added),
            to_created: spread(|parts| parts.to_created),
            to_started: spread(|parts| parts.to_started),
            around_run: spread(|parts| parts.around_run),
            to_answered: spread(|parts| parts.to_answered),
        })
    }

    /// Whether the promise is kept.
    pub(crate) fn kept(&self) -> bool {
        self.added.p50_ms < PROMISE_MS
    }
}

impl Parts {
    fn of(sample: &Sample, record: &Value) -> anyhow::Result<Self> {
        anyhow::ensure!(record["id"] == sample.job.as_str(), "the record is not of job {}", sample.job);
        let run = record["run_us"].as_i64().with_context(|| format!("job {} has no run_us", sample.job))?;
        let [created, started, ended] =
            ["created_at", "started_at", "completed_at"].map(|name| unix_us(record, name));
        let (created, started, ended) = (created?, started?, ended?);
        let took = i64::try_from(sample.took.as_micros())?;
        Ok(Self {
            run: ms(run),
            added: ms(took - run),
            to_created: ms(created - sample.sent_us),
            to_started: ms(started - created),
            around_run: ms(ended - started - run),
            to_answered: ms(sample.sent_us + took - ended),
        })
    }
}

fn unix_us(record: &Value, name: &str) -> anyhow::Result<i64> {
    let text = record[name].as_str().with_context(|| format!("a record has no {name}"))?;
    Ok(DateTime::parse_from_rfc3339(text)?.timestamp_micros())
}

#[expect(clippy::cast_precision_loss, reason = "times of one job are far below 2^52 µs")]
fn ms(us: i64) -> f64 {
    us as f64 / 1e3
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_parts_add_up_to_the_overhead() {
        let record = json!({
            "id": "j", "run_us": 1500, "created_at": "1970-01-01T00:00:01.000300Z",
            "started_at": "1970-01-01T00:00:01.001000Z", "completed_at": "1970-01-01T00:00:01.003000Z",
        });
        let parts = Parts::of(&Sample::example("j", 1_000_000, 3500), &record).unwrap();
        let sum = parts.to_created + parts.to_started + parts.around_run + parts.to_answered;
        assert!((parts.added - 2.0).abs() < 1e-9 && (sum - parts.added).abs() < 1e-9, "{sum}");
    }

    #[test]
    fn another_jobs_record_is_refused() {
        let record = json!({"id": "other", "run_us": 1});
        assert!(Parts::of(&Sample::example("j", 0, 1), &record).is_err());
    }
}
