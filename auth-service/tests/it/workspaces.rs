//! What a workspace asks of its scripts' sandboxes: who changes it, and that workers are told.

use catalog::{Catalog, WorkspaceSandbox, kinds};
use proto::auth::IssueJobTokenRequest;
use tonic::Code;

use crate::nats::BOUND;
use crate::trail::stored;
use crate::world::{Service, World, demo, job, job_credential, opaque, refused, until, wish};

const NONE: &str = r#"{"network":"none","network_max":"none"}"#;

#[tokio::test]
async fn the_next_job_is_told_and_no_other_workspace() {
    let world = World::new().await;
    let service = &world.service;
    let grant = service.grant(&world.admin).await;
    assert_eq!(service.told(&grant).await, "");
    for sandbox in [NONE, r#"{"memory":33554432}"#, ""] {
        // at once, without waiting for a watch
        service.edit(opaque(&world.admin), "demo", sandbox).await.unwrap();
        assert_eq!(service.told(&grant).await, sandbox);
    }
    service.edit(opaque(&world.admin), "demo", "{}").await.unwrap();
    assert_eq!(service.told(&grant).await, "", "what says nothing is none");
    service.edit(opaque(&world.admin), "admins", NONE).await.unwrap();
    assert_eq!(service.told(&grant).await, "");
    let elsewhere = IssueJobTokenRequest { workspace: "nowhere".into(), ..job(grant) };
    refused(service.issue(elsewhere).await, Code::PermissionDenied, "nowhere does not exist");
}

#[tokio::test]
async fn another_service_tells_it_when_its_watch_has_it() {
    let world = World::new().await;
    let other = Service::start(&world.nats).await;
    world.service.edit(opaque(&world.admin), "demo", NONE).await.unwrap();
    let grant = other.grant(&world.admin).await;
    let told = async {
        while other.told(&grant).await != NONE {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(BOUND, told).await.expect("the watch brings it in time");
}

#[tokio::test]
async fn only_its_admins_change_it() {
    let world = World::new().await;
    world.workspace("other", false).await;
    world.workspace("attic", true).await;
    let service = &world.service;
    let chief = world.person("chief", |_, user, _| user.is_admin = true).await;
    service.edit(opaque(&chief), "demo", NONE).await.unwrap();
    let ada = world.person("ada", |_, _, _| {}).await;
    let reader =
        world.person("reader", |_, user, token| (user.is_admin, token.read_only) = (true, true)).await;
    let narrow = world.person("narrow", |_, user, token| {
        (user.is_admin, token.scopes) = (true, vec!["workspaces:read".into()]);
    });
    let narrow = narrow.await;
    let bound = world.person("bound", |account, _, token| {
        (account.super_admin, token.workspace) = (true, Some("other".parse().unwrap()));
    });
    let bound = bound.await;
    let off = world.person("off", |_, user, _| (user.is_admin, user.disabled) = (true, true)).await;
    for (caller, workspace, code, part) in [
        (&ada, "demo", Code::PermissionDenied, "Require Admin privileges"),
        (&reader, "demo", Code::PermissionDenied, "read-only"),
        (&narrow, "demo", Code::PermissionDenied, "workspaces:write"),
        (&bound, "demo", Code::PermissionDenied, "another workspace"),
        (&off, "demo", Code::PermissionDenied, "disabled"),
        (&chief, "other", Code::PermissionDenied, "no member"),
        (&world.admin, "attic", Code::NotFound, "no workspace attic"),
        (&world.admin, "nowhere", Code::NotFound, "no workspace nowhere"),
        (&world.admin, "NOT ONE", Code::InvalidArgument, "workspace"),
    ] {
        refused(service.edit(opaque(caller), workspace, "").await, code, part);
    }
    let grant = service.grant(&chief).await;
    assert_eq!(service.told(&grant).await, NONE, "none of them changed anything");
    service.edit(opaque(&bound), "other", NONE).await.unwrap();
}

#[tokio::test]
async fn a_script_does_not_lift_what_bounds_it() {
    let world = World::new().await;
    let service = &world.service;
    let token = service.job_token(&world.admin).await;
    let mut wish = wish(job_credential(&token));
    wish.expires_at_ms = catalog::now_ms() + 60_000;
    let made = service.create(wish.clone()).await.unwrap();
    wish.caller = Some(opaque(&made));
    let made_of_made = service.create(wish).await.unwrap();
    for caller in [job_credential(&token), opaque(&made), opaque(&made_of_made)] {
        refused(service.edit(caller, "demo", NONE).await, Code::PermissionDenied, "a job's token");
    }
}

#[tokio::test]
async fn settings_that_are_none_are_refused_by_name() {
    let world = World::new().await;
    for (sandbox, part) in [
        (r#"{"memroy":1}"#, "memroy"),
        (r#"{"memory":0}"#, "memory: invalid value: integer `0`"),
        (r#"{"memory":-1}"#, "memory: invalid value: integer `-1`"),
        (r#"{"processes":18446744073709551616}"#, "processes: "),
        (r#"{"network":"all"}"#, "network: unknown variant `all`"),
        (r#"{"network":"host","network_max":"internet"}"#, "host is wider than network_max, internet"),
        ("[]", "sandbox: "),
        ("{", "EOF"),
    ] {
        let edited = world.service.edit(opaque(&world.admin), "demo", sandbox).await;
        refused(edited, Code::InvalidArgument, part);
    }
}

#[tokio::test]
async fn a_change_keeps_the_rest_of_the_workspace_and_is_on_the_trail() {
    let world = World::new().await;
    let before = world.catalog.workspace(&demo()).await.unwrap().unwrap();
    world.service.edit(opaque(&world.admin), "demo", NONE).await.unwrap();
    let sandbox: Option<WorkspaceSandbox> = serde_json::from_str(NONE).unwrap();
    let gateway = Catalog::open(world.nats.broker("gateway").await, kinds::GATEWAY);
    tokio::time::timeout(BOUND, gateway.ready()).await.unwrap();
    let after = gateway.workspace(&demo()).await.unwrap().unwrap();
    assert_eq!(*after, catalog::Workspace { sandbox, ..(*before).clone() });
    until(&world.catalog, |catalog| {
        catalog.workspaces().unwrap().iter().any(|workspace| workspace.sandbox == sandbox)
    })
    .await;
    let trail = stored(&world).await;
    let entry = trail.iter().find(|(_, value)| value.contains("workspaces.update")).unwrap();
    assert!(entry.0.starts_with("$KV.CATALOG.audit.demo.") && entry.1.contains(NONE), "{entry:?}");
}

#[tokio::test]
async fn of_changes_at_the_same_time_each_is_whole() {
    let world = World::new().await;
    let other = Service::start(&world.nats).await;
    let edits = (1..=8).map(|n| {
        let service = if n % 2 == 0 { &other } else { &world.service };
        let admin = opaque(&world.admin);
        async move { service.edit(admin, "demo", &format!(r#"{{"memory":{n}}}"#)).await }
    });
    for edited in futures::future::join_all(edits).await {
        edited.unwrap();
    }
    let trail = stored(&world).await;
    let entries = trail.iter().filter(|(_, value)| value.contains("workspaces.update"));
    assert_eq!(entries.count(), 8);
}
