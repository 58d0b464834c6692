//! Rights, written from contract 1.8, 5.4, 5.5 and the design's "rights before folders exist".

use super::*;

fn path(text: &str) -> ScriptPath {
    text.parse().unwrap()
}

fn member(scopes: &[&str]) -> Rights {
    Rights {
        username: "eve".into(),
        email: "eve@example.com".into(),
        is_admin: false,
        is_operator: false,
        read_only: false,
        scopes: Scopes::parse(scopes).unwrap(),
    }
}

fn admin(scopes: &[&str]) -> Rights {
    Rights { is_admin: true, ..member(scopes) }
}

#[test]
fn who_may_run_read_and_write_what() {
    // (path, member runs, member reads, member writes)
    let table =
        [("f/demo/x", true, true, false), ("u/eve/x", true, true, true), ("u/bob/x", false, false, false)];
    for (text, runs, reads, writes) in table {
        let path = path(text);
        assert_eq!(member(&[]).permits(Action::RunScript(&path)).is_ok(), runs, "run {text}");
        assert_eq!(member(&[]).permits(Action::ReadScript(&path)).is_ok(), reads, "read {text}");
        assert_eq!(member(&[]).permits(Action::WriteScript(&path)).is_ok(), writes, "write {text}");
        assert_eq!(member(&[]).permits(Action::ReadSchedule(&path)).is_ok(), reads, "read schedule {text}");
        assert_eq!(
            member(&[]).permits(Action::WriteSchedule(&path)).is_ok(),
            writes,
            "write schedule {text}"
        );
        for action in [
            Action::RunScript(&path),
            Action::ReadScript(&path),
            Action::WriteScript(&path),
            Action::ReadSchedule(&path),
            Action::WriteSchedule(&path),
        ] {
            assert!(admin(&[]).permits(action).is_ok(), "admin {action:?}");
        }
    }
}

#[test]
fn operators_run_but_do_not_write() {
    let own = path("u/eve/x");
    let operator = Rights { is_operator: true, ..member(&[]) };
    assert!(operator.permits(Action::RunScript(&own)).is_ok());
    assert!(operator.permits(Action::WriteScript(&own)).is_err());
    assert!(operator.permits(Action::ReadSchedule(&own)).is_ok());
    assert_eq!(
        operator.permits(Action::WriteSchedule(&own)).unwrap_err().message,
        "operators may not write schedules"
    );
}

#[test]
fn read_only_tokens_change_nothing() {
    let own = path("u/eve/x");
    let token = Rights { read_only: true, ..admin(&[]) };
    for action in [Action::ReadScript(&own), Action::ReadSchedule(&own), Action::ListSchedules] {
        assert!(token.permits(action).is_ok(), "{action:?}");
    }
    for action in [
        Action::RunScript(&own),
        Action::WriteScript(&own),
        Action::WriteSchedule(&own),
        Action::ManageTokens,
    ] {
        assert!(token.permits(action).is_err(), "{action:?}");
    }
}

#[test]
fn members_read_the_workspace_and_admins_change_it() {
    let read_only = Rights { read_only: true, ..admin(&[]) };
    // (who, reads, changes)
    let table = [
        (member(&[]), true, false),
        (Rights { is_operator: true, ..member(&[]) }, true, false),
        (admin(&[]), true, true),
        (read_only, true, false),
        (admin(&["workspaces:write"]), true, true),
        (admin(&["workspaces:read"]), true, false),
        (member(&["workspaces:write"]), true, false),
        (admin(&["jobs:run", "scripts:write"]), false, false),
    ];
    for (rights, reads, changes) in table {
        assert_eq!(rights.permits(Action::ReadWorkspace).is_ok(), reads, "{rights:?}");
        assert_eq!(rights.permits(Action::WriteWorkspace).is_ok(), changes, "{rights:?}");
    }
    let refusal = member(&[]).permits(Action::WriteWorkspace).unwrap_err();
    assert_eq!(refusal.message, "Require Admin privileges for the settings of the workspace");
}

#[test]
fn scopes_narrow_runs() {
    // (scope, runs f/demo/x, runs f/other/y)
    let table = [
        ("jobs:run", true, true),
        ("jobs:run:scripts", true, true),
        ("jobs:run:scripts:f/demo/x", true, false),
        ("jobs:run:scripts:f/demo/*", true, false),
        ("jobs:run:scripts:f/other/y,f/demo/x", true, true),
        ("jobs:run:scripts:*", true, true),
        ("jobs:run:scripts:f/demo", false, false),
        ("jobs:run:scripts:f/demo/xx", false, false),
        ("jobs:run:flows", false, false),
        ("jobs:run:flows:f/demo/x", false, false),
        ("run:script/f/demo/x", true, false),
        ("run:flow/f/demo/x", false, false),
        ("scripts:write", false, false),
        ("jobs:read", false, false),
    ];
    for (scope, first, second) in table {
        assert_eq!(member(&[scope]).permits(Action::RunScript(&path("f/demo/x"))).is_ok(), first, "{scope}");
        assert_eq!(
            member(&[scope]).permits(Action::RunScript(&path("f/other/y"))).is_ok(),
            second,
            "{scope}"
        );
    }
}

