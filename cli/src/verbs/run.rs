//! `hookmill run PATH`: a script's webhook, from the command line.

use std::io::Read;

use proto::{ScriptHash, ScriptPath};
use reqwest::Method;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::follow::follow;
use crate::api::Api;
use crate::failure::Failure;
use crate::output::{self, Format};

/// The longest arguments read from a file or stdin, in bytes: what the webhook takes.
const MAX_DATA: u64 = 8 * 1024 * 1024;

/// What to run, and with what.
#[derive(Clone, Debug, clap::Args)]
pub struct Run {
    /// The script's path: its latest version runs
    #[arg(required_unless_present = "hash")]
    path: Option<ScriptPath>,
    /// The script's hash: exactly this version runs
    #[arg(long, conflicts_with = "path")]
    hash: Option<ScriptHash>,
    /// The arguments: JSON, @FILE, or - for stdin
    #[arg(short, long, default_value = "{}", value_name = "JSON")]
    data: String,
    /// Stay until the job has ended: its log on stderr, its result on stdout, exit code 1 if it failed
    #[arg(short, long)]
    wait: bool,
}

/// How a job ended.
#[derive(Debug, Deserialize)]
struct Ended {
    success: Option<bool>,
    result: Option<Box<RawValue>>,
}

/// The same for `-o json`.
#[derive(Serialize)]
struct Told<'a> {
    id: &'a str,
    success: bool,
    result: &'a RawValue,
}

/// Starts a job; with `--wait` stays until it has ended.
///
/// # Errors
/// The installation refused it or does not answer, or the job failed.
pub async fn run(api: &Api, format: Format, args: &Run) -> Result<(), Failure> {
    let body = data(&args.data)?;
    let runnable = match (&args.path, &args.hash) {
        (_, Some(hash)) => format!("h/{hash}"),
        (Some(path), None) => format!("p/{path}"),
        (None, None) => return Err(Failure::Usage("give a path or --hash".into())),
    };
    let job = api.here(Method::POST, &format!("jobs/run/{runnable}")).raw_json(body).text().await?;
    if args.wait {
        return wait(api, format, job.trim()).await;
    }
    match format {
        Format::Text => output::line(&job),
        Format::Json => output::json(&serde_json::json!({ "id": job })),
    }
    Ok(())
}

async fn wait(api: &Api, format: Format, job: &str) -> Result<(), Failure> {
    follow(api, job, output::note).await?;
    let question = api.here(Method::GET, &format!("jobs_u/completed/get_result_maybe/{job}"));
    let ended: Ended = question.read().await?;
    let success = ended.success.unwrap_or(false);
    let result = ended.result.unwrap_or_else(|| RawValue::NULL.to_owned());
    match format {
        Format::Text => output::line(result.get()),
        Format::Json => tell(&Told { id: job, success, result: &result })?,
    }
    if success { Ok(()) } else { Err(Failure::JobFailed) }
}

fn tell(told: &Told<'_>) -> Result<(), Failure> {
    output::line(&serde_json::to_string(told).map_err(|error| Failure::Local(error.into()))?);
    Ok(())
}

/// The arguments as they were given, checked to be JSON and otherwise untouched.
fn data(given: &str) -> Result<String, Failure> {
    let text = match given.strip_prefix('@') {
        Some(file) => bounded(std::fs::File::open(file), file)?,
        None if given == "-" => bounded(Ok(std::io::stdin()), "stdin")?,
        None => given.to_owned(),
    };
    match serde_json::from_str::<&RawValue>(&text) {
        Ok(_) => Ok(text),
        Err(error) => Err(Failure::Usage(format!("the arguments are not JSON: {error}"))),
    }
}

fn bounded(source: std::io::Result<impl Read>, name: &str) -> Result<String, Failure> {
    let unusable = |error| Failure::Usage(format!("cannot read the arguments from {name}: {error}"));
    let mut text = String::new();
    source.and_then(|source| source.take(MAX_DATA + 1).read_to_string(&mut text)).map_err(unusable)?;
    if text.len() as u64 > MAX_DATA {
        return Err(Failure::Usage(format!("the arguments in {name} are over {MAX_DATA} bytes")));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_stay_as_they_are() {
        for text in [r#"{"b":1.0,"a":1e400}"#, "[18446744073709551616]", " null "] {
            assert_eq!(data(text).unwrap(), text);
        }
    }

    #[test]
    fn arguments_come_from_files() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("args.json");
        std::fs::write(&path, "{\"x\": 1}").unwrap();
        assert_eq!(data(&format!("@{}", path.display())).unwrap(), "{\"x\": 1}");
        std::fs::File::create(&path).unwrap().set_len(MAX_DATA + 1).unwrap();
        let error = data(&format!("@{}", path.display())).unwrap_err();
        assert!(error.to_string().contains("8388608"), "{error}");
    }

    #[test]
    fn bad_arguments_are_wrong_usage() {
        for bad in ["", "{", "{'a':1}", "@/no/such/file", "{} {}"] {
            assert_eq!(data(bad).unwrap_err().exit_code(), 2, "{bad}");
        }
    }
}
