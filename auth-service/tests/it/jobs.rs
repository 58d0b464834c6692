//! Grants and job tokens.

use catalog::now_ms;
use proto::auth::{Grant, IssueJobTokenRequest, SignedGrant};
use tonic::Code;

use crate::world::{ADMIN, World, demo, job, job_credential, opaque, refused, sign};

#[tokio::test]
async fn a_job_token_stands_for_one_attempt() {
    let world = World::new().await;
    let grant = world.service.grant(&world.admin).await;
    let before = now_ms();
    let (token, expires_at_ms) = world.service.issue(job(grant)).await.unwrap();
    assert!((before + 90_000..=now_ms() + 91_000).contains(&expires_at_ms), "timeout and a minute");
    let reply = world.service.identify(job_credential(&token)).await.unwrap();
    let identity = reply.identity.unwrap();
    let binding = identity.job.unwrap();
    assert_eq!((identity.email.as_str(), identity.super_admin), (ADMIN, true));
    assert_eq!((identity.workspace.as_str(), identity.expires_at_ms), ("demo", expires_at_ms));
    assert_eq!((binding.workspace.as_str(), binding.attempt), ("demo", 2));
    assert_eq!(binding.job_id, "0197c1f0-0000-7000-8000-000000000001");
    assert_eq!(binding.username, "admin");
    // a job triggered from within a job carries on with the job token's grant
    let child = world.service.issue(job(reply.grant.clone().unwrap())).await;
    assert!(child.is_ok());
    let elsewhere = IssueJobTokenRequest { workspace: "admins".into(), ..job(reply.grant.unwrap()) };
    refused(world.service.issue(elsewhere).await, Code::PermissionDenied, "bound to another workspace");
}

#[tokio::test]
async fn lives_are_bounded() {
    let world = World::new().await;
    let grant = world.service.grant(&world.admin).await;
    let with = |timeout_ms| IssueJobTokenRequest { timeout_ms, ..job(grant.clone()) };
    for timeout_ms in [0, -1, i64::MIN] {
        refused(world.service.issue(with(timeout_ms)).await, Code::InvalidArgument, "not positive");
    }
    for timeout_ms in [i64::MAX, 24 * 3_600_000] {
        let (_, expires_at_ms) = world.service.issue(with(timeout_ms)).await.unwrap();
        assert!(expires_at_ms <= now_ms() + 24 * 3_600_000 + 1000);
    }
}

#[tokio::test]
async fn malformed_requests_say_what_is_wrong() {
    let world = World::new().await;
    let grant = world.service.grant(&world.admin).await;
    let cases = [
        (IssueJobTokenRequest { workspace: String::new(), ..job(grant.clone()) }, "workspace"),
        (IssueJobTokenRequest { job_id: "x".into(), ..job(grant.clone()) }, "job id"),
        (IssueJobTokenRequest { script_path: "../x".into(), ..job(grant.clone()) }, "path"),
    ];
    for (request, part) in cases {
        refused(world.service.issue(request).await, Code::InvalidArgument, part);
    }
}

#[tokio::test]
async fn a_forged_grant_or_job_token_is_refused() {
    let world = World::new().await;
    let grant = world.service.grant(&world.admin).await;
    let without = IssueJobTokenRequest { grant: None, ..job(grant.clone()) };
    refused(world.service.issue(without).await, Code::PermissionDenied, "not one of this instance");
    let mut forgeries = vec![SignedGrant::default(), SignedGrant { signature: Vec::new(), ..grant.clone() }];
    for place in 0..grant.grant.len() {
        let mut forged = grant.clone();
        forged.grant[place] ^= 0x20;
        forgeries.push(forged);
    }
    for forged in forgeries {
        refused(world.service.issue(job(forged)).await, Code::PermissionDenied, "not one of this instance");
    }
    let token = world.service.job_token(&world.admin).await;
    for place in 0..token.len() {
        let mut bytes = token.clone().into_bytes();
        bytes[place] = if bytes[place] == b'A' { b'B' } else { b'A' };
        let forged = String::from_utf8(bytes).unwrap();
        refused(
            world.service.identify(job_credential(&forged)).await,
            Code::Unauthenticated,
            "invalid job token",
        );
    }
}

#[tokio::test]
async fn a_grant_gives_no_more_than_its_token_had() {
    let world = World::new().await;
    let hook =
        world.person("hook", |_, _, token| token.scopes = vec!["jobs:run:scripts:f/demo/x".into()]).await;
    let grant = world.service.grant(&hook).await;
    assert!(world.service.issue(job(grant.clone())).await.is_ok());
    let other = IssueJobTokenRequest { script_path: "f/demo/y".into(), ..job(grant) };
    refused(world.service.issue(other).await, Code::PermissionDenied, "jobs:run:scripts:f/demo/y");
    let ada = world.person("ada", |_, _, _| {}).await;
    let private =
        IssueJobTokenRequest { script_path: "u/hook/x".into(), ..job(world.service.grant(&ada).await) };
    refused(world.service.issue(private).await, Code::PermissionDenied, "belongs to another user");
    let bound = world.person("bob", |_, _, token| token.workspace = Some(demo())).await;
    let elsewhere =
        IssueJobTokenRequest { workspace: "admins".into(), ..job(world.service.grant(&bound).await) };
    refused(world.service.issue(elsewhere).await, Code::PermissionDenied, "another workspace");
    let stranger =
        IssueJobTokenRequest { workspace: "admins".into(), ..job(world.service.grant(&ada).await) };
    refused(world.service.issue(stranger).await, Code::PermissionDenied, "no member");
}

#[tokio::test]
async fn a_grant_ends_with_its_account() {
    let world = World::new().await;
    let off = world.person("off", |_, user, _| user.disabled = true).await;
    let grant = world.service.grant(&off).await;
    refused(world.service.issue(job(grant)).await, Code::PermissionDenied, "user is disabled");
    world.person("gone", |account, _, _| account.disabled = true).await;
    let gone = Grant { schema_version: 1, email: "gone@example.com".into(), ..Grant::default() };
    refused(world.service.issue(job(sign(&gone))).await, Code::PermissionDenied, "gone or disabled");
    let nobody = Grant {
        schema_version: 1,
        email: "nobody@example.com".into(),
        super_admin: true,
        ..Grant::default()
    };
    refused(world.service.issue(job(sign(&nobody))).await, Code::PermissionDenied, "gone or disabled");

    let ada = world.person("ada", |_, _, _| {}).await;
    let token = world.service.job_token(&ada).await;
    assert!(world.service.identify(job_credential(&token)).await.is_ok());
    // a revoked token's jobs run on: what it triggered was accepted before
    let grant = world.service.grant(&ada).await;
    world.service.revoke(opaque(&ada), ada.handle()).await.unwrap();
    assert!(world.service.issue(job(grant)).await.is_ok());
    world.person("ada", |account, _, _| account.disabled = true).await;
    let disabled = async {
        while world.service.identify(job_credential(&token)).await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(crate::nats::BOUND, disabled).await.expect("a disabled account's job tokens end");
}
