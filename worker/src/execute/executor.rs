//! The way of one run: folder, files, process, log, result, nothing left.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use lifecycle::supervisor::Host;
use proto::{IsolationMode, Language};
use sandbox::Level;
use uplink::Rules;

use super::by_command::Command;
use super::by_session;
use super::failure::JobError;
use super::folder::{JobFolder, clean_work_dir, lock_work_dir};
use super::invocation::{Invocation, Limits, Outcome, Surroundings};
use super::kill::Kill;
use super::log::LogSink;
use super::mask::Masks;
use super::neighbourhood::{Neighbourhood, Surrounding};
use super::pads::Pads;
use super::policy::{Isolation, NoIsolation, Policy};
use super::pool::{Bounds, Pool, PoolConfig};
use super::trial::Trials;
use super::verdict::blocking;
use crate::runtime::{Load, Runtime, Runtimes};

/// Processes and threads that each slot, and the worker itself as two of them, may start while a script of another
/// runs. Where the kernel counts all of a user together, a script has room for so many more than its own: with
/// less it would suffer from what others do, with more a storm of forks has so many more processes to end.
const NEIGHBOUR: u64 = 32;

/// What the executor is built from.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where jobs' folders are made. Ours alone: whatever is in it at the start is removed.
    pub work_dir: PathBuf,
    /// Supervisors kept waiting: at least as many as jobs start in one burst.
    pub spares: NonZeroUsize,
    /// Where interpreters are looked for, and the `PATH` of scripts that are given none.
    pub search_path: String,
    /// The Python interpreter; looked for as `python3` when `None`.
    pub python: Option<PathBuf>,
    /// Folders of Python packages every script can import, after the standard library.
    pub python_path: Vec<PathBuf>,
    /// The Deno program; looked for as `deno` when `None`.
    pub deno: Option<PathBuf>,
    /// The Bash program; looked for as `bash` when `None`.
    pub bash: Option<PathBuf>,
    /// How scripts are confined.
    pub isolation: Isolation,
    /// Whom scripts with the network `internet` may reach.
    pub surrounding: Surrounding,
    /// How many processes that have loaded a script may wait for its next job.
    pub warm: Bounds,
    /// How long each of them may wait.
    pub warm_idle: Duration,
    /// How many of each language that is used here wait for any script.
    pub warm_spares: usize,
}

/// Why an executor cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The work folder cannot be made or cleaned.
    #[error("work folder {path}: {source}")]
    WorkDir {
        /// Which one.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// A configured interpreter does not run.
    #[error("{program} does not run as {language}: {reason}")]
    Interpreter {
        /// Whose interpreter.
        language: Language,
        /// Which program.
        program: PathBuf,
        /// What went wrong.
        reason: String,
    },
    /// None of the languages runs here.
    #[error("no interpreter in {path} runs a script: a worker needs python3, deno or bash; {}", .tried.join("; "))]
    NoLanguage {
        /// Where they were looked for.
        path: String,
        /// What each of those found says.
        tried: Vec<String>,
    },
    /// Scripts cannot be confined as they must be.
    #[error(transparent)]
    Isolation(#[from] NoIsolation),
}

/// Runs scripts. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Executor {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    runtimes: Runtimes,
    ground: Ground,
}

/// A script that has what it needs to be started. Dropping it removes that.
pub struct Prepared {
    invocation: Invocation,
    runtime: Arc<dyn Runtime>,
    way: Way,
}

/// How it will run.
enum Way {
    /// As a command, whose folder and files are there.
    Command(Box<Command>),
    /// In a process that takes jobs, which is looked for once it may run.
    Session(Load),
}

impl Prepared {
    /// The same, within these limits, and in this mode.
    pub(crate) fn within(mut self, limits: Limits, mode: IsolationMode) -> Self {
        (self.invocation.limits, self.invocation.mode) = (limits, mode);
        self
    }
}

/// What scripts run on.
#[derive(Debug)]
pub(super) struct Ground {
    pub(super) search_path: String,
    pub(super) pads: Pads,
    pub(super) pool: Pool,
    /// Processes that all others may start while a script runs.
    pub(super) neighbours: u64,
}

/// A script that may run, with all it is given.
pub(super) struct Job<S> {
    pub(super) invocation: Invocation,
    pub(super) runtime: Arc<dyn Runtime>,
    pub(super) env: Vec<(String, String)>,
    pub(super) masks: Arc<Masks>,
    pub(super) rules: Option<Rules>,
    pub(super) logs: S,
    pub(super) kill: Kill,
}

/// The folder of a run that is over. Dropping it removes it, too, with nobody waiting.
#[must_use]
pub struct Leftovers(Option<Arc<JobFolder>>);

impl Leftovers {
    pub(super) fn of(folder: Arc<JobFolder>) -> Self {
        Self(Some(folder))
    }

    /// Nothing is left.
    pub(super) fn none() -> Self {
        Self(None)
    }

    /// Removes the folder.
    pub async fn remove(mut self) {
        let folder = self.0.take();
        // it fails only when the runtime ends, and then the drop has removed it
        let _ = blocking(move || drop(folder)).await;
    }
}

impl Drop for Leftovers {
    /// Never on an async thread: there may be a hundred thousand files.
    fn drop(&mut self) {
        if let (Some(folder), Ok(runtime)) = (self.0.take(), tokio::runtime::Handle::try_current()) {
            runtime.spawn_blocking(move || drop(folder));
        }
    }
}

