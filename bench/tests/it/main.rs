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
