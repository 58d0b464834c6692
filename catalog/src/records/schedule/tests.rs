use serde_json::json;

use super::*;
use crate::CatalogError;
use crate::records::{decode, encode};

fn schedule() -> Schedule {
    let settings = r#"{"schedule": "0 0 12 * * *", "timezone": "Europe/Berlin", "args": {"b": 1.0, "a": 1e400},
        "on_failure": "script/f/demo/alarm", "on_failure_times": 2, "on_failure_exact": true,
        "on_failure_extra_args": {"to": "me"}, "on_recovery": "script/f/demo/calm", "on_recovery_times": 3,
        "on_recovery_extra_args": {}, "no_flow_overlap": true, "summary": "s", "description": "d", "tag": "gpu",
        "paused_until": "2026-12-01T00:00:00Z", "retry": {"constant": {"attempts": 2, "seconds": 5}}}"#;
    let other = r#"{"labels": ["x"], "invented_later": [1.0, null]}"#;
    Schedule {
        workspace: "demo".parse().unwrap(),
        path: "f/demo/daily".parse().unwrap(),
        script_path: "f/demo/x".parse().unwrap(),
        is_flow: false,
        enabled: true,
        settings: serde_json::from_str(settings).unwrap(),
        other: serde_json::from_str(other).unwrap(),
        edited_by: "eve".into(),
        edited_at_ms: 8,
        email: "eve@example.com".into(),
        permissioned_as: "u/eve".into(),
        created_by: "ada".into(),
        generation: "g".into(),
        life: "l".into(),
        grant: "Z3JhbnQ=".into(),
        grant_signature: "c2ln".into(),
    }
}

#[test]
fn what_was_sent_is_stored_to_the_character() {
    let bytes = encode(&schedule().key(), &schedule()).unwrap();
    let read = decode::<Schedule>(&schedule().key(), &bytes).unwrap();
    assert_eq!(read, schedule());
    assert_eq!(read.settings.args.unwrap().text(), r#"{"b": 1.0, "a": 1e400}"#);
    assert_eq!(read.other["invented_later"].text(), "[1.0, null]");
}

#[test]
fn it_is_kept_under_its_path() {
    assert_eq!(schedule().key().subject(), "$KV.CATALOG.schedule.demo.f=2Fdemo=2Fdaily");
}

#[test]
fn nulls_and_what_was_not_sent_are_the_same() {
    let least = json!({"schedule": "0 0 12 * * *", "timezone": "UTC"});
    let stored = encode(&schedule().key(), &schedule()).unwrap();
    let stored: BTreeMap<String, Json> = serde_json::from_slice(&stored).unwrap();
    let fields: BTreeMap<String, Json> = serde_json::from_str(stored["settings"].text()).unwrap();
    let mut nulls = least.clone();
    for field in fields.keys().filter(|field| least.get(field.as_str()).is_none()) {
        nulls[field] = json!(null);
    }
    let read =
        |value: &serde_json::Value| serde_json::from_str::<ScheduleSettings>(&value.to_string()).unwrap();
    assert_eq!(read(&nulls), read(&least));
    assert!(read(&least).args.is_none() && !read(&least).no_flow_overlap);
}

#[test]
fn handlers_are_scripts() {
    let handler: Handler = "script/f/demo/alarm".parse().unwrap();
    assert_eq!(
        (handler.script().as_str(), handler.to_string()),
        ("f/demo/alarm", "script/f/demo/alarm".into())
    );
    for (text, named) in [
        ("flow/f/demo/alarm", "flows are not built yet"),
        ("f/demo/alarm", "`f/demo/alarm` is not `script/`"),
        ("script/", "`script/` is not"),
        ("script/nonsense", "`script/nonsense` is not"),
        ("", "`` is not"),
    ] {
        let error = text.parse::<Handler>().unwrap_err().to_string();
        assert!(error.contains(named), "{text}: {error}");
    }
}

#[test]
fn a_policy_and_a_cadence_are_read_from_it() {
    let settings = schedule().settings;
    assert!(settings.retry_policy().unwrap().is_some());
    assert!(settings.cadence().is_ok());
    let odd = ScheduleSettings { retry: serde_json::from_str(r#"{"times": 3}"#).unwrap(), ..settings };
    assert!(odd.retry_policy().unwrap_err().to_string().contains("times"));
}

#[test]
fn a_schedule_of_an_unknown_form_is_refused() {
    let error = decode::<Schedule>(&schedule().key(), br#"{"v":1,"workspace":"demo"}"#).unwrap_err();
    assert!(matches!(error, CatalogError::Malformed { .. }), "{error}");
}

#[test]
fn defaults_replace_all_that_is_said_of_a_kind() {
    let workspace = schedule().workspace;
    let alarm = DefaultHandler {
        handler: "script/f/demo/page".parse().unwrap(),
        times: None,
        exact: None,
        extra_args: serde_json::from_str(r#"{"to": "all"}"#).unwrap(),
    };
    let defaults = DefaultHandlers::none(&workspace).with(HandlerKind::Failure, Some(alarm.clone()));
    let bytes = encode(&DefaultHandlers::key_of(&workspace), &defaults).unwrap();
    assert_eq!(decode::<DefaultHandlers>(&DefaultHandlers::key_of(&workspace), &bytes).unwrap(), defaults);

    let mut settings = schedule().settings;
    for kind in HandlerKind::ALL {
        settings.set_handler(kind, defaults.of(kind));
    }
    assert_eq!(settings.handler(HandlerKind::Failure), Some(&alarm.handler));
    assert_eq!(settings.extra_args(HandlerKind::Failure), alarm.extra_args.as_ref());
    assert_eq!((settings.on_failure_times, settings.on_failure_exact), (None, None));
    assert_eq!((settings.on_recovery, settings.on_recovery_times), (None, None));
    assert_eq!((settings.on_recovery_extra_args, settings.on_success), (None, None));
}
