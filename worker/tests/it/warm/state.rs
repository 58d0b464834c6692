//! What one job changes, in each mode of Python.

use std::time::Duration;

use proto::IsolationMode::{self, Fork, Fresh, Warm};
use worker::execute::{KillReason, Origin, Verdict};

use super::{job, origin, warm};
use crate::bench::Bench;

/// What becomes of a process whose job has changed something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    /// It is put back, and the process takes the next job.
    Restored,
    /// The next job gets another process.
    Replaced,
}
use Then::{Replaced, Restored};

/// What a job does, what the next one looks at, and what that sees where nothing was changed.
const CHANGES: [(&str, &str, &str, Then); 30] = [
    (
        "os.environ['X'] = '1'; del os.environ['PATH']",
        "['X' in os.environ, 'PATH' in os.environ]",
        "[false,true]",
        Restored,
    ),
    (
        "os.putenv('X', '1')",
        "subprocess.check_output(['/bin/sh', '-c', 'echo $X'], text=True)",
        r#""\n""#,
        Restored,
    ),
    ("os.environ = {}", "'PATH' in os.environ", "true", Restored),
    ("os.chdir('/')", "os.getcwd() == HERE", "true", Restored),
    ("os.umask(0o777)", "os.umask(0)", "18", Restored),
    ("signal.signal(signal.SIGTERM, signal.SIG_IGN)", "int(signal.getsignal(signal.SIGTERM))", "0", Restored),
    (
        "signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])",
        "len(signal.pthread_sigmask(signal.SIG_BLOCK, []))",
        "0",
        Restored,
    ),
    (
        "signal.setitimer(signal.ITIMER_REAL, 1000)",
        "signal.getitimer(signal.ITIMER_REAL)[0]",
        "0.0",
        Restored,
    ),
    ("sys.stdout = sys.stderr = open(os.devnull, 'w')", "sys.stdout.fileno()", "1", Restored),
    (
        "os.dup2(os.open(os.devnull, os.O_RDWR), 1)",
        "os.readlink('/proc/self/fd/1').split(':')[0]",
        "\"pipe\"",
        Replaced,
    ),
    ("os.close(1); os.close(2)", "os.readlink('/proc/self/fd/1').split(':')[0]", "\"pipe\"", Restored),
    ("sys.stdout.close()", "sys.stdout.closed", "false", Replaced),
    (
        "open('left', 'w').close(); os.mkdir('d'); open('d/x', 'w').close()",
        "os.listdir()",
        "[\"tmp\"]",
        Restored,
    ),
    (
        "open(os.environ['TMPDIR'] + '/left', 'w').close(); os.chmod('.', 0)",
        "os.listdir(os.environ['TMPDIR'])",
        "[]",
        Restored,
    ),
    ("open('/dev/shm/left', 'w').close()", "os.listdir('/dev/shm')", "[]", Replaced),
    (
        "globals().update(kept=open('/dev/null'))",
        "len(os.listdir('/proc/self/fd')) == FILES",
        "true",
        Replaced,
    ),
    ("open('/dev/null')", "len(os.listdir('/proc/self/fd')) == FILES", "true", Restored),
    (
        "threading.Thread(target=time.sleep, args=(60,), daemon=True).start()",
        "threading.active_count()",
        "1",
        Replaced,
    ),
    (
        "threading.Timer(60, print).start() or threading.enumerate()[-1].cancel()",
        "threading.active_count()",
        "1",
        Restored,
    ),
    (
        "subprocess.Popen(['/bin/sleep', '60'])",
        "len(open('/proc/thread-self/children').read().split())",
        "0",
        Replaced,
    ),
    (
        "subprocess.Popen(['/bin/true']); time.sleep(0.3)",
        "len(open('/proc/thread-self/children').read().split())",
        "0",
        Restored,
    ),
    (
        "sys.path.append('/x'); sys.argv[:] = []; sys.meta_path.clear()",
        "['/x' in sys.path, len(sys.argv), len(sys.meta_path) > 0]",
        "[false,1,true]",
        Restored,
    ),
    (
        "sys.setrecursionlimit(10**6); sys.settrace(print); sys.excepthook = None",
        "[sys.getrecursionlimit(), sys.gettrace(), sys.excepthook is None]",
        "[1000,null,false]",
        Restored,
    ),
    (
        "socket.setdefaulttimeout(1); gc.disable()",
        "[socket.getdefaulttimeout(), gc.isenabled()]",
        "[null,true]",
        Restored,
    ),
    ("VARIABLE.set('changed')", "VARIABLE.get('unset')", "\"unset\"", Restored),
    ("locale.setlocale(locale.LC_ALL, 'C')", "locale.setlocale(locale.LC_ALL) == LOCALE", "true", Replaced),
    ("os.nice(1)", "os.nice(0) == NICE", "true", Replaced),
    (
        "resource.setrlimit(resource.RLIMIT_NOFILE, (50, 50))",
        "resource.getrlimit(resource.RLIMIT_NOFILE)[0]",
        "4096",
        Replaced,
    ),
    (
        "asyncio.run(asyncio.wait([asyncio.Future(loop=asyncio.new_event_loop())], timeout=0))",
        "1",
        "1",
        Restored,
    ),
    ("exit = None; __builtins__['exit'] = None", "sys.exit is not None", "true", Restored),
];

