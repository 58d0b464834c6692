use proto::Language::{Bash, Deno, Go, Python3};
use worker::execute::StartError;

use crate::bench::{Bench, config, host, invocation};

#[tokio::test]
async fn languages_are_known_with_their_versions() {
    let bench = Bench::new().await;
    let languages = bench.executor.languages();
    for language in [Python3, Deno, Bash] {
        let (_, version) = languages.iter().find(|(found, _)| *found == language).unwrap();
        assert!(version.contains('.'), "{version}");
    }
    let error = bench.run(Go, "package inner", "{}").await.error();
    assert_eq!(error["message"], "this worker has no runtime for go");
}

#[tokio::test]
async fn a_configured_interpreter_must_run() {
    let work = tempfile::tempdir().unwrap();
    let mut wrong = config(work.path());
    wrong.python = Some("/bin/true".into());
    let error = worker::execute::Executor::new(&wrong, host()).await.unwrap_err();
    assert!(matches!(error, StartError::Interpreter { language: Python3, .. }), "{error}");
    let mut nothing = config(work.path());
    nothing.search_path = work.path().display().to_string();
    assert!(matches!(
        worker::execute::Executor::new(&nothing, host()).await,
        Err(StartError::NoLanguage { .. })
    ));
}

#[tokio::test]
async fn arguments_over_a_megabyte_arrive_whole() {
    let text = "é".repeat(2_000_000);
    let args = serde_json::json!({ "text": text }).to_string();
    let bench = Bench::new().await;
    assert_eq!(bench.run(Python3, "def main(text): return len(text)", &args).await.result(), "2000000");
    assert_eq!(
        bench.run(Deno, "export const main = (text: string) => text.length", &args).await.result(),
        "2000000"
    );
}

#[tokio::test]
async fn a_script_too_large_for_the_parser_says_so() {
    let script = format!("export function main() {{}}\n//{}", "x".repeat(300_000));
    let message = Bench::new().await.run(Deno, &script, "{}").await.message();
    assert!(message.contains("the limit for TypeScript is 262144 bytes"), "{message}");
}

#[tokio::test]
async fn an_impossible_environment_is_an_error_not_a_hang() {
    let mut broken = invocation(Bash, "true", "{}");
    broken.around.env.push(("A\0B".to_owned(), "x".to_owned()));
    let ran = Bench::new().await.invoke(broken).await;
    assert!(ran.message().contains("NUL byte"), "{}", ran.message());
    let mut huge = invocation(Bash, "true", "{}");
    huge.around.env.push(("A".to_owned(), "x".repeat(3_000_000)));
    let ran = Bench::new().await.invoke(huge).await;
    assert!(ran.message().contains("could not be started"), "{}", ran.message());
}
