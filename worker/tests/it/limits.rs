//! Scripts that use more than they may: each a failed job that names the limit and its value, with a slot
//! that is usable at once, nothing left behind, and a neighbour that notices nothing. As whoever runs this, and,
//! if that is root, all of it as an ordinary user, too.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use proto::Language::{self, Bash, Deno, Python3};
use sandbox::Level;
use worker::execute::{Isolation, KillReason, Limits, Verdict};

use crate::bench::{Bench, Call, Ran, invocation};

/// The promise: this long after a script's end its slot runs another.
const AGAIN_WITHIN: Duration = Duration::from_millis(100);

/// Who has nothing else on a machine, not even another test's worker: it would be counted with ours.
const ORDINARY: u32 = 61_234;

#[test]
fn as_an_ordinary_user() {
    // whoever is not root is one already
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let mut command = Command::new(std::env::current_exe().unwrap());
    // one at a time: the same tests run beside it as root
    command.args(["limits::", "--test-threads=1"]).uid(ORDINARY).gid(ORDINARY).stdin(Stdio::null());
    let output = command.output().unwrap();
    let text =
        [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
    let all =
        include_str!("limits.rs").lines().filter(|line| line.ends_with("::test]") || *line == "#[test]");
    assert!(output.status.success() && text.contains(&format!(" {} passed", all.count())), "{text}");
}

/// What must be the same before and after.
#[derive(Debug, PartialEq, Eq)]
struct Traces {
    /// Of this bench's scripts.
    processes: Vec<String>,
    mounts: String,
    folders: usize,
    /// Control groups of this bench's worker, and whatever is in them.
    groups: Vec<PathBuf>,
}

impl Traces {
    /// Control groups are there for as long as a launcher is, and launchers are made ready in the background.
    async fn before(bench: &Bench) -> Self {
        crate::bench::eventually(|| bench.executor.is_stocked()).await;
        Self::now(bench)
    }

    fn now(bench: &Bench) -> Self {
        let mark = mark(bench);
        let ids = std::fs::read_dir("/proc").unwrap().flatten();
        let ids = ids.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
        let marked = ids.filter(|id| {
            let environment = std::fs::read(format!("/proc/{id}/environ")).unwrap_or_default();
            String::from_utf8_lossy(&environment).contains(&mark)
        });
        let names = marked.map(|id| std::fs::read_to_string(format!("/proc/{id}/comm")).unwrap_or_default());
        Self {
            processes: names.collect(),
            mounts: std::fs::read_to_string("/proc/self/mountinfo").unwrap(),
            folders: bench.folders(),
            groups: bench.executor.control_groups().iter().flat_map(|folder| within(folder)).collect(),
        }
    }
}

/// All folders below this one, in an order of their own.
fn within(folder: &Path) -> Vec<PathBuf> {
    // one that has gone meanwhile has nothing in it
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut below: Vec<PathBuf> = entries
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect();
    below.sort();
    let deeper: Vec<PathBuf> = below.iter().flat_map(|folder| within(folder)).collect();
    [below, deeper].concat()
}

/// In the environment of each script of this bench.
fn mark(bench: &Bench) -> String {
    bench.work.path().display().to_string()
}

fn marked(bench: &Bench, language: Language, script: &str) -> Call {
    let mut call = invocation(language, script, "{}");
    call.around.env.push(("MARK".to_owned(), mark(bench)));
    call
}

fn tight() -> Limits {
    let kernel = sandbox::Limits {
        memory: 256 << 20,
        cpu_seconds: 60,
        processes: 60,
        open_files: 64,
        file_bytes: 8 << 20,
        disk_bytes: 32 << 20,
    };
    Limits { kernel, timeout: Duration::from_secs(20), ..Limits::default() }
}

fn two_seconds() -> Limits {
    Limits { kernel: sandbox::Limits { cpu_seconds: 2, ..tight().kernel }, ..tight() }
}

async fn levels() -> Vec<(Level, Bench)> {
    let mut benches = Vec::new();
    for level in Level::ALL {
        let isolation = Isolation { level: Some(level), minimum: Level::Process, ..Isolation::default() };
        benches.push((level, Bench::isolated(isolation).await));
    }
    benches
}

async fn greedy(bench: &Bench, language: Language, script: &str, limits: Limits) -> Ran {
    let mut call = marked(bench, language, script);
    call.limits = limits;
    bench.invoke(call).await
}

/// Runs `script` at each level, with a neighbour, and asserts that it fails with `name` and all of `says`.
async fn fails(language: Language, script: &str, name: &str, says: &[&str]) {
    fails_within(tight(), language, script, name, says).await;
}

async fn fails_within(limits: Limits, language: Language, script: &str, name: &str, says: &[&str]) {
    for (level, bench) in levels().await {
        let before = Traces::before(&bench).await;
        let neighbour =
            bench.live(marked(&bench, Bash, "for i in {1..20}; do sleep 0.05; : > f$i; done; echo well"));
        let ran = greedy(&bench, language, script, limits).await;
        let ended = Instant::now();
        assert_eq!(bench.run(Bash, "echo next", "{}").await.result(), "\"next\"");
        let again = ended.elapsed();
        assert!(again < 3 * AGAIN_WITHIN, "{level}: the next one took {again:?}");
        let neighbour = neighbour.end().await;
        assert_eq!((neighbour.result(), neighbour.log.as_str()), ("\"well\"", "well\n"), "{level}");
        let error = ran.error();
        let message = error["message"].as_str().unwrap();
        assert!(name.is_empty() || error["name"] == name, "{level}: {error}");
        assert!(says.iter().all(|text| message.contains(text)), "{level}: {says:?} in {error}");
        assert_eq!(Traces::now(&bench), before, "{level}");
    }
}

#[tokio::test]
async fn memory_of_one_process() {
    let script = "def main():\n    kept = []\n    while True: kept.append(bytearray(1 << 20))";
    fails(Python3, script, "MemoryLimit", &["256 MiB", "(memory)"]).await;
}

#[tokio::test]
async fn memory_of_many_processes() {
    // each is far below the limit
    let script = "import os, time\ndef main():\n    for _ in range(20):\n        if os.fork() == 0:\n            kept = bytearray(32 << 20)\n            for at in range(0, len(kept), 4096): kept[at] = 1\n            time.sleep(1000)\n    os.wait()\n    time.sleep(1000)";
    fails(Python3, script, "MemoryLimit", &["256 MiB"]).await;
}

#[tokio::test]
async fn memory_of_typescript() {
    let script =
        "export function main() { const kept = []; while (true) kept.push(new Uint8Array(1 << 20).fill(1)) }";
    fails(Deno, script, "MemoryLimit", &["256 MiB"]).await;
}

#[tokio::test]
async fn cpu_time_of_one_process() {
    fails_within(
        two_seconds(),
        Python3,
        "def main():\n    while True: pass",
        "CpuLimit",
        &["2 s", "(cpu_seconds)"],
    )
    .await;
}

#[tokio::test]
async fn cpu_time_of_many_processes() {
    let script = "for i in 1 2 3 4; do (while :; do :; done) & done; wait; sleep 100";
    fails_within(two_seconds(), Bash, script, "CpuLimit", &["2 s"]).await;
}

#[tokio::test]
async fn forks_for_ever() {
    fails(Bash, "f() { f | f & }; f; sleep 1000 & wait", "", &["60 processes"]).await;
}

#[tokio::test]
async fn forks_for_ever_in_python() {
    let script = "import os\ndef main():\n    while True: os.fork()";
    fails(Python3, script, "", &["60 processes", "(processes)"]).await;
}

#[tokio::test]
async fn forks_for_ever_each_in_a_session_of_its_own() {
    // not one of them dies with the group of the script
    let script = "import os\ndef main():\n    while True:\n        if os.fork() == 0: os.setsid()";
    fails(Python3, script, "", &["60 processes", "(processes)"]).await;
}

#[tokio::test]
async fn a_storm_is_bounded_by_the_kernel_where_all_share_a_user() {
    if rustix::process::geteuid().is_root() {
        return;
    }
    for (level, bench) in levels().await {
        let script = "most=$(ulimit -Hu); ulimit -u $((most + 1)) || echo kept; echo $most";
        let ran = greedy(&bench, Bash, script, tight()).await;
        let most = ran.result().trim_matches('"').parse::<u64>().expect(&ran.log);
        // its own 60, a launcher, one to be seen by; else what this test's user has, and room for others
        let expected = if level == Level::Namespaces { 62..63 } else { 63..1000 };
        assert!(expected.contains(&most) && ran.log.contains("kept"), "{level}: {}", ran.log);
    }
}

#[tokio::test]
async fn a_hundred_thousand_open_files() {
    let script = "def main():\n    kept = [open(f'f{n}', 'w') for n in range(100_000)]";
    fails(Python3, script, "OSError", &["64 open files", "(open_files)"]).await;
}

#[tokio::test]
async fn one_large_file() {
    fails(Bash, "exec dd if=/dev/zero of=large bs=1M count=100", "FileSizeLimit", &["8 MiB", "(file_bytes)"])
        .await;
    let script = "def main():\n    with open('large', 'wb') as file: file.write(bytes(100 << 20))";
    fails(Python3, script, "OSError", &["File too large", "8 MiB"]).await;
}

#[tokio::test]
async fn many_files() {
    let script = "i=0; while :; do i=$((i+1)); dd if=/dev/zero of=f$i bs=1M count=4 2> /dev/null; done";
    fails(Bash, script, "DiskLimit", &["32 MiB", "(disk_bytes)"]).await;
}

#[tokio::test]
async fn files_without_a_name() {
    let script = "import os, time\ndef main():\n    kept = []\n    for n in range(30):\n        kept.append(open('f', 'wb'))\n        os.unlink('f')\n        kept[-1].write(bytes(4 << 20))\n        kept[-1].flush()\n    time.sleep(1000)";
    fails(Python3, script, "DiskLimit", &["32 MiB"]).await;
}

#[tokio::test]
async fn files_in_the_folder_for_temporary_ones() {
    let script =
        "i=0; while :; do i=$((i+1)); dd if=/dev/zero of=\"$TMPDIR/f$i\" bs=1M count=4 2> /dev/null; done";
    fails(Bash, script, "DiskLimit", &["32 MiB"]).await;
}

#[tokio::test]
async fn a_daemon_that_is_left_behind_ends_with_its_script() {
    for (level, bench) in levels().await {
        let before = Traces::before(&bench).await;
        let script = "import os, sys, time\ndef main():\n    if os.fork() == 0:\n        os.setsid()\n        if os.fork(): os._exit(0)\n        os.chdir('/')\n        os.execv('/bin/sleep', ['hostile-left', '1000'])\n    return 'left'";
        assert_eq!(greedy(&bench, Python3, script, tight()).await.result(), "\"left\"", "{level}");
        assert_eq!(Traces::now(&bench), before, "{level}");
    }
}

#[tokio::test]
async fn its_parent_killed() {
    let root = rustix::process::geteuid().is_root();
    for (level, bench) in levels().await {
        let before = Traces::before(&bench).await;
        let script = "for s in 9 STOP; do kill -$s $PPID || true; kill -$s 1 || true; done; echo alive";
        let ran = greedy(&bench, Bash, script, tight()).await;
        if level == Level::Process && !root {
            // its parent is its supervisor, of the same user, and this level has nothing against signals: it has
            // ended itself (`kills a process of the worker` in docs/security.md)
            assert_eq!(ran.error()["name"], "WorkerError", "{level}");
        } else {
            assert_eq!(ran.result(), "\"alive\"", "{level}");
        }
        assert_eq!(bench.run(Bash, "echo next", "{}").await.result(), "\"next\"", "{level}");
        assert_eq!(Traces::now(&bench), before, "{level}");
    }
}

#[tokio::test]
async fn a_flood_without_a_line_and_a_deaf_script_end_at_the_timeout() {
    for (level, bench) in levels().await {
        let before = Traces::before(&bench).await;
        let mut call = marked(&bench, Bash, "trap '' TERM INT HUP; while :; do printf x; done");
        call.limits.timeout = Duration::from_millis(500);
        let started = Instant::now();
        assert_eq!(bench.invoke(call).await.killed(), KillReason::Timeout, "{level}");
        assert!(started.elapsed() < Duration::from_millis(1500), "{level}: {:?}", started.elapsed());
        assert_eq!(Traces::now(&bench), before, "{level}");
    }
}

#[tokio::test]
async fn an_exit_in_the_middle_is_told() {
    for (level, bench) in levels().await {
        let ran = greedy(&bench, Python3, "import os\ndef main(): os._exit(7)", tight()).await;
        assert_eq!(ran.error()["exit_code"], 7, "{level}");
        let ran = greedy(
            &bench,
            Python3,
            "import os, signal\ndef main(): os.kill(os.getpid(), signal.SIGSEGV)",
            tight(),
        )
        .await;
        assert_eq!(ran.error()["exit_code"], 139, "{level}: {:?}", ran.error());
    }
}

#[tokio::test]
async fn control_groups_go_with_their_worker() {
    let isolation =
        Isolation { level: Some(Level::Process), minimum: Level::Process, ..Isolation::default() };
    let bench = Bench::isolated(isolation).await;
    if !bench.executor.has_cgroups() {
        // nothing is made where nothing is delegated: to an ordinary user of this machine
        assert!(!rustix::process::geteuid().is_root());
        return;
    }
    crate::bench::eventually(|| bench.executor.is_stocked()).await;
    let all = bench.executor.control_groups();
    assert!(all.iter().all(|folder| within(folder).len() > 1), "{all:?}");
    drop(bench);
    // the supervisors remove them as they end, each by itself
    crate::bench::eventually(|| !all.iter().any(|folder| folder.exists())).await;
}

#[tokio::test]
async fn one_jobs_limits_are_not_the_next_ones() {
    let bench = Bench::new().await;
    let mut small = invocation(Bash, "echo small", "{}");
    small.limits.kernel.memory = 32 << 20;
    small.limits.kernel.processes = 5;
    for _ in 0..6 {
        assert_eq!(bench.invoke(small.clone()).await.result(), "\"small\"");
        let script = "def main():\n    kept = bytearray(200 << 20)\n    kept[::4096] = bytes(len(kept[::4096]))\n    return len(kept)";
        assert_eq!(bench.run(Python3, script, "{}").await.result(), "209715200");
    }
}

#[tokio::test]
async fn a_folder_of_any_depth_is_removed() {
    for (level, bench) in levels().await {
        let script = "import os\ndef main():\n    for n in range(4000):\n        os.mkdir('d'); os.chdir('d')\n    return 'deep'";
        // it may be ended before: what cannot be counted is too much
        let ran = bench.run(Python3, script, "{}").await;
        assert!(matches!(ran.outcome.verdict, Verdict::Success { .. } | Verdict::Failure { .. }), "{level}");
        assert_eq!(bench.folders(), 0, "{level}");
    }
}

#[tokio::test]
async fn empty_files_count() {
    let script = "import itertools, time\ndef main():\n    for n in itertools.count():\n        open(f'f{n}', 'w').close()\n        if n % 500 == 0: time.sleep(0.1)";
    fails(Python3, script, "DiskLimit", &["32 MiB"]).await;
}
