//! How long a fault is felt: what is promised of it is measured here, by `make chaos ARGS=--recovery` many times, and by
//! a test once. Times are those of the scripts themselves, which tell the hub when they begin and end.

mod outage;
mod takeover;

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

pub use outage::{Outage, Server, outages};
pub use takeover::takeovers;

use crate::client::Client;
use crate::hub::Hub;

/// A script that waits until it is let go.
const HELD: &str = "f/recovery/held";
/// A script that is over soon.
const QUICK: &str = "f/recovery/quick";

const LINE: &str = r#"port="$1"
value="$2"
exec 3<>"/dev/tcp/127.0.0.1/$port"
say() { echo "say $1 $WM_JOB_ID $WM_WORKER_NAME ${EPOCHREALTIME/./}" >&3; read -r _ <&3; }
"#;

const WAITS: &str = r#"say begin
echo "wait held" >&3
read -r _ <&3
echo ok >&3
say end
echo "$value"
"#;

const GOES_ON: &str = r#"say begin
say end
echo "$value"
"#;

async fn deploy(client: &Client) {
    client.deploy(HELD, "bash", &format!("{LINE}{WAITS}")).await;
    client.deploy(QUICK, "bash", &format!("{LINE}{GOES_ON}")).await;
}

fn args(hub: &Hub, value: &str) -> serde_json::Value {
    serde_json::json!({"port": hub.port(), "value": value})
}

/// What a script said.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Said {
    ended: bool,
    job: String,
    worker: String,
    at_us: i64,
}

fn said(hub: &Hub) -> Vec<Said> {
    let parse = |line: &String| {
        let words: Vec<&str> = line.split(' ').collect();
        let [kind, job, worker, at] = words[..] else { return None };
        let (job, worker) = (job.to_owned(), worker.to_owned());
        Some(Said { ended: kind == "end", job, worker, at_us: at.parse().ok()? })
    };
    hub.said().iter().filter_map(parse).collect()
}

fn since(from_us: i64, to_us: i64) -> Duration {
    Duration::from_micros(u64::try_from(to_us - from_us).unwrap_or(0))
}

/// The middle of some times, and the longest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spread {
    /// How many there are.
    pub count: usize,
    /// The middle one.
    pub median: Duration,
    /// The longest.
    pub longest: Duration,
}

impl Spread {
    /// Of at least one.
    ///
    /// # Panics
    /// There is none.
    pub fn of(mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        let longest = *times.last().expect("something was measured");
        Self { count: times.len(), median: times[times.len() / 2], longest }
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (median, longest) = (self.median.as_secs_f64(), self.longest.as_secs_f64());
        write!(f, "median {median:.2} s, longest {longest:.2} s of {}", self.count)
    }
}

/// How many answers there were of each status; 0: nobody answered.
pub type Statuses = BTreeMap<u16, usize>;
