//! Reading a job's logs as they come, until it has ended. Each question is held by the server until
//! there is news, or for a second.

use reqwest::Method;
use serde::Deserialize;

use crate::api::Api;
use crate::failure::Failure;

/// What is new about a job.
#[derive(Debug, Deserialize)]
struct Update {
    #[serde(default)]
    completed: bool,
    new_logs: Option<String>,
    log_offset: Option<u64>,
}

/// Hands over each new piece of the log, and returns when the job has ended.
///
/// # Errors
/// The job is unknown, or the installation does not answer.
pub async fn follow(api: &Api, job: &str, mut on_logs: impl FnMut(&str)) -> Result<(), Failure> {
    let mut offset = 0;
    loop {
        let from = offset.to_string();
        let question = api.here(Method::GET, &format!("jobs_u/getupdate/{job}"));
        let update: Update = question.query(&[("running", "true"), ("log_offset", &from)]).read().await?;
        let logs = update.new_logs.unwrap_or_default();
        if !logs.is_empty() {
            on_logs(&logs);
        }
        // offsets count as JavaScript does, where the server names none
        let counted = offset + logs.encode_utf16().count() as u64;
        offset = update.log_offset.unwrap_or(counted).max(offset);
        // the end may come with a first part of a long log
        if update.completed && logs.is_empty() {
            return Ok(());
        }
    }
}
