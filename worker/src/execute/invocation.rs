//! What a run is given and what comes of it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use proto::{IsolationMode, JobId, Language};
use sandbox::Network;

use super::failure::JobError;
use super::kill::KillReason;
use super::mode::{Owner, Start};

/// One script to run.
#[derive(Clone)]
pub struct Invocation {
    /// Whose run it is; names the folder.
    pub job_id: JobId,
    /// What it is written in.
    pub language: Language,
    /// Its source.
    pub content: Arc<str>,
    /// The path it is deployed under; names the module.
    pub path: String,
    /// Its arguments: the text of one JSON object, already checked, handed on byte for byte.
    pub args: Bytes,
    /// Its bounds.
    pub limits: Limits,
    /// How much of its process it leaves to the next one.
    pub mode: IsolationMode,
    /// With whom it may share a process; with nobody if `None`.
    pub owner: Option<Owner>,
}

/// What a script is told besides its arguments, known only once it may run. With the
/// [`Invocation`] it is all that reaches it.
#[derive(Clone, Default)]
pub struct Surroundings {
    /// Its whole environment, but for `PATH`, `HOME` and `TZ`, which are added when missing.
    pub env: Vec<(String, String)>,
    /// What must appear in no log, result or error: replaced by `********`.
    pub mask: Vec<String>,
}

/// The bounds of one run.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Wall-clock time.
    pub timeout: Duration,
    /// Bytes of log that are kept; what comes after is read and thrown away.
    pub log_bytes: u64,
    /// Bytes of output at which the script is killed.
    pub output_kill_bytes: u64,
    /// Bytes of result, as JSON text.
    pub result_bytes: u64,
    /// What the kernel and the supervisor keep.
    pub kernel: sandbox::Limits,
    /// Whom it may reach.
    pub network: Network,
    /// Time between SIGTERM and SIGKILL on a cancel, timeout or shutdown; zero kills at once.
    pub kill_grace: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            timeout: Duration::from_mins(15),
            log_bytes: 2 * 1024 * 1024,
            output_kill_bytes: 1024 * 1024 * 1024,
            result_bytes: 8 * 1024 * 1024,
            kernel: sandbox::Limits::default(),
            network: Network::Internet,
            kill_grace: Duration::ZERO,
        }
    }
}

/// What came of a run. When it is there, nothing of the script's processes is left.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// How it ended.
    pub verdict: Verdict,
    /// From its start to its end; `None` if it never ran or its supervisor was lost.
    pub wall: Option<Duration>,
    /// How it was started; `None` if it never ran.
    pub start: Option<Start>,
    /// The largest resident set of any one of its processes, in KiB; 0 if it never ran.
    pub mem_peak_kib: u64,
    /// Bytes written to stdout and stderr, kept or not.
    pub output_bytes: u64,
}

impl Outcome {
    /// Of a script that never ran.
    pub fn never_ran(error: JobError) -> Self {
        let verdict = if error.is_fault() {
            Verdict::Fault { error }
        } else {
            Verdict::Failure { error: error.to_json() }
        };
        Self { verdict, wall: None, start: None, mem_peak_kib: 0, output_bytes: 0 }
    }
}

/// How a run ended.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// The script returned.
    Success {
        /// Exact JSON text.
        result: Bytes,
    },
    /// The script failed.
    Failure {
        /// JSON text: `{"error":{"name","message","stack"?,"exit_code"?}}`.
        error: Bytes,
    },
    /// The worker could not start it, which is no fault of the script.
    Fault {
        /// Why.
        error: JobError,
    },
    /// The run was ended from outside; [`KillReason::error`] words it.
    Killed(KillReason),
}
