//! What is left where nothing should be.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use serde_json::{Value, json};

use super::{Evidence, Rule, Violation};
use crate::chaos::fault::EACH;
use crate::chaos::ledger::Newer;
use crate::data_server::DataServer;
use crate::job_processes::jobs_with_processes;
use crate::system::System;

/// How often the store of large arguments is looked at, and until when all of it is gone that nobody needs: the grace of
/// the system's gateways, and some rounds.
const LOOK: Duration = Duration::from_millis(100);
const COLLECTED_WITHIN: Duration = Duration::from_secs(40);

/// What was found in streams, listings and folders.
pub(in crate::chaos) struct Remains {
    idle: bool,
    jobs: Option<u64>,
    timers: Option<u64>,
    letters: Option<u64>,
    /// Messages that workers have and did not answer, and that wait for one, of all consumers.
    pending: Option<u64>,
    unfinished: Vec<Value>,
    /// Unreadable jobs that are neither in their stream nor a letter.
    lost: Vec<String>,
    folders: Vec<String>,
    processes: Vec<String>,
    pub(in crate::chaos) stored_args: Option<u64>,
    /// The same when nothing knows any job any more, and nothing else is wrong.
    unneeded_args: Option<u64>,
}

impl Remains {
    /// Reads all of it, and takes away what nobody can read: its newer worker has come.
    pub(in crate::chaos) async fn find(
        system: &System,
        newer: &[Newer],
        ids: &BTreeSet<String>,
        idle: bool,
    ) -> Self {
        let nats = system.nats();
        let jobs_before = nats.held("JOBS_0").await;
        for unreadable in newer {
            system.take_from_queue(&unreadable.subject).await;
        }
        let jobs = nats.held("JOBS_0").await;
        let taken = jobs_before.zip(jobs).map_or(0, |(before, after)| before.saturating_sub(after));
        let mut lost: Vec<String> = Vec::new();
        if taken < newer.len() as u64 {
            lost =
                newer.iter().skip(usize::try_from(taken).unwrap_or(0)).map(|one| one.job.clone()).collect();
        }
        Self {
            idle,
            jobs,
            timers: nats.held("TIMERS").await,
            letters: nats.held("DEAD").await,
            pending: pending(nats).await,
            unfinished: unfinished(system).await,
            lost,
            folders: folders(system),
            processes: jobs_with_processes().into_iter().filter(|job| ids.contains(job)).collect(),
            stored_args: nats.held("OBJ_ARGS").await,
            unneeded_args: unneeded_args(system).await,
        }
    }
}

/// Takes every record and every letter away, and tells what is left of large arguments then: nothing, sooner or later.
async fn unneeded_args(system: &System) -> Option<u64> {
    system.client().post("dead_letters/discard").json(json!({})).send().await;
    system.valkey().administer(&["FLUSHALL"]).await.ok()?;
    let gone = async {
        while system.nats().held("OBJ_ARGS").await != Some(0) {
            tokio::time::sleep(LOOK).await;
        }
    };
    // what is left is told either way
    let _ = tokio::time::timeout(COLLECTED_WITHIN, gone).await;
    system.nats().held("OBJ_ARGS").await
}

async fn pending(nats: &DataServer) -> Option<u64> {
    let state = nats.monitoring("/jsz?accounts=true&streams=true&consumers=true").await?;
    let streams = state["account_details"][0]["stream_detail"].as_array()?;
    let jobs = streams.iter().find(|stream| stream["name"] == "JOBS_0")?;
    let consumers = jobs["consumer_detail"].as_array()?.iter();
    let count = |one: &Value, field: &str| one[field].as_u64().unwrap_or(0);
    Some(consumers.map(|one| count(one, "num_ack_pending") + count(one, "num_pending")).sum())
}

/// Rows of the listings of jobs that have not ended.
async fn unfinished(system: &System) -> Vec<Value> {
    let mut rows = system.client().list("running=true&per_page=100").await;
    let newest = system.client().list("per_page=1000").await;
    rows.extend(newest.into_iter().filter(|row| row["type"] != "CompletedJob"));
    let queue = system.client().get_path("jobs/queue/list?per_page=100").send().await.expect(200).json();
    rows.extend(queue.as_array().cloned().unwrap_or_default());
    rows
}

/// Folders of jobs, beyond those that wait for the next ones: in these is nothing but a place for temporary files.
pub(super) fn folders(system: &System) -> Vec<String> {
    let of_workers = (0..EACH).map(|number| system.folder().join(format!("work-{number}/jobs")));
    let all = of_workers.flat_map(|folder| fs::read_dir(folder).into_iter().flatten().flatten());
    let used = all.filter(|entry| {
        let mut inside = fs::read_dir(entry.path()).into_iter().flatten().flatten();
        inside.any(|inner| inner.file_name() != "tmp")
    });
    used.map(|entry| entry.path().to_string_lossy().into_owned()).collect()
}

pub(super) fn check(evidence: &Evidence) -> Vec<Violation> {
    let remains = &evidence.remains;
    let mut found = Vec::new();
    let mut say = |of: &str, what: String| found.push(Violation::new(Rule::Leftovers, of, what));
    if !remains.idle {
        say("the system", "it did not become idle".to_owned());
    }
    if remains.jobs != Some(0) {
        say("JOBS_0", format!("it holds {:?} jobs", remains.jobs));
    }
    if remains.timers != Some(0) {
        say("TIMERS", format!("it holds {:?} timers", remains.timers));
    }
    if remains.pending != Some(0) {
        say("the consumers of JOBS_0", format!("{:?} messages are not answered", remains.pending));
    }
    if remains.unneeded_args != Some(0) {
        let what = format!("it holds {:?} messages when nothing knows any job", remains.unneeded_args);
        say("OBJ_ARGS", what);
    }
    for row in &remains.unfinished {
        say("the listings", format!("they show one that has not ended: {row}"));
    }
    for folder in &remains.folders {
        say("folders", format!("{folder} is still there"));
    }
    for job in &remains.processes {
        say("processes", format!("a script of job {job} still runs"));
    }
    let listed = evidence.letters.len() as u64;
    if remains.letters != Some(listed) {
        let what = format!("{listed} are listed, the stream holds {:?}", remains.letters);
        found.push(Violation::new(Rule::DeadLetters, "DEAD", what));
    }
    let unlisted = remains.lost.iter().filter(|job| !evidence.letters.contains_key(*job));
    if remains.lost.len()
        > evidence.newer.iter().filter(|one| evidence.letters.contains_key(&one.job)).count()
    {
        found.extend(
            unlisted.map(|job| Violation::new(Rule::OneEnd, job.as_str(), "a newer envelope is gone")),
        );
    }
    found
}