impl Executor {
    /// Cleans the work folder, finds out how scripts can be confined and which interpreters run them then, and
    /// has the first launchers made ready. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// The work folder is unusable, the sandbox is too weak, a configured interpreter does not run, or none is
    /// there.
    pub async fn new(config: &Config, host: Host) -> Result<Self, StartError> {
        let jobs_dir = config.work_dir.join("jobs");
        let failed = |source| StartError::WorkDir { path: config.work_dir.clone(), source };
        std::fs::create_dir_all(&config.work_dir).map_err(failed)?;
        let lock = lock_work_dir(&config.work_dir).map_err(failed)?;
        clean_work_dir(&config.work_dir).map_err(failed)?;
        clean_work_dir(&jobs_dir).map_err(failed)?;
        let neighbourhood = Neighbourhood::explore(config.surrounding.clone()).await;
        let policy =
            Policy::establish(config.isolation, &neighbourhood, &host, &config.work_dir, &jobs_dir).await?;
        let folders = config.search_path.split(':').filter(|folder| !folder.is_empty()).map(PathBuf::from);
        let policy = policy.allowing(folders);
        let shared = Arc::new(config.clone());
        let (runtimes, policy) = Trials::new(&shared, &host, jobs_dir.clone()).all(policy).await?;
        let policy = policy.holding(lock);
        let executor = Self::of(config, runtimes, Pads::empty(host, policy, jobs_dir, config.spares));
        executor.shared.ground.pads.fill();
        Ok(executor)
    }

    pub(super) fn of(config: &Config, runtimes: Runtimes, pads: Pads) -> Self {
        let search_path = config.search_path.clone();
        let neighbours = (config.spares.get() as u64).saturating_add(2).saturating_mul(NEIGHBOUR);
        let pool = Pool::new(
            pads.clone(),
            search_path.clone(),
            &PoolConfig { bounds: config.warm, idle: config.warm_idle, spares: config.warm_spares },
        );
        Self { shared: Arc::new(Shared { runtimes, ground: Ground { search_path, pads, pool, neighbours } }) }
    }

    /// The languages that run here, each with its interpreter's version.
    pub fn languages(&self) -> Vec<(Language, String)> {
        self.shared.runtimes.all().map(|runtime| (runtime.language(), runtime.version().to_owned())).collect()
    }

    /// How strongly scripts are confined; `None` only where a test has switched that off.
    pub fn level(&self) -> Option<Level> {
        self.shared.ground.pads.policy().level()
    }

    /// What stood in the way of a stronger level.
    pub fn shortfall(&self) -> Option<&str> {
        self.shared.ground.pads.policy().shortfall()
    }

    /// Whether scripts with the network `internet` have a network of their own.
    pub fn has_own_network(&self) -> bool {
        self.shared.ground.pads.policy().has_own_network()
    }

    /// Whether control groups keep the limits of memory and processes, or a watchdog does.
    pub fn has_cgroups(&self) -> bool {
        self.shared.ground.pads.policy().has_cgroups()
    }

    /// The folders in which the control groups of scripts lie; none where none are delegated. The groups belong to
    /// whoever starts scripts, and are there for as long as that is.
    pub fn control_groups(&self) -> Vec<PathBuf> {
        self.shared.ground.pads.policy().control_groups()
    }

    /// Whether as many launchers wait as are kept: where nothing else asks for any, nothing runs and none is being
    /// prepared.
    pub fn is_stocked(&self) -> bool {
        self.shared.ground.pads.are_full()
    }

    /// Whether every process that has answered its job waits for the next one, or has been given up.
    pub fn is_at_rest(&self) -> bool {
        self.shared.ground.pool.is_at_rest()
    }

    /// Makes what a script needs: all that can be done before it may start.
    ///
    /// # Errors
    /// The script cannot be run: the job's error.
    pub async fn prepare(&self, invocation: Invocation) -> Result<Prepared, JobError> {
        let Some(runtime) = self.shared.runtimes.get(invocation.language) else {
            let language = invocation.language;
            return Err(JobError::new(
                "UnknownLanguage",
                format!("this worker has no runtime for {language}"),
            ));
        };
        if let Some(sessions) = by_session::of(runtime.as_ref()) {
            let way = Way::Session(sessions.load(&invocation)?);
            return Ok(Prepared { invocation, runtime, way });
        }
        let made = Command::prepare(&self.shared.ground.pads, Arc::clone(&runtime), invocation).await;
        made.map(|(command, invocation)| Prepared {
            invocation,
            runtime,
            way: Way::Command(Box::new(command)),
        })
    }

    /// Runs a script to its end. Dropping the future kills everything of it.
    pub async fn run(
        &self,
        prepared: Prepared,
        around: Surroundings,
        logs: impl LogSink,
        kill: Kill,
    ) -> (Outcome, Leftovers) {
        let ground = &self.shared.ground;
        let Prepared { invocation, runtime, way } = prepared;
        let (env, masks) = (around.env, Arc::new(Masks::new(&around.mask)));
        let rules = ground.pads.policy().rules().await;
        let job = Job { invocation, runtime, env, masks, rules, logs, kill };
        match way {
            // their states are of no use to who waits
            Way::Command(command) => Box::pin(command.run(ground, job)).await,
            Way::Session(load) => Box::pin(by_session::run(load, ground, job)).await,
        }
    }
}
