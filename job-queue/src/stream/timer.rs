//! Timers: messages that the server itself publishes when they are due. A subject holds one at most, so that a job, or
//! a schedule, has one; a schedule of the server's cannot leave its stream, so what has fired waits there for a
//! [`super::Mover`].

use async_nats::header::{NATS_SCHEDULE, NATS_SCHEDULE_TARGET};
use async_nats::jetstream::context::{PublishError as JsError, PublishErrorKind};
use async_nats::jetstream::message::PublishMessage;
use broker::{Broker, names};
use bytes::Bytes;
use chrono::{DateTime, SecondsFormat};

use super::publish::{PublishError, refused};
use super::{JOB_SUBJECT, subject};
use crate::model::Job;

/// What a new timer finds at its subject.
pub(super) enum Before {
    /// Nothing: else there is one already. An id for the stream's window of duplicates says the same of one that is
    /// gone.
    Nothing { dedupe_id: Option<String> },
    /// Whatever there is, it replaces it: no other one counts.
    Whatever,
    /// The message of this sequence, which it replaces: else it has fired, or somebody else has replaced it.
    Message(u64),
}

/// A message and when it is due.
pub(super) struct Timer {
    /// Its subject.
    pub(super) subject: String,
    /// The subject it has when it has fired.
    pub(super) target: String,
    /// Unix microseconds.
    pub(super) due_us: i64,
    pub(super) payload: Bytes,
    /// Where the job it holds belongs then.
    pub(super) job_subject: Option<String>,
}

impl Timer {
    /// A job until it is due.
    pub(super) fn of(job: &Job) -> Self {
        let (workspace, id) = (job.workspace.token(), job.id.to_string());
        Self {
            subject: names::timer(&workspace, &id),
            target: names::fire(&workspace, &id),
            due_us: job.due_us(),
            payload: job.encode(),
            job_subject: Some(subject(&job.tag, &job.workspace, job.id)),
        }
    }
}

/// Sets a timer and waits for the stream's word that it has it.
pub(super) async fn set(broker: &Broker, timer: Timer, before: Before) -> Result<(), PublishError> {
    let mut message = PublishMessage::build()
        .payload(timer.payload)
        .header(NATS_SCHEDULE, at(timer.due_us).as_str())
        .header(NATS_SCHEDULE_TARGET, timer.target.as_str());
    if let Some(job_subject) = timer.job_subject {
        message = message.header(JOB_SUBJECT, job_subject.as_str());
    }
    let message = match before {
        Before::Nothing { dedupe_id: None } => message.expected_last_subject_sequence(0),
        Before::Nothing { dedupe_id: Some(id) } => message.expected_last_subject_sequence(0).message_id(id),
        Before::Whatever => message,
        Before::Message(sequence) => message.expected_last_subject_sequence(sequence),
    };
    let sent = broker.jetstream().send_publish(timer.subject, message).await;
    let ack = sent.map_err(not_set)?.await.map_err(not_set)?;
    if ack.duplicate { Err(PublishError::Duplicate) } else { Ok(()) }
}

/// Another message than expected is there.
fn not_set(error: JsError) -> PublishError {
    match error.kind() {
        PublishErrorKind::WrongLastSequence => PublishError::Duplicate,
        _ => refused(error),
    }
}

/// The server's form of one point in time.
fn at(due_us: i64) -> String {
    let due = DateTime::from_timestamp_micros(due_us).unwrap_or_default();
    format!("@at {}", due.to_rfc3339_opts(SecondsFormat::Micros, true))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_in_time_is_exact() {
        assert_eq!(at(1_790_000_000_000_001), "@at 2026-09-21T14:13:20.000001Z");
    }
}
