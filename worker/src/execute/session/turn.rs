//! One job of a process, from its order to its answer, or to the end of the process.

use std::time::Duration;

use lifecycle::supervisor::{Control, Ended, Lost};
use proto::IsolationMode;
use serde_json::Value;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::conversation::{Answer, Silence, Task, converse};
use super::frame::Garbled;
use super::output::Output;
use super::process::Process;
use crate::execute::invocation::Invocation;
use crate::execute::kill::{Kill, KillReason};
use crate::execute::log::{LOG_DRAIN, LogPump, LogSink};
use crate::execute::watch::until_killed;

/// A process whose socket has closed is ending, unless its script has closed it: then it is ended after this long.
const CLOSED_BOUND: Duration = Duration::from_secs(1);

/// What is said of a process that lives and cannot be heard any more.
const CLOSED: &str = "the script has closed the socket by which its process answers";

/// One job for a process.
pub(in crate::execute) struct Turn<'a> {
    pub(in crate::execute) invocation: &'a Invocation,
    pub(in crate::execute) env: &'a [(String, String)],
    /// What a process that has loaded nothing is told to load.
    pub(in crate::execute) script: &'a Value,
    pub(in crate::execute) mode: IsolationMode,
}

/// What came of it.
#[derive(Debug)]
pub(in crate::execute) enum Turned {
    /// The script has returned, or failed; nobody has looked at what it says.
    Answered {
        /// Whether it returned.
        ok: bool,
        /// The result, or the error.
        body: bytes::Bytes,
    },
    /// It has returned more than it may.
    TooLarge {
        /// Bytes of it.
        size: u64,
    },
    /// Its process has ended before.
    Exited(Result<Ended, Lost>),
    /// We have ended it.
    Killed(KillReason),
    /// It has made its process unable to answer; why.
    Broken(String),
}

/// The same with what was measured.
pub(in crate::execute) struct Account {
    pub(in crate::execute) turned: Turned,
    pub(in crate::execute) wall: Duration,
    /// KiB.
    pub(in crate::execute) peak_kib: u64,
    /// When its process was up, if it was not before.
    pub(in crate::execute) up: Option<Instant>,
    /// The process lives and takes another job, unless the last one has left something.
    pub(in crate::execute) lives: bool,
}

