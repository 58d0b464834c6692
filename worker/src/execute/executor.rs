//! The way of one run: folder, files, process, log, result, nothing left.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use lifecycle::supervisor::{Exit, Host, Kind, Lost, Output, Running, Spare, Spares, Spec};
use proto::Language;
use tokio::sync::Notify;

use super::failure::JobError;
use super::folder::{JobFolder, clean_work_dir};
use super::invocation::{Invocation, Outcome, Surroundings, Verdict};
use super::kill::Kill;
use super::log::{LogPump, LogSink, Seen};
use super::mask::Masks;
use super::watch::{End, watch};
use crate::runtime::{Ended, Plan, Runtime, Runtimes};

/// Time for the rest of a log to reach its sink after the script's end; then it is given up.
const LOG_DRAIN: Duration = Duration::from_secs(10);

/// The largest answer and output, in bytes, that are read and checked on the async thread: a hop to another
/// thread takes longer.
const READ_AT_ONCE: u64 = 64 * 1024;

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
    #[error("no interpreter found in {0}: a worker needs python3, deno or bash")]
    NoLanguage(String),
}

/// Runs scripts. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Executor {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    jobs_dir: PathBuf,
    search_path: String,
    runtimes: Runtimes,
    spares: Arc<Spares>,
}

/// A script whose folder and files are there. Dropping it removes them.
pub struct Prepared {
    invocation: Invocation,
    runtime: Arc<dyn Runtime>,
    plan: Plan,
    folder: JobFolder,
}

impl Prepared {
    /// Bytes that a script has left as its answer.
    fn answer_bytes(&self) -> u64 {
        let sizes = self.runtime.answers().iter().map(|name| self.folder.path().join(name));
        sizes.filter_map(|file| Some(file.symlink_metadata().ok()?.len())).sum()
    }
}

/// The folder of a run that is over. Dropping it removes it, too, with nobody waiting.
#[must_use]
pub struct Leftovers(Option<Arc<Prepared>>);

impl Leftovers {
    /// Removes the folder.
    pub async fn remove(mut self) {
        let prepared = self.0.take();
        // it fails only when the runtime ends, and then the drop has removed it
        let _ = blocking(move || drop(prepared)).await;
    }
}

impl Drop for Leftovers {
    /// Never on an async thread: there may be a hundred thousand files.
    fn drop(&mut self) {
        if let (Some(prepared), Ok(runtime)) = (self.0.take(), tokio::runtime::Handle::try_current()) {
            runtime.spawn_blocking(move || drop(prepared));
        }
    }
}

impl Executor {
    /// Cleans the work folder, finds the interpreters, and starts the first supervisors.
    /// Must be called inside a tokio runtime; blocks for as long as the interpreters take to say who they are.
    ///
    /// # Errors
    /// The work folder is unusable, a configured interpreter does not run, or none is there.
    pub fn new(config: &Config, host: Host) -> Result<Self, StartError> {
        let jobs_dir = config.work_dir.join("jobs");
        let failed = |source| StartError::WorkDir { path: config.work_dir.clone(), source };
        clean_work_dir(&config.work_dir).map_err(failed)?;
        clean_work_dir(&jobs_dir).map_err(failed)?;
        let runtimes = Runtimes::probe(config)?;
        let spares = Spares::new(host, config.spares);
        Ok(Self {
            shared: Arc::new(Shared { jobs_dir, search_path: config.search_path.clone(), runtimes, spares }),
        })
    }

    /// The languages that run here, each with its interpreter's version.
    pub fn languages(&self) -> Vec<(Language, String)> {
        self.shared.runtimes.all().map(|runtime| (runtime.language(), runtime.version().to_owned())).collect()
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
        let jobs_dir = self.shared.jobs_dir.clone();
        blocking(move || {
            let folder = JobFolder::create(&jobs_dir, &invocation.job_id);
            let folder = folder.map_err(|e| JobError::worker("the job's folder cannot be made", &e))?;
            let plan = runtime.prepare(&invocation, &folder)?;
            Ok(Prepared { invocation, runtime, plan, folder })
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
        let (prepared, masks) = (Arc::new(prepared), Arc::new(Masks::new(&around.mask)));
        let outcome = match self.start(&prepared, around.env).await {
            Ok(running) => {
                let pump = LogPump::new(logs, Arc::clone(&masks), prepared.invocation.limits);
                let (end, seen, spare) = accompany(running, pump, &mut kill, &prepared.invocation).await;
                if let Some(spare) = spare {
                    self.shared.spares.give_back(spare);
                }
                conclude(&prepared, end, seen, masks).await
            }
            Err(error) => Outcome::never_ran(&error),
        };
        (outcome, Leftovers(Some(prepared)))
    }

    async fn start(&self, prepared: &Prepared, env: Vec<(String, String)>) -> Result<Running, JobError> {
        let running = self.shared.spares.start(self.spec(prepared, env)).await;
        running.map_err(|e| JobError::worker("the script cannot be started", &e))
    }

    fn spec(&self, prepared: &Prepared, mut env: Vec<(String, String)>) -> Spec {
        let folder = prepared.folder.path();
        let home = folder.display().to_string();
        let defaults = [("PATH", self.shared.search_path.as_str()), ("HOME", &home), ("TZ", "UTC")];
        let plan = prepared.plan.env.iter().map(|(key, value)| (*key, value.as_str()));
        for (key, value) in defaults.into_iter().chain(plan) {
            if !env.iter().any(|(given, _)| given == key) {
                env.push((key.to_owned(), value.to_owned()));
            }
        }
        Spec {
            program: prepared.plan.program.clone(),
            args: prepared.plan.args.clone(),
            env,
            cwd: folder.to_owned(),
            kind: Kind::Script,
            output: Output::Log(prepared.plan.streams),
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

async fn conclude(prepared: &Arc<Prepared>, end: End, seen: Seen, masks: Arc<Masks>) -> Outcome {
    let exit = end.exit.as_ref().ok().copied();
    let (output_bytes, mem_peak_kib) = (seen.bytes, exit.map_or(0, |exit| exit.max_rss_kib));
    let verdict = if let Some(reason) = end.killed {
        Ok(Verdict::Killed(reason))
    } else if prepared.answer_bytes() + seen.bytes <= READ_AT_ONCE {
        Ok(verdict(prepared, end.exit, &seen, &masks))
    } else {
        let prepared = Arc::clone(prepared);
        blocking(move || verdict(&prepared, end.exit, &seen, &masks)).await
    };
    match verdict {
        Ok(verdict) => Outcome { verdict, exit, mem_peak_kib, output_bytes },
        Err(error) => Outcome::never_ran(&error),
    }
}

fn verdict(prepared: &Prepared, exit: Result<Exit, Lost>, seen: &Seen, masks: &Masks) -> Verdict {
    let result = match exit {
        Ok(exit) => {
            let tail = masks.strike_all(&clean(seen.tail.lines()));
            prepared.runtime.result(&Ended {
                status: exit.status,
                folder: &prepared.folder,
                log_tail: &String::from_utf8_lossy(&tail),
                last_line: seen.last_line.get(),
                result_limit: prepared.invocation.limits.result_bytes,
            })
        }
        Err(Lost::Refused(message)) => {
            Err(JobError::new("ExecutionErr", format!("the script could not be started: {message}")))
        }
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