fn script(change: &str, look: &str) -> String {
    format!(
        "import asyncio, contextvars, gc, locale, os, resource, signal, socket, subprocess, sys, threading, time\n\
         HERE = os.getcwd(); FILES = len(os.listdir('/proc/self/fd')); LOCALE = locale.setlocale(locale.LC_ALL); NICE = os.nice(0)\n\
         VARIABLE = contextvars.ContextVar('v')\n\
         def main(step):\n    print('job', step)\n    if step == 1:\n        {change}\n    else:\n        return {look}\n"
    )
}

/// Every change at once: each has processes of its own.
async fn changes(mode: IsolationMode) {
    let bench = Bench::with(|config| config.warm.count = 100).await;
    for (change, look, clean, then) in CHANGES {
        let script = script(change, look);
        let first = bench.invoke(job(&script, r#"{"step":1}"#, mode)).await;
        assert!(
            matches!(first.outcome.verdict, Verdict::Success { .. }),
            "{change}: {:?}",
            first.outcome.verdict
        );
        let second = bench.invoke(job(&script, r#"{"step":2}"#, mode)).await;
        assert_eq!(second.result(), clean, "{mode}: {change}");
        assert_eq!(second.log, "job 2\n", "{mode}: {change}");
        let expected = match (mode, then) {
            (Warm, Restored) => Origin::Warm,
            (Warm, Replaced) | (Fresh, _) => Origin::Cold,
            // what a child does is gone with it, but for what it leaves outside itself
            (Fork, _) => continue,
        };
        assert_eq!(origin(&second), expected, "{change}");
    }
}

#[tokio::test]
async fn what_a_job_changes_is_put_back_or_its_process_replaced() {
    changes(Warm).await;
}

#[tokio::test]
async fn what_a_job_changes_is_gone_with_its_fork() {
    changes(Fork).await;
}

#[tokio::test]
async fn what_a_job_changes_is_gone_with_its_process() {
    changes(Fresh).await;
}

#[tokio::test]
async fn globals_stay_in_warm_processes_alone() {
    let script = "n = 0\ndef main():\n    global n\n    n += 1\n    return n";
    let bench = Bench::new().await;
    for (mode, counts) in [(Warm, ["1", "2", "3"]), (Fork, ["1"; 3]), (Fresh, ["1"; 3])] {
        for (at, count) in counts.into_iter().enumerate() {
            let ran = bench.invoke(job(script, "{}", mode)).await;
            assert_eq!(ran.result(), count, "{mode}");
            let again = at > 0 && mode != Fresh;
            assert_eq!(origin(&ran), if again { Origin::Warm } else { Origin::Cold }, "{mode} {at}");
            assert_eq!(ran.outcome.start.unwrap().mode, mode);
        }
    }
}

/// A script that is loaded before there is a job must not keep what is one job's.
#[tokio::test]
async fn a_zygote_knows_no_job() {
    let script = "import os\nAT_LOAD = dict(os.environ)\ndef main():\n    return [AT_LOAD.get('WM_TOKEN'), AT_LOAD['WM_WORKSPACE'], os.environ['WM_TOKEN']]";
    let bench = Bench::new().await;
    for token in ["one", "two"] {
        let mut call = job(script, "{}", Fork);
        call.around.env.push(("WM_TOKEN".to_owned(), token.to_owned()));
        assert_eq!(bench.invoke(call).await.result(), format!(r#"[null,"test","{token}"]"#));
    }
}

/// Each of these ends its process, or makes it useless; the error says how, and the next job has another.
#[tokio::test]
async fn who_breaks_its_process_hears_so_and_the_next_job_does_not() {
    let breaks = [
        ("os._exit(3)", "exit code for \"python3\": 3"),
        ("sys.exit(4)", "exit code for \"python3\": 4"),
        ("sys.exit(0)", "exit code for \"python3\": 0 (the process ended before main returned)"),
        ("os.kill(os.getpid(), 9)", "killed by signal 9"),
        ("os.closerange(3, 4000)", "exit code for \"python3\": 1"),
        ("[os.write(n, b'x' * 99) for n in CHANNEL]; time.sleep(60)", "is not of the protocol"),
        ("[os.write(n, FORGED) for n in CHANNEL]; time.sleep(60)", "is not of the protocol"),
    ];
    let bench = Bench::new().await;
    for mode in [Warm, Fork, Fresh] {
        for (harm, says) in breaks {
            let script = format!(
                "import os, struct, sys, time, stat\n\
                 CHANNEL = [n for n in range(3, 400) if os.path.lexists(f'/proc/self/fd/{{n}}') and stat.S_ISSOCK(os.fstat(n).st_mode)]\n\
                 HEAD = b'{{\"kind\":\"ended\",\"job\":\"another\",\"ok\":true}}'\n\
                 FORGED = struct.pack('<II', len(HEAD), 1) + HEAD + b'1'\n\
                 def main(step):\n    if step == 1:\n        {harm}\n    return 'well'\n"
            );
            let broken = bench.invoke(job(&script, r#"{"step":1}"#, mode)).await;
            assert!(broken.message().contains(says), "{mode}: {harm}: {}", broken.message());
            let next = bench.invoke(job(&script, r#"{"step":2}"#, mode)).await;
            assert_eq!((next.result(), origin(&next)), ("\"well\"", Origin::Cold), "{mode}: {harm}");
        }
    }
}

/// It is not waited for until its time is over.
#[tokio::test]
async fn who_closes_everything_and_stays_is_ended() {
    let script = "import os, time\ndef main():\n    os.closerange(3, 4000)\n    time.sleep(600)";
    let bench = Bench::new().await;
    for mode in [Warm, Fresh] {
        let says = "the script has closed the socket by which its process answers";
        assert_eq!(bench.invoke(job(script, "{}", mode)).await.message(), says);
    }
}

#[tokio::test]
async fn a_fork_that_comes_back_from_main_answers_for_nobody() {
    let script = "import os\ndef main():\n    child = os.fork()\n    if child:\n        os.waitpid(child, 0)\n    return child == 0";
    let bench = Bench::new().await;
    for mode in [Warm, Fork, Fresh] {
        for _ in 0..2 {
            assert_eq!(bench.invoke(job(script, "{}", mode)).await.result(), "false", "{mode}");
        }
    }
}

#[tokio::test]
async fn threads_that_a_process_would_wait_for_are_waited_for() {
    let script = "import threading, time\ndef later():\n    time.sleep(0.2)\n    print('later')\ndef main():\n    threading.Thread(target=later).start()\n    return 1";
    let bench = Bench::new().await;
    for mode in [Warm, Fork, Fresh] {
        let ran = bench.invoke(job(script, "{}", mode)).await;
        assert_eq!((ran.result(), ran.log.as_str()), ("1", "later\n"), "{mode}");
    }
}

#[tokio::test]
async fn a_job_that_takes_too_long_takes_its_process_with_it() {
    let script = "import time\ndef main(step):\n    while step == 1:\n        try:\n            time.sleep(60)\n        except BaseException:\n            pass\n    return 'well'";
    let bench = Bench::new().await;
    for mode in [Warm, Fork] {
        assert_eq!(bench.invoke(job(script, r#"{"step":0}"#, mode)).await.result(), "\"well\"");
        let mut call = job(script, r#"{"step":1}"#, mode);
        call.limits.timeout = Duration::from_millis(300);
        assert_eq!(bench.invoke(call).await.killed(), KillReason::Timeout);
        let next = bench.invoke(job(script, r#"{"step":0}"#, mode)).await;
        assert_eq!((next.result(), origin(&next)), ("\"well\"", Origin::Cold));
    }
}

/// CPU time is counted for each job, not for its process.
#[tokio::test]
async fn each_job_has_its_own_cpu_time() {
    let script = "import time\ndef main(seconds):\n    until = time.process_time() + seconds\n    while time.process_time() < until: pass\n    return 'well'";
    let bench = Bench::new().await;
    let run = async |seconds: f64| {
        let mut call = job(script, &format!(r#"{{"seconds":{seconds}}}"#), Warm);
        call.limits.kernel.cpu_seconds = 2;
        bench.invoke(call).await
    };
    for _ in 0..3 {
        assert_eq!(run(1.0).await.result(), "\"well\"");
    }
    assert_eq!(run(30.0).await.error()["name"], "CpuLimit");
}

#[tokio::test]
async fn what_cannot_be_loaded_fails_each_job_alike() {
    let bench = Bench::new().await;
    for (script, name, text) in [
        ("def main(:", "SyntaxError", "invalid syntax"),
        ("import nothing_of_that_name", "ModuleNotFoundError", "nothing_of_that_name"),
        ("x = 1", "AttributeError", "main function is missing"),
        ("raise SystemExit(7)", "ExecutionErr", ": 7"),
    ] {
        for mode in [Warm, Fork, Fresh, Warm, Fork] {
            let ran = bench.invoke(job(script, "{}", mode)).await;
            let error = ran.error();
            assert_eq!(error["name"], name, "{mode}: {error}");
            assert!(error["message"].as_str().unwrap().contains(text), "{mode}: {error}");
        }
    }
}

#[tokio::test]
async fn results_of_any_size_come_whole_or_are_refused() {
    let script = "def main(size):\n    return 'x' * size";
    let bench = Bench::new().await;
    for size in [0, 1, 65_000, 66_000, 8_000_000] {
        let ran = warm(&bench, script, &format!(r#"{{"size":{size}}}"#)).await;
        assert_eq!(ran.result().len(), size + 2);
    }
    let ran = warm(&bench, script, r#"{"size":100000000}"#).await;
    assert_eq!(ran.error()["name"], "ResultTooLarge");
    assert!(ran.message().contains("100000002 bytes, the limit is 8388608"), "{}", ran.message());
    let next = warm(&bench, script, r#"{"size":1}"#).await;
    assert_eq!((next.result(), origin(&next)), ("\"x\"", Origin::Cold));
}
