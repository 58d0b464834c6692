use std::net::SocketAddr;
use std::time::Duration;

use super::*;
use crate::service::Service;

const SERVICE: Service = Service { name: "auth-service", about: "who are you", version: "1.2.3" };

#[derive(Debug, PartialEq)]
struct Config {
    listen: SocketAddr,
    nats_url: String,
    replicas: u8,
    wait: Duration,
    body: usize,
    tags: Vec<u16>,
    relaxed: bool,
    password: Secret<String>,
    spare: Option<Secret<String>>,
    name: Option<String>,
}

impl FromValues for Config {
    fn from_values(v: &mut Values) -> Self {
        let config = Self {
            listen: v.or("listen", "127.0.0.1:8000", "address to listen on"),
            nats_url: v.required("nats-url", "nats://127.0.0.1:4222", "NATS server"),
            replicas: v.required("replicas", "3", "copies of each stream"),
            wait: v.duration("wait", "15s", "longest wait"),
            body: v.size("max-body", "8MiB", "largest body"),
            tags: v.list("tags", "1,2", "tags served"),
            relaxed: v.switch("relaxed", "do not sync"),
            password: v.secret("nats-password", "password at NATS"),
            spare: v.optional_secret("spare", "spare password"),
            name: v.optional("name", "name shown"),
        };
        v.check(config.replicas != 2, "replicas must not be 2");
        config
    }
}

fn given() -> Sources {
    Sources::default().arg("--nats-url=nats://x").arg("--replicas").arg("1").arg("--nats-password=planted")
}

fn run(sources: Sources) -> Config {
    match resolve::<Config>(&SERVICE, sources) {
        Ok(Resolved::Run(config)) => config,
        Ok(Resolved::Print(text)) => panic!("printed {text}"),
        Err(invalid) => panic!("{invalid}"),
    }
}

fn problems(sources: Sources) -> Vec<String> {
    resolve::<Config>(&SERVICE, sources).unwrap_err().problems().to_vec()
}

fn printed(sources: Sources) -> String {
    match resolve::<Config>(&SERVICE, sources) {
        Ok(Resolved::Print(text)) => text,
        other => panic!("{other:?}"),
    }
}

#[test]
fn defaults_fill_what_is_not_given() {
    let config = run(given());
    assert_eq!(config.listen, "127.0.0.1:8000".parse().unwrap());
    assert_eq!((config.wait, config.body), (Duration::from_secs(15), 8 << 20));
    assert_eq!(config.tags, [1, 2]);
    assert_eq!((config.relaxed, config.spare, config.name), (false, None, None));
    assert_eq!(config.password.expose(), "planted");
}

#[test]
fn flags_beat_environment_beats_file_beats_default() {
    let file = "name = \"file\"\nreplicas = 9\nwait = \"1s\"\ntags = [7, 8]\nrelaxed = true\n";
    let sources = given()
        .file("a.toml", file)
        .env("HOOKMILL_AUTH_SERVICE_NAME", "env")
        .env("HOOKMILL_AUTH_SERVICE_WAIT", "2s")
        .arg("--wait=3s");
    let config = run(sources);
    assert_eq!(config.replicas, 1);
    assert_eq!(config.name.as_deref(), Some("env"));
    assert_eq!(config.wait, Duration::from_secs(3));
    assert_eq!(config.tags, [7, 8]);
    assert!(config.relaxed);
}

#[test]
fn every_problem_is_listed_at_once() {
    let file = "replicas = 300\nwhatever = 1\n[section]\nx = 1\n";
    let found = problems(
        Sources::default()
            .arg("stray")
            .arg("--listen=localhost")
            .arg("--unheard=1")
            .arg("--wait=15")
            .env("HOOKMILL_AUTH_SERVICE_LISTENN", "x")
            .env("HOOKMILL_GATWAY_LISTEN", "x")
            .env("HOOKMILL_GATEWAY_LISTEN", "another program's")
            .file("a.toml", file),
    );
    let expected = [
        "unexpected argument \"stray\"",
        "section in a.toml is a table, but the file is flat",
        "listen: \"localhost\" is not valid: invalid socket address syntax (from --listen)",
        "nats-url is missing: NATS server (give --nats-url, HOOKMILL_AUTH_SERVICE_NATS_URL or nats-url in the file)",
        "replicas: \"300\" is not valid: number too large to fit in target type (from a.toml)",
        "wait: \"15\" is not valid: expected a whole number and a unit, such as 250ms, 15s, 2m, 1h or 7d (from --wait)",
        "nats-password is missing: password at NATS (give --nats-password, HOOKMILL_AUTH_SERVICE_NATS_PASSWORD or nats-password in the file)",
        "unknown flag --unheard",
        "unknown variable HOOKMILL_AUTH_SERVICE_LISTENN",
        "variable of no known program HOOKMILL_GATWAY_LISTEN",
        "unknown key whatever in a.toml",
    ];
    assert_eq!(found, expected);
}