impl Turn<'_> {
    /// Follows log and process to the end of the job.
    pub(in crate::execute) async fn take<S: LogSink>(
        &self,
        process: &mut Process,
        pump: &mut LogPump<S>,
        kill: &mut Kill,
    ) -> Account {
        let (job, load) = (self.invocation.job_id.to_string(), process.wants(self.script));
        process.thaw();
        process.mode = Some(self.mode);
        process.jobs += 1;
        let Process { control, channel, inbox, log, env: own, cwd, .. } = process;
        let task = Task {
            job: &job,
            env: environment(own, self.env),
            cwd,
            load,
            mode: self.mode,
            args: &self.invocation.args,
            result_limit: self.invocation.limits.result_bytes,
        };
        let (too_much, over, began) = (Notify::new(), CancellationToken::new(), Instant::now());
        // before the order: what it throws away is not this job's
        let output = Output::of(log, over.clone());
        let followed = async {
            let answer = converse(channel, inbox, &task);
            let account = self.follow(control, answer, kill, &too_much).await;
            over.cancel();
            account
        };
        let pumped = async {
            tokio::select! {
                () = pump.run(vec![output], &too_much) => {}
                () = async { over.cancelled().await; tokio::time::sleep(LOG_DRAIN).await } => {
                    tracing::warn!(job.id = %job, "log given up: its sink is stuck");
                }
            }
        };
        let (account, ()) = tokio::join!(followed, pumped);
        Account { wall: began.elapsed(), ..account }
    }

    async fn follow(
        &self,
        control: &mut Control,
        talk: impl Future<Output = Result<Answer, Silence>>,
        kill: &mut Kill,
        too_much: &Notify,
    ) -> Account {
        let limits = &self.invocation.limits;
        let mut talk = std::pin::pin!(talk);
        let mut deadline = std::pin::pin!(tokio::time::sleep(limits.timeout));
        let (mut heard, mut closed_at) = (None, None);
        let reason = loop {
            tokio::select! {
                // an answer that is there already counts, whatever else came with it
                biased;
                said = &mut talk, if heard.is_none() => match said {
                    Ok(answer) if self.mode != IsolationMode::Fresh => return Account::answered(answer, true),
                    Err(Silence::Garbled(why)) => return garbled(&why, bring_down(control, kill, Duration::ZERO).await),
                    said => {
                        closed_at = said.is_err().then(|| Instant::now() + CLOSED_BOUND);
                        heard = Some(said);
                    }
                },
                exit = control.exited() => return self.exited(exit, heard, talk).await,
                reason = kill.fired() => break reason,
                () = too_much.notified() => break KillReason::OutputTooLarge,
                () = &mut deadline => break KillReason::Timeout,
                () = until(closed_at) => {
                    let exit = bring_down(control, kill, Duration::ZERO).await;
                    return Account::without(Turned::Broken(CLOSED.to_owned()), &exit);
                }
            }
        };
        let grace = if reason.allows_grace() { limits.kill_grace } else { Duration::ZERO };
        let exit = bring_down(control, kill, grace).await;
        Account::without(Turned::Killed(reason), &exit)
    }

    /// What the process said last may not have been heard yet. Nobody holds the other end of its socket any more.
    async fn exited(
        &self,
        exit: Result<Ended, Lost>,
        heard: Option<Result<Answer, Silence>>,
        talk: impl Future<Output = Result<Answer, Silence>>,
    ) -> Account {
        let last = match heard {
            Some(last) => last,
            None => tokio::time::timeout(CLOSED_BOUND, talk).await.unwrap_or(Err(Silence::Closed)),
        };
        match last {
            Ok(answer) => Account::answered(answer, false),
            Err(Silence::Garbled(why)) => garbled(&why, exit),
            Err(Silence::Closed) => {
                let peak_kib = peak(&exit);
                Account { peak_kib, ..Account::without(Turned::Exited(exit), &Err(Lost::SupervisorDied)) }
            }
        }
    }
}

impl Account {
    fn answered(answer: Answer, lives: bool) -> Self {
        let Answer { ok, body, peak_kib, up } = answer;
        Self { turned: Turned::Answered { ok, body }, wall: Duration::ZERO, peak_kib, up, lives }
    }

    fn without(turned: Turned, exit: &Result<Ended, Lost>) -> Self {
        Self { turned, wall: Duration::ZERO, peak_kib: peak(exit), up: None, lives: false }
    }
}

fn peak(exit: &Result<Ended, Lost>) -> u64 {
    exit.as_ref().map_or(0, |ended| ended.exit.max_rss_kib)
}

fn garbled(why: &Garbled, exit: Result<Ended, Lost>) -> Account {
    let turned = match why {
        Garbled::TooLarge { size } => Turned::TooLarge { size: *size },
        Garbled::Unreadable(_) | Garbled::Io(_) => Turned::Broken(why.to_string()),
    };
    Account::without(turned, &exit)
}

async fn bring_down(control: &mut Control, kill: &mut Kill, grace: Duration) -> Result<Ended, Lost> {
    control.kill_gently(grace);
    until_killed(control, kill, grace).await
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// A job's own variables, and what the process has where there is none of that name.
fn environment<'e>(own: &'e [(String, String)], given: &'e [(String, String)]) -> Vec<(&'e str, &'e str)> {
    let own = own.iter().filter(|(name, _)| given.iter().all(|(other, _)| other != name));
    given.iter().chain(own).map(|(name, value)| (name.as_str(), value.as_str())).collect()
}
