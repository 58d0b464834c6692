//! From what a script left to how its run ended.

use bytes::Bytes;
use lifecycle::supervisor::Lost;

use super::failure::JobError;
use super::invocation::Verdict;
use super::log::Seen;
use super::mask::Masks;
use super::text::Utf8Stream;

/// The largest answer and output, in bytes, that are read and checked on the async thread: a hop to another
/// thread takes longer.
pub(super) const READ_AT_ONCE: u64 = 64 * 1024;

/// Without secrets.
pub(super) fn of(result: Result<Bytes, JobError>, masks: &Masks) -> Verdict {
    match result {
        Ok(result) => Verdict::Success { result: masks.strike_json(result) },
        Err(error) if error.is_fault() => Verdict::Fault { error },
        Err(error) => Verdict::Failure { error: masks.strike_json(error.to_json()) },
    }
}

/// Of a process that has no end of its own.
pub(super) fn lost(lost: Lost) -> JobError {
    match lost {
        Lost::Refused(why) => JobError::refused(&why),
        lost @ (Lost::SupervisorDied | Lost::Io(_)) => JobError::worker("the script was lost", &lost),
    }
}

/// The last lines of a log, as it shows them.
pub(super) fn tail(seen: &Seen, masks: &Masks) -> String {
    let (mut stream, mut clean) = (Utf8Stream::default(), Vec::new());
    stream.push(seen.tail.lines(), &mut clean);
    stream.finish(&mut clean);
    String::from_utf8_lossy(&masks.strike_all(&clean)).into_owned()
}

/// File work and long texts off the async threads.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, JobError> {
    tokio::task::spawn_blocking(work).await.map_err(|e| JobError::worker("internal fault", &e))
}
