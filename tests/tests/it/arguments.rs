//! Arguments reach a script as they were sent, byte for byte.

use serde_json::{Value, json};
use system_tests::System;

/// A float that is whole, one that is no double, an integer that is no i64, keys out of order,
/// escapes, and white space.
const SENT: &str =
    r#"{"z": 1.0, "big":1e400,"a":9223372036854775809 , "text":"\u00e9\/é","n":{"y":1.0,"x":[2.50, -0]}}"#;

const PYTHON: &str = "def main(**kwargs):\n    with open('args.json', encoding='utf-8') as file:\n        return file.read()\n";

const PYTHON_TYPES: &str =
    "def main(z, big, a, n):\n    return [type(z).__name__, str(big), str(a), list(n)]\n";

const DENO: &str =
    "export function main(z: number, a: number) {\n  return Deno.readTextFileSync('args.json');\n}\n";

const BASH: &str = "z=\"$1\"\nbig=\"$2\"\na=\"$3\"\nn=\"$4\"\ntext=\"$5\"\necho \"$z|$big|$a|$n|$text\"\n";

async fn result(language: &str, source: &str) -> Value {
    let system = System::start().await;
    system.client().deploy("f/a/args", language, source).await;
    system.client().wait("f/a/args", SENT).await.expect(200).json()
}

#[tokio::test]
async fn python_finds_them_as_sent() {
    assert_eq!(result("python3", PYTHON).await, SENT);
}

#[tokio::test]
async fn python_gets_the_types_they_have() {
    let types = result("python3", PYTHON_TYPES).await;
    assert_eq!(types, json!(["float", "inf", "9223372036854775809", ["y", "x"]]));
}

#[tokio::test]
async fn deno_finds_them_as_sent() {
    assert_eq!(result("deno", DENO).await, SENT);
}

#[tokio::test]
async fn bash_gets_each_as_sent() {
    let expected = r#"1.0|1e400|9223372036854775809|{"y":1.0,"x":[2.50, -0]}|é/é"#;
    assert_eq!(result("bash", BASH).await, expected);
}

#[tokio::test]
async fn bash_finds_the_file_as_sent() {
    assert_eq!(result("bash", "cat args.json > result.out\n").await, SENT);
}

#[tokio::test]
async fn every_kind_of_body_becomes_arguments() {
    let system = System::start().await;
    let client = system.client();
    client.deploy("f/a/all", "python3", "def main(**kwargs):\n    return kwargs\n").await;
    let table = [
        ("application/json", "", "", json!({})),
        ("application/json", "[1,2]", "", json!({"body": [1, 2]})),
        ("application/json", "{\"a\":1}", "?include_query=q&q=x%20y", json!({"a": 1, "q": "x y"})),
        ("application/json", "{\"a\":1}", "?include_header=X-Event", json!({"a": 1, "x_event": "push"})),
        ("text/plain", "hi", "", json!({"raw_string": "hi"})),
        ("application/x-www-form-urlencoded", "a=1&b=x+y", "", json!({"a": "1", "b": "x y"})),
    ];
    for (content_type, body, query, expected) in table {
        let request = client.post(&format!("jobs/run_wait_result/p/f/a/all{query}"));
        let request = request.header("x-event", "push").body(content_type, body);
        assert_eq!(request.send().await.expect(200).json(), expected, "{content_type} {body} {query}");
    }
    let none = client.post("jobs/run_wait_result/p/f/a/all").send().await.expect(200);
    assert_eq!(none.json(), json!({}));
}

#[tokio::test]
async fn large_arguments_and_results_pass_whole() {
    let system = System::start().await;
    let client = system.client();
    client.deploy("f/a/echo", "python3", "def main(text: str):\n    return text\n").await;
    // inline in the envelope, inside the completion, by reference, and the mark of jobs_u/get
    for size in [1_000, 70_000, 200_000, 300_000, 4_000_000] {
        let text = "é".repeat(size / 2);
        let answer = client.wait("f/a/echo", json!({"text": text})).await.expect(200);
        assert!(answer.json() == text, "{size}");
        let id = answer.header("x-job-id");
        let whole = client.get_path(&format!("jobs_u/completed/get_result/{id}")).send().await.expect(200);
        assert!(whole.body == answer.body, "{size}");
        let args = client.get_path(&format!("jobs_u/get_args/{id}")).send().await.expect(200);
        assert!(args.json()["text"] == text, "{size}");
        let shown = client.get(id).await;
        let mark = size >= 90_000;
        assert_eq!(shown["result"] == "WINDMILL_TOO_BIG", mark, "{size}");
        assert_eq!(shown["args"]["reason"] == "WINDMILL_TOO_BIG", mark, "{size}");
    }
}
