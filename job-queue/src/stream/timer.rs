//! Timers: messages that the server itself publishes when they are due. Each job has at most one, as its subject holds
//! one message; a schedule cannot leave its stream, so what has fired waits there for a [`super::Mover`].

use async_nats::header::{NATS_SCHEDULE, NATS_SCHEDULE_TARGET};
use async_nats::jetstream::context::{PublishError as JsError, PublishErrorKind};
use async_nats::jetstream::message::PublishMessage;
use broker::{Broker, names};
use chrono::{DateTime, SecondsFormat};

use super::publish::{PublishError, dedupe_id, refused};
use super::{JOB_SUBJECT, subject};
use crate::model::Job;

/// What a new timer finds at its subject.
pub(super) enum Before {
    /// Nothing: else the job has one already.
    Nothing,
    /// Whatever there is, it replaces it: a job that is tried again has no other timer that counts.
    Whatever,
    /// The message of this sequence, which it replaces: else it has fired, or somebody else has replaced it.
    Message(u64),
}

/// Puts a job aside until it is due.
pub(super) async fn set(broker: &Broker, job: &Job, before: Before) -> Result<(), PublishError> {
    let (workspace, id) = (job.workspace.token(), job.id.to_string());
    let message = PublishMessage::build()
        .payload(job.encode())
        .header(NATS_SCHEDULE, at(job.due_us()).as_str())
        .header(NATS_SCHEDULE_TARGET, names::fire(&workspace, &id).as_str())
        .header(JOB_SUBJECT, subject(&job.tag, &job.workspace, job.id).as_str());
    let message = match before {
        Before::Nothing => message.expected_last_subject_sequence(0).message_id(dedupe_id(job)),
        Before::Whatever => message,
        Before::Message(sequence) => message.expected_last_subject_sequence(sequence),
    };
    let sent = broker.jetstream().send_publish(names::timer(&workspace, &id), message).await;
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