#[test]
fn a_check_is_told_only_of_real_values() {
    assert_eq!(problems(given().arg("--name=x").env("HOOKMILL_X", "")).len(), 1);
    let two = || Sources::default().arg("--nats-url=x").arg("--nats-password=x").arg("--replicas=2");
    assert_eq!(problems(two()), ["replicas must not be 2"]);
    assert_eq!(problems(two().arg("--nope=1")), ["unknown flag --nope", "replicas must not be 2"]);
    let doubtful = problems(two().arg("--wait=bad"));
    assert!(doubtful.len() == 1 && doubtful[0].starts_with("wait"), "{doubtful:?}");
}

#[test]
fn a_flag_without_value_or_given_twice_is_refused() {
    assert_eq!(problems(given().arg("--name")), ["--name needs a value"]);
    assert_eq!(problems(given().arg("--name=a").arg("--name=b")), ["--name is given twice"]);
    assert_eq!(problems(given().arg("--name").arg("--relaxed")), ["--name needs a value"]);
    assert!(run(given().arg("--relaxed")).relaxed);
    assert!(!run(given().arg("--relaxed=false")).relaxed);
    assert_eq!(run(given().arg("--name=a=b")).name.as_deref(), Some("a=b"));
}

#[test]
fn a_required_flag_without_value_is_one_problem() {
    let sources = Sources::default().arg("--replicas=1").arg("--nats-password=x").arg("--nats-url");
    assert_eq!(problems(sources), ["--nats-url needs a value"]);
}

#[test]
fn secrets_come_from_files_without_the_line_end() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("spare");
    std::fs::write(&path, "from file\r\n").unwrap();
    let by_file = given().env("HOOKMILL_AUTH_SERVICE_SPARE_FILE", path.to_str().unwrap());
    let config = run(by_file.clone());
    assert_eq!(config.spare.unwrap().expose(), "from file");
    let twice = problems(by_file.env("HOOKMILL_AUTH_SERVICE_SPARE", "planted"));
    assert_eq!(
        twice,
        ["spare is given twice: by HOOKMILL_AUTH_SERVICE_SPARE and by HOOKMILL_AUTH_SERVICE_SPARE_FILE"]
    );
    std::fs::write(&path, "\n").unwrap();
    assert_eq!(
        problems(given().arg(format!("--spare-file={}", path.display()))),
        ["spare is empty (from --spare-file)"]
    );
    let gone = problems(given().arg("--spare-file=/nonexistent/x"));
    assert!(gone.len() == 1 && gone[0].starts_with("spare-file: cannot read /nonexistent/x: "), "{gone:?}");
}

#[test]
fn an_empty_or_huge_file_is_no_secret() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("huge");
    std::fs::write(&path, vec![b'x'; (1 << 20) + 1]).unwrap();
    let huge = problems(given().arg("--spare-file").arg(path.to_str().unwrap()));
    assert!(huge.len() == 1 && huge[0].contains("larger than 1048576 bytes"), "{huge:?}");
    assert_eq!(problems(given().arg("--spare=")), ["spare is empty (from --spare)"]);
}

#[test]
fn no_secret_is_ever_shown() {
    let url = "nats://user:planted@host:4222";
    let sources = given().arg("--spare=planted").arg(format!("--name={url}")).arg("--wait=planted");
    let text = resolve::<Config>(&SERVICE, sources).unwrap_err().to_string();
    assert!(text.contains("--wait"), "{text}");
    let good = given().arg("--spare=planted").arg(format!("--name={url}")).arg("--check-config");
    let text = printed(good);
    assert!(text.contains("nats://user:***@host:4222") && text.contains("spare = \"***\""), "{text}");
    assert!(!text.contains("planted"), "{text}");
    let broken = Sources::default().file("a.toml", "nats-password = \"planted\n");
    let text = resolve::<Config>(&SERVICE, broken).unwrap_err().to_string();
    assert!(text.contains("a.toml line 1 is not TOML") && !text.contains("planted"), "{text}");
    assert_eq!(format!("{0} {0:?}", Secret::new("planted")), "*** ***");
}

