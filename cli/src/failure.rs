//! Why a verb failed, and the exit code that tells a script which kind it was.

use std::process::ExitCode;

/// A verb that did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The installation said no; its own words.
    #[error("{text}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// The body, or the status in words when there is none.
        text: String,
    },
    /// The job ran and failed; its error has been shown.
    #[error("the job failed")]
    JobFailed,
    /// Of many things some were not done.
    #[error("{0}")]
    Partly(String),
    /// What was asked for makes no sense as it stands.
    #[error("{0}")]
    Usage(String),
    /// Nobody answered.
    #[error("{base} cannot be reached: {why}")]
    Unreachable {
        /// Where we called.
        base: String,
        /// The causes, outermost first.
        why: String,
    },
    /// The answer was not of its form: another version, or not Hookmill.
    #[error("{base} did not answer as Hookmill does: {why}")]
    Strange {
        /// Where we called.
        base: String,
        /// What was wrong.
        why: String,
    },
    /// Something on this machine.
    #[error("{0:#}")]
    Local(#[from] anyhow::Error),
}

impl Failure {
    /// 1 refused or failed, 2 wrongly used, 3 not reachable.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Refused { .. }
            | Self::JobFailed
            | Self::Partly(_)
            | Self::Strange { .. }
            | Self::Local(_) => 1,
            Self::Usage(_) => 2,
            Self::Unreachable { .. } => 3,
        }
    }

    /// Tells the person on stderr and gives the exit code.
    pub fn report(&self) -> ExitCode {
        if !matches!(self, Self::JobFailed) {
            crate::output::complain(&self.to_string());
        }
        ExitCode::from(self.exit_code())
    }
}

impl From<crate::script_file::Unclear> for Failure {
    fn from(unclear: crate::script_file::Unclear) -> Self {
        Self::Usage(unclear.to_string())
    }
}
