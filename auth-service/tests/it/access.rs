//! Who may call at all, and who is known.

use std::time::Duration;

use lifecycle::config::resolve;
use lifecycle::{Sources, StopTiming, Values};
use proto::Bearer;
use proto::auth::auth_client::AuthClient;
use proto::auth::credential::Kind;
use proto::auth::{
    CreateTokenRequest, Credential, EditSandboxRequest, IdentifyRequest, IssueJobTokenRequest,
    ListTokensRequest, RevokeTokenRequest,
};
use tonic::Code;

use crate::nats::BOUND;
use crate::world::{GATEWAY, Service, WORKER, World, as_service, opaque, refused};

/// The codes of all six methods called with nothing but a service credential.
async fn codes(service: &Service, credential: Option<&str>) -> [Code; 6] {
    let mut client = AuthClient::new(service.channel.clone());
    macro_rules! call {
        ($method:ident, $request:ty) => {{
            let message = <$request>::default();
            let request = match credential {
                Some(credential) => as_service(credential, message),
                None => tonic::Request::new(message),
            };
            client.$method(request).await.map_or_else(|status| status.code(), |_| Code::Ok)
        }};
    }
    [
        call!(identify, IdentifyRequest),
        call!(create_token, CreateTokenRequest),
        call!(list_tokens, ListTokensRequest),
        call!(revoke_token, RevokeTokenRequest),
        call!(edit_sandbox, EditSandboxRequest),
        call!(issue_job_token, IssueJobTokenRequest),
    ]
}

#[tokio::test]
async fn every_method_with_every_credential() {
    let world = World::new().await;
    let none = [Code::Unauthenticated; 6];
    for credential in [
        None,
        Some(""),
        Some("gateway"),
        Some("gateway x"),
        Some("worker gateway-credential-of-thirty-two-characters"),
    ] {
        assert_eq!(codes(&world.service, credential).await, none, "{credential:?}");
    }
    // a gateway's empty calls reach the methods, which miss the caller; a worker's one misses its arguments
    let denied = Code::PermissionDenied;
    let known = Code::Unauthenticated;
    assert_eq!(codes(&world.service, Some(GATEWAY)).await, [known, known, known, known, known, denied]);
    assert_eq!(
        codes(&world.service, Some(WORKER)).await,
        [denied, denied, denied, denied, denied, Code::InvalidArgument]
    );
}

#[tokio::test]
async fn who_is_not_known() {
    let world = World::new().await;
    let service = &world.service;
    let stranger = Bearer::generate().unwrap();
    refused(service.identify(opaque(&stranger)).await, Code::Unauthenticated, "unknown or revoked");
    refused(service.identify(Credential { kind: None }).await, Code::Unauthenticated, "no credential");
    for bytes in [vec![], vec![0; 31], vec![0; 33], vec![0; 60_000]] {
        let malformed = Credential { kind: Some(Kind::TokenSha256(bytes)) };
        refused(service.identify(malformed).await, Code::InvalidArgument, "not 32 bytes");
    }
    let huge = Credential { kind: Some(Kind::JobToken("j".repeat(70_000))) };
    assert!(service.identify(huge).await.is_err(), "over the bound of requests");

    let expired = world.person("late", |_, _, token| token.expires_at_ms = Some(1)).await;
    refused(service.identify(opaque(&expired)).await, Code::Unauthenticated, "token expired");
    let disabled = world.person("off", |account, _, _| account.disabled = true).await;
    refused(service.identify(opaque(&disabled)).await, Code::Unauthenticated, "account is disabled");
    let fine = world.person("ada", |_, _, token| token.expires_at_ms = Some(i64::MAX)).await;
    let identity = service.identify(opaque(&fine)).await.unwrap().identity.unwrap();
    assert_eq!((identity.email.as_str(), identity.super_admin), ("ada@example.com", false));
}

#[tokio::test]
async fn an_idle_gateway_does_not_hold_up_the_stop() {
    let world = World::new().await;
    assert!(world.service.identify(opaque(&world.admin)).await.is_ok());
    world.service.process.stop();
    let timing = StopTiming { notice: Duration::ZERO, grace: BOUND };
    let begin = std::time::Instant::now();
    world.service.process.wind_down(timing).await.unwrap();
    assert!(begin.elapsed() < BOUND / 2, "{:?}", begin.elapsed());
    assert!(world.service.identify(opaque(&world.admin)).await.is_err());
}

#[test]
fn the_configuration_lists_every_problem() {
    let service = lifecycle::Service { name: "auth-service", about: "", version: "0" };
    let sources = Sources::default()
        .arg("--gateway-credential=short")
        .arg("--worker-credential=short")
        .arg("--nats-password=p")
        .arg("--signing-key=nonsense");
    let text = resolve::<auth_service::Config>(&service, sources).err().unwrap().to_string();
    for problem in [
        "gateway-credential is shorter",
        "worker-credential is shorter",
        "are the same",
        "signing-key is not",
    ] {
        assert!(text.contains(problem), "{problem}: {text}");
    }
    assert!(!text.contains("nonsense"), "{text}");
    let _: fn(&mut Values) -> auth_service::Config = lifecycle::FromValues::from_values;
}
