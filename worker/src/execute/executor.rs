//! The way of one run: folder, files, process, log, result, nothing left.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use lifecycle::supervisor::{Host, Kind, Lost, Output, Running, Spare, Spec};
use proto::Language;
use sandbox::{Grant, Level};
use tokio::sync::Notify;
use uplink::Rules;

use super::failure::JobError;
use super::folder::{JobFolder, clean_work_dir, lock_work_dir};
use super::invocation::{Invocation, Limits, Outcome, Surroundings, Verdict};
use super::kill::Kill;
use super::limits::explain;
use super::log::{LogPump, LogSink, Seen};
use super::mask::Masks;
use super::neighbourhood::{Neighbourhood, Surrounding};
use super::pads::{Pad, Pads};
use super::policy::{Isolation, NoIsolation, Policy};
use super::trial::Trials;
use super::watch::{End, watch};
use crate::runtime::{Ended, Plan, Runtime, Runtimes};

/// Time for the rest of a log to reach its sink after the script's end; then it is given up.
const LOG_DRAIN: Duration = Duration::from_secs(10);

/// The largest answer and output, in bytes, that are read and checked on the async thread: a hop to another
/// thread takes longer.
const READ_AT_ONCE: u64 = 64 * 1024;

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
    search_path: String,
    runtimes: Runtimes,
    pads: Pads,
    /// Processes that all others may start while a script runs.
    neighbours: u64,
}

/// A script whose folder and files are there. Dropping it removes them.
pub struct Prepared {
    invocation: Invocation,
    runtime: Arc<dyn Runtime>,
    plan: Plan,
    pad: Pad,
}

impl Prepared {
    /// The same, within these limits.
    pub(crate) fn within(mut self, limits: Limits) -> Self {
        self.invocation.limits = limits;
        self
    }
}

/// What is needed of it once it runs.
struct Begun {
    invocation: Invocation,
    runtime: Arc<dyn Runtime>,
    folder: Arc<JobFolder>,
}

impl Begun {
    /// Bytes that a script has left as its answer.
    fn answer_bytes(&self) -> u64 {
        let sizes = self.runtime.answers().iter().map(|name| self.folder.path().join(name));
        sizes.filter_map(|file| Some(file.symlink_metadata().ok()?.len())).sum()
    }
}

/// The folder of a run that is over. Dropping it removes it, too, with nobody waiting.
#[must_use]
pub struct Leftovers(Option<Arc<JobFolder>>);

impl Leftovers {
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
        executor.shared.pads.fill();
        Ok(executor)
    }

    pub(super) fn of(config: &Config, runtimes: Runtimes, pads: Pads) -> Self {
        let search_path = config.search_path.clone();
        let neighbours = (config.spares.get() as u64).saturating_add(2).saturating_mul(NEIGHBOUR);
        Self { shared: Arc::new(Shared { search_path, runtimes, pads, neighbours }) }
    }

    /// The languages that run here, each with its interpreter's version.
    pub fn languages(&self) -> Vec<(Language, String)> {
        self.shared.runtimes.all().map(|runtime| (runtime.language(), runtime.version().to_owned())).collect()
    }

    /// How strongly scripts are confined; `None` only where a test has switched that off.
    pub fn level(&self) -> Option<Level> {
        self.shared.pads.policy().level()
    }

    /// What stood in the way of a stronger level.
    pub fn shortfall(&self) -> Option<&str> {
        self.shared.pads.policy().shortfall()
    }

    /// Whether scripts with the network `internet` have a network of their own.
    pub fn has_own_network(&self) -> bool {
        self.shared.pads.policy().has_own_network()
    }

    /// Whether control groups keep the limits of memory and processes, or a watchdog does.
    pub fn has_cgroups(&self) -> bool {
        self.shared.pads.policy().has_cgroups()
    }

    /// The folders in which the control groups of scripts lie; none where none are delegated. The groups belong to
    /// whoever starts scripts, and are there for as long as that is.
    pub fn control_groups(&self) -> Vec<PathBuf> {
        self.shared.pads.policy().control_groups()
    }

    /// Whether as many launchers wait as are kept: where nothing else asks for any, nothing runs and none is being
    /// prepared.
    pub fn is_stocked(&self) -> bool {
        self.shared.pads.are_full()
    }

    /// Makes the folder and the files of a script: all that can be done before it may start.
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
        let pad = self.shared.pads.take().await;
        let pad = pad.map_err(|e| JobError::fault("no launcher is to be had", &e))?;
        blocking(move || {
            let plan = runtime.prepare(&invocation, &pad.folder)?;
            Ok(Prepared { invocation, runtime, plan, pad })
        })
        .await?
    }

    /// Runs a script to its end. Dropping the future kills everything of it.
    pub async fn run(
        &self,
        prepared: Prepared,
        around: Surroundings,
        logs: impl LogSink,
        mut kill: Kill,
    ) -> (Outcome, Leftovers) {
        let masks = Arc::new(Masks::new(&around.mask));
        let rules = self.shared.pads.policy().rules().await;
        let spec = self.spec(&prepared, around.env, rules);
        let Prepared { invocation, runtime, plan: _, pad } = prepared;
        let begun = Arc::new(Begun { invocation, runtime, folder: Arc::clone(&pad.folder) });
        let outcome = match pad.start(spec).await {
            Ok((running, launched)) => {
                let pump = LogPump::new(logs, Arc::clone(&masks), begun.invocation.limits);
                let (end, seen, spare) = accompany(running, pump, &mut kill, &begun.invocation).await;
                launched.end(spare);
                conclude(&begun, end, seen, masks).await
            }
            Err(error) => Outcome::never_ran(JobError::unhanded(&error)),
        };
        (outcome, Leftovers(Some(Arc::clone(&begun.folder))))
    }

    fn spec(&self, prepared: &Prepared, mut env: Vec<(String, String)>, rules: Option<Rules>) -> Spec {
        let (folder, tmp) = prepared.pad.seen();
        let (home, tmp) = (folder.display().to_string(), tmp.display().to_string());
        let defaults =
            [("PATH", self.shared.search_path.as_str()), ("HOME", &home), ("TMPDIR", &tmp), ("TZ", "UTC")];
        let plan = prepared.plan.env.iter().map(|(key, value)| (*key, value.as_str()));
        for (key, value) in defaults.into_iter().chain(plan) {
            if !env.iter().any(|(given, _)| given == key) {
                env.push((key.to_owned(), value.to_owned()));
            }
        }
        let limits = prepared.invocation.limits;
        let granted =
            Grant { limits: limits.kernel, neighbours: self.shared.neighbours, network: limits.network };
        Spec {
            program: prepared.plan.program.clone(),
            args: prepared.plan.args.clone(),
            env,
            cwd: folder,
            kind: Kind::Script,
            output: Output::Log(prepared.plan.streams),
            grant: self.level().map(|_| granted),
            rules,
        }
    }
}

