//! The way of one run: folder, files, process, log, result, nothing left.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use lifecycle::supervisor::{Exit, Host, Kind, Lost, Output, Running, Spares, Spec};
use proto::Language;
use tokio::sync::Notify;

use super::failure::JobError;
use super::folder::{JobFolder, clean_work_dir};
use super::invocation::{Invocation, Outcome, Verdict};
use super::kill::Kill;
use super::log::{LogPump, LogSink, Seen};
use super::mask::Masks;
use super::watch::{End, watch};
use crate::runtime::{Ended, Plan, Runtime, Runtimes};

/// Time for the rest of a log to reach its sink after the script's end; then it is given up.
const LOG_DRAIN: Duration = Duration::from_secs(10);

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

/// A run that can start.
struct Prepared {
    folder: JobFolder,
    runtime: Arc<dyn Runtime>,
    plan: Plan,
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

    /// A run is over, with all that follows from it: the supervisor it used may be replaced.
    pub fn run_over(&self) {
        self.shared.spares.run_over();
    }

    /// Runs one script to its end. Dropping the future kills everything of it.
    pub async fn run(&self, invocation: Invocation, logs: impl LogSink, mut kill: Kill) -> Outcome {
        let invocation = Arc::new(invocation);
        let masks = Arc::new(Masks::new(&invocation.mask));
        match self.start(&invocation).await {
            Ok((prepared, running)) => {
                let pump = LogPump::new(logs, Arc::clone(&masks), invocation.limits);
                let (end, seen) = accompany(running, pump, &mut kill, &invocation).await;
                conclude(invocation, prepared, end, seen, masks).await
            }
            Err(error) => failed(&masks, &error),
        }
    }

    async fn start(&self, invocation: &Arc<Invocation>) -> Result<(Prepared, Running), JobError> {
        // the files are written while a supervisor is fetched
        let prepared = async { self.prepare(invocation).await };
        let spare = self.shared.spares.take();
        let (prepared, spare) = tokio::join!(prepared, spare);
        let (prepared, spare) =
            (prepared?, spare.map_err(|e| JobError::worker("no process can be started", &e))?);
        let spec = self.spec(invocation, &prepared);
        let running =
            spare.start(spec).await.map_err(|e| JobError::worker("the script cannot be started", &e))?;
        Ok((prepared, running))
    }

    async fn prepare(&self, invocation: &Arc<Invocation>) -> Result<Prepared, JobError> {
        let Some(runtime) = self.shared.runtimes.get(invocation.language) else {
            let language = invocation.language;
            return Err(JobError::new(
                "UnknownLanguage",
                format!("this worker has no runtime for {language}"),
            ));
        };
        let (jobs_dir, invocation) = (self.shared.jobs_dir.clone(), Arc::clone(invocation));
        blocking(move || {
            let folder = JobFolder::create(&jobs_dir, &invocation.job_id);
            let folder = folder.map_err(|e| JobError::worker("the job's folder cannot be made", &e))?;
            let plan = runtime.prepare(&invocation, &folder)?;
            Ok(Prepared { folder, runtime, plan })
        })
        .await?
    }

    fn spec(&self, invocation: &Invocation, prepared: &Prepared) -> Spec {
        let folder = prepared.folder.path();
        let mut env = invocation.env.clone();
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
) -> (End, Seen) {
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
    (end, pump.into_seen())
}

async fn conclude(
    invocation: Arc<Invocation>,
    prepared: Prepared,
    end: End,
    seen: Seen,
    masks: Arc<Masks>,
) -> Outcome {
    let concluded = blocking(move || {
        let exit = end.exit.as_ref().ok().copied();
        let (output_bytes, mem_peak_kib) = (seen.bytes, exit.map_or(0, |exit| exit.max_rss_kib));
        let verdict = match end.killed {
            Some(reason) => Verdict::Killed(reason),
            None => verdict(&invocation, &prepared, end.exit, &seen, &masks),
        };
        // the folder is gone before the outcome is known
        drop(prepared);
        Outcome { verdict, exit, mem_peak_kib, output_bytes }
    });
    concluded.await.unwrap_or_else(|error| failed(&Masks::default(), &error))
}

fn verdict(
    invocation: &Invocation,
    prepared: &Prepared,
    exit: Result<Exit, Lost>,
    seen: &Seen,
    masks: &Masks,
) -> Verdict {
    let result = match exit {
        Ok(exit) => {
            let tail = masks.strike_all(&clean(seen.tail.lines()));
            prepared.runtime.result(&Ended {
                status: exit.status,
                folder: &prepared.folder,
                log_tail: &String::from_utf8_lossy(&tail),
                last_line: seen.last_line.get(),
                result_limit: invocation.limits.result_bytes,
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

fn failed(masks: &Masks, error: &JobError) -> Outcome {
    let error: Bytes = masks.strike_json(error.to_json());
    Outcome { verdict: Verdict::Failure { error }, exit: None, mem_peak_kib: 0, output_bytes: 0 }
}

/// File work off the async threads.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, JobError> {
    tokio::task::spawn_blocking(work).await.map_err(|e| JobError::worker("internal fault", &e))
}
