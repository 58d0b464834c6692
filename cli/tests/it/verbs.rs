//! The verbs against no installation at all: what they say and how they exit.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use crate::host::HOOKMILL;

fn hookmill(args: &[&str]) -> Output {
    let mut command = Command::new(HOOKMILL);
    for name in ["BASE_INTERNAL_URL", "WM_TOKEN", "WM_WORKSPACE"] {
        command.env_remove(name);
    }
    command.args(args).output().unwrap()
}

fn closed_port() -> String {
    let addr = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    format!("http://{addr}")
}

#[test]
fn wrong_usage_is_2_and_nobody_there_is_3() {
    let out = hookmill(&["token", "list"]);
    assert_eq!(out.status.code(), Some(2));
    let text = String::from_utf8(out.stderr).unwrap();
    assert!(text.contains("source .hookmill/env"), "{text}");
    assert_eq!(hookmill(&["nonsense"]).status.code(), Some(2));
    assert_eq!(hookmill(&["run", "no-path"]).status.code(), Some(2));

    let base = closed_port();
    let target = ["--base-url", &base, "--token", "hkm_x", "--workspace", "main"];
    let out = hookmill(&[&["run", "f/a/b"][..], &target].concat());
    assert_eq!(out.status.code(), Some(3));
    let text = String::from_utf8(out.stderr).unwrap();
    assert!(text.contains(&base) && text.contains("refused") && !text.contains("hkm_x"), "{text}");
}

#[test]
fn help_names_every_verb_and_hides_the_token() {
    let out = Command::new(HOOKMILL).arg("--help").env("WM_TOKEN", "hkm_secret").output().unwrap();
    let text = String::from_utf8(out.stdout).unwrap();
    for verb in ["up", "script", "run", "logs", "token", "completions", "nats-config", "provision"] {
        assert!(text.lines().any(|line| line.trim_start().starts_with(verb)), "{verb} in {text}");
    }
    assert!(!text.contains("hkm_secret"));
    for shell in ["bash", "zsh", "fish"] {
        let out = hookmill(&["completions", shell]);
        assert!(out.status.success() && out.stdout.len() > 1000, "{shell}");
    }
}

#[test]
fn two_ups_do_not_share_a_folder_and_a_port_is_not_taken_twice() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let held = hookmill::up::data_folder::DataFolder::take(&data).unwrap();
    let data = data.to_str().unwrap();
    let out = hookmill(&["up", "--port", "0", "--data", data]);
    assert_eq!(out.status.code(), Some(2));
    let text = String::from_utf8(out.stderr).unwrap();
    assert!(text.contains("another `hookmill up`") && text.contains("--data"), "{text}");
    drop(held);

    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let out = hookmill(&["up", "--port", &port, "--data", data]);
    assert_eq!(out.status.code(), Some(2));
    let text = String::from_utf8(out.stderr).unwrap();
    assert!(text.contains(&format!("port {port}")) && text.contains("--port"), "{text}");
    assert!(!Path::new(data).join("credentials.json").exists(), "nothing was begun");
}

#[test]
fn configurations_are_rendered_for_other_machines() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let (credentials, conf) = (path("credentials"), path("out/nats.conf"));
    let nats = ["nats-config", "--credentials", &credentials, "--out", &conf];
    let valkey =
        ["valkey-config", "--credentials", &credentials, "--out", &path("out"), "--seen-as", "/etc/valkey"];
    let secrets = ["secrets", "--credentials", &credentials, "--out", &path("secrets")];
    for args in [&nats[..], &valkey, &secrets] {
        let out = hookmill(args);
        assert!(out.status.success(), "{args:?}: {}", String::from_utf8_lossy(&out.stderr));
    }
    for file in ["out/nats.conf", "out/valkey.conf", "out/valkey.acl", "secrets/gateway/redis-url"] {
        let mode = std::fs::metadata(path(file)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
    let password = std::fs::read_to_string(path("secrets/worker/nats-password")).unwrap();
    assert!(
        std::fs::read_to_string(conf).unwrap().contains(&format!("\"{password}\"")),
        "one set of credentials"
    );
    let valkey = std::fs::read_to_string(path("out/valkey.conf")).unwrap();
    assert!(valkey.contains("aclfile \"/etc/valkey/valkey.acl\""), "{valkey}");
}