#[test]
fn a_webhook_token_runs_its_script_reads_its_runs_and_nothing_else() {
    let token = admin(&["jobs:run:scripts:f/demo/x"]);
    let (own, other) = (path("f/demo/x"), path("f/demo/y"));
    let mine = JobOwner { path: &own, email: "eve@example.com" };
    assert!(token.is_webhook_token());
    for action in [Action::RunScript(&own), Action::ReadJob(mine), Action::CancelJob(mine), Action::ReadSelf]
    {
        assert!(token.permits(action).is_ok(), "{action:?}");
    }
    let someone_elses = JobOwner { path: &own, email: "bob@example.com" };
    let other_script = JobOwner { path: &other, email: "eve@example.com" };
    let refused = [
        Action::RunScript(&other),
        Action::ReadScript(&own),
        Action::WriteScript(&own),
        Action::ReadSchedule(&own),
        Action::WriteSchedule(&own),
        Action::ListSchedules,
        Action::ReadJob(someone_elses),
        Action::ReadJob(other_script),
        Action::ListJobs,
        Action::ManageTokens,
    ];
    for action in refused {
        assert!(token.permits(action).is_err(), "{action:?}");
    }
    let refusal = token.permits(Action::RunScript(&other)).unwrap_err();
    assert_eq!(refusal.message, "Access denied. Required scope: jobs:run:scripts:f/demo/y");
}

#[test]
fn webhook_tokens_are_known_by_their_scopes() {
    for (scopes, webhook) in [
        (&[][..], false),
        (&["jobs:run"][..], true),
        (&["jobs:run:flows:f/a/b", "jobs:run:scripts"][..], true),
        (&["jobs:run", "scripts:read"][..], false),
    ] {
        assert_eq!(member(scopes).is_webhook_token(), webhook, "{scopes:?}");
    }
}

#[test]
fn write_implies_read_and_domains_do_not_mix() {
    let script = path("u/eve/x");
    assert!(member(&["scripts:write"]).permits(Action::ReadScript(&script)).is_ok());
    assert!(member(&["scripts:read"]).permits(Action::WriteScript(&script)).is_err());
    assert!(member(&["flows:write"]).permits(Action::ReadScript(&script)).is_err());
    assert!(member(&["scripts:read:u/eve/*"]).permits(Action::ReadScript(&script)).is_ok());
    assert!(member(&["users:write"]).permits(Action::ManageTokens).is_ok());
}

#[test]
fn schedules_have_scopes_of_their_own() {
    let (own, other) = (path("u/eve/x"), path("u/eve/y"));
    // (scope, reads u/eve/x, writes it, writes u/eve/y, lists)
    let table = [
        ("schedules:read", true, false, false, true),
        ("schedules:write", true, true, true, true),
        ("schedules:write:u/eve/x", true, true, false, false),
        ("schedules:read:u/eve/*", true, false, false, false),
        ("scripts:write", false, false, false, false),
        ("jobs:run", false, false, false, false),
    ];
    for (scope, reads, writes, writes_other, lists) in table {
        let holder = member(&[scope]);
        assert_eq!(holder.permits(Action::ReadSchedule(&own)).is_ok(), reads, "{scope}");
        assert_eq!(holder.permits(Action::WriteSchedule(&own)).is_ok(), writes, "{scope}");
        assert_eq!(holder.permits(Action::WriteSchedule(&other)).is_ok(), writes_other, "{scope}");
        assert_eq!(holder.permits(Action::ListSchedules).is_ok(), lists, "{scope}");
        assert!(scope == "jobs:run" || holder.permits(Action::RunScript(&own)).is_err(), "{scope}");
    }
    let refusal = member(&["jobs:run"]).permits(Action::WriteSchedule(&own)).unwrap_err();
    assert_eq!(refusal.message, "Access denied. Required scope: schedules:write:u/eve/x");
}

#[test]
fn jobs_of_others() {
    let (folder, bobs) = (path("f/demo/x"), path("u/bob/x"));
    let in_folder = JobOwner { path: &folder, email: "bob@example.com" };
    let in_bobs = JobOwner { path: &bobs, email: "bob@example.com" };
    let mine_in_bobs = JobOwner { path: &bobs, email: "eve@example.com" };
    assert!(member(&[]).permits(Action::ReadJob(in_folder)).is_ok());
    assert!(member(&[]).permits(Action::CancelJob(in_folder)).is_err());
    assert!(member(&[]).permits(Action::ReadJob(in_bobs)).is_err());
    assert!(member(&[]).permits(Action::ReadJob(mine_in_bobs)).is_ok());
    assert!(admin(&[]).permits(Action::CancelJob(in_bobs)).is_ok());
}

#[test]
fn malformed_scopes_are_refused() {
    let bad = [
        "",
        "jobs",
        "jobs:",
        ":run",
        "jobs:fly",
        "jobs:run:apps",
        "jobs:run:scripts:",
        "jobs:run:scripts:f/*/x",
        "jobs:run:scripts:/*",
        "JOBS:run",
        "jobs:run:",
        "scripts:read:",
        "jobs:run:f/demo/x",
    ];
    for text in bad {
        assert!(Scopes::parse(&[text]).is_err(), "{text:?}");
    }
}

#[test]
fn tokens_only_make_narrower_tokens() {
    // (narrow, wide, within)
    let table: [(&[&str], &[&str], bool); 10] = [
        (&[], &[], true),
        (&["jobs:run"], &[], true),
        (&[], &["jobs:run"], false),
        (&["jobs:run:scripts:f/a/b"], &["jobs:run"], true),
        (&["jobs:run:scripts:f/a/b"], &["jobs:run:scripts:f/a/*"], true),
        (&["jobs:run:scripts:f/a/*"], &["jobs:run:scripts:f/a/*"], true),
        (&["jobs:run:scripts"], &["jobs:run:scripts:f/a/*"], false),
        (&["jobs:run:flows"], &["jobs:run:scripts"], false),
        (&["scripts:read"], &["scripts:write"], true),
        (&["scripts:write"], &["scripts:read"], false),
    ];
    for (narrow, wide, within) in table {
        let answer = Scopes::parse(narrow).unwrap().within(&Scopes::parse(wide).unwrap());
        assert_eq!(answer, within, "{narrow:?} within {wide:?}");
    }
}
