//! What is known when everything is over: read once, from outside.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::StreamExt;
use serde_json::Value;
use tokio::time::{Instant, timeout};

use super::leftovers::{Remains, folders};
use crate::chaos::ledger::{Call, Ledger, Newer, Struck};
use crate::chaos::runs::{self, Run};
use crate::system::System;
use crate::waiting::retried;

/// How long a system may take to become idle once nothing is wrong any more.
const IDLE_WITHIN: Duration = Duration::from_secs(90);
/// How often it is looked at.
const LOOK: Duration = Duration::from_millis(100);
/// Jobs asked for at once.
const AT_ONCE: usize = 8;

/// Everything that is judged.
pub(in crate::chaos) struct Evidence {
    pub(in crate::chaos) calls: Vec<Call>,
    pub(in crate::chaos) runs: Vec<Run>,
    pub(in crate::chaos) struck: Vec<Struck>,
    pub(super) newer: Vec<Newer>,
    pub(super) remarks: Vec<String>,
    /// By its id, what the API shows of each job that was promised, ran, or may exist.
    pub(in crate::chaos) shown: BTreeMap<String, Value>,
    /// The dead letters by their job.
    pub(in crate::chaos) letters: BTreeMap<String, Value>,
    pub(in crate::chaos) remains: Remains,
}

impl Evidence {
    /// Waits until the system is idle, and reads everything.
    pub(in crate::chaos) async fn gather(system: &System, ledger: &Ledger) -> Self {
        let newer = ledger.all_newer();
        let idle = timeout(IDLE_WITHIN, idle(system, newer.len() as u64)).await.is_ok();
        let (calls, runs) = (ledger.calls(), runs::read(&system.hub().said()));
        let asked = calls.iter().filter_map(|call| call.heard.perhaps());
        let ids = asked.chain(runs.iter().map(|run| run.job.as_str()));
        let ids: BTreeSet<String> = ids.map(str::to_owned).collect();
        let shown = shown(system, &ids).await;
        let letters = letters(system).await;
        let remains = Remains::find(system, &newer, &ids, idle).await;
        let (struck, remarks) = (ledger.struck(), ledger.remarks());
        Self { calls, runs, struck, newer, remarks, shown, letters, remains }
    }
}

/// Resolves when no job waits for its time, the stream of jobs holds nothing but what nobody can read, and all folders
/// are removed.
async fn idle(system: &System, unreadable: u64) {
    loop {
        // from one stream to the other a job is in both, whichever way it goes
        let aside = system.nats().held("TIMERS").await;
        let ready = system.nats().held("JOBS_0").await;
        let aside_still = system.nats().held("TIMERS").await;
        let none = ready.is_some_and(|ready| ready <= unreadable) && [aside, aside_still] == [Some(0); 2];
        if none && folders(system).is_empty() {
            return;
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Jobs that exist: of the others it is said that they do not.
async fn shown(system: &System, ids: &BTreeSet<String>) -> BTreeMap<String, Value> {
    let asked = futures::stream::iter(ids.iter().cloned()).map(|id| async move {
        let path = format!("jobs_u/get/{id}");
        let answer = retried("word of a job", IDLE_WITHIN, || async {
            let answer = system.client().get_path(&path).send().await;
            matches!(answer.status, 200 | 404).then_some(answer)
        })
        .await;
        (answer.status == 200).then(|| (id, answer.json()))
    });
    asked.buffer_unordered(AT_ONCE).filter_map(async |job| job).collect().await
}

/// All pages of the dead letters.
async fn letters(system: &System) -> BTreeMap<String, Value> {
    let (mut all, mut cursor, until) = (BTreeMap::new(), String::new(), Instant::now() + IDLE_WITHIN);
    while Instant::now() < until {
        let path = format!("dead_letters/list?per_page=100{cursor}");
        let page = system.client().get_path(&path).send().await.expect(200);
        let rows = page.json();
        let rows = rows.as_array().map(Vec::as_slice).unwrap_or_default();
        all.extend(
            rows.iter().map(|row| (row["job_id"].as_str().unwrap_or_default().to_owned(), row.clone())),
        );
        let next = page.header("x-next-cursor");
        if next.is_empty() || rows.is_empty() {
            break;
        }
        cursor = format!("&cursor={next}");
    }
    all
}
