use std::time::{Duration, Instant};

use proto::Language::{Bash, Deno, Python3};
use worker::execute::Kill;

use crate::bench::{Bench, Logs, invocation};

/// What we add to the script's own fork..exit. The bound is generous, for a busy machine and an
/// unoptimised build; `--nocapture` shows the figures.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn little_is_added_to_a_scripts_own_time() {
    let bench = Bench::new();
    for (language, script) in [
        (Bash, "a=\"$1\"\necho \"$a\""),
        (Python3, "def main(a): return a"),
        (Deno, "export function main(a: number) { return a }"),
    ] {
        let (mut added, mut own) = (Vec::new(), Vec::new());
        for n in 0..40 {
            let (_switch, kill) = Kill::new();
            let start = Instant::now();
            let outcome = bench
                .executor
                .run(invocation(language, script, &format!("{{\"a\":{n}}}")), Logs::default(), kill)
                .await;
            let exit = outcome.exit.unwrap();
            added.push(start.elapsed().saturating_sub(exit.wall()));
            own.push(exit.wall());
        }
        let (added, own) = (median(added), median(own));
        println!("{language}: script {own:?}, added {added:?}");
        assert!(added < Duration::from_millis(20), "{language}: {added:?}");
    }
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}
