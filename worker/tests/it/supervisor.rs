//! The supervisor itself, without an executor above it.

use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use lifecycle::supervisor::{DIALECT, Input, Kind, Lost, Output, Running, Spec, Status, Streams};
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::AsyncReadExt;
use tokio::time::timeout;

use crate::bench::{BOUND, Doomed, Gate, host, lives, supervisor};

fn bash(script: &str, kind: Kind) -> Spec {
    Spec {
        program: PathBuf::from("/bin/bash"),
        args: vec!["-c".to_owned(), script.to_owned()],
        env: vec![("PATH".to_owned(), "/usr/bin:/bin".to_owned())],
        cwd: PathBuf::from("/"),
        kind,
        output: Output::Log(Streams::Merged),
        input: Input::Null,
        grant: None,
        rules: None,
    }
}

async fn start(script: &str) -> Running {
    host().spare().await.unwrap().start(bash(script, Kind::Script)).await.unwrap()
}

async fn line(running: &mut Running) -> String {
    let mut text = Vec::new();
    while !text.ends_with(b"\n") {
        assert_ne!(timeout(BOUND, running.log.read_buf(&mut text)).await.unwrap().unwrap(), 0, "{text:?}");
    }
    String::from_utf8(text).unwrap().trim().to_owned()
}

#[tokio::test]
async fn a_command_gets_a_clean_slate() {
    let mut running = start("echo $(ls /proc/self/fd | wc -l) $(ulimit -c) $PWD $(env | wc -l); grep -E 'Sig(Blk|Ign)' /proc/self/status | grep -o '.\\{8\\}$' | tr '\\n' ' '; echo; ps -o sid=,pgid=,pid= $$").await;
    let mut text = String::new();
    timeout(BOUND, running.log.read_to_string(&mut text)).await.unwrap().unwrap();
    let exit = running.control.exited().await.unwrap().exit;
    let lines: Vec<&str> = text.lines().collect();
    // 0, 1, 2 and the folder that ls reads; PATH, PWD, SHLVL and _
    assert_eq!(lines[0], "4 0 / 4");
    // the 31 standard signals: the C library keeps 32 and 33 for itself
    let masks: Vec<u32> =
        lines[1].split_whitespace().map(|mask| u32::from_str_radix(mask, 16).unwrap()).collect();
    assert_eq!([masks[0], masks[1] & 0x7fff_ffff], [0, 0]);
    let ids: Vec<&str> = lines[2].split_whitespace().collect();
    assert!(ids[1] == ids[2] && ids[0] != ids[2], "{ids:?}");
    assert_eq!(exit.status, Status::Code(0));
    assert!(exit.wall() > Duration::from_micros(100) && exit.max_rss_kib > 500, "{exit:?}");
}