/// Follows log and process to the end of both.
async fn accompany<S: LogSink>(
    running: Running,
    mut pump: LogPump<S>,
    kill: &mut Kill,
    invocation: &Invocation,
) -> (End, Seen, Option<Spare>) {
    let Running { log, errors, mut control } = running;
    let pipes = [log].into_iter().chain(errors).collect();
    let (too_much, ended) = (Notify::new(), Notify::new());
    let watched = async {
        let end = watch(&mut control, kill, &too_much, &invocation.limits).await;
        ended.notify_one();
        end
    };
    let pumped = async {
        tokio::select! {
            () = pump.run(pipes, &too_much) => {}
            // all writers are dead: only a stuck sink, or a pipe end smuggled out, can hold it now
            () = async { ended.notified().await; tokio::time::sleep(LOG_DRAIN).await } => {
                tracing::warn!(job.id = %invocation.job_id, "log given up: its sink is stuck");
            }
        }
    };
    let (end, ()) = tokio::join!(watched, pumped);
    (end, pump.into_seen(), control.into_spare())
}

async fn conclude(begun: &Arc<Begun>, end: End, seen: Seen, masks: Arc<Masks>) -> Outcome {
    let exit = end.exit.as_ref().ok().map(|ended| ended.exit);
    let (output_bytes, mem_peak_kib) = (seen.bytes, exit.map_or(0, |exit| exit.max_rss_kib));
    let verdict = if let Some(reason) = end.killed {
        Ok(Verdict::Killed(reason))
    } else if begun.answer_bytes() + seen.bytes <= READ_AT_ONCE {
        Ok(verdict(begun, end.exit, &seen, &masks))
    } else {
        let begun = Arc::clone(begun);
        blocking(move || verdict(&begun, end.exit, &seen, &masks)).await
    };
    match verdict {
        Ok(verdict) => Outcome { verdict, exit, mem_peak_kib, output_bytes },
        Err(error) => Outcome::never_ran(error),
    }
}

fn verdict(
    begun: &Begun,
    exit: Result<lifecycle::supervisor::Ended, Lost>,
    seen: &Seen,
    masks: &Masks,
) -> Verdict {
    let result = match exit {
        Ok(ended) => {
            let tail = masks.strike_all(&clean(seen.tail.lines()));
            let limits = &begun.invocation.limits;
            let status = ended.exit.status;
            let result = begun.runtime.result(&Ended {
                status,
                folder: &begun.folder,
                log_tail: &String::from_utf8_lossy(&tail),
                last_line: seen.last_line.get(),
                result_limit: limits.result_bytes,
            });
            result.map_err(|error| explain(error, status, ended.hit, limits))
        }
        Err(Lost::Refused(why)) => match JobError::refused(&why) {
            error if error.is_fault() => return Verdict::Fault { error },
            error => Err(error),
        },
        Err(lost @ (Lost::SupervisorDied | Lost::Io(_))) => {
            Err(JobError::worker("the script was lost", &lost))
        }
    };
    match result {
        Ok(result) => Verdict::Success { result: masks.strike_json(result) },
        Err(error) => Verdict::Failure { error: masks.strike_json(error.to_json()) },
    }
}

fn clean(bytes: &[u8]) -> Vec<u8> {
    let (mut stream, mut out) = (super::text::Utf8Stream::default(), Vec::new());
    stream.push(bytes, &mut out);
    stream.finish(&mut out);
    out
}

/// File work off the async threads.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, JobError> {
    tokio::task::spawn_blocking(work).await.map_err(|e| JobError::worker("internal fault", &e))
}
