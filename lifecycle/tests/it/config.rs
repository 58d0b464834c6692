//! What a process does with its configuration before it opens a socket.

use crate::probe::finish;

#[tokio::test]
async fn all_problems_are_listed_and_no_socket_opened() {
    let ended = finish(
        &["--mode=sideways", "--admin-listen=nowhere", "--unheard", "--shutdown-grace=25"],
        &[("HOOKMILL_WORKER_MOOD", "x"), ("HOOKMILL_WROKER_MODE", "x"), ("OTHER", "x")],
    )
    .await;
    assert_eq!(ended.code, Some(2), "{}", ended.stderr);
    for part in [
        "worker: 6 problems with the configuration",
        "mode: \"sideways\" is not valid: no such mode (from --mode)",
        "admin-listen: \"nowhere\"",
        "shutdown-grace: \"25\"",
        "unknown flag --unheard",
        "unknown variable HOOKMILL_WORKER_MOOD",
        "variable of no known program HOOKMILL_WROKER_MODE",
    ] {
        assert!(ended.stderr.contains(part), "no {part:?} in {}", ended.stderr);
    }
    assert!(!ended.stderr.contains("admin port listens"));
}

#[tokio::test]
async fn check_config_prints_the_configuration_without_secrets() {
    let ended = finish(&["--check-config"], &[("HOOKMILL_WORKER_MODE", "finish")]).await;
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    assert!(ended.stdout.contains("mode = \"finish\" # HOOKMILL_WORKER_MODE"), "{}", ended.stdout);
    assert!(ended.stdout.contains("password = \"***\""), "{}", ended.stdout);
    assert!(!ended.stdout.contains("planted-secret"));
    let bad = finish(&["--check-config", "--log=a=b=c"], &[]).await;
    assert_eq!(bad.code, Some(2));
    assert!(bad.stderr.contains("log: \"a=b=c\" is not valid"), "{}", bad.stderr);
}

#[tokio::test]
async fn notice_is_part_of_grace() {
    let ended = finish(&["--shutdown-notice=30s"], &[]).await;
    assert_eq!(ended.code, Some(2));
    assert!(ended.stderr.contains("shutdown-notice is longer than shutdown-grace"), "{}", ended.stderr);
}

#[tokio::test]
async fn help_and_version_need_no_valid_configuration() {
    let help = finish(&["--help", "--unheard"], &[]).await;
    assert_eq!(help.code, Some(0));
    assert!(help.stdout.contains("HOOKMILL_WORKER_SHUTDOWN_GRACE; default \"25s\""), "{}", help.stdout);
    let version = finish(&["--version"], &[]).await;
    assert_eq!((version.code, version.stdout.as_str()), (Some(0), "worker 0.0.1\n"));
}
