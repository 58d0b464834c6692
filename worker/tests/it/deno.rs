use proto::Language::Deno;

use sandbox::Network;

use crate::bench::{Bench, invocation};

async fn result(args: &str, script: &str) -> String {
    Bench::new().await.run(Deno, script, args).await.result().to_owned()
}

#[tokio::test]
async fn returns_and_logs() {
    let ran = Bench::new().await.run(Deno, "export async function main(name: string, n = 2) { console.log('hi', name); console.error('err'); return {n, name}; }", r#"{"name":"é","x":1}"#).await;
    assert_eq!(ran.result(), r#"{"n":2,"name":"é"}"#);
    assert_eq!(ran.log, "hi é\nerr\n");
}

#[tokio::test]
async fn every_kind_of_parameter() {
    let script = "export const main = (a: string, {b, c = 2, ...r}: any, [d = 9] = [], e?: number, ...xs: number[]) => [a, b, c, r, d, e ?? 'none', xs]";
    assert_eq!(
        result(r#"{"xs":[1,2],"b":1,"a":"A","q":{"z":1}}"#, script).await,
        r#"["A",1,2,{"q":{"z":1}},9,"none",[1,2]]"#
    );
    assert_eq!(
        result(r#"{"anon2":[5],"e":null}"#, script).await,
        r#"[null,null,2,{"anon2":[5]},5,"none",[]]"#
    );
    assert_eq!(
        result("{}", "export function main({a} = {a: 1}, b = 'dflt') { return [a, b] }").await,
        r#"[1,"dflt"]"#
    );
    assert_eq!(
        result(
            r#"{"__proto__":{"x":1},"toString":2}"#,
            "export function main({...all}, constructor) { return [all, constructor ?? null] }"
        )
        .await,
        r#"[{"__proto__":{"x":1},"toString":2},null]"#
    );
}

#[tokio::test]
async fn dates_and_big_integers() {
    let script = "export function main(at: Date, n: bigint, s: bigint, o: {n: number}) { return [at.getTime(), n + 1n, s, typeof o.n] }";
    let args =
        r#"{"at":"2024-01-02T03:04:05Z","n":9223372036854775809,"s":"12345678901234567890","o":{"n":1}}"#;
    assert_eq!(
        result(args, script).await,
        r#"[1704164645000,"9223372036854775810","12345678901234567890","number"]"#
    );
    assert_eq!(
        result(" {\"b\": 1.0,\n\"a\":1e400}", "export const main = () => Deno.readTextFileSync('args.json')")
            .await,
        "\" {\\\"b\\\": 1.0,\\n\\\"a\\\":1e400}\""
    );
}

#[tokio::test]
async fn results_become_json() {
    for (value, json) in [
        ("undefined", "null"),
        ("NaN", "null"),
        ("[Infinity, undefined, 1n]", r#"[null,null,"1"]"#),
        ("() => 1", "null"),
        ("new Date(0)", r#""1970-01-01T00:00:00.000Z""#),
        ("new Map([['a', new Set([1])]])", r#"{"a":[1]}"#),
        ("new Map([[1, 2]])", "[[1,2]]"),
        ("new TextEncoder().encode('hi')", r#""aGk=""#),
        ("Promise.resolve(1)", "1"),
        ("'x\\ud800y\\\\ud800'", "\"x\u{fffd}y\\\\ud800\""),
        ("({toJSON() { return 5 }})", "5"),
        ("[1,2].values()", "[1,2]"),
        ("(async function* () { yield 1; yield {a: 2} })()", r#"[1,{"a":2}]"#),
        ("(function* () { yield 1 })()", "[1]"),
    ] {
        assert_eq!(
            result("{}", &format!("export function main(): any {{ return {value} }}")).await,
            json,
            "{value}"
        );
    }
}

#[tokio::test]
async fn errors_show_the_scripts_frames_only() {
    let error = Bench::new().await.run(Deno, "class Bad extends Error { name = 'Bad' }\nfunction inner(): never { throw new Bad('no é') }\nexport async function main() { await 1; inner() }", "{}").await.error();
    assert_eq!((error["name"].as_str(), error["message"].as_str()), (Some("Bad"), Some("no é")));
    let stack = error["stack"].as_str().unwrap();
    assert!(stack.contains("at inner (main.ts:2:") && stack.contains("at main (main.ts:3:"), "{stack}");
    assert!(!stack.contains("hookmill") && !stack.contains("file:"), "{stack}");
}

#[tokio::test]
async fn broken_scripts() {
    for (script, part) in [
        ("export const x = 1", "main function is missing"),
        ("", "main function is missing"),
        ("export const main = 3", "main function is missing"),
        ("export function main( {", "at main.ts:1:24"),
        ("export const main = ((f: any) => f)((a: any) => a)", "declare it as a function"),
        ("import './nothere.ts'; export function main() {}", "nothere.ts"),
        ("export function main() { const a: any = {}; a.a = a; return a }", "circular"),
        (
            "export async function main() { Promise.reject(new Error('left alone')); await new Promise(r => setTimeout(r, 60000)) }",
            "left alone",
        ),
        (
            "export async function main() { setTimeout(() => { throw new Error('thrown late') }); await new Promise(r => setTimeout(r, 60000)) }",
            "thrown late",
        ),
        ("export function main() { throw 'just text' }", "just text"),
        ("export function main() { throw null }", "null"),
    ] {
        let ran = Bench::new().await.run(Deno, script, "{}").await;
        assert!(ran.message().contains(part), "{script}: {}", ran.message());
    }
}

#[tokio::test]
async fn ending_before_main_returned_is_a_failure() {
    let error = Bench::new()
        .await
        .run(Deno, "export function main() { console.log('last words'); Deno.exit(0) }", "{}")
        .await
        .error();
    assert_eq!((error["name"].as_str(), error["exit_code"].as_i64()), (Some("ExecutionErr"), Some(0)));
    assert!(error["message"].as_str().unwrap().ends_with("last log lines:\nlast words\n"), "{error}");
    let error = Bench::new()
        .await
        .run(Deno, "export function main() { return new Promise(() => {}) }", "{}")
        .await
        .error();
    assert_eq!(error["name"], "ExecutionErr", "a main that never settles: {error}");
}

#[tokio::test]
async fn what_is_left_running_ends_with_main() {
    assert_eq!(result("{}", "export function main() { setInterval(() => {}, 1000); return 1 }").await, "1");
}

#[tokio::test]
async fn native_fetch_works() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let _ = std::io::Read::read(&mut stream, &mut [0; 4096]);
        std::io::Write::write_all(
            &mut stream,
            b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok",
        )
        .unwrap();
    });
    let args = serde_json::json!({ "url": url }).to_string();
    let script = "export async function main(url: string) { return await (await fetch(url)).text() }";
    let mut call = invocation(Deno, script, &args);
    // our server is on the loopback, which the internet is not
    call.limits.network = Network::Host;
    assert_eq!(Bench::new().await.invoke(call).await.result(), r#""ok""#);
}
