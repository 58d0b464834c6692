use proto::Language::{Bash, Deno, Python3};
use worker::execute::{Executor, KillReason};

use crate::bench::{Bench, Doomed, config, host, invocation, lives};

const FORKS: &str = r"
import os, sys, time
def main(stay):
    def left(name):
        pid = os.fork()
        if pid == 0:
            if name == 'session': os.setsid()
            if name == 'grandchild' and os.fork(): os._exit(0)
            if name == 'grandchild': os.setsid()
            os.close(1); os.close(2)
            os.open('/dev/null', os.O_WRONLY); os.open('/dev/null', os.O_WRONLY)
            with open(name, 'w') as f: f.write(str(os.getpid()))
            time.sleep(1000)
            os._exit(0)
        while not (os.path.exists(name) and os.path.getsize(name)): time.sleep(0.01)
        return open(name).read()
    print('pids', *[left(n) for n in ('child', 'session', 'grandchild')], os.getpid())
    if stay: time.sleep(1000)
";

#[tokio::test]
async fn nothing_of_a_job_outlives_it() {
    let bench = Bench::without_namespaces().await;
    let ran = bench.run(Python3, FORKS, r#"{"stay":false}"#).await;
    let pids: Vec<&str> = ran.log.split_whitespace().skip(1).collect();
    assert_eq!((ran.result(), pids.len()), ("null", 4), "{}", ran.log);
    assert_eq!(pids.iter().filter(|pid| lives(pid)).count(), 0, "{}", ran.log);
    assert_eq!(bench.folders(), 0);
}

#[tokio::test]
async fn nothing_of_a_killed_job_outlives_it() {
    let bench = Bench::without_namespaces().await;
    let mut live = bench.live(invocation(Python3, FORKS, r#"{"stay":true}"#));
    let pids = live.said("pids").await;
    assert!(pids.split(' ').all(lives), "{pids}");
    live.kill.fire(KillReason::Shutdown);
    assert_eq!(live.end().await.killed(), KillReason::Shutdown);
    assert_eq!(pids.split(' ').filter(|pid| lives(pid)).count(), 0);
    assert_eq!(bench.folders(), 0);
}

#[tokio::test]
async fn a_storm_of_forks_is_ended() {
    let script = "f() { setsid bash -c 'for i in 1 2 3 4 5; do (sleep 1000 & setsid sleep 1000 &) ; done' & }; for n in {1..20}; do f; done; wait; echo done";
    let bench = Bench::new().await;
    let ran = bench.run(Bash, script, "{}").await;
    assert_eq!(ran.result(), r#""done""#);
    let left = std::fs::read_dir("/proc").unwrap().flatten().filter(|entry| {
        let environ = std::fs::read(entry.path().join("environ")).unwrap_or_default();
        String::from_utf8_lossy(&environ).contains(&bench.work.path().display().to_string())
    });
    assert_eq!(left.count(), 0);
}

#[tokio::test]
async fn a_script_that_kills_its_supervisor_is_lost_but_gone() {
    let bench = Bench::off().await;
    let script = "echo pid $$; kill -9 $PPID; sleep 1000";
    let mut live = bench.live(invocation(Bash, script, "{}"));
    let pid = live.said("pid").await;
    let ran = live.end().await;
    assert!(ran.message().contains("supervisor of the command was killed"), "{}", ran.message());
    // the kill is sent, but nobody is left to wait for its effect
    Doomed::watch(&pid).gone().await;
    assert_eq!(bench.run(Bash, "echo next", "{}").await.result(), r#""next""#);
}

#[tokio::test]
async fn a_script_that_stops_its_supervisor_ends_at_its_timeout() {
    let bench = Bench::off().await;
    let mut call = invocation(Bash, "echo pid $$; kill -STOP $PPID; sleep 1000", "{}");
    call.limits.timeout = std::time::Duration::from_millis(200);
    let mut live = bench.live(call);
    let doomed = Doomed::watch(&live.said("pid").await);
    assert_eq!(live.end().await.killed(), KillReason::Timeout);
    doomed.gone().await;
    assert_eq!(bench.run(Bash, "echo next", "{}").await.result(), r#""next""#);
}

#[tokio::test]
async fn a_waiting_supervisor_that_was_killed_is_passed_over() {
    let bench = Bench::off().await;
    let first = bench.run(Bash, "echo $PPID", "{}").await.result().trim_matches('"').to_owned();
    let doomed = Doomed::watch(&first);
    let pid = rustix::process::Pid::from_raw(first.parse().unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    doomed.gone().await;
    // more than there are in stock
    for _ in 0..5 {
        assert_ne!(bench.run(Bash, "echo $PPID", "{}").await.result().trim_matches('"'), first);
    }
}

#[tokio::test]
async fn many_runs_at_once() {
    let bench = Bench::new().await;
    let runs =
        (0..40).map(|n| bench.live(invocation(Bash, "a=\"$1\"\necho $a", &format!("{{\"a\":{n}}}"))).end());
    let results = futures::future::join_all(runs).await;
    for (n, ran) in results.iter().enumerate() {
        assert_eq!(ran.result(), format!("\"{n}\""));
    }
    assert_eq!(bench.folders(), 0);
}

#[tokio::test]
async fn folders_are_removed_whatever_the_script_did_to_them() {
    let bench = Bench::new().await;
    bench.run(Bash, "mkdir -p a/b; touch a/b/c; chmod 0 a/b a .; echo ok", "{}").await.result();
    assert!(matches!(bench.run(Bash, "rm -rf \"$PWD\" || true; echo ok", "{}").await.result(), r#""ok""#));
    bench.run(Deno, "export function main() { throw new Error('x') }", "{}").await.error();
    assert_eq!(bench.folders(), 0);
}

#[tokio::test]
async fn stale_folders_go_at_the_start() {
    let work = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(work.path().join("work/jobs/old/deep")).unwrap();
    Executor::new(&config(work.path()), host()).await.unwrap();
    assert_eq!(std::fs::read_dir(work.path().join("work/jobs")).unwrap().count(), 0);
}

#[tokio::test]
async fn a_dropped_run_kills() {
    let bench = Bench::without_namespaces().await;
    let mut live = bench.live(invocation(Bash, "echo pid $$; sleep 1000", "{}"));
    let pid = live.said("pid").await;
    let doomed = Doomed::watch(&pid);
    live.run.abort();
    doomed.gone().await;
}
