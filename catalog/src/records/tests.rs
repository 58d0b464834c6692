use proto::ScriptPath;
use serde_json::{Value, json};

use super::*;

fn key() -> Key {
    Key::global(Kind::Workspace, "demo")
}

fn workspace() -> Workspace {
    let id = "demo".parse().unwrap();
    Workspace {
        id,
        name: "Demo".into(),
        owner: "a@b.c".into(),
        archived: false,
        created_at_ms: 7,
        sandbox: None,
        retention_s: None,
    }
}

#[test]
fn a_record_carries_its_format_version() {
    let bytes = encode(&key(), &workspace()).unwrap();
    let stored: Value = serde_json::from_slice(&bytes).unwrap();
    assert_eq!(stored["v"], 1);
    assert_eq!(decode::<Workspace>(&key(), &bytes).unwrap(), workspace());
}

#[test]
fn a_workspace_from_before_it_had_a_sandbox_is_read_and_written_as_it_was() {
    let old = r#"{"v":1,"id":"demo","name":"Demo","owner":"a@b.c","archived":false,"created_at_ms":7}"#;
    let read = decode::<Workspace>(&key(), old.as_bytes()).unwrap();
    assert_eq!(read, workspace());
    assert_eq!(encode(&key(), &read).unwrap(), old.as_bytes());
}

#[test]
fn a_sandbox_that_is_none_makes_no_workspace() {
    let stored = |sandbox: &str| {
        let text = format!(
            r#"{{"v":1,"id":"demo","name":"Demo","owner":"a@b.c","created_at_ms":7,"sandbox":{sandbox}}}"#
        );
        decode::<Workspace>(&key(), text.as_bytes())
    };
    let bounded = stored(r#"{"memory":7,"network_max":"none"}"#).unwrap();
    assert_eq!(bounded.sandbox.unwrap().network_max, Some(Reach::None));
    assert_eq!(decode::<Workspace>(&key(), &encode(&key(), &bounded).unwrap()).unwrap(), bounded);
    // what cannot be understood bounds nothing less: nobody goes on without it
    for unknown in [r#"{"network_max":"moon"}"#, r#"{"invented_later":1}"#, "[]"] {
        let error = stored(unknown).unwrap_err();
        assert!(matches!(error, CatalogError::Malformed { .. }), "{unknown}: {error}");
    }
}

#[test]
fn a_newer_format_is_refused_by_name() {
    let error = decode::<Workspace>(&key(), br#"{"v":2,"anything":true}"#).unwrap_err();
    assert_eq!(error.to_string(), "workspace._.demo has format version 2, this program reads up to 1");
}

#[test]
fn garbage_is_refused() {
    for bytes in ["", "{}", "null", r#"{"v":1}"#, r#"{"v":"1"}"#, r#"{"v":1,"id":"NOT OK"}"#] {
        let error = decode::<Workspace>(&key(), bytes.as_bytes()).unwrap_err();
        assert!(matches!(error, CatalogError::Malformed { .. }), "{bytes}: {error}");
    }
}

#[test]
fn nothing_sent_is_lost() {
    let sent = json!({
        "path": "f/demo/x", "summary": "s", "content": "c", "language": "bash",
        "concurrent_limit": 3, "modules": {"a": {"content": "b"}}, "invented_later": [1, 2.5, null],
    });
    let script: NewScript = serde_json::from_value(sent.clone()).unwrap();
    assert_eq!(script.other.keys().collect::<Vec<_>>(), ["concurrent_limit", "modules", "invented_later"]);
    let mut again = serde_json::to_value(&script).unwrap();
    assert_eq!(again.as_object_mut().unwrap().remove("description"), Some(json!("")));
    assert_eq!(again, sent);
}

#[test]
fn null_texts_are_empty_and_the_required_are_required() {
    let mut sent =
        json!({"path": "f/demo/x", "summary": null, "description": null, "content": "c", "language": "bash"});
    let script: NewScript = serde_json::from_value(sent.clone()).unwrap();
    assert_eq!((script.summary.as_str(), script.description.as_str()), ("", ""));
    for field in ["path", "content", "language"] {
        let taken = sent.as_object_mut().unwrap().remove(field).unwrap();
        let error = serde_json::from_value::<NewScript>(sent.clone()).unwrap_err().to_string();
        assert!(error.contains(field), "{error}");
        sent[field] = taken;
    }
}

#[test]
fn a_head_without_a_tag_uses_its_language() {
    let path: ScriptPath = "f/demo/x".parse().unwrap();
    let head = json!({"workspace": "demo", "path": path, "hash": "00000000000000ff", "parent_hashes": [],
        "language": "deno", "created_by": "me", "created_at_ms": 1});
    let mut head: Head = serde_json::from_value(head).unwrap();
    assert_eq!(head.effective_tag(), "deno");
    head.tag = Some("gpu".parse().unwrap());
    assert_eq!(head.effective_tag(), "gpu");
}
