//! Making, listing and revoking tokens.

use std::collections::HashSet;

use catalog::{Catalog, Expect, kinds, now_ms};
use proto::TokenId;
use proto::auth::CreateTokenRequest;
use tonic::Code;

use crate::nats::BOUND;
use crate::world::{ADMIN, Service, World, job_credential, opaque, refused, wish};

#[tokio::test]
async fn a_token_is_what_was_asked_for() {
    let world = World::new().await;
    let expiry = now_ms() + 3_600_000;
    let asked = CreateTokenRequest {
        label: "webhook-hello".into(),
        expires_at_ms: expiry,
        scopes: vec!["jobs:run:scripts:f/demo/x".into()],
        workspace: "demo".into(),
        read_only: true,
        ..wish(opaque(&world.admin))
    };
    let made = world.service.create(asked).await.unwrap();
    let identity = world.service.identify(opaque(&made)).await.unwrap().identity.unwrap();
    assert_eq!((identity.email.as_str(), identity.label.as_str()), (ADMIN, "webhook-hello"));
    assert_eq!(
        (identity.workspace.as_str(), identity.expires_at_ms, identity.read_only),
        ("demo", expiry, true)
    );
    assert_eq!(identity.scopes, ["jobs:run:scripts:f/demo/x"]);
    let listed = world.service.list(opaque(&world.admin)).await.unwrap();
    assert_eq!(
        listed.iter().map(|token| token.label.as_str()).collect::<Vec<_>>(),
        ["webhook-hello", "first admin"]
    );
    assert!(listed.iter().all(|token| token.prefix.len() == 10 && token.email == ADMIN));
    assert_eq!(listed[0].token_id, identity.token_id);
}

#[tokio::test]
async fn what_no_token_can_be() {
    let world = World::new().await;
    world.workspace("attic", true).await;
    world.workspace("other", false).await;
    let ada = world.person("ada", |_, _, _| {}).await;
    let cases: Vec<(CreateTokenRequest, Code, &str)> = vec![
        (
            CreateTokenRequest { label: "session".into(), ..wish(opaque(&ada)) },
            Code::InvalidArgument,
            "reserved",
        ),
        (
            CreateTokenRequest { label: "ephemeral-x".into(), ..wish(opaque(&ada)) },
            Code::InvalidArgument,
            "reserved",
        ),
        (
            CreateTokenRequest { label: "x".repeat(101), ..wish(opaque(&ada)) },
            Code::InvalidArgument,
            "100 characters",
        ),
        (CreateTokenRequest { label: "a\nb".into(), ..wish(opaque(&ada)) }, Code::InvalidArgument, "control"),
        (
            CreateTokenRequest { expires_at_ms: 1, ..wish(opaque(&ada)) },
            Code::InvalidArgument,
            "not in the future",
        ),
        (
            CreateTokenRequest { expires_at_ms: -1, ..wish(opaque(&ada)) },
            Code::InvalidArgument,
            "not in the future",
        ),
        (
            CreateTokenRequest { scopes: vec!["nonsense".into()], ..wish(opaque(&ada)) },
            Code::InvalidArgument,
            "scope",
        ),
        (
            CreateTokenRequest { scopes: vec!["jobs:run".into(); 101], ..wish(opaque(&ada)) },
            Code::InvalidArgument,
            "100 scopes",
        ),
        (
            CreateTokenRequest { workspace: "NOT OK".into(), ..wish(opaque(&ada)) },
            Code::InvalidArgument,
            "workspace",
        ),
        (
            CreateTokenRequest { workspace: "nope".into(), ..wish(opaque(&ada)) },
            Code::InvalidArgument,
            "no workspace",
        ),
        (
            CreateTokenRequest { workspace: "attic".into(), ..wish(opaque(&ada)) },
            Code::InvalidArgument,
            "archived",
        ),
        (
            CreateTokenRequest { workspace: "other".into(), ..wish(opaque(&ada)) },
            Code::PermissionDenied,
            "no member",
        ),
    ];
    for (request, code, part) in cases {
        refused(world.service.create(request).await, code, part);
    }
    let widest = CreateTokenRequest { label: "é".repeat(100), ..wish(opaque(&ada)) };
    assert!(world.service.create(widest).await.is_ok());
}

