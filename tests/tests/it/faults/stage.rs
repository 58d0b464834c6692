//! Scripts that tell the test's hub when they begin and end, one of which waits until the
//! test lets it go; and what can be seen from outside: processes and the stream's backlog.

use std::time::Duration;

use serde_json::{Value, json};
use system_tests::{Answer, Client, Hub, Service, System, eventually};
use tokio::task::JoinHandle;

/// The outer bound of whatever a test waits for.
pub(crate) const BOUND: Duration = Duration::from_secs(60);
/// A script that waits until it is let go.
pub(crate) const HELD: &str = "f/faults/held";
/// A script that only tells.
pub(crate) const QUICK: &str = "f/faults/quick";

/// What both begin with: a line to the test's hub, and its own name for what it says.
const LINE: &str = r#"port="$1"
value="$2"
exec 3<>"/dev/tcp/127.0.0.1/$port"
say() { echo "say $1 $WM_JOB_ID $WM_WORKER_NAME $value" >&3; read -r _ <&3; }
"#;

const HELD_SOURCE: &str = r#"sleep 86400 >/dev/null 2>&1 3>&- &
setsid sleep 86400 >/dev/null 2>&1 3>&- &
say begin
echo "wait held" >&3
read -r _ <&3
echo ok >&3
say end
echo "$value"
"#;

const QUICK_SOURCE: &str = r#"say begin
say end
echo "$value"
"#;

/// Whom scripts tell, and the gate of those that wait.
pub(crate) struct Stage {
    hub: Hub,
}

/// One line of a script.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    pub(crate) ended: bool,
    pub(crate) job: String,
    pub(crate) worker: String,
    pub(crate) value: String,
}

impl Stage {
    /// Deploys the scripts.
    pub(crate) async fn set(system: &System) -> Self {
        for (path, source) in [(HELD, HELD_SOURCE), (QUICK, QUICK_SOURCE)] {
            system.client().deploy(path, "bash", &format!("{LINE}{source}")).await;
        }
        Self { hub: system.hub().clone() }
    }

    /// Arguments of a script, whose result will be `value`.
    pub(crate) fn args(&self, value: &str) -> Value {
        json!({"port": self.hub.port(), "value": value})
    }

    /// Lets so many held scripts go, those of the future included.
    pub(crate) fn let_go(&self, times: usize) {
        self.hub.let_go("held", times);
    }

    fn told(&self) -> Vec<Told> {
        self.hub.said().iter().map(|line| Told::parse(line)).collect()
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
        Self { ended: kind == "end", job, worker, value }
    }
}

/// A measured figure, for whoever reads the test's output.
#[expect(clippy::print_stdout, reason = "the figures of a test run are read by people")]
pub(crate) fn figure(text: &str) {
    println!("{text}");
}

/// SIGKILL for the process alone, not for what it has started: that has to end by itself.
pub(crate) async fn slay(service: &Service) {
    service.slay().await;
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