#[tokio::test]
async fn descriptors_of_whoever_started_us_do_not_leak() {
    // a shell leaves descriptor 7 open over the exec of this very test
    let program = supervisor().into_os_string().into_string().unwrap();
    let (socket, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    let mut child = Command::new("/bin/bash");
    child
        .args(["-c", &format!("exec 7</etc/passwd; exec {program} __supervise {DIALECT}")])
        .stdin(Stdio::from(std::os::fd::OwnedFd::from(theirs)));
    let mut child = child.stderr(Stdio::piped()).process_group(0).spawn().unwrap();
    let mut spec = bash("echo $(ls /proc/self/fd)", Kind::Script);
    // over our own standard error: no pipe comes with this order
    spec.output = Output::Inherit;
    let spec = serde_json::json!({ "Start": spec }).to_string();
    let mut frame = u32::try_from(spec.len()).unwrap().to_le_bytes().to_vec();
    frame.extend(spec.as_bytes());
    std::io::Write::write_all(&mut &socket, &frame).unwrap();
    let mut text = String::new();
    let mut said = std::io::BufReader::new(child.stderr.take().unwrap());
    std::io::BufRead::read_line(&mut said, &mut text).unwrap();
    assert_eq!(text.trim(), "0 1 2 3");
    drop(socket);
    assert!(child.wait().unwrap().success());
}

#[tokio::test]
async fn streams_apart_come_over_two_pipes_that_nobody_else_holds() {
    let folder = tempfile::tempdir().unwrap();
    let go = Gate::new(folder.path());
    let script = format!(
        "ls /proc/self/fd | tr '\\n' ' '; echo errors >&2; echo more > /dev/stderr; exec 2>&-; read -r _ < {}; echo out",
        go.path.display()
    );
    let mut spec = bash(&script, Kind::Script);
    spec.output = Output::Log(Streams::Apart);
    let mut running = host().spare().await.unwrap().start(spec).await.unwrap();
    let (mut errors, mut log) = (String::new(), String::new());
    // it ends with the script's own descriptor, while the script goes on
    timeout(BOUND, running.errors.take().unwrap().read_to_string(&mut errors)).await.unwrap().unwrap();
    go.open();
    timeout(BOUND, running.log.read_to_string(&mut log)).await.unwrap().unwrap();
    assert_eq!((errors.as_str(), log.as_str()), ("errors\nmore\n", "0 1 2 3 out\n"));
    assert_eq!(running.control.exited().await.unwrap().exit.status, Status::Code(0));
    assert!(start("true").await.errors.is_none());
}

#[tokio::test]
async fn what_cannot_start_says_why() {
    let mut spec = bash("true", Kind::Script);
    spec.program = PathBuf::from("/nowhere/at/all");
    let mut running = host().spare().await.unwrap().start(spec).await.unwrap();
    match running.control.exited().await {
        Err(Lost::Refused(why)) => {
            assert!(why.message.contains("ENOENT") || why.message.contains("No such file"), "{why}");
        }
        other => panic!("{other:?}"),
    }
    let mut spec = bash("true", Kind::Script);
    spec.cwd = PathBuf::from("/nowhere");
    let mut running = host().spare().await.unwrap().start(spec).await.unwrap();
    assert!(matches!(running.control.exited().await, Err(Lost::Refused(_))));
}

#[tokio::test]
async fn a_supervisor_is_used_again_and_nothing_of_the_one_before_is_left() {
    let folder = tempfile::tempdir().unwrap();
    let big = "x=$(head -c 30000000 /dev/zero | tr '\\0' a); for i in {1..20}; do :; done; setsid sleep 1000 & ps -o ppid= $$; cd; exit 3";
    let mut first = bash(big, Kind::Script);
    first.cwd = folder.path().to_owned();
    first.env.push(("HOME".to_owned(), "/tmp".to_owned()));
    let mut running = host().spare().await.unwrap().start(first).await.unwrap();
    let supervisor = line(&mut running).await;
    let exit = running.control.exited().await.unwrap().exit;
    assert_eq!(exit.status, Status::Code(3));
    assert!(exit.max_rss_kib > 30_000, "{exit:?}");
    // meant for the first, come after its end: it must not reach the second
    running.control.kill();
    let spare = running.control.into_spare().unwrap();
    let script = "ps -o ppid= $$; pwd; echo ${HOME-none}; pgrep -c -P $PPID; echo errors >&2";
    let mut second = bash(script, Kind::Script);
    second.output = Output::Log(Streams::Apart);
    let mut running = spare.start(second).await.unwrap();
    let (mut log, mut errors) = (String::new(), String::new());
    timeout(BOUND, running.log.read_to_string(&mut log)).await.unwrap().unwrap();
    timeout(BOUND, running.errors.as_mut().unwrap().read_to_string(&mut errors)).await.unwrap().unwrap();
    let exit = running.control.exited().await.unwrap().exit;
    assert_eq!(log.split_whitespace().collect::<Vec<_>>(), [supervisor.as_str(), "/", "none", "1"]);
    assert_eq!((errors.as_str(), exit.status), ("errors\n", Status::Code(0)));
    assert!(exit.max_rss_kib < 30_000, "{exit:?}");
}

#[tokio::test]
async fn a_killed_supervisor_leaves_nobody_of_its_session() {
    // a background job of `set -m` has a process group of its own
    let mut running = start("set -m; sleep 1000 & echo $PPID $! $$; wait").await;
    let said = line(&mut running).await;
    let (supervisor, pids) = said.split_once(' ').unwrap();
    let doomed: Vec<Doomed> = pids.split(' ').map(Doomed::watch).collect();
    kill_process(Pid::from_raw(supervisor.parse().unwrap()).unwrap(), Signal::KILL).unwrap();
    assert!(matches!(running.control.exited().await, Err(Lost::SupervisorDied)));
    for process in doomed {
        process.gone().await;
    }
}

#[tokio::test]
async fn a_supervisor_that_a_script_has_changed_is_not_used_again() {
    let change = |what: &str| {
        format!("python3 -c 'import os, resource as r; up = int(\"'$PPID'\"); {what}' && echo done")
    };
    for (what, reusable) in [
        ("r.prlimit(up, r.RLIMIT_NOFILE, (64, 64))", false),
        ("r.prlimit(up, r.RLIMIT_CPU, (1000, 1000))", false),
        ("os.setpriority(os.PRIO_PROCESS, up, 7)", false),
        ("os.sched_setscheduler(up, os.SCHED_BATCH, os.sched_param(0))", false),
        ("os.sched_setaffinity(up, {min(os.sched_getaffinity(up))})", false),
        ("r.prlimit(up, r.RLIMIT_NOFILE)", true),
    ] {
        let mut running = start(&change(what)).await;
        assert_eq!(line(&mut running).await, "done", "{what}");
        assert_eq!(running.control.exited().await.unwrap().exit.status, Status::Code(0));
        let alone = std::thread::available_parallelism().unwrap().get() == 1 && what.contains("affinity");
        assert_eq!(running.control.into_spare().is_some(), reusable || alone, "{what}");
    }
}

#[tokio::test]
async fn signals_of_a_script_do_not_end_its_supervisor() {
    let script = "for s in {1..31}; do case $s in 9|19) ;; *) kill -$s $PPID;; esac; done; echo $PPID";
    let mut running = start(script).await;
    let supervisor = line(&mut running).await;
    assert_eq!(running.control.exited().await.unwrap().exit.status, Status::Code(0));
    let spare = running.control.into_spare().unwrap();
    let mut running = spare.start(bash("echo $PPID", Kind::Script)).await.unwrap();
    assert_eq!(line(&mut running).await, supervisor);
    assert_eq!(running.control.exited().await.unwrap().exit.status, Status::Code(0));
}

#[tokio::test]
async fn a_supervisor_whose_command_runs_is_not_used_again() {
    let running = start("sleep 1000").await;
    assert!(running.control.into_spare().is_none());
}

#[tokio::test]
async fn a_supervisor_goes_on_after_a_command_that_cannot_start() {
    let mut spec = bash("true", Kind::Script);
    spec.program = PathBuf::from("/nowhere/at/all");
    let mut running = host().spare().await.unwrap().start(spec).await.unwrap();
    assert!(matches!(running.control.exited().await, Err(Lost::Refused(_))));
    let spare = running.control.into_spare().unwrap();
    let mut running = spare.start(bash("true", Kind::Script)).await.unwrap();
    assert_eq!(running.control.exited().await.unwrap().exit.status, Status::Code(0));
}

#[tokio::test]
async fn dropping_a_running_command_kills_all_of_it() {
    let mut running = start("setsid sleep 1000 & echo $! $$; wait").await;
    let pids = line(&mut running).await;
    let doomed: Vec<Doomed> = pids.split(' ').map(Doomed::watch).collect();
    drop(running);
    for process in doomed {
        process.gone().await;
    }
}

#[tokio::test]
async fn a_host_killed_by_signal_nine_takes_everything_along() {
    // the host here is a shell: it holds the other end of the socket and dies by SIGKILL
    let program = supervisor().into_os_string().into_string().unwrap();
    let script = r#"
import json, os, socket, struct, subprocess, sys, time
ours, theirs = socket.socketpair()
child = subprocess.Popen([sys.argv[1], "__supervise", sys.argv[3]], stdin=theirs, stderr=sys.stdout)
theirs.close()
frame = sys.argv[2].encode()
ours.sendall(struct.pack("<I", len(frame)) + frame)
time.sleep(1000)
"#;
    let job = "(setsid bash -c 'sleep 1000 & setsid sleep 1000 & echo $$ $!; wait' &); sleep 1000";
    host_killed(&program, script, job).await;
    // a supervisor that its script has stopped is set going by the death of its host
    let job = "kill -STOP $PPID; (setsid bash -c 'sleep 1000 & setsid sleep 1000 & echo $$ $!; wait' &); sleep 1000";
    host_killed(&program, script, job).await;
}

async fn host_killed(program: &str, script: &str, job: &str) {
    let mut spec = bash(job, Kind::Script);
    spec.output = Output::Inherit;
    let spec = serde_json::json!({ "Start": spec }).to_string();
    let mut host = tokio::process::Command::new("python3");
    let mut host = host
        .args(["-c", script, program, &spec, &DIALECT.to_string()])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut text = Vec::new();
    let mut out = host.stdout.take().unwrap();
    while !text.ends_with(b"\n") {
        assert_ne!(timeout(BOUND, out.read_buf(&mut text)).await.unwrap().unwrap(), 0);
    }
    let text = String::from_utf8(text).unwrap();
    let doomed: Vec<Doomed> = text.split_whitespace().map(Doomed::watch).collect();
    assert_eq!(doomed.len(), 2);
    host.kill().await.unwrap();
    for process in doomed {
        process.gone().await;
    }
    // and the pipe ends: no other holder of it is left
    timeout(BOUND, out.read_to_end(&mut Vec::new())).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_service_gets_its_grace_and_its_file() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    std::fs::write(&log, "before\n").unwrap();
    let fifo = folder.path().join("up");
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU, 0)
        .unwrap();
    let script = format!(
        "trap 'echo stopping; exit 7' TERM; echo ready; echo up > {}; while true; do sleep 1000 & wait $!; done",
        fifo.display()
    );
    let mut spec = bash(&script, Kind::Service { grace: BOUND });
    spec.output = Output::File(log.clone());
    let mut service = host().service(spec).await.unwrap();
    let pid = service.started().await.unwrap().to_string();
    assert_eq!(timeout(BOUND, tokio::fs::read_to_string(&fifo)).await.unwrap().unwrap(), "up\n");
    let exit = timeout(BOUND, service.stop(BOUND)).await.unwrap().unwrap().exit;
    assert_eq!(exit.status, Status::Code(7));
    assert!(!lives(&pid));
    assert_eq!(std::fs::read_to_string(&log).unwrap(), "before\nready\nstopping\n");
}

