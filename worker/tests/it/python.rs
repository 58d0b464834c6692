use proto::Language::Python3;
use serde_json::Value;

use crate::bench::{Bench, invocation};

async fn result(args: &str, script: &str) -> String {
    Bench::new().await.run(Python3, script, args).await.result().to_owned()
}

#[tokio::test]
async fn returns_and_logs() {
    let ran = Bench::new()
        .await
        .run(
            Python3,
            "def main(name: str, n=2):\n    print('hi', name)\n    return {'n': n, 'name': name}\n",
            r#"{"name":"é😀","other":1}"#,
        )
        .await;
    assert_eq!(ran.result(), r#"{"n":2,"name":"é😀"}"#);
    assert_eq!(ran.log, "hi é😀\n");
    assert!(ran.outcome.wall.unwrap() > std::time::Duration::ZERO);
    assert!(ran.outcome.mem_peak_kib > 1000, "{}", ran.outcome.mem_peak_kib);
}

#[tokio::test]
async fn stdout_and_stderr_keep_their_order() {
    let script = "import sys\ndef main():\n    for n in range(50):\n        print(n)\n        print(n, file=sys.stderr)\n    print('end', end='')\n";
    let ran = Bench::new().await.run(Python3, script, "{}").await;
    let wanted: String = (0..50).flat_map(|n| [n, n]).map(|n| n.to_string() + "\n").collect();
    assert_eq!(ran.log, wanted + "end");
    assert_eq!(ran.result(), "null");
}

#[tokio::test]
async fn arguments_bind_by_name() {
    let kinds = "def main(a, b=2, /, c=3, *args, d, e=5, **rest):\n    return [a, b, c, args, d, e, rest]";
    assert_eq!(result(r#"{"z":0,"d":4,"a":1,"y":null}"#, kinds).await, r#"[1,2,3,[],4,5,{"z":0,"y":null}]"#);
    assert_eq!(result(r#"{"c":9,"d":4,"b":8,"a":1}"#, kinds).await, r"[1,8,9,[],4,5,{}]");
    let wrapped = "import functools\ndef twice(f):\n    @functools.wraps(f)\n    def g(*a, **k): return [f(*a, **k)] * 2\n    return g\n@twice\ndef main(a, b=1): return a + b";
    assert_eq!(result(r#"{"a":1,"x":3}"#, wrapped).await, "[2,2]");
    assert_eq!(result(r#"{"a":1,"x":3}"#, "class main:\n    def __new__(cls, a): return a").await, "1");
}

#[tokio::test]
async fn missing_argument_is_pythons_own_error() {
    let error = Bench::new().await.run(Python3, "def main(a, b): return a", r#"{"b":1}"#).await.error();
    assert_eq!(error["name"], "TypeError");
    assert_eq!(error["message"], "main() missing 1 required positional argument: 'a'");
}

#[tokio::test]
async fn exact_numbers() {
    let args = r#"{"f":1.0,"e":1e400,"n":9223372036854775809,"big":123456789012345678901234567890}"#;
    let script = "def main(f, e, n, big): return [repr(f), repr(e), n, big, f, 10**5000 > 0]";
    assert_eq!(
        result(args, script).await,
        r#"["1.0","inf",9223372036854775809,123456789012345678901234567890,1.0,true]"#
    );
    assert_eq!(result("{}", "def main(): return 10**5000").await.len(), 5001);
    let raw = "def main(**k): return open('args.json').read()";
    assert_eq!(
        serde_json::from_str::<String>(&result(" {\"b\": 1.0,\n\"a\":1e400}", raw).await).unwrap(),
        " {\"b\": 1.0,\n\"a\":1e400}"
    );
}

#[tokio::test]
async fn annotated_conversions() {
    let script = "from datetime import datetime, date\nfrom typing import Optional\nimport datetime as dt\n\
        def main(a: bytes, b: datetime, c: Optional[bytes] = None, d: 'bytes | None' = None, e: 'dt.datetime' = None, f: date = None, g: str | bytes = ''):\n\
        \x20   return [repr(a), b.year, repr(c), repr(d), e, f.day, g]";
    let args =
        r#"{"a":"aGk=","b":"2024-05-06T07:08:09Z","c":"aGk=","d":null,"e":"x","f":"2024-05-06","g":"aGk="}"#;
    assert_eq!(result(args, script).await, r#"["b'hi'",2024,"b'hi'","None","x",6,"aGk="]"#);
    let error = Bench::new()
        .await
        .run(Python3, "from datetime import datetime\ndef main(at: datetime): pass", r#"{"at":"soon"}"#)
        .await;
    assert!(error.message().starts_with("argument `at`:"), "{}", error.message());
}

#[tokio::test]
async fn results_become_json() {
    let script = r"
import dataclasses, enum, decimal, datetime, uuid, collections
@dataclasses.dataclass
class D:
    x: int
    y: float = float('nan')
class E(enum.Enum):
    A = 'a'
def main():
    nan, inf = float('nan'), float('inf')
    return {'nan': [nan, {'i': -inf}], nan: 1, 2: 'two', True: 't', None: 'n', 1.5: 'f', (1, 2): 'tuple', E.A: E.A,
      'd': D(1), 'b': b'hi', 'ba': bytearray(b'hi'), 'set': {1}, 't': (1, (2,)), 'dec': decimal.Decimal('1.10'),
      'at': datetime.datetime(2024, 1, 2, 3, 4, 5), 'on': datetime.date(2024, 1, 2), 'od': collections.OrderedDict(a=1),
      'it': map(str, [1]), 'none': None}
";
    let wanted = r#"{"nan":[null,{"i":null}],"null":"n","2":"two","true":"t","1.5":"f","(1, 2)":"tuple","a":"a","d":{"x":1,"y":null},"b":"aGk=","ba":"aGk=","set":[1],"t":[1,[2]],"dec":"1.10","at":"2024-01-02T03:04:05","on":"2024-01-02","od":{"a":1},"it":["1"],"none":null}"#;
    assert_eq!(result("{}", script).await, wanted);
}

#[tokio::test]
async fn awkward_results_never_break_the_file() {
    assert_eq!(
        result("{}", "def main(): return ['\\ud83d\\ude00', 'x\\udc80y', {'\\ud800': 1}]").await,
        "[\"😀\",\"x\u{fffd}y\",{\"\u{fffd}\":1}]"
    );
    for (script, part) in [
        ("def main():\n    a = []\n    a.append(a)\n    return a", "refers to itself"),
        ("def main():\n    a = {}\n    a['a'] = [a]\n    return a", "refers to itself"),
        ("def main():\n    a = []\n    for _ in range(100000): a = [a]\n    return a", "recursion"),
        ("class X:\n    def __str__(self): raise KeyError('no')\ndef main(): return X()", "no"),
    ] {
        let ran = Bench::new().await.run(Python3, script, "{}").await;
        assert!(ran.message().contains(part), "{script}: {}", ran.message());
    }
}

#[tokio::test]
async fn async_and_generators() {
    assert_eq!(
        result(r#"{"a":1}"#, "import asyncio\nasync def main(a):\n    await asyncio.sleep(0)\n    return a")
            .await,
        "1"
    );
    assert_eq!(result("{}", "def main():\n    yield 1\n    yield 'b'").await, r#"[1,"b"]"#);
    assert_eq!(result("{}", "async def main():\n    yield 1\n    yield 2").await, "[1,2]");
}

#[tokio::test]
async fn errors_show_the_scripts_frames_only() {
    let script = "def inner(x):\n    return 1 / x\n\ndef main():\n    try:\n        inner(0)\n    except ZeroDivisionError as e:\n        raise ValueError('bad é') from e\n";
    let error = Bench::new().await.run(Python3, script, "{}").await.error();
    assert_eq!(
        (error["name"].as_str().unwrap(), error["message"].as_str().unwrap()),
        ("ValueError", "bad é")
    );
    let stack = error["stack"].as_str().unwrap();
    assert!(
        stack.contains("File \"my_script.py\", line 2, in inner") && stack.contains("return 1 / x"),
        "{stack}"
    );
    assert!(stack.contains("line 8, in main") && !stack.contains("hookmill"), "{stack}");
    assert_eq!(error.get("exit_code"), None);
}

#[tokio::test]
async fn broken_scripts() {
    for (script, name, message) in [
        ("x = 1", "AttributeError", "main function is missing: the script defines no `main`"),
        ("", "AttributeError", "main function is missing: the script defines no `main`"),
        ("main = 3", "TypeError", "`main` is not a function"),
        ("def main(:", "SyntaxError", "invalid syntax (my_script.py, line 1)"),
        ("import nothere\ndef main(): pass", "ModuleNotFoundError", "No module named 'nothere'"),
        ("def main(): raise KeyboardInterrupt('x')", "KeyboardInterrupt", "x"),
    ] {
        let error = Bench::new().await.run(Python3, script, "{}").await.error();
        assert_eq!(
            (&error["name"], &error["message"]),
            (&Value::from(name), &Value::from(message)),
            "{script}"
        );
    }
}

#[tokio::test]
async fn ending_before_main_returned_is_a_failure() {
    for (script, code) in [
        ("import sys\ndef main():\n    print('last words')\n    sys.exit(3)", 3),
        ("def main():\n    print('last words')\n    exit(0)", 0),
        ("import os, sys\ndef main():\n    print('last words')\n    os._exit(0)", 0),
        ("import os\ndef main():\n    print('last words')\n    os.abort()", 134),
        ("print('last words')\nraise SystemExit(4)", 4),
    ] {
        let error = Bench::new().await.run(Python3, script, "{}").await.error();
        assert_eq!(
            (error["name"].as_str(), error["exit_code"].as_i64()),
            (Some("ExecutionErr"), Some(code)),
            "{error}"
        );
        let message = error["message"].as_str().unwrap();
        assert!(message.starts_with(&format!("exit code for \"python3\": {code}")), "{message}");
        assert!(message.ends_with("last log lines:\nlast words\n"), "{message}");
    }
}

#[tokio::test]
async fn a_fork_that_returns_gives_no_second_result() {
    let script = "import os\ndef main():\n    pid = os.fork()\n    if pid: os.waitpid(pid, 0)\n    return 'parent' if pid else 'child'";
    assert_eq!(result("{}", script).await, r#""parent""#);
}

#[tokio::test]
async fn environment_is_what_was_given() {
    let mut wanted = invocation(
        Python3,
        "import os, sys\ndef main(): return [dict(os.environ), sys.path, __name__, os.getcwd()]",
        "{}",
    );
    wanted.around.env.push(("TZ".into(), "Asia/Tokyo".into()));
    let ran = Bench::new().await.invoke(wanted).await;
    let value: Value = serde_json::from_str(ran.result()).unwrap();
    let mut keys: Vec<&String> =
        value[0].as_object().unwrap().keys().filter(|key| *key != "LC_CTYPE").collect();
    keys.sort();
    assert_eq!(keys, ["HOME", "PATH", "TMPDIR", "TZ", "WM_WORKSPACE"]);
    assert_eq!(value[0]["TZ"], "Asia/Tokyo");
    assert_eq!(value[0]["HOME"], value[3]);
    assert!(
        value[1].as_array().unwrap().iter().all(|path| path.as_str().unwrap().contains("python")),
        "{}",
        value[1]
    );
    assert_eq!(value[2], "my_script");
}

#[tokio::test]
async fn configured_packages_are_importable_after_the_standard_library() {
    let work = tempfile::tempdir().unwrap();
    let packages = work.path().join("sdk");
    std::fs::create_dir(&packages).unwrap();
    std::fs::write(packages.join("wmillish.py"), "x = 7").unwrap();
    std::fs::write(packages.join("json.py"), "raise Exception('shadowed')").unwrap();
    let mut config = crate::bench::config(work.path());
    config.python_path = vec![packages];
    let executor = worker::execute::Executor::new(&config, crate::bench::host()).await.unwrap();
    let bench = Bench { executor, work };
    assert_eq!(
        bench.run(Python3, "import wmillish, json\ndef main(): return wmillish.x", "{}").await.result(),
        "7"
    );
}

#[tokio::test]
async fn output_keeps_its_exact_order() {
    let script = "import os\ndef main():\n    for n in range(200):\n        os.write(1, b'o%d\\n' % n)\n        os.write(2, b'e%d\\n' % n)";
    let ran = Bench::new().await.run(Python3, script, "{}").await;
    let lines: Vec<String> = (0..200).flat_map(|n| [format!("o{n}"), format!("e{n}")]).collect();
    assert_eq!(ran.log.lines().collect::<Vec<_>>(), lines);
}
