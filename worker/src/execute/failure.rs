//! The one shape of a failed run's result.

use std::io::ErrorKind;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use lifecycle::supervisor::{Lost, Refusal, Status};
use rustix::io::Errno;

/// Text beyond this many bytes is cut from a message or a stack.
const MAX_TEXT: usize = 64 * 1024;

/// What the system says of an interpreter that is gone or broken, and of a machine that has run out of something. Of what a
/// script may have chosen itself nothing: its arguments, its environment, its limits.
const OF_THE_MACHINE: [i32; 7] = [
    Errno::NOENT.raw_os_error(),
    Errno::ACCESS.raw_os_error(),
    Errno::IO.raw_os_error(),
    Errno::NFILE.raw_os_error(),
    Errno::NOSPC.raw_os_error(),
    Errno::TXTBSY.raw_os_error(),
    Errno::NOEXEC.raw_os_error(),
];

/// Why a script failed, as its caller sees it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct JobError {
    /// The class of the error, in the script's language if it raised one.
    pub name: String,
    /// What it says.
    pub message: String,
    /// Where, in the script's own frames.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stack: Option<String>,
    /// The process's exit code, if the process ended before the script returned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// It is the worker's, not the script's: another one may be able to start it.
    #[serde(skip)]
    pub(super) fault: bool,
}

impl JobError {
    /// An error without a place.
    pub fn new(name: impl Into<String>, message: impl Into<String>) -> Self {
        Self { name: name.into(), message: message.into(), stack: None, exit_code: None, fault: false }
    }

    /// A process that ended before its script had returned.
    pub fn execution(language: &str, status: Status, last_lines: &str) -> Self {
        let code = status.shell_code();
        let how = match status {
            Status::Code(0) => " (the process ended before main returned)".to_owned(),
            Status::Code(_) => String::new(),
            Status::Signal(9) => " (killed by signal 9, perhaps for want of memory)".to_owned(),
            Status::Signal(signal) => format!(" (killed by signal {signal})"),
        };
        let message = format!("exit code for \"{language}\": {code}{how}, last log lines:\n{last_lines}");
        Self { exit_code: Some(code), ..Self::new("ExecutionErr", message) }
    }

    /// Of the worker, and perhaps of what the script is or did to it.
    pub(crate) fn worker(what: &str, error: &dyn std::fmt::Display) -> Self {
        Self::new("WorkerError", format!("{what}: {error}"))
    }

    /// A fault of the worker that has nothing to do with the script, which was not started.
    pub(crate) fn fault(what: &str, error: &dyn std::fmt::Display) -> Self {
        Self { fault: true, ..Self::worker(what, error) }
    }

    /// A launcher did not take its command: it is gone, unless the command is too long for any.
    pub(super) fn unhanded(lost: &Lost) -> Self {
        let too_long = matches!(lost, Lost::Io(error) if error.kind() == ErrorKind::InvalidInput);
        let made = if too_long { Self::worker } else { Self::fault };
        made("the script cannot be started", lost)
    }

    /// The system did not start the command: because of what it is given, or of something that another worker may have.
    pub(super) fn refused(why: &Refusal) -> Self {
        if why.os_error.is_some_and(|error| OF_THE_MACHINE.contains(&error)) {
            return Self::fault("the script cannot be started", why);
        }
        Self::new("ExecutionErr", format!("the script could not be started: {why}"))
    }

    /// Whether it is such a fault.
    pub(crate) fn is_fault(&self) -> bool {
        self.fault
    }

    /// What an error result says; empty where it is none.
    pub(crate) fn message_of(result: &[u8]) -> String {
        let result: serde_json::Value = serde_json::from_slice(result).unwrap_or_default();
        result["error"]["message"].as_str().unwrap_or_default().to_owned()
    }

    /// `{"error":{…}}`, with each text within its bound.
    pub fn to_json(&self) -> Bytes {
        let error = Self {
            name: cut(&self.name),
            message: cut(&self.message),
            stack: self.stack.as_deref().map(cut),
            ..*self
        };
        Bytes::from(serde_json::json!({ "error": error }).to_string())
    }
}

fn cut(text: &str) -> String {
    if text.len() <= MAX_TEXT {
        return text.to_owned();
    }
    let end = text.floor_char_boundary(MAX_TEXT);
    format!("{}… [cut: over {MAX_TEXT} bytes]", &text[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_text_is_cut_at_a_character() {
        let error = JobError::new("Error", "é".repeat(MAX_TEXT));
        let json = error.to_json();
        assert!(json.len() < MAX_TEXT + 200);
        assert!(std::str::from_utf8(&json).unwrap().contains("[cut: over 65536 bytes]"));
    }

    #[test]
    fn only_the_machine_is_at_fault_for_what_a_script_cannot_choose() {
        let refused =
            |os_error| JobError::refused(&Refusal { message: "no".to_owned(), os_error }).is_fault();
        for error in [Errno::NOENT, Errno::NOSPC, Errno::TXTBSY] {
            assert!(refused(Some(error.raw_os_error())), "{error}");
        }
        // arguments, open files, processes and memory; a NUL byte, and a network that cannot be kept away
        for error in [Errno::TOOBIG, Errno::MFILE, Errno::AGAIN, Errno::NOMEM] {
            assert!(!refused(Some(error.raw_os_error())), "{error}");
        }
        assert!(!refused(None));
    }

    #[test]
    fn absent_fields_are_left_out() {
        assert_eq!(JobError::new("A", "b").to_json(), r#"{"error":{"name":"A","message":"b"}}"#);
        let died = JobError::execution("bash", Status::Code(3), "oops\n");
        assert_eq!(died.message, "exit code for \"bash\": 3, last log lines:\noops\n");
        assert_eq!(died.exit_code, Some(3));
    }
}
