//! Scripts that tell a file of the test when they begin and end, one of which waits until the
//! test lets it go; and what can be seen from outside: processes and the stream's backlog.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use system_tests::{Answer, Client, Service, System, eventually};
use tokio::task::JoinHandle;

/// The outer bound of whatever a test waits for.
pub(crate) const BOUND: Duration = Duration::from_secs(60);
/// A script that waits until it is let go.
pub(crate) const HELD: &str = "f/faults/held";
/// A script that only tells.
pub(crate) const QUICK: &str = "f/faults/quick";

const HELD_SOURCE: &str = r#"folder="$1"
value="$2"
sleep 86400 >/dev/null 2>&1 &
child=$!
setsid sleep 86400 >/dev/null 2>&1 &
echo "begin $WM_JOB_ID $WM_WORKER_NAME $value $$ $child $!" >> "$folder/runs"
read -r _ < "$folder/gate"
echo "end $WM_JOB_ID $WM_WORKER_NAME $value" >> "$folder/runs"
echo "$value"
"#;

const QUICK_SOURCE: &str = r#"folder="$1"
value="$2"
echo "begin $WM_JOB_ID $WM_WORKER_NAME $value $$" >> "$folder/runs"
echo "end $WM_JOB_ID $WM_WORKER_NAME $value" >> "$folder/runs"
echo "$value"
"#;

/// The folder that scripts write to, and the gate of those that wait.
pub(crate) struct Stage {
    folder: PathBuf,
    /// A named pipe, open both ways: what is written stays until somebody reads it.
    gate: File,
}

/// One line of a script.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    pub(crate) ended: bool,
    pub(crate) job: String,
    pub(crate) worker: String,
    pub(crate) value: String,
    /// The script, its child and its child in another session.
    pub(crate) pids: Vec<i32>,
}

impl Stage {
    /// Makes the folder and deploys the scripts.
    pub(crate) async fn set(system: &System) -> Self {
        let folder = system.folder().join("stage");
        std::fs::create_dir(&folder).unwrap();
        let gate = folder.join("gate");
        assert!(Command::new("mkfifo").arg(&gate).status().unwrap().success());
        let gate = File::options().read(true).write(true).open(gate).unwrap();
        system.client().deploy(HELD, "bash", HELD_SOURCE).await;
        system.client().deploy(QUICK, "bash", QUICK_SOURCE).await;
        Self { folder, gate }
    }

    /// Arguments of a script, whose result will be `value`.
    pub(crate) fn args(&self, value: &str) -> Value {
        json!({"folder": self.folder, "value": value})
    }

    /// Lets so many held scripts go, those of the future included.
    pub(crate) fn let_go(&self, times: usize) {
        (&self.gate).write_all(&vec![b'\n'; times]).unwrap();
    }

    fn told(&self) -> Vec<Told> {
        let text = std::fs::read_to_string(self.folder.join("runs")).unwrap_or_default();
        text.lines().map(Told::parse).collect()
    }

    /// Every start of a script so far.
    pub(crate) fn begun(&self) -> Vec<Told> {
        self.told().into_iter().filter(|told| !told.ended).collect()
    }

    /// Every script that came to its end so far.
    pub(crate) fn ended(&self) -> Vec<Told> {
        self.told().into_iter().filter(|told| told.ended).collect()
    }

    /// Waits for so many starts.
    pub(crate) async fn begins(&self, count: usize) -> Vec<Told> {
        eventually(&format!("{count} scripts have begun"), BOUND, async || {
            Some(self.begun()).filter(|begun| begun.len() >= count)
        })
        .await
    }

    /// How often the scripts of a job began.
    pub(crate) fn runs_of(&self, job: &str) -> usize {
        self.begun().iter().filter(|told| told.job == job).count()
    }

    /// A caller of the synchronous webhook, who waits.
    pub(crate) fn caller(&self, client: &Client, path: &'static str, value: &str) -> JoinHandle<Answer> {
        let (client, args) = (client.clone(), self.args(value));
        tokio::spawn(async move { client.wait(path, args).await })
    }
}

impl Told {
    fn parse(line: &str) -> Self {
        let mut words = line.split(' ');
        let mut word = || words.next().unwrap_or_default().to_owned();
        let (kind, job, worker, value) = (word(), word(), word(), word());
        let pids = words.map(|pid| pid.parse().unwrap()).collect();
        Self { ended: kind == "end", job, worker, value, pids }
    }
}

/// A measured figure, for whoever reads the test's output.
#[expect(clippy::print_stdout, reason = "the figures of a test run are read by people")]
pub(crate) fn figure(text: &str) {
    println!("{text}");
}

/// SIGKILL for the process alone, not for what it has started: that has to end by itself.
pub(crate) async fn slay(service: &Service) {
    kill_process(pid(service.id()), Signal::KILL).unwrap();
    eventually("the end of a killed process", BOUND, async || service.ended()).await;
    service.kill();
}

fn pid(id: u32) -> Pid {
    Pid::from_raw(i32::try_from(id).unwrap()).unwrap()
}

/// Whether a process runs; one that only waits to be reaped does not.
pub(crate) fn lives(pid: i32) -> bool {
    let stat = std::fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("stat"));
    stat.is_ok_and(|stat| !stat.rsplit(") ").next().unwrap_or_default().starts_with('Z'))
}

/// The name by which a worker's jobs know it.
pub(crate) fn worker_name(worker: &Service) -> String {
    let lines = worker.log_lines();
    let line = lines.iter().find(|line| line["message"] == "worker starts").unwrap();
    line["worker.id"].as_str().unwrap().to_owned()
}

/// How many jobs the stream holds; none while NATS does not answer.
pub(crate) async fn backlog(system: &System) -> Option<u64> {
    let state = system.nats().monitoring("/jsz?accounts=true&streams=true").await?;
    let streams = state["account_details"][0]["stream_detail"].as_array()?;
    let jobs = streams.iter().find(|stream| stream["name"] == "JOBS_0")?;
    jobs["state"]["messages"].as_u64()
}

/// How many jobs the stream holds, as soon as a NATS that was started again says so.
pub(crate) async fn backlog_now(system: &System) -> u64 {
    eventually("NATS says what it holds", BOUND, async || backlog(system).await).await
}

/// Waits until the stream holds so many jobs.
pub(crate) async fn backlog_is(system: &System, jobs: u64) {
    eventually(&format!("a backlog of {jobs} jobs"), BOUND, async || {
        backlog(system).await.filter(|held| *held == jobs)
    })
    .await;
}

/// The job's end as its record shows it: a success with this value.
pub(crate) async fn assert_ended_with(client: &Client, job: &str, value: &str) {
    let end = client.end_of(job).await;
    assert_eq!((&end["success"], &end["result"]), (&json!(true), &json!(value)), "{end}");
}