#[tokio::test]
async fn a_dropped_service_gets_sigterm_first() {
    let folder = tempfile::tempdir().unwrap();
    let done = folder.path().join("done");
    let script = format!(
        "trap 'touch {}; exit 0' TERM; echo $$; while true; do sleep 1000 & wait $!; done",
        done.display()
    );
    let spec = bash(&script, Kind::Service { grace: BOUND });
    let mut running = host().spare().await.unwrap().start(spec).await.unwrap();
    let pid = line(&mut running).await;
    let doomed = Doomed::watch(&pid);
    drop(running);
    doomed.gone().await;
    assert!(done.exists());
}

#[tokio::test]
async fn a_stubborn_command_is_killed_after_its_grace() {
    let script = "trap '' TERM; echo ready; while true; do sleep 1000; done";
    let spec = bash(script, Kind::Service { grace: BOUND });
    let mut running = host().spare().await.unwrap().start(spec).await.unwrap();
    assert_eq!(line(&mut running).await, "ready");
    running.control.kill_gently(Duration::from_millis(100));
    let exit = timeout(BOUND, running.control.exited()).await.unwrap().unwrap().exit;
    assert_eq!(exit.status, Status::Signal(9));
}

#[tokio::test]
async fn terminal_signals_do_not_reach_a_supervisor() {
    let folder = tempfile::tempdir().unwrap();
    let go = folder.path().join("go");
    let mode = rustix::fs::Mode::RWXU;
    rustix::fs::mknodat(rustix::fs::CWD, &go, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    let mut running = start(&format!("echo $PPID; read -r _ < {}; echo alive", go.display())).await;
    let supervisor = Pid::from_raw(line(&mut running).await.parse().unwrap()).unwrap();
    for signal in [Signal::TERM, Signal::INT, Signal::HUP] {
        kill_process(supervisor, signal).unwrap();
    }
    timeout(BOUND, tokio::fs::write(&go, "go\n")).await.unwrap().unwrap();
    assert_eq!(line(&mut running).await, "alive");
    assert_eq!(running.control.exited().await.unwrap().exit.status, Status::Code(0));
}
