//! The jobs that wait, in the order in which they were published.

use broker::{Broker, names};

use super::batch::batch;
use super::{StreamError, sequence};
use crate::model::Job;

/// Where jobs wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Waiting {
    /// For a worker.
    Ready,
    /// Until they are due, or on their way from there.
    Aside,
}

/// A part of a stream.
#[derive(Debug, Default)]
pub(crate) struct BacklogPage {
    /// The jobs that can be read, oldest first.
    pub(crate) jobs: Vec<Job>,
    /// Behind which place the next part begins; none where there were no more.
    pub(crate) next: Option<u64>,
}

/// At most so many jobs behind a place in their stream.
pub(crate) async fn backlog(
    broker: &Broker,
    waiting: Waiting,
    behind: u64,
    most: usize,
) -> Result<BacklogPage, StreamError> {
    let (stream, subjects) = match waiting {
        Waiting::Ready => (names::JOBS_STREAM, "job.>".to_owned()),
        Waiting::Aside => (names::TIMERS_STREAM, names::timers_of_jobs()),
    };
    let messages = batch(broker, stream, &subjects, behind, most).await?;
    let next = messages.last().and_then(|message| message.headers.as_ref().and_then(sequence));
    // what cannot be read is its worker's to bury
    let jobs = messages.iter().filter_map(|message| Job::decode(&message.payload).ok()).collect();
    Ok(BacklogPage { jobs, next })
}
