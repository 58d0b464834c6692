//! The jobs of the stream, one after the other, as they were published.

use broker::{Broker, names};

use super::batch::batch;
use super::{StreamError, sequence};
use crate::model::Job;

/// A part of the stream.
#[derive(Debug, Default)]
pub(crate) struct BacklogPage {
    /// The jobs that can be read, oldest first.
    pub(crate) jobs: Vec<Job>,
    /// Behind which place the next part begins; none where there were no more.
    pub(crate) next: Option<u64>,
}

/// At most so many jobs behind a place in the stream.
pub(crate) async fn backlog(broker: &Broker, behind: u64, most: usize) -> Result<BacklogPage, StreamError> {
    let messages = batch(broker, names::JOBS_STREAM, "job.>", behind, most).await?;
    let next = messages.last().and_then(|message| message.headers.as_ref().and_then(sequence));
    // what cannot be read is its worker's to bury
    let jobs = messages.iter().filter_map(|message| Job::decode(&message.payload).ok()).collect();
    Ok(BacklogPage { jobs, next })
}
