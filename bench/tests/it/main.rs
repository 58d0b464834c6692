//! The benchmark in its short form: every part of it works, every result is right, nothing is left.

use std::process::{Command, Output};

use serde_json::Value;

fn bench(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_bench"))
        .args(arguments)
        .output()
        .expect("the benchmark was built with this test")
}

#[test]
fn the_short_form_measures_everything() {
    let output = bench(&["--quick", "-o", "json"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let durable = &report["profiles"][0];
    assert_eq!((durable["profile"].as_str(), durable["left_in_queue"].as_u64()), (Some("durable"), Some(0)));
    let cases = durable["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 4 * 4, "floor and three languages, sync and async, two concurrencies");
    for case in cases {
        assert!(case["latency"]["p50_ms"].as_f64().unwrap() > 0.0, "{case}");
    }
    let overhead = durable["overhead"].as_array().unwrap();
    assert!(overhead.iter().all(|of| of["run"]["p50_ms"].as_f64().unwrap() > 0.0), "{overhead:?}");
    assert!(durable["compared"].as_u64().unwrap() > 100);
}

#[test]
fn an_unknown_part_is_refused() {
    assert_eq!(bench(&["--only", "celery"]).status.code(), Some(2));
}

#[test]
fn a_long_queue_is_measured_beside_a_short_one() {
    let output = bench(&["--quick", "--only", "backlog", "--backlog", "1000", "-o", "json"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let backlog = &report["backlog"];
    assert_eq!(backlog["queued"].as_u64(), Some(1000 + 240), "{backlog:#}");
    for part in ["drained_short", "drained_long", "filled_per_second"] {
        assert!(backlog[part].as_f64().unwrap() > 0.0, "{part}: {backlog:#}");
    }
    assert_eq!(backlog["reads"].as_array().unwrap().len(), 4);
    let memory = backlog["memory"].as_array().unwrap();
    let processes: Vec<&str> = memory.iter().map(|of| of["process"].as_str().unwrap()).collect();
    assert_eq!(processes, ["valkey", "nats-server", "auth-service", "gateway", "worker"]);
    assert!(memory.iter().all(|of| of["full_mib"].as_f64().unwrap() > 1.0), "{memory:?}");
    assert_eq!(backlog["compared"].as_u64(), Some(240 + 120));
}
