//! A new job that may not come in: what its sender is told. Nothing of it was written, so that the same may be sent again.

use std::time::Duration;

use job_queue::{Refusal, Share, Stream, Unit};
use lifecycle::{HumanDuration, HumanSize};
use proto::ErrorCode;

use super::ApiError;

/// A queue may be shorter in seconds, memory and long waits take their time.
const SOON: Duration = Duration::from_secs(5);
const LATER: Duration = Duration::from_secs(30);

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Stream { stream, used, limit, unit, share } => {
                let what = match stream {
                    Stream::Jobs => "the queue is",
                    Stream::Timers => "jobs that are put aside are",
                    Stream::Args => "the store of large arguments is",
                };
                let message = refused(what, used, &amount(limit, unit), limit, share);
                Self::new(ErrorCode::QueueFull, message).retry_after(SOON)
            }
            Refusal::Memory { used, limit, share } => {
                let message = refused("the run store's memory is", used, &size(limit), limit, share);
                Self::new(ErrorCode::Overloaded, message).retry_after(LATER)
            }
            Refusal::Waits { tag, waited, bound } => {
                let (waited, bound) = (whole_seconds(waited), HumanDuration(bound));
                let message = format!(
                    "the oldest job with tag {tag} has been waiting for {waited}; new ones are refused above {bound}"
                );
                Self::new(ErrorCode::Overloaded, message).retry_after(LATER)
            }
        }
    }
}

fn refused(what: &str, used: u64, of: &str, limit: u64, share: Share) -> String {
    let percent = Share::percent(used, limit);
    format!("{what} at {percent}% of {of}; new jobs are refused from {share} on")
}

fn amount(limit: u64, unit: Unit) -> String {
    match unit {
        Unit::Bytes => size(limit),
        Unit::Messages => format!("{limit} jobs"),
    }
}

fn size(bytes: u64) -> String {
    HumanSize(usize::try_from(bytes).unwrap_or(usize::MAX)).to_string()
}

fn whole_seconds(duration: Duration) -> HumanDuration {
    HumanDuration(Duration::from_secs(duration.as_secs()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_and_its_bound_are_told() {
        let (share, mib) = ("80%".parse().unwrap(), 1 << 20);
        let stream = |stream, used, limit, unit| Refusal::Stream { stream, used, limit, unit, share };
        let table = [
            (
                stream(Stream::Jobs, 83 * mib, 100 * mib, Unit::Bytes),
                "queue_full",
                "the queue is at 83% of 100MiB; new jobs are refused from 80% on",
            ),
            (
                stream(Stream::Timers, 9, 10, Unit::Messages),
                "queue_full",
                "jobs that are put aside are at 90% of 10 jobs; new jobs are refused from 80% on",
            ),
            (
                Refusal::Memory { used: 3 * mib, limit: 3 * mib, share },
                "overloaded",
                "the run store's memory is at 100% of 3MiB; new jobs are refused from 80% on",
            ),
            (
                Refusal::Waits {
                    tag: "bash".parse().unwrap(),
                    waited: Duration::from_millis(301_700),
                    bound: Duration::from_mins(5),
                },
                "overloaded",
                "the oldest job with tag bash has been waiting for 301s; new ones are refused above 5m",
            ),
        ];
        for (refusal, code, message) in table {
            let error = ApiError::from(refusal);
            assert_eq!((error.code.as_str(), error.message.as_str()), (code, message));
            assert!(error.code.retryable() && error.headers.contains_key(http::header::RETRY_AFTER));
        }
    }
}
