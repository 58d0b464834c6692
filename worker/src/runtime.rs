//! The languages that run here. A further one is one file with a [`Runtime`] in it and one
//! line in [`Runtimes::candidates`].

mod bash;
mod deno;
mod probe;
mod python;
mod wrapped;

use std::fmt::Debug;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use lifecycle::supervisor::{Status, Streams};
use proto::Language;

pub(crate) use self::wrapped::{checked, too_large};
use crate::execute::{Config, Invocation, JobError, JobFolder, StartError};

/// How one language's scripts are started and what their result is.
pub trait Runtime: Debug + Send + Sync {
    /// Which language.
    fn language(&self) -> Language;

    /// Its interpreter's version.
    fn version(&self) -> &str;

    /// Its interpreter.
    fn program(&self) -> &Path;

    /// What its scripts read besides their own folder and the system's: the interpreter and what comes with it.
    fn readable(&self) -> Vec<PathBuf>;

    /// A script that returns 1, to see whether any runs.
    fn trial(&self) -> &'static str;

    /// How its scripts run.
    fn way(&self) -> Way<'_>;
}

/// How the scripts of a language run.
#[derive(Debug)]
pub enum Way<'a> {
    /// Each as a command, which leaves its result in a file.
    Commands(&'a dyn Commands),
    /// In a process that takes jobs, one after the other, and answers each.
    Sessions(&'a dyn Sessions),
}

/// A language whose scripts are commands.
pub trait Commands: Debug + Send + Sync {
    /// Writes what the script needs into its folder. May block.
    ///
    /// # Errors
    /// The script or its arguments cannot be run: the job's error.
    fn prepare(&self, invocation: &Invocation, folder: &JobFolder) -> Result<Plan, JobError>;

    /// The files of its folder that a script's result or error may be in.
    fn answers(&self) -> &'static [&'static str];

    /// The result of a process that ended by itself, as exact JSON. May block for as long as
    /// reading [`Commands::answers`] takes.
    ///
    /// # Errors
    /// The script failed: the job's error.
    fn result(&self, ended: &Ended<'_>) -> Result<Bytes, JobError>;
}

/// A language whose interpreter takes jobs, by the protocol of `execute::session`.
pub trait Sessions: Debug + Send + Sync {
    /// The command that starts it.
    fn start(&self) -> Plan;

    /// What it needs to load a script. May block.
    ///
    /// # Errors
    /// The script cannot be run: the job's error.
    fn load(&self, invocation: &Invocation) -> Result<Load, JobError>;

    /// Whether it can fork a child for each job.
    fn forks(&self) -> bool;
}

/// What a process is given to load a script.
#[derive(Debug)]
pub struct Load {
    /// The `load` of its order.
    pub order: serde_json::Value,
    /// Files that lie in its folder then.
    pub files: Vec<(&'static str, Bytes)>,
}

/// The command that runs a script.
#[derive(Debug)]
pub struct Plan {
    /// The interpreter, as an absolute path.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<String>,
    /// Environment it wants where the script has none of that name.
    pub env: Vec<(&'static str, String)>,
    /// Apart if its result may be a line of standard output; the log's exact order is lost then.
    pub streams: Streams,
}

/// A process that has ended by itself.
#[derive(Debug)]
pub struct Ended<'a> {
    /// How.
    pub status: Status,
    /// Where it ran.
    pub folder: &'a JobFolder,
    /// The last lines of its log, without secrets.
    pub log_tail: &'a str,
    /// The last line it wrote, to standard output if its streams are apart; raw and with at most `result_limit + 1` bytes.
    pub last_line: Option<&'a [u8]>,
    /// Bytes of result it may have.
    pub result_limit: u64,
}

/// The runtimes that run here.
#[derive(Debug)]
pub struct Runtimes {
    found: Vec<Arc<dyn Runtime>>,
}

/// Interpreters of a language, found but not yet seen to run a script.
pub(crate) type Candidates = Box<dyn Iterator<Item = Candidate> + Send>;

/// One of them.
pub(crate) type Candidate = Result<Arc<dyn Runtime>, StartError>;

impl Runtimes {
    /// What may run each language, the first choice first: the one that is configured, or those of the search
    /// path. Asks each interpreter who it is when its turn comes; blocks for as long as that takes.
    pub(crate) fn candidates(config: &Arc<Config>) -> [(Language, Candidates); 3] {
        [
            (Language::Python3, python::Python::candidates(config)),
            (Language::Deno, deno::Deno::candidates(config)),
            (Language::Bash, bash::Bash::candidates(config)),
        ]
    }

    /// These.
    pub(crate) fn of(found: Vec<Arc<dyn Runtime>>) -> Self {
        Self { found }
    }

    /// The runtime of a language.
    pub fn get(&self, language: Language) -> Option<Arc<dyn Runtime>> {
        self.found.iter().find(|runtime| runtime.language() == language).cloned()
    }

    /// All of them.
    pub fn all(&self) -> impl Iterator<Item = &dyn Runtime> {
        self.found.iter().map(AsRef::as_ref)
    }
}
