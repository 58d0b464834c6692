//! A script that is a command: a folder, its files, a process, its log, its result, and nothing left.

use std::sync::Arc;
use std::time::Duration;

use lifecycle::supervisor::{Ended as Exited, Input, Kind, Lost, Output, Running, Spare, Spec};
use proto::IsolationMode;
use sandbox::Grant;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::executor::{Ground, Job, Leftovers};
use super::failure::JobError;
use super::folder::JobFolder;
use super::invocation::{Invocation, Outcome, Verdict};
use super::kill::Kill;
use super::limits::explain;
use super::log::{LOG_DRAIN, LogPump, LogSink, Seen};
use super::mask::Masks;
use super::mode::{Origin, Start};
use super::pads::{Pad, Pads};
use super::verdict::{self, READ_AT_ONCE, blocking};
use super::watch::{End, watch};
use crate::runtime::{Commands, Ended, Plan, Runtime, Way};

/// A command whose folder and files are there. Dropping it removes them.
pub(super) struct Command {
    plan: Plan,
    pad: Pad,
}

/// What is needed of it once it runs.
struct Begun {
    invocation: Invocation,
    runtime: Arc<dyn Runtime>,
    folder: Arc<JobFolder>,
}

impl Begun {
    fn commands(&self) -> Result<&dyn Commands, JobError> {
        of(self.runtime.as_ref())
    }

    /// Bytes that a script has left as its answer.
    fn answer_bytes(&self) -> u64 {
        let answers = self.commands().map_or(&[][..], Commands::answers);
        let files = answers.iter().map(|name| self.folder.path().join(name));
        files.filter_map(|file| Some(file.symlink_metadata().ok()?.len())).sum()
    }
}

fn of(runtime: &dyn Runtime) -> Result<&dyn Commands, JobError> {
    match runtime.way() {
        Way::Commands(commands) => Ok(commands),
        Way::Sessions(_) => Err(JobError::worker("internal fault", &"this language has no commands")),
    }
}

impl Command {
    /// Makes the folder and the files.
    pub(super) async fn prepare(
        pads: &Pads,
        runtime: Arc<dyn Runtime>,
        invocation: Invocation,
    ) -> Result<(Self, Invocation), JobError> {
        let pad = pads.take().await;
        let pad = pad.map_err(|e| JobError::fault("no launcher is to be had", &e))?;
        blocking(move || {
            let plan = of(runtime.as_ref())?.prepare(&invocation, &pad.folder)?;
            Ok((Self { plan, pad }, invocation))
        })
        .await?
    }

    /// Runs it to its end.
    pub(super) async fn run<S: LogSink>(self, ground: &Ground, job: Job<S>) -> (Outcome, Leftovers) {
        let spec = self.spec(ground, &job);
        let Job { invocation, runtime, masks, logs, mut kill, .. } = job;
        let start = Instant::now();
        let begun = Arc::new(Begun { invocation, runtime, folder: Arc::clone(&self.pad.folder) });
        let outcome = match self.pad.start(spec).await {
            Ok((running, launched)) => {
                let took = start.elapsed();
                let pump = LogPump::new(logs, Arc::clone(&masks), begun.invocation.limits);
                let (end, seen, spare) = accompany(running, pump, &mut kill, &begun.invocation).await;
                launched.end(spare);
                conclude(&begun, end, seen, masks, took).await
            }
            Err(error) => Outcome::never_ran(JobError::unhanded(&error)),
        };
        (outcome, Leftovers::of(Arc::clone(&begun.folder)))
    }

    fn spec<S>(&self, ground: &Ground, job: &Job<S>) -> Spec {
        let (folder, tmp) = self.pad.seen();
        let (home, tmp) = (folder.display().to_string(), tmp.display().to_string());
        let defaults =
            [("PATH", ground.search_path.as_str()), ("HOME", &home), ("TMPDIR", &tmp), ("TZ", "UTC")];
        let plan = self.plan.env.iter().map(|(key, value)| (*key, value.as_str()));
        let mut env = job.env.clone();
        for (key, value) in defaults.into_iter().chain(plan) {
            if !env.iter().any(|(given, _)| given == key) {
                env.push((key.to_owned(), value.to_owned()));
            }
        }
        let limits = job.invocation.limits;
        let granted = Grant {
            limits: limits.kernel,
            neighbours: ground.neighbours,
            lasting: false,
            network: limits.network,
        };
        Spec {
            program: self.plan.program.clone(),
            args: self.plan.args.clone(),
            env,
            cwd: folder,
            kind: Kind::Script,
            output: Output::Log(self.plan.streams),
            input: Input::Null,
            grant: ground.pads.policy().level().map(|_| granted),
            rules: job.rules.clone(),
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
    let Running { log, errors, channel: _, mut control } = running;
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

async fn conclude(begun: &Arc<Begun>, end: End, seen: Seen, masks: Arc<Masks>, took: Duration) -> Outcome {
    let exit = end.exit.as_ref().ok().map(|ended| ended.exit);
    let (output_bytes, mem_peak_kib) = (seen.bytes, exit.map_or(0, |exit| exit.max_rss_kib));
    let verdict = if let Some(reason) = end.killed {
        Ok(Verdict::Killed(reason))
    } else if begun.answer_bytes() + seen.bytes <= READ_AT_ONCE {
        Ok(verdict::of(result(begun, end.exit, &seen, &masks), &masks))
    } else {
        let begun = Arc::clone(begun);
        blocking(move || verdict::of(result(&begun, end.exit, &seen, &masks), &masks)).await
    };
    let start = exit.map(|_| Start { mode: IsolationMode::Fresh, origin: Origin::Cold, took });
    match verdict {
        Ok(verdict) => {
            Outcome { verdict, wall: exit.map(|exit| exit.wall()), start, mem_peak_kib, output_bytes }
        }
        Err(error) => Outcome::never_ran(error),
    }
}

fn result(
    begun: &Begun,
    exit: Result<Exited, Lost>,
    seen: &Seen,
    masks: &Masks,
) -> Result<bytes::Bytes, JobError> {
    let ended = exit.map_err(verdict::lost)?;
    let limits = &begun.invocation.limits;
    let status = ended.exit.status;
    let result = begun.commands()?.result(&Ended {
        status,
        folder: &begun.folder,
        log_tail: &verdict::tail(seen, masks),
        last_line: seen.last_line.get(),
        result_limit: limits.result_bytes,
    });
    result.map_err(|error| explain(error, status, ended.hit, limits))
}
