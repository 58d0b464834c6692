use std::time::Duration;

use proto::Language::{Bash, Deno, Python3};
use worker::execute::KillReason;

use crate::bench::{BOUND, Bench, invocation, lives};

#[tokio::test]
async fn a_log_over_its_bound_is_cut_and_the_job_goes_on() {
    let mut long = invocation(Bash, "for n in {1..2000}; do echo line $n; done; echo end", "{}");
    long.limits.log_bytes = 1000;
    let ran = Bench::new().await.invoke(long).await;
    assert_eq!(ran.result(), r#""end""#);
    assert!(ran.log.starts_with("line 1\nline 2\n"));
    assert!(ran.log.ends_with("\n[the log is cut here: over 1000 bytes; the job goes on]\n"), "{}", ran.log);
    assert!(ran.log.len() < 1100);
    assert!(ran.outcome.output_bytes > 10_000);
}

#[tokio::test]
async fn a_gigabyte_of_output_kills() {
    let ran = Bench::new().await.run(Bash, "cat /dev/zero | tr '\\0' 'x'", "{}").await;
    assert_eq!(ran.killed(), KillReason::OutputTooLarge);
    assert!(ran.log.len() < 3 * 1024 * 1024);
    assert!(ran.outcome.output_bytes > 1024 * 1024 * 1024);
    let message = KillReason::OutputTooLarge.error(&invocation(Bash, "", "{}").limits).message;
    assert!(message.contains("1073741824 bytes"), "{message}");
}

#[tokio::test]
async fn a_result_over_its_bound_is_a_failure_naming_it() {
    let bench = Bench::new().await;
    for (language, script) in [
        (Python3, "def main(): return 'x' * (9 * 1024 * 1024)"),
        (Deno, "export function main() { return 'x'.repeat(9 * 1024 * 1024) }"),
        (Bash, "head -c 9437184 /dev/zero | tr '\\0' 'x' > result.out"),
        (Bash, "head -c 9437184 /dev/zero | tr '\\0' 'x'"),
        (Bash, "truncate -s 900M result.json"),
    ] {
        let error = bench.run(language, script, "{}").await.error();
        assert_eq!(error["name"], "ResultTooLarge", "{script}");
        assert!(error["message"].as_str().unwrap().contains("the limit is 8388608 bytes"), "{error}");
    }
    let exact = "def main(): return 'x' * (8 * 1024 * 1024 - 2)";
    assert_eq!(bench.run(Python3, exact, "{}").await.result().len(), 8 * 1024 * 1024);
}

#[tokio::test]
async fn time_over_kills() {
    let mut slow = invocation(Bash, "echo pid $$; trap '' TERM; while true; do sleep 100; done", "{}");
    slow.limits.timeout = Duration::from_millis(300);
    slow.limits.kill_grace = Duration::from_millis(200);
    let bench = Bench::without_namespaces().await;
    let mut live = bench.live(slow);
    let pid = live.said("pid").await;
    let ran = live.end().await;
    assert_eq!(ran.killed(), KillReason::Timeout);
    let wall = ran.outcome.wall.unwrap();
    assert!(wall >= Duration::from_millis(450) && wall < Duration::from_secs(5), "{wall:?}");
    assert!(!lives(&pid));
}

#[tokio::test]
async fn grace_lets_a_script_end_by_itself() {
    let mut polite = invocation(Bash, "trap 'echo bye; exit 0' TERM; echo ready; sleep 100 & wait", "{}");
    polite.limits.kill_grace = BOUND;
    let bench = Bench::new().await;
    let mut live = bench.live(polite);
    live.said("ready").await;
    live.kill.fire(KillReason::Canceled);
    let ran = live.end().await;
    assert_eq!(ran.killed(), KillReason::Canceled);
    assert!(ran.log.ends_with("bye\n"), "{}", ran.log);
}

#[tokio::test]
async fn a_lost_lease_waits_for_no_grace() {
    let mut stubborn =
        invocation(Bash, "trap 'echo term' TERM; echo ready; while true; do sleep 100 || true; done", "{}");
    stubborn.limits.kill_grace = BOUND * 10;
    let bench = Bench::new().await;
    let mut live = bench.live(stubborn);
    live.said("ready").await;
    live.kill.fire(KillReason::Canceled);
    live.said("term").await;
    live.kill.fire(KillReason::LeaseLost);
    assert_eq!(live.end().await.killed(), KillReason::Canceled);
}

#[tokio::test]
async fn secrets_are_struck_everywhere() {
    let secret = "hkm_0123456789abcdef/+";
    let bench = Bench::new().await;
    let mut split = invocation(
        Python3,
        "import os, sys, time, urllib.parse\ndef main(t):\n    os.write(1, t[:7].encode())\n    time.sleep(0.1)\n    os.write(2, t[7:].encode() + b'\\n')\n    print('url', urllib.parse.quote(t, safe=''))\n    return {'a': t, t: [1.0, 'x' + t]}",
        &serde_json::json!({ "t": secret }).to_string(),
    );
    split.around.mask = vec![secret.to_owned()];
    let ran = bench.invoke(split.clone()).await;
    assert_eq!(ran.log, "********\nurl ********\n");
    assert_eq!(ran.result(), r#"{"a":"********","********":[1.0,"x********"]}"#);
    for (language, script) in [
        (Python3, "def main(t): raise ValueError(t)"),
        (Python3, "import sys\ndef main(t):\n    print(t)\n    sys.exit(1)"),
        (Deno, "export function main(t: string) { throw new Error(t) }"),
        (Bash, "t=\"$1\"\necho \"$t\" >&2; exit 1"),
    ] {
        let mut leaking = split.clone();
        (leaking.language, leaking.content) = (language, script.into());
        let ran = bench.invoke(leaking).await;
        let shown = format!("{:?} {}", ran.error(), ran.log);
        assert!(!shown.contains("0123456789abcdef") && shown.contains("********"), "{shown}");
    }
}

#[tokio::test]
async fn logs_come_while_the_script_runs_and_are_text() {
    let bench = Bench::new().await;
    let script = "printf 'a\\0b\\xff\\n'; echo live; read -r _ < <(sleep 100)";
    let mut live = bench.live(invocation(Bash, script, "{}"));
    live.said("live").await;
    live.kill.fire(KillReason::Canceled);
    assert_eq!(live.end().await.log, "ab\u{fffd}\nlive\n");
}
