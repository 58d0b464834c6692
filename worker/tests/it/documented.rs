//! The examples of `docs/runtimes.md`, each run as it stands there.

use proto::{IsolationMode, Language};
use serde_json::Value;

use crate::bench::{Bench, invocation};

const PAGE: &str = include_str!("../../../docs/runtimes.md");

/// A script of the page, and the calls that stand below it.
#[derive(Debug, Default)]
struct Example {
    language: Option<Language>,
    script: String,
    calls: Vec<(String, Expected)>,
}

#[derive(Debug)]
enum Expected {
    Result(Value),
    Error { name: String, text: String },
}

fn language(fence: &str) -> Option<Language> {
    match fence {
        "python" => Some(Language::Python3),
        "ts" => Some(Language::Deno),
        "bash" => Some(Language::Bash),
        _ => None,
    }
}

fn call(line: &str) -> Option<(String, Expected)> {
    let (args, then) = line.strip_prefix("- `{")?.split_once("` → ")?;
    let args = format!("{{{args}");
    let quoted: Vec<&str> = then.split('`').skip(1).step_by(2).collect();
    let expected = match (then.starts_with("error "), &quoted[..]) {
        (true, [name, text]) => Expected::Error { name: (*name).to_owned(), text: (*text).to_owned() },
        (false, [result]) => Expected::Result(serde_json::from_str(result).unwrap()),
        _ => panic!("neither a result nor an error: {line}"),
    };
    Some((args, expected))
}

fn examples() -> Vec<Example> {
    let (mut found, mut open): (Vec<Example>, bool) = (Vec::new(), false);
    for line in PAGE.lines() {
        if let Some(fence) = line.strip_prefix("```") {
            if !open {
                found.push(Example { language: language(fence), ..Example::default() });
            }
            open = !open;
        } else if let (true, Some(example)) = (open, found.last_mut()) {
            example.script.push_str(line);
            example.script.push('\n');
        } else if let (Some(call), Some(example)) = (call(line), found.last_mut()) {
            example.calls.push(call);
        }
    }
    found
}

#[tokio::test]
async fn every_example_does_what_it_says() {
    let (bench, mut calls) = (Bench::new().await, 0);
    for example in examples() {
        let language = example.language.expect("a language of the page");
        assert!(!example.calls.is_empty(), "nobody calls this:\n{}", example.script);
        let mode = IsolationMode::of_source(&example.script).unwrap().unwrap_or_default();
        for (args, expected) in example.calls {
            calls += 1;
            let ran = bench.invoke(invocation(language, &example.script, &args).of("u/reader", mode)).await;
            match expected {
                Expected::Result(result) => {
                    assert_eq!(serde_json::from_str::<Value>(ran.result()).unwrap(), result, "{args}");
                }
                Expected::Error { name, text } => {
                    assert_eq!(ran.error()["name"], name.as_str(), "{args}");
                    assert!(ran.message().contains(&text), "{args}: {}", ran.message());
                }
            }
        }
    }
    assert!(calls > 10, "the page has examples");
}
