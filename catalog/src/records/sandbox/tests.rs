use super::*;

fn settings(text: &str) -> Result<SandboxSettings, serde_json::Error> {
    SandboxSettings::named(&serde_json::from_str(text).unwrap())
}

fn workspace(text: &str) -> Result<WorkspaceSandbox, serde_json::Error> {
    serde_json::from_str(text)
}

#[test]
fn what_is_wrong_is_named() {
    let asked = settings(r#"{"network":"none","memory":1048576}"#).unwrap();
    assert_eq!((asked.network, asked.memory.map(NonZeroU64::get)), (Some(Reach::None), Some(1 << 20)));
    assert_eq!(settings("{}").unwrap(), SandboxSettings::default());
    assert_eq!(settings(r#"{"memory":null}"#).unwrap(), SandboxSettings::default());
    for (text, named) in [
        (r#"{"memroy":1}"#, "unknown field `memroy`"),
        (r#"{"memory":0}"#, "memory: invalid value: integer `0`"),
        (r#"{"processes":4,"cpu_seconds":-1}"#, "cpu_seconds: invalid value: integer `-1`"),
        (r#"{"open_files":1.5}"#, "open_files: invalid type: floating point `1.5`"),
        (r#"{"disk_bytes":18446744073709551616}"#, "disk_bytes: invalid type: floating point"),
        (r#"{"memory":"2GiB"}"#, "memory: invalid type: string \"2GiB\""),
        (r#"{"network":"all"}"#, "network: unknown variant `all`, expected one of `none`"),
        (r#"{"network":7}"#, "network: "),
    ] {
        for error in [settings(text).unwrap_err(), workspace(text).unwrap_err()] {
            assert!(error.to_string().contains(named), "{text}: {error}");
        }
    }
    let script = settings(r#"{"network_max":"none"}"#).unwrap_err().to_string();
    assert!(script.contains("unknown field `network_max`"), "only a workspace has it: {script}");
}

#[test]
fn what_a_workspace_says_is_stored_as_it_was_sent() {
    for text in
        [r#"{"network":"none","memory":7,"network_max":"internet"}"#, r#"{"network_max":"host"}"#, "{}"]
    {
        assert_eq!(serde_json::to_string(&workspace(text).unwrap()).unwrap(), text);
    }
    assert_eq!(workspace("{}").unwrap(), WorkspaceSandbox::default());
    for (text, named) in [
        (r#"{"network":"host","network_max":"none"}"#, "network: host is wider than network_max, none"),
        (r#"{"network_max":"all"}"#, "network_max: unknown variant `all`"),
        (r#"{"network_max":0}"#, "network_max: "),
        ("[]", "map"),
        ("\"none\"", "map"),
    ] {
        let error = workspace(text).unwrap_err().to_string();
        assert!(error.contains(named), "{text}: {error}");
    }
}

#[test]
fn a_script_comes_before_its_workspace() {
    let all = r#"{"network":"none","memory":1,"cpu_seconds":2,"processes":3,"open_files":4,"file_bytes":5,"disk_bytes":6,"isolation":"fork"}"#;
    let all = settings(all).unwrap();
    assert_eq!(SandboxSettings::default().or(all), all);
    assert_eq!(all.or(SandboxSettings::default()), all);
    let own = settings(r#"{"memory":9}"#).unwrap();
    assert_eq!(own.or(all), SandboxSettings { memory: own.memory, ..all });
}

#[test]
fn a_workspace_bounds_the_network_that_is_asked_for() {
    let ask = |text: &str| settings(text).unwrap();
    // (network_max, allowed: nothing said, none, internet, host)
    for (most, expected) in [
        ("null", [true, true, true, true]),
        ("\"none\"", [true, true, false, false]),
        ("\"internet\"", [true, true, true, false]),
        ("\"host\"", [true, true, true, true]),
    ] {
        let workspace = workspace(&format!("{{\"network_max\":{most}}}")).unwrap();
        let asks = ["{}", r#"{"network":"none"}"#, r#"{"network":"internet"}"#, r#"{"network":"host"}"#];
        assert_eq!(asks.map(|text| workspace.allows(&ask(text)).is_ok()), expected, "{most}");
    }
    let none = workspace(r#"{"network_max":"none"}"#).unwrap();
    let refused = none.allows(&ask(r#"{"network":"host"}"#)).unwrap_err().to_string();
    assert_eq!(refused, "it asks for the network host, its workspace allows none at most (network_max)");
}