#[tokio::test]
async fn a_token_can_do_no_more_than_its_maker() {
    let world = World::new().await;
    world.workspace("other", false).await;
    let narrow =
        world.person("ada", |_, _, token| token.scopes = vec!["users:write".into(), "jobs:run".into()]).await;
    let service = &world.service;
    let with = |scopes: &[&str]| CreateTokenRequest {
        scopes: scopes.iter().map(|&scope| scope.to_owned()).collect(),
        ..wish(opaque(&narrow))
    };
    for wider in [&[][..], &["scripts:write"], &["jobs:run", "scripts:read"], &["jobs:write"]] {
        refused(service.create(with(wider)).await, Code::PermissionDenied, "more scopes");
    }
    for within in [&["jobs:run:scripts:f/demo/x"][..], &["jobs:run", "users:read"]] {
        assert!(service.create(with(within)).await.is_ok(), "{within:?}");
    }
    let webhook = world.person("hook", |_, _, token| token.scopes = vec!["jobs:run".into()]).await;
    let copy = CreateTokenRequest { scopes: vec!["jobs:run".into()], ..wish(opaque(&webhook)) };
    refused(service.create(copy).await, Code::PermissionDenied, "users:write");
    refused(service.list(opaque(&webhook)).await, Code::PermissionDenied, "users:write");
    refused(service.revoke(opaque(&webhook), webhook.handle()).await, Code::PermissionDenied, "users:write");
    let reader = world.person("eve", |_, _, token| token.read_only = true).await;
    refused(service.create(wish(opaque(&reader))).await, Code::PermissionDenied, "read-only");
    assert_eq!(service.list(opaque(&reader)).await.unwrap().len(), 1);

    let bound = world.person("bob", |_, _, token| token.workspace = Some("demo".parse().unwrap())).await;
    let elsewhere = CreateTokenRequest { workspace: "other".into(), ..wish(opaque(&bound)) };
    refused(service.create(elsewhere).await, Code::PermissionDenied, "another workspace");
    let child = service.create(wish(opaque(&bound))).await.unwrap();
    let identity = service.identify(opaque(&child)).await.unwrap().identity.unwrap();
    assert_eq!(identity.workspace, "demo", "bound callers make bound tokens");
}

#[tokio::test]
async fn bound_callers_see_only_what_is_bound() {
    let world = World::new().await;
    let service = &world.service;
    let bound = CreateTokenRequest { workspace: "demo".into(), ..wish(opaque(&world.admin)) };
    let bound = service.create(bound).await.unwrap();
    let listed = service.list(opaque(&bound)).await.unwrap();
    assert_eq!(listed.iter().map(|token| token.prefix.as_str()).collect::<Vec<_>>(), [bound.handle()]);
    refused(service.revoke(opaque(&bound), world.admin.handle()).await, Code::NotFound, world.admin.handle());
    assert!(service.identify(opaque(&world.admin)).await.is_ok());
}

#[tokio::test]
async fn job_tokens_make_only_bound_and_expiring_tokens() {
    let world = World::new().await;
    world.workspace("other", false).await;
    let token = world.service.job_token(&world.admin).await;
    let from_job = || wish(job_credential(&token));
    refused(world.service.create(from_job()).await, Code::InvalidArgument, "must expire within 7 days");
    let far = CreateTokenRequest { expires_at_ms: now_ms() + 8 * 24 * 3_600_000, ..from_job() };
    refused(world.service.create(far).await, Code::InvalidArgument, "must expire within 7 days");
    let day = now_ms() + 24 * 3_600_000;
    let elsewhere = CreateTokenRequest { expires_at_ms: day, workspace: "other".into(), ..from_job() };
    refused(world.service.create(elsewhere).await, Code::PermissionDenied, "another workspace");
    let made = world.service.create(CreateTokenRequest { expires_at_ms: day, ..from_job() }).await.unwrap();
    assert_eq!(world.service.identify(opaque(&made)).await.unwrap().identity.unwrap().workspace, "demo");
}

