//! The condition of a retry policy: user code like any other, run as a script of its own that reaches nothing.

use std::time::Duration;

use bytes::Bytes;
use proto::retry::RetryIf;
use proto::{IsolationMode, JobId, Language};
use sandbox::Network;

use crate::execute::{Invocation, JobError, KillReason, Limits, LogSink, Surroundings, Verdict};
use crate::keeper::Keeper;
use crate::serve::Worker;

/// How long it may take.
const WITHIN: Duration = Duration::from_secs(10);

/// What an expression says.
pub(super) enum Said {
    /// Whether the failure is to be tried again.
    So(bool),
    /// It cannot be told, for this reason: then it is not.
    Unknown(String),
    /// This worker cannot tell at the moment.
    Fault(String),
    /// The job is not ours any more.
    NotOurs,
}

/// What it prints is nobody's.
struct Unheard;

impl LogSink for Unheard {
    async fn write(&mut self, _chunk: Bytes) {}
}

/// Asks the expression about a result, which is `{"error": …}`.
pub(super) async fn holds(
    worker: &Worker,
    keeper: &Keeper,
    condition: &RetryIf,
    result: &Bytes,
    of_job: &Limits,
) -> Said {
    let invocation = invocation(condition, result, of_job);
    let limits = invocation.limits;
    let files = match worker.executor.prepare(invocation).await {
        Ok(files) => files,
        Err(error) if error.is_fault() => return Said::Fault(error.message),
        Err(error) => return Said::Unknown(error.message),
    };
    let (outcome, leftovers) =
        worker.executor.run(files, Surroundings::default(), Unheard, keeper.kill()).await;
    leftovers.remove().await;
    match outcome.verdict {
        Verdict::Success { result } => Said::So(&result[..] == b"true"),
        Verdict::Failure { error } => Said::Unknown(JobError::message_of(&error)),
        Verdict::Fault { error } => Said::Fault(error.message),
        Verdict::Killed(KillReason::LeaseLost | KillReason::Shutdown) => Said::NotOurs,
        Verdict::Killed(reason) => Said::Unknown(reason.error(&limits).message),
    }
}

/// Within the limits of the job itself, and without a network.
fn invocation(condition: &RetryIf, result: &Bytes, of_job: &Limits) -> Invocation {
    let source = format!(
        "export function main(result: any, error: any) {{\n  return Boolean(\n{}\n  );\n}}\n",
        condition.expr
    );
    Invocation {
        // a folder of its own
        job_id: JobId::random(),
        language: Language::Deno,
        content: source.into(),
        path: "retry_if".to_owned(),
        args: args(result),
        limits: Limits { timeout: WITHIN.min(of_job.timeout), network: Network::None, ..*of_job },
        mode: IsolationMode::Fresh,
        owner: None,
    }
}

/// `{"result": <the result>, "error": <what it has under that key>}`, byte for byte.
fn args(result: &Bytes) -> Bytes {
    let whole = proto::json::raw_value(result).unwrap_or("null");
    let error = serde_json::from_slice::<WithError<'_>>(result).ok().and_then(|with| with.error);
    let error = error.map_or("null", serde_json::value::RawValue::get);
    format!("{{\"result\":{whole},\"error\":{error}}}").into()
}

#[derive(serde::Deserialize)]
struct WithError<'a> {
    #[serde(borrow)]
    error: Option<&'a serde_json::value::RawValue>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_is_given_beside_the_whole() {
        let of = |result: &'static str| {
            String::from_utf8(args(&Bytes::from_static(result.as_bytes())).to_vec()).unwrap()
        };
        assert_eq!(of(r#"{"error":{"n":1.0}}"#), r#"{"result":{"error":{"n":1.0}},"error":{"n":1.0}}"#);
        assert_eq!(of("3"), r#"{"result":3,"error":null}"#);
        assert_eq!(of("no JSON"), r#"{"result":null,"error":null}"#);
    }
}
