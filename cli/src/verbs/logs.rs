//! `hookmill logs [-f] JOB`.

use reqwest::Method;

use super::follow::follow;
use crate::api::Api;
use crate::failure::Failure;
use crate::output::{self, Format};

/// Which job, and whether to stay.
#[derive(Clone, Debug, clap::Args)]
pub struct Logs {
    /// The job's uuid
    job: uuid::Uuid,
    /// Stay and print what is added until the job has ended
    #[arg(short, long)]
    follow: bool,
}

/// Prints a job's log.
///
/// # Errors
/// The job is unknown, or the installation does not answer.
pub async fn logs(api: &Api, format: Format, args: &Logs) -> Result<(), Failure> {
    let job = args.job.to_string();
    if args.follow && format == Format::Text {
        return follow(api, &job, output::raw).await;
    }
    if args.follow {
        follow(api, &job, |_| {}).await?;
    }
    let plain = [("remove_ansi_warnings", "true")];
    let text = api.here(Method::GET, &format!("jobs_u/get_logs/{job}")).query(&plain).text().await?;
    match format {
        Format::Text => output::raw(&text),
        Format::Json => output::json(&serde_json::json!({ "id": job, "logs": text })),
    }
    Ok(())
}
