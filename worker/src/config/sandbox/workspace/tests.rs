use super::*;
use crate::execute::Isolation;

const GIB: u64 = 1 << 30;

/// A worker that gives 1 GiB and up to 4, and this network and that at most.
fn worker((network, network_max): (Network, Network)) -> Sandbox {
    Sandbox {
        isolation: Isolation::default(),
        limits: Limits { memory: GIB, ..Limits::default() },
        limits_max: Limits { memory: 4 * GIB, ..Limits::default() },
        network,
        network_max,
        internet_ports: Vec::new(),
        internet_allow: Vec::new(),
        loopback_ports: Vec::new(),
        resolvers: Vec::new(),
    }
}

fn granted(worker: &Sandbox, workspace: &str, script: &str) -> Result<(Limits, Network), String> {
    let (workspace, script) =
        (serde_json::from_str(workspace).unwrap(), serde_json::from_str(script).unwrap());
    worker.granted_within(&workspace, &script)
}

fn says(network: &str) -> String {
    if network.is_empty() { "{}".into() } else { format!(r#"{{"network":"{network}"}}"#) }
}

/// The workspace's word: what it gives and the widest it allows; empty: nothing said.
fn workspace(network: &str, widest: &str) -> String {
    let word = |name: &str, value: &str| (!value.is_empty()).then(|| format!(r#""{name}":"{value}""#));
    let words = [word("network", network), word("network_max", widest)];
    format!("{{{}}}", words.into_iter().flatten().collect::<Vec<_>>().join(","))
}

#[test]
fn networks() {
    let (usual, open, closed) = (
        (Network::Internet, Network::Internet),
        (Network::Host, Network::Host),
        (Network::None, Network::Internet),
    );
    // (worker, workspace's network and network_max, script's network, granted or refused with)
    let table = [
        (usual, "", "", "", Ok("internet")),
        (usual, "", "", "none", Ok("none")),
        (usual, "", "", "internet", Ok("internet")),
        (usual, "", "", "host", Err("it asks for the network host, this worker gives internet")),
        // the workspace speaks for scripts that do not
        (usual, "none", "", "", Ok("none")),
        (usual, "none", "", "internet", Ok("internet")),
        (closed, "internet", "", "", Ok("internet")),
        (closed, "", "", "", Ok("none")),
        // and bounds all of them
        (usual, "", "none", "", Ok("none")),
        (usual, "", "none", "none", Ok("none")),
        (usual, "", "none", "internet", Err("it asks for the network internet, its workspace allows none")),
        (usual, "none", "none", "", Ok("none")),
        (usual, "none", "none", "host", Err("it asks for the network host, its workspace allows none")),
        (usual, "none", "internet", "internet", Ok("internet")),
        (usual, "none", "internet", "host", Err("its workspace allows internet at most (network_max)")),
        (open, "", "internet", "", Ok("internet")),
        (open, "", "internet", "host", Err("it asks for the network host, its workspace allows internet")),
        (open, "", "host", "host", Ok("host")),
        (closed, "", "internet", "", Ok("none")),
        // but never beyond the worker's most
        (usual, "", "host", "", Ok("internet")),
        (usual, "", "host", "host", Err("it asks for the network host, this worker gives internet")),
        (usual, "host", "", "", Err("its workspace asks for the network host, this worker gives internet")),
        (usual, "host", "", "none", Ok("none")),
    ];
    for (of, given, widest, script, expected) in table {
        let granted = granted(&worker(of), &workspace(given, widest), &says(script));
        let row = format!("{of:?} {given:?} {widest:?} {script:?}");
        match (granted, expected) {
            (Ok((_, network)), Ok(expected)) => assert_eq!(network.to_string(), expected, "{row}"),
            (Err(why), Err(part)) => assert!(why.contains(part), "{row}: {why}"),
            (other, _) => panic!("{row}: {other:?}"),
        }
    }
}

#[test]
fn limits() {
    let worker = worker((Network::Internet, Network::Internet));
    let memory = |bytes: u64| format!(r#"{{"memory":{bytes}}}"#);
    // (workspace, script, granted or refused with)
    let table = [
        ("{}".into(), "{}".into(), Ok(GIB)),
        (memory(2 * GIB), "{}".into(), Ok(2 * GIB)),
        (memory(2 * GIB), memory(3 * GIB), Ok(3 * GIB)),
        (memory(3 * GIB), memory(2 * GIB), Ok(2 * GIB)),
        ("{}".into(), memory(5 * GIB), Err("it asks for memory 5368709120, this worker gives 4294967296")),
        (memory(5 * GIB), "{}".into(), Err("its workspace asks for memory 5368709120, this worker gives")),
        (memory(5 * GIB), memory(GIB), Ok(GIB)),
        (
            memory(1),
            "{}".into(),
            Err("its workspace asks for memory 1, nothing starts with less than 33554432"),
        ),
        (memory(GIB), memory(1), Err("it asks for memory 1, nothing starts")),
    ];
    for (workspace, script, expected) in table {
        let granted = granted(&worker, &workspace, &script);
        match (granted, expected) {
            (Ok((limits, _)), Ok(memory)) => assert_eq!(limits.memory, memory, "{workspace} {script}"),
            (Err(why), Err(part)) => assert!(why.contains(part), "{workspace} {script}: {why}"),
            (other, _) => panic!("{workspace} {script}: {other:?}"),
        }
    }
    let each = r#"{"cpu_seconds":2,"processes":3,"open_files":4,"file_bytes":5,"disk_bytes":6}"#;
    let (limits, _) = granted(&worker, each, r#"{"open_files":7}"#).unwrap();
    let expected =
        Limits { memory: GIB, cpu_seconds: 2, processes: 3, open_files: 7, file_bytes: 5, disk_bytes: 6 };
    assert_eq!(limits, expected);
}
