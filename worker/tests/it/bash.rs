use proto::Language::Bash;

use crate::bench::{Bench, Gate, invocation};

async fn result(args: &str, script: &str) -> String {
    Bench::new().await.run(Bash, script, args).await.result().to_owned()
}

#[tokio::test]
async fn arguments_are_bound_by_position_with_their_exact_text() {
    let script = "a=\"$1\"\nb=\"${2:-dflt}\"\nexport c=$3 # c\nd=\"$4\"\necho \"$a|$b|$c|$d|$#\"";
    let args = r#"{"d":{"k":  1.0, "z":[1e400]},"c":9223372036854775809,"a":"x \"y\" é","other":1}"#;
    assert_eq!(
        serde_json::from_str::<String>(&result(args, script).await).unwrap(),
        "x \"y\" é|dflt|9223372036854775809|{\"k\":  1.0, \"z\":[1e400]}|4"
    );
    assert_eq!(result("{}", "a=\"$1\"\necho \"[$a]\"").await, r#""[]""#);
    assert_eq!(result(r#"{"b":1.0}"#, "b=\"$2\"\necho \"[$1]$b\"").await, r#""[]1.0""#);
}

#[tokio::test]
async fn large_arguments_arrive_whole() {
    let text = "x y\n".repeat(300_000);
    let args = serde_json::json!({"a": text, "b": [1]}).to_string();
    let script = "a=\"$1\"\nb=\"$2\"\necho \"${#a} $b $0\"";
    assert_eq!(result(&args, script).await, "\"1200000 [1] main.sh\"");
    let ran = Bench::new().await.run(Bash, "a=\"$1\"", r#"{"a":"x\u0000y"}"#).await;
    assert!(ran.message().contains("argument `a` holds a NUL"), "{}", ran.message());
}

#[tokio::test]
async fn where_the_result_comes_from() {
    assert_eq!(result("{}", "true").await, "null");
    assert_eq!(result("{}", "echo one; echo two").await, r#""two""#);
    assert_eq!(result("{}", "printf 'one\\ntwo'").await, r#""two""#);
    assert_eq!(result("{}", "echo text; echo '\"x\"' > result.out").await, r#""\"x\"\n""#);
    assert_eq!(
        result("{}", "echo no >result.out; echo ' {\"a\": 1.0}' > result.json").await,
        r#"{"a": 1.0}"#
    );
    assert_eq!(result("{}", "echo line; : >result.json").await, r#""line""#);
    let ran = Bench::new().await.run(Bash, "echo '{' > result.json", "{}").await;
    assert!(ran.message().starts_with("the result is not JSON"), "{}", ran.message());
    let ran = Bench::new().await.run(Bash, "ln -s /etc/passwd result.json", "{}").await;
    assert!(ran.message().contains("not a plain file"), "{}", ran.message());
}

#[tokio::test]
async fn failures_carry_the_code_and_the_last_lines() {
    let ran = Bench::new().await.run(Bash, "echo before\nfalse\necho after", "{}").await;
    let error = ran.error();
    assert_eq!((error["name"].as_str(), error["exit_code"].as_i64()), (Some("ExecutionErr"), Some(1)));
    assert_eq!(error["message"], "exit code for \"bash\": 1, last log lines:\nbefore\n");
    let ran = Bench::new().await.run(Bash, "echo oops >&2; exit 42", "{}").await;
    assert_eq!(ran.error()["exit_code"], 42);
    assert_eq!(ran.log, "oops\n");
    let ran = Bench::new().await.run(Bash, "kill -9 $$", "{}").await;
    assert_eq!(ran.error()["exit_code"], 137);
    let ran = Bench::new().await.run(Bash, "if", "{}").await;
    assert_eq!(ran.error()["exit_code"], 2);
}

#[tokio::test]
async fn several_arguments_on_one_line() {
    let args = r#"{"x":"first","z":3}"#;
    let script = "x=\"$1\"; y=\"${2:-d}\"; local=1 # why\nexport z=$3; echo \"$x|$y|$z\"";
    assert_eq!(result(args, script).await, r#""first|d|3""#);
}

#[tokio::test]
async fn only_standard_output_is_a_result() {
    assert_eq!(result("{}", "echo 42; echo warn >&2").await, r#""42""#);
    assert_eq!(result("{}", "set -x; echo 42; true").await, r#""42""#);
    assert_eq!(result("{}", "echo 42; printf unended >/dev/stderr; printf 'a\\nb\\n' >&2").await, r#""42""#);
    let ran = Bench::new().await.run(Bash, "echo warn >&2", "{}").await;
    assert_eq!((ran.result(), ran.log.as_str()), ("null", "warn\n"));
    assert_eq!(result("{}", "exec 1>&-; echo warn >&2").await, "null");
    assert_eq!(result("{}", "exec 2>&-; echo 42").await, r#""42""#);
    assert_eq!(result("{}", "exec 2>&1; echo 42; echo one >&2").await, r#""one""#);
}

#[tokio::test]
async fn each_stream_keeps_its_own_order_in_whole_lines() {
    let script = "for n in {1..3000}; do printf o; echo $n; printf e >&2; echo $n >&2; done";
    let ran = Bench::new().await.run(Bash, script, "{}").await;
    for stream in ["o", "e"] {
        let lines: Vec<&str> = ran.log.lines().filter(|line| line.starts_with(stream)).collect();
        let expected: Vec<String> = (1..=3000).map(|n| format!("{stream}{n}")).collect();
        assert_eq!(lines, expected);
    }
    assert_eq!((ran.result(), ran.log.lines().count()), (r#""o3000""#, 6000));
}

#[tokio::test]
async fn lines_keep_their_order_when_each_waits_for_the_one_before() {
    let folder = tempfile::tempdir().unwrap();
    let go = Gate::new(folder.path());
    let wait = format!("read -r _ < {}", go.path.display());
    let script = format!("for n in {{1..5}}; do echo o$n; {wait}; echo e$n >&2; {wait}; done; echo end");
    let bench = Bench::off().await;
    let mut live = bench.live(invocation(Bash, &script, "{}"));
    let mut expected = String::new();
    for n in 1..=5 {
        for stream in ["o", "e"] {
            live.said(&format!("{stream}{n}")).await;
            expected.extend([stream, &n.to_string(), "\n"]);
            go.open();
        }
    }
    assert_eq!(live.end().await.log, expected + "end\n");
}

#[tokio::test]
async fn much_on_both_streams_at_once_arrives_whole() {
    let script = "yes out | head -c 204800 & yes err | head -c 204800 >&2 & wait";
    let ran = Bench::new().await.run(Bash, script, "{}").await;
    assert_eq!(ran.log.len(), 409_600);
    for line in ["out", "err"] {
        assert_eq!(ran.log.lines().filter(|found| *found == line).count(), 51_200);
    }
    assert_eq!((ran.result(), ran.outcome.output_bytes), (r#""out""#, 409_600));
}

#[tokio::test]
async fn a_secret_split_by_the_other_stream_is_struck() {
    let folder = tempfile::tempdir().unwrap();
    let go = Gate::new(folder.path());
    let script = format!(
        "t=\"$1\"; printf 'begun\\n%s' \"${{t:0:7}}\" >&2; read -r _ < {0}; echo between; read -r _ < {0}; echo \"${{t:7}}\" >&2; exit 1",
        go.path.display()
    );
    let mut split = invocation(Bash, &script, r#"{"t":"hkm_0123456789abcdef"}"#);
    split.around.mask = vec!["hkm_0123456789abcdef".to_owned()];
    let bench = Bench::off().await;
    let mut live = bench.live(split);
    for mark in ["begun", "between"] {
        live.said(mark).await;
        go.open();
    }
    let ran = live.end().await;
    assert_eq!(ran.log, "begun\nbetween\n********\n");
    assert!(ran.message().ends_with("begun\nbetween\n********\n"), "{}", ran.message());
}