#[test]
fn what_check_config_prints_is_a_file() {
    let text = printed(given().arg("--name=a\"b\\c").arg("--check-config"));
    let table: toml::Table = text.parse().unwrap();
    assert_eq!(table["name"].as_str(), Some("a\"b\\c"));
    assert_eq!(table["replicas"].as_str(), Some("1"));
    assert!(text.contains("replicas = \"1\" # --replicas"), "{text}");
    assert!(text.contains("listen = \"127.0.0.1:8000\" # default"), "{text}");
    let refused = problems(Sources::default().arg("--check-config"));
    assert_eq!(refused.len(), 3, "{refused:?}");
}

#[test]
fn help_names_every_key_even_when_values_are_bad() {
    let text = printed(Sources::default().arg("--help").arg("--wait=bad"));
    for part in [
        "auth-service 1.2.3: who are you",
        "--listen <value>\n        address to listen on\n        HOOKMILL_AUTH_SERVICE_LISTEN; default \"127.0.0.1:8000\"",
        "--nats-url <nats://127.0.0.1:4222>",
        "HOOKMILL_AUTH_SERVICE_NATS_URL; required",
        "--nats-password-file",
        "--config",
        "--relaxed\n",
    ] {
        assert!(text.contains(part), "no {part:?} in\n{text}");
    }
    assert_eq!(printed(Sources::default().arg("--version")), "auth-service 1.2.3\n");
}

#[test]
fn the_file_may_be_named_by_flag_or_variable() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("auth.toml");
    std::fs::write(&path, "name = \"by file\"\n").unwrap();
    let path = path.to_str().unwrap();
    assert_eq!(run(given().arg("--config").arg(path)).name.as_deref(), Some("by file"));
    assert_eq!(run(given().env("HOOKMILL_AUTH_SERVICE_CONFIG", path)).name.as_deref(), Some("by file"));
    let gone = problems(given().arg("--config=/nonexistent/x"));
    assert!(
        gone.len() == 1 && gone[0].contains("/nonexistent/x") && gone[0].contains("--config"),
        "{gone:?}"
    );
}

#[test]
fn variables_that_kubernetes_sets_are_none_of_ours() {
    let sources = given()
        .env("HOOKMILL_AUTH_SERVICE_SERVICE_HOST", "10.0.0.1")
        .env("HOOKMILL_AUTH_SERVICE_SERVICE_PORT_GRPC", "9000")
        .env("HOOKMILL_AUTH_SERVICE_PORT", "tcp://10.0.0.1:9000")
        .env("HOOKMILL_AUTH_SERVICE_PORT_9000_TCP_ADDR", "10.0.0.1")
        .env("HOOKMILL_VALKEY_PORT_6379_TCP", "tcp://10.0.0.2:6379");
    run(sources);
}

#[test]
fn lists_name_the_bad_element_and_may_be_empty() {
    assert!(run(given().arg("--tags=")).tags.is_empty());
    assert_eq!(run(given().arg("--tags= 1 , 2,")).tags, [1, 2]);
    assert_eq!(
        problems(given().arg("--tags=1,x,70000")),
        [
            "tags: \"x\" is not valid: invalid digit found in string (from --tags)",
            "tags: \"70000\" is not valid: number too large to fit in target type (from --tags)"
        ]
    );
    assert_eq!(
        problems(given().file("f", "tags = [\"1,2\"]")),
        ["tags in f has an element with a comma in it"]
    );
}

#[test]
fn leading_arguments_can_be_skipped() {
    let mut sources = Sources::default().arg("up").skip_args(1);
    assert!(sources.args.is_empty());
    sources = sources.skip_args(5);
    assert!(sources.args.is_empty());
}

#[test]
#[should_panic(expected = "the default or example \"soon\" of wait does not parse")]
fn a_default_that_does_not_parse_is_found_by_any_start() {
    Values::new("worker", Sources::default()).duration("wait", "soon", "…");
}
