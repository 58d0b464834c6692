//! What ran, as the scripts themselves told it.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

/// One run of a script.
#[derive(Clone, Debug)]
pub(super) struct Run {
    pub(super) job: String,
    pub(super) attempt: u64,
    /// The name of this run alone.
    pub(super) nonce: String,
    /// Unix µs by its own clock.
    pub(super) begun_us: i64,
    pub(super) ended: bool,
    /// Where it ran.
    pub(super) worker: String,
    /// What it was called with.
    pub(super) value: String,
}

/// Runs from the lines that scripts said, in their order.
pub(super) fn read(lines: &[String]) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    for line in lines {
        let words: Vec<&str> = line.split(' ').collect();
        let [what, job, token, nonce, time, worker, value] = words[..] else { continue };
        if what == "begin" {
            let (attempt, begun_us) = (attempt_of(token).unwrap_or(0), time.parse().unwrap_or(0));
            let [job, nonce, worker, value] = [job, nonce, worker, value].map(str::to_owned);
            runs.push(Run { job, attempt, nonce, begun_us, ended: false, worker, value });
        } else if let Some(run) = runs.iter_mut().rev().find(|run| run.nonce == nonce && run.job == job) {
            run.ended = true;
        }
    }
    runs
}

/// `jwt_<header>.<claims>.<signature>`
fn attempt_of(token: &str) -> Option<u64> {
    let claims = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    serde_json::from_slice::<Value>(&claims).ok()?["attempt"].as_u64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_its_beginning_and_its_end() {
        let claims = URL_SAFE_NO_PAD.encode(r#"{"attempt":3}"#);
        let lines: Vec<String> =
            ["begin", "end"].map(|what| format!("{what} j jwt_h.{claims}.s 17 5 w v")).into();
        let runs = read(&lines);
        assert_eq!((runs.len(), runs[0].attempt, runs[0].ended, runs[0].begun_us), (1, 3, true, 5));
        assert!(!read(&lines[..1])[0].ended);
    }
}
