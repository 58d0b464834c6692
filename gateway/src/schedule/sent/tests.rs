use serde_json::{Value, json};

use super::*;

fn least() -> Value {
    json!({"path": "f/a/daily", "script_path": "f/a/x", "schedule": "0 0 12 * * *", "timezone": "UTC"})
}

fn with(more: &Value) -> ApiResult<Sent> {
    let mut sent = least();
    sent.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    Sent::parse(sent.to_string().as_bytes())
}

fn created(sent: &Sent) -> Schedule {
    with_defaults(sent, &DefaultHandlers::none(&"main".parse().unwrap()))
}

fn with_defaults(sent: &Sent, defaults: &DefaultHandlers) -> Schedule {
    sent.created(defaults, sent.path().unwrap(), "eve").unwrap()
}

#[test]
fn what_is_not_said_is_off_and_empty() {
    let schedule = created(&with(&json!({})).unwrap());
    assert!(!schedule.enabled && !schedule.is_flow && schedule.other.is_empty());
    assert_eq!((schedule.created_by.as_str(), schedule.settings.args), ("eve", None));
}

#[test]
fn what_asks_for_nothing_special_is_taken() {
    let sent = with(&json!({
        "ws_error_handler_muted": false, "dynamic_skip": "", "on_success": "", "on_success_extra_args": {},
        "on_failure": "", "preserve_permissioned_as": null, "is_flow": false, "cron_version": "v2", "retry": {}, "tag": null,
        "extra_perms": {}, "edited_by": "bob", "email": "bob@example.com", "labels": ["x"],
    }));
    let schedule = created(&sent.unwrap());
    let kept: Vec<&str> = schedule.other.keys().map(String::as_str).collect();
    assert_eq!(kept, ["dynamic_skip", "labels", "preserve_permissioned_as", "ws_error_handler_muted"]);
}

#[test]
fn an_edit_replaces_the_settings_and_keeps_what_it_does_not_name() {
    let before = created(&with(&json!({"enabled": true, "summary": "old", "args": {"a": 1}})).unwrap());
    let edit = json!({"schedule": "0 0 13 * * *", "timezone": "UTC", "summary": "new"});
    let after = Sent::parse(edit.to_string().as_bytes()).unwrap().edited(before.clone()).unwrap();
    assert!(after.enabled && after.script_path == before.script_path && after.path == before.path);
    assert_eq!((after.settings.summary.as_deref(), &after.settings.args), (Some("new"), &None));
    let moved = with(&json!({"path": "f/a/other"})).unwrap().edited(before).unwrap_err();
    assert!(moved.message.contains("f/a/other"), "{}", moved.message);
}

#[test]
fn what_is_wrong_is_named() {
    for (more, named) in [
        (json!({"path": 5}), "path: "),
        (json!({"path": "nonsense"}), "path: "),
        (json!({"script_path": "hub/1/x"}), "script_path: "),
        (json!({"schedule": null}), "schedule is missing"),
        (json!({"schedule": "* * * * *"}), "5 fields"),
        (json!({"schedule": "0 0 0 31 2 *"}), "never comes"),
        (json!({"timezone": "Mars/Olympus"}), "Mars/Olympus"),
        (json!({"cron_version": "v1"}), "cron_version: `v1`"),
        (json!({"is_flow": true}), "flows are not built yet"),
        (json!({"enabled": "yes"}), "enabled: "),
        (json!({"args": [1]}), "args: "),
        (json!({"on_failure": "flow/f/a/x"}), "on_failure: `flow/f/a/x`: flows are not built yet"),
        (json!({"on_recovery": "f/a/x"}), "on_recovery: `f/a/x` is not `script/`"),
        (json!({"on_success": "script/nonsense"}), "on_success: `script/nonsense` is not"),
        (json!({"on_success": 5}), "on_success: "),
        (json!({"on_failure_times": 0}), "on_failure_times: 0"),
        (json!({"on_failure_times": -1}), "on_failure_times: "),
        (json!({"on_failure_extra_args": 5}), "on_failure_extra_args: "),
        (json!({"on_recovery_times": 0}), "on_recovery_times: 0"),
        (json!({"paused_until": "tomorrow"}), "paused_until: "),
        (json!({"tag": "x".repeat(51)}), "tag: "),
        (json!({"retry": {"times": 3}}), "retry: unknown field `times`"),
        (json!({"retry": {"constant": {"attempts": 1001}}}), "1001 attempts"),
        (json!({"ws_error_handler_muted": true}), "`ws_error_handler_muted` is not supported yet"),
        (json!({"dynamic_skip": "f/a/skip"}), "`dynamic_skip` is not supported yet"),
        (json!({"on_success_extra_args": [1]}), "on_success_extra_args: "),
        (json!({"preserve_permissioned_as": true}), "`preserve_permissioned_as` is not supported yet"),
    ] {
        let error = with(&more).unwrap_err();
        assert!(error.message.contains(named), "{more}: {}", error.message);
    }
    for (body, named) in [
        ("", "invalid JSON"),
        ("[]", "invalid JSON"),
        (r#"{"path": "a", "path": "b"}"#, "duplicate key `path`"),
        (
            r#"{"timezone": "UTC", "schedule": "0 0 0 * * *", "args": {"a":1,"a":2}}"#,
            "args: duplicate key `a`",
        ),
    ] {
        let error = Sent::parse(body.as_bytes()).unwrap_err();
        assert!(error.message.contains(named), "{body}: {}", error.message);
    }
}

#[test]
fn a_new_schedule_gets_the_handlers_of_which_it_says_nothing() {
    let handler = |text: &str| catalog::DefaultHandler {
        handler: text.parse().unwrap(),
        times: Some(3),
        exact: Some(true),
        extra_args: None,
    };
    let defaults = DefaultHandlers {
        on_failure: Some(handler("script/f/a/alarm")),
        on_recovery: Some(handler("script/f/a/calm")),
        ..DefaultHandlers::none(&"main".parse().unwrap())
    };
    let sent = with(&json!({"on_recovery": "", "on_failure_times": 7, "on_success": null})).unwrap();
    let settings = with_defaults(&sent, &defaults).settings;
    assert_eq!(settings.on_failure, Some("script/f/a/alarm".parse().unwrap()));
    assert_eq!((settings.on_failure_times, settings.on_failure_exact), (Some(3), Some(true)));
    assert_eq!((settings.on_recovery, settings.on_success), (None, None));
    let own = with(&json!({"on_failure": "script/f/a/own", "on_failure_times": 7})).unwrap();
    let settings = with_defaults(&own, &defaults).settings;
    let said = (settings.on_failure, settings.on_failure_times, settings.on_failure_exact);
    assert_eq!(said, (Some("script/f/a/own".parse().unwrap()), Some(7), None));
}
