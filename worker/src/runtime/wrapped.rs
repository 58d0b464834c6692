//! What the languages with a `main` share: a wrapper calls it and leaves the result, or the
//! error, in a file. Neither is ever read from the script's output.

use bytes::Bytes;

use super::Ended;
use crate::execute::{FileError, JobError, JobFolder};

/// Written whole or not at all by the wrapper, once `main` has returned.
pub(super) const RESULT: &str = "result.json";
/// Written by the wrapper instead when the script failed.
pub(super) const ERROR: &str = "error.json";
/// Either of them.
pub(super) const ANSWERS: [&str; 2] = [RESULT, ERROR];
/// The arguments, exactly as they came.
pub(super) const ARGS: &str = "args.json";

/// An error's text, with room for names and escapes.
const MAX_ERROR: u64 = 1024 * 1024;

/// Writes a file of the job, or says that the worker could not.
pub(super) fn write(folder: &JobFolder, name: &str, content: &[u8]) -> Result<(), JobError> {
    folder
        .write(name, content)
        .map_err(|error| JobError::fault("a file of the job cannot be written", &error))
}

/// The result the wrapper left; else its error; else that the process ended too early.
pub(super) fn result(language: &str, ended: &Ended<'_>) -> Result<Bytes, JobError> {
    match ended.folder.read(RESULT, ended.result_limit) {
        Ok(Some(json)) => checked(json),
        Ok(None) => Err(error(language, ended)),
        Err(why) => Err(unreadable(&why)),
    }
}

/// Result text that is known to be JSON.
pub(crate) fn checked(json: Vec<u8>) -> Result<Bytes, JobError> {
    match proto::json::raw_value(&json) {
        Ok(text) if text.len() == json.len() => Ok(Bytes::from(json)),
        Ok(text) => Ok(Bytes::copy_from_slice(text.as_bytes())),
        Err(error) => Err(JobError::new("InvalidResult", format!("the result is not JSON: {error}"))),
    }
}

/// A result file that cannot be taken.
pub(super) fn unreadable(why: &FileError) -> JobError {
    match why {
        FileError::TooLarge { size, limit } => too_large(*size, *limit),
        FileError::NotPlain | FileError::NotOwn | FileError::Io(_) => {
            JobError::new("InvalidResult", format!("the result cannot be read: {why}"))
        }
    }
}

/// A result over its bound.
pub(crate) fn too_large(size: u64, limit: u64) -> JobError {
    JobError::new("ResultTooLarge", format!("the result has {size} bytes, the limit is {limit} bytes"))
}

fn error(language: &str, ended: &Ended<'_>) -> JobError {
    let left = ended.folder.read(ERROR, MAX_ERROR).ok().flatten();
    let left = left.and_then(|json| serde_json::from_slice(&json).ok());
    left.unwrap_or_else(|| JobError::execution(language, ended.status, ended.log_tail))
}
