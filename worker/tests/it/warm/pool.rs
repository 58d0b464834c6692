//! Whose a process is, how many there are, and how long.

use std::time::Duration;

use proto::IsolationMode::Warm;
use proto::Language::Python3;
use worker::execute::{Bounds, Isolation, Origin};

use super::{job, origin, warm};
use crate::bench::{BOUND, Bench, invocation};
use sandbox::Level;

const WHO: &str = "import os\ndef main(n=0):\n    return os.getpid()";

/// One whose processes have the same numbers outside.
async fn plain(change: impl FnOnce(&mut worker::execute::Config)) -> Bench {
    Bench::with(|config| {
        config.isolation = Isolation { level: Some(Level::Landlock), ..Isolation::default() };
        change(config);
    })
    .await
}

fn lives(pid: &str) -> bool {
    state(pid).is_some_and(|state| state != 'Z')
}

fn state(pid: &str) -> Option<char> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.chars().next()
}

async fn until(what: &str, is_so: impl Fn() -> bool) {
    let looks = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(BOUND, looks).await.expect(what);
}

#[tokio::test]
async fn a_process_is_one_versions_and_one_identitys() {
    let bench = plain(|_| {}).await;
    let first = warm(&bench, WHO, "{}").await;
    let again = warm(&bench, WHO, "{}").await;
    assert_eq!((again.result(), origin(&again)), (first.result(), Origin::Warm));
    let other = bench.invoke(invocation(Python3, WHO, "{}").of("u/bob", Warm)).await;
    assert!(other.result() != first.result() && origin(&other) == Origin::Cold);
    let version = warm(&bench, &format!("{WHO}\n"), "{}").await;
    assert!(version.result() != first.result() && origin(&version) == Origin::Cold);
    let mut narrower = job(WHO, "{}", Warm);
    narrower.limits.kernel.processes = 100;
    let narrower = bench.invoke(narrower).await;
    assert!(narrower.result() != first.result() && origin(&narrower) == Origin::Cold);
}

#[tokio::test]
async fn jobs_at_once_have_a_process_each() {
    let bench = plain(|_| {}).await;
    let script = "import os, time\ndef main():\n    time.sleep(0.5)\n    return os.getpid()";
    let live: Vec<_> = (0..4).map(|_| bench.live(job(script, "{}", Warm))).collect();
    let mut seen = std::collections::BTreeSet::new();
    for one in live {
        seen.insert(one.end().await.result().to_owned());
    }
    assert_eq!(seen.len(), 4);
    bench.rests().await;
    assert!(seen.contains(warm(&bench, script, "{}").await.result()));
}

#[tokio::test]
async fn the_pool_is_bounded_and_the_oldest_goes() {
    let bench = plain(|config| config.warm = Bounds { count: 3, kib: 1 << 20 }).await;
    let mut pids = Vec::new();
    for n in 0..12 {
        pids.push(warm(&bench, &format!("{WHO}\nN = {n}"), "{}").await.result().to_owned());
    }
    until("three are left", || pids.iter().filter(|pid| lives(pid)).count() == 3).await;
    assert!(pids[9..].iter().all(|pid| lives(pid)), "the last ones stay");
    let newest = warm(&bench, &format!("{WHO}\nN = 11"), "{}").await;
    assert_eq!(origin(&newest), Origin::Warm);
    assert_eq!(origin(&warm(&bench, &format!("{WHO}\nN = 0"), "{}").await), Origin::Cold);
    drop(bench);
    until("none is left", || !pids.iter().any(|pid| lives(pid))).await;
}

#[tokio::test]
async fn memory_bounds_it_too() {
    let bench = plain(|config| config.warm = Bounds { count: 100, kib: 100 << 10 }).await;
    let mut pids = Vec::new();
    for n in 0..4 {
        let script = format!("{WHO}\nN = {n}\nheap = b'x' * (50 << 20)");
        pids.push(warm(&bench, &script, "{}").await.result().to_owned());
    }
    until("one is left", || pids.iter().filter(|pid| lives(pid)).count() == 1).await;
    assert!(lives(&pids[3]));
}

#[tokio::test]
async fn a_process_that_grows_is_replaced() {
    let bench = plain(|_| {}).await;
    let script =
        "import os\nheap = []\ndef main(mib):\n    heap.append(b'x' * (mib << 20))\n    return os.getpid()";
    let first = warm(&bench, script, r#"{"mib":0}"#).await;
    let second = warm(&bench, script, r#"{"mib":200}"#).await;
    assert_eq!(second.result(), first.result());
    assert_eq!(origin(&warm(&bench, script, r#"{"mib":0}"#).await), Origin::Cold);
    until("it is gone", || !lives(first.result())).await;
}

#[tokio::test]
async fn one_that_waits_is_stopped_and_in_the_end_ended() {
    let bench = plain(|config| config.warm_idle = Duration::from_secs(8)).await;
    // nothing of a job may go on: it counts for as long as it is let
    let script = "import os, threading, time\ncount = 0\ndef counting():\n    global count\n    while True:\n        count += 1\n        time.sleep(0.001)\nthreading.Thread(target=counting, daemon=True).start()\ndef main():\n    return [os.getpid(), count]";
    let of = |ran: &crate::bench::Ran| serde_json::from_str::<(u32, u64)>(ran.result()).unwrap();
    let (pid, _) = of(&warm(&bench, script, "{}").await);
    until("it is stopped", || state(&pid.to_string()) == Some('T')).await;
    let (same, before) = of(&warm(&bench, script, "{}").await);
    assert_eq!(same, pid, "it goes on");
    assert!(before > 0);
    until("it is ended", || !lives(&pid.to_string())).await;
    assert_eq!(origin(&warm(&bench, script, "{}").await), Origin::Cold);
}

#[tokio::test]
async fn one_that_died_while_it_waited_is_passed_over() {
    let bench = plain(|_| {}).await;
    let pid = warm(&bench, WHO, "{}").await.result().to_owned();
    rustix::process::kill_process(
        rustix::process::Pid::from_raw(pid.parse().unwrap()).unwrap(),
        rustix::process::Signal::KILL,
    )
    .unwrap();
    until("it is gone", || !lives(&pid)).await;
    let next = warm(&bench, WHO, "{}").await;
    assert!(next.result() != pid && origin(&next) == Origin::Cold);
}

#[tokio::test]
async fn a_first_call_finds_a_spare_once_its_language_is_used() {
    let bench = plain(|config| config.warm_spares = 1).await;
    assert_eq!(origin(&warm(&bench, WHO, "{}").await), Origin::Cold);
    let spares = || {
        let folder = bench.work.path().join("work");
        let marks = std::fs::read_dir("/proc").unwrap().flatten().filter(|entry| {
            let text = |name: &str| std::fs::read(entry.path().join(name)).unwrap_or_default();
            let has = |name: &str, what: &str| String::from_utf8_lossy(&text(name)).contains(what);
            has("environ", folder.to_str().unwrap()) && has("comm", "python3") && has("stat", ") T ")
        });
        marks.count()
    };
    until("a spare waits", || spares() == 1).await;
    let other = warm(&bench, &format!("{WHO}\nN = 1"), "{}").await;
    assert_eq!(origin(&other), Origin::Spare);
    assert_eq!(origin(&warm(&bench, &format!("{WHO}\nN = 1"), "{}").await), Origin::Warm);
}
