use proto::Language::Bash;

use crate::bench::Bench;

async fn result(args: &str, script: &str) -> String {
    Bench::new().run(Bash, script, args).await.result().to_owned()
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
    let ran = Bench::new().run(Bash, "a=\"$1\"", r#"{"a":"x\u0000y"}"#).await;
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
    let ran = Bench::new().run(Bash, "echo '{' > result.json", "{}").await;
    assert!(ran.message().starts_with("the result is not JSON"), "{}", ran.message());
    let ran = Bench::new().run(Bash, "ln -s /etc/passwd result.json", "{}").await;
    assert!(ran.message().contains("not a plain file"), "{}", ran.message());
}

#[tokio::test]
async fn failures_carry_the_code_and_the_last_lines() {
    let ran = Bench::new().run(Bash, "echo before\nfalse\necho after", "{}").await;
    let error = ran.error();
    assert_eq!((error["name"].as_str(), error["exit_code"].as_i64()), (Some("ExecutionErr"), Some(1)));
    assert_eq!(error["message"], "exit code for \"bash\": 1, last log lines:\nbefore\n");
    let ran = Bench::new().run(Bash, "echo oops >&2; exit 42", "{}").await;
    assert_eq!(ran.error()["exit_code"], 42);
    assert_eq!(ran.log, "oops\n");
    let ran = Bench::new().run(Bash, "kill -9 $$", "{}").await;
    assert_eq!(ran.error()["exit_code"], 137);
    let ran = Bench::new().run(Bash, "if", "{}").await;
    assert_eq!(ran.error()["exit_code"], 2);
}

#[tokio::test]
async fn output_keeps_its_order() {
    let ran = Bench::new().run(Bash, "for n in 1 2 3 4 5; do echo o$n; echo e$n >&2; done", "{}").await;
    assert_eq!(ran.log, "o1\ne1\no2\ne2\no3\ne3\no4\ne4\no5\ne5\n");
}
