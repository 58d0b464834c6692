//! What is said over one job: the order, and the answer.

use bytes::Bytes;
use proto::IsolationMode;
use serde_json::Value;
use tokio::net::UnixStream;
use tokio::time::Instant;

use super::frame::{Garbled, Inbox, Kind, Order, Said, send};

/// All that a process is told of a job.
pub(super) struct Task<'a> {
    /// Its answer names it, too: one that another job has left is not taken for this one's.
    pub(super) job: &'a str,
    pub(super) env: Vec<(&'a str, &'a str)>,
    pub(super) cwd: &'a str,
    pub(super) load: Option<Value>,
    pub(super) mode: IsolationMode,
    pub(super) args: &'a [u8],
    pub(super) result_limit: u64,
}

/// What its script has come to.
#[derive(Debug)]
pub(super) struct Answer {
    /// Whether it has returned.
    pub(super) ok: bool,
    /// The result, or the error; nobody has looked at it yet.
    pub(super) body: Bytes,
    /// The process's largest resident set, in KiB; 0 if it does not know.
    pub(super) peak_kib: u64,
    /// When the process said that it takes jobs, if that was not known before.
    pub(super) up: Option<Instant>,
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum Silence {
    /// The socket has closed: the process ends, or its script has closed it.
    Closed,
    /// What came is none.
    Garbled(Garbled),
}

/// Sends a job and waits for its answer. The script is loaded with the environment of its first job, unless each job
/// has a process of its own and nothing of a job may stay: then the script sees nothing of one while it is loaded.
pub(super) async fn converse(
    channel: &mut UnixStream,
    inbox: &mut Inbox,
    task: &Task<'_>,
) -> Result<Answer, Silence> {
    if task.load.is_some() && task.mode == IsolationMode::Fork {
        let env = task.env.iter().filter(|(name, _)| !is_of_a_job(name)).copied().collect();
        let order = Order { env, kind: Kind::Load, ..order_of(task, task.load.as_ref()) };
        send(channel, &order, &[]).await.map_err(|_| Silence::Closed)?;
        send(channel, &order_of(task, None), task.args).await.map_err(|_| Silence::Closed)?;
    } else {
        let load = task.load.as_ref();
        send(channel, &order_of(task, load), task.args).await.map_err(|_| Silence::Closed)?;
    }
    answer(channel, inbox, task).await
}

fn order_of<'a>(task: &'a Task<'_>, load: Option<&'a Value>) -> Order<'a> {
    let env = task.env.iter().copied().collect();
    Order { kind: Kind::Run, job: task.job, env, cwd: task.cwd, load, mode: task.mode }
}

async fn answer(channel: &mut UnixStream, inbox: &mut Inbox, task: &Task<'_>) -> Result<Answer, Silence> {
    let mut up = None;
    loop {
        let frame = inbox.next(channel, task.result_limit).await.map_err(Silence::Garbled)?;
        match frame {
            Some((Said::Ready, _)) => up = Some(Instant::now()),
            Some((Said::Ended { job, ok, peak_kib }, body)) if job == task.job => {
                return Ok(Answer { ok, body, peak_kib, up });
            }
            Some((Said::Item, _)) => {}
            Some((said @ (Said::Ended { .. } | Said::Rest { .. }), _)) => {
                return Err(Silence::Garbled(Garbled::Unreadable(format!("{said:?} while a job runs"))));
            }
            None => return Err(Silence::Closed),
        }
    }
}

/// Whether a variable is that of one job: what a module keeps of it would be seen by the next.
fn is_of_a_job(name: &str) -> bool {
    const OF_A_JOB: [&str; 9] = [
        "WM_TOKEN",
        "WM_EMAIL",
        "WM_USERNAME",
        "WM_END_USER_EMAIL",
        "WM_JOB_ID",
        "WM_ROOT_FLOW_JOB_ID",
        "WM_FLOW_JOB_ID",
        "TRACEPARENT",
        "TRACESTATE",
    ];
    OF_A_JOB.contains(&name)
}