#[tokio::test]
async fn a_revoked_token_is_refused_by_every_replica() {
    let world = World::new().await;
    let second = Service::start(&world.nats).await;
    let gateway = Catalog::open(world.nats.broker("gateway").await, kinds::GATEWAY);
    gateway.ready().await;
    let made = world.service.create(wish(opaque(&world.admin))).await.unwrap();
    let identity = second.identify(opaque(&made)).await.expect("a miss reads the store").identity.unwrap();
    let id: TokenId = identity.token_id.parse().unwrap();
    assert!(!gateway.is_revoked(&id).unwrap());

    let begin = std::time::Instant::now();
    world.service.revoke(opaque(&world.admin), made.handle()).await.unwrap();
    refused(world.service.identify(opaque(&made)).await, Code::Unauthenticated, "unknown or revoked");
    let everywhere = async {
        while second.identify(opaque(&made)).await.is_ok() || !gateway.is_revoked(&id).unwrap() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(BOUND, everywhere).await.expect("revoked everywhere");
    println!("revoked everywhere after {:?}", begin.elapsed());
    assert!(begin.elapsed() < std::time::Duration::from_secs(1), "{:?}", begin.elapsed());
    refused(world.service.revoke(opaque(&world.admin), made.handle()).await, Code::NotFound, made.handle());
    refused(world.service.revoke(opaque(&world.admin), "").await, Code::NotFound, "no token");
    let whole = world.service.revoke(opaque(&world.admin), made.expose()).await.unwrap_err();
    assert!(!whole.message().contains(made.expose()), "a whole token is not repeated");
}

#[tokio::test]
async fn others_tokens_are_out_of_reach() {
    let world = World::new().await;
    let ada = world.person("ada", |_, _, _| {}).await;
    refused(
        world.service.revoke(opaque(&ada), world.admin.handle()).await,
        Code::NotFound,
        "no token of yours",
    );
    assert_eq!(world.service.list(opaque(&ada)).await.unwrap().len(), 1);
    world.service.revoke(opaque(&ada), ada.handle()).await.expect("one's own, even the one in use");
    refused(world.service.list(opaque(&ada)).await, Code::Unauthenticated, "unknown or revoked");
}

#[tokio::test]
async fn concurrent_creates_and_revokes() {
    let world = World::new().await;
    let second = Service::start(&world.nats).await;
    let creates = (0..24).map(|n| {
        let service = if n % 2 == 0 { &world.service } else { &second };
        service.create(wish(opaque(&world.admin)))
    });
    let made: Vec<_> = futures::future::join_all(creates).await.into_iter().map(Result::unwrap).collect();
    assert_eq!(made.iter().map(proto::Bearer::handle).collect::<HashSet<_>>().len(), 24);
    let all = async {
        while world.service.list(opaque(&world.admin)).await.unwrap().len() < 25 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(BOUND, all).await.expect("all are listed");
    let revokes = made.iter().map(|bearer| world.service.revoke(opaque(&world.admin), bearer.handle()));
    assert!(futures::future::join_all(revokes).await.iter().all(Result::is_ok));
    for bearer in &made {
        refused(world.service.identify(opaque(bearer)).await, Code::Unauthenticated, "unknown or revoked");
    }
}

#[tokio::test]
async fn an_account_has_a_thousand_tokens_at_most() {
    let world = World::new().await;
    for _ in 0..10 {
        let mut batch = catalog::Batch::new();
        for _ in 0..100 {
            let bearer = proto::Bearer::generate().unwrap();
            let key = catalog::Key::token(&bearer.sha256());
            let (_, first) = world.catalog.tokens_of(ADMIN).unwrap().remove(0);
            let token = catalog::Token {
                token_id: TokenId::random(),
                prefix: bearer.handle().into(),
                ..(*first).clone()
            };
            batch.put(key, &token, Expect::Absent).unwrap();
        }
        world.catalog.commit(&batch).await.unwrap();
    }
    let full = async {
        while world.service.list(opaque(&world.admin)).await.unwrap().len() < 1001 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(BOUND, full).await.expect("the watch brings them");
    refused(
        world.service.create(wish(opaque(&world.admin))).await,
        Code::InvalidArgument,
        "1000 tokens, the limit",
    );
}
