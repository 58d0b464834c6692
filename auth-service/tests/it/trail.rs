//! What calls leave behind: the audit trail, last uses, and nothing a token could be made from.

use catalog::{Catalog, now_ms};
use futures::TryStreamExt;
use proto::auth::CreateTokenRequest;

use crate::nats::BOUND;
use crate::world::{World, opaque, until, wish};

/// Every value of the catalog, by subject.
pub(crate) async fn stored(world: &World) -> Vec<(String, String)> {
    let broker = world.nats.broker("provision").await;
    let stream = broker.jetstream().get_stream("KV_CATALOG").await.unwrap();
    let subjects =
        stream.info_with_subjects("$KV.CATALOG.>").await.unwrap().try_collect::<Vec<_>>().await.unwrap();
    let mut values = Vec::new();
    for (subject, _) in subjects {
        let message = stream.get_last_raw_message_by_subject(&subject).await.unwrap();
        values.push((subject, String::from_utf8(message.payload.to_vec()).unwrap()));
    }
    values
}

#[tokio::test]
async fn every_change_is_on_the_trail_and_no_bearer_is_stored() {
    let world = World::new().await;
    let bound = CreateTokenRequest { workspace: "demo".into(), ..wish(opaque(&world.admin)) };
    let made = world.service.create(bound).await.unwrap();
    world.service.revoke(opaque(&world.admin), made.handle()).await.unwrap();
    let values = stored(&world).await;
    for operation in ["users.token.create", "users.token.delete"] {
        let entries = values.iter().filter(|(subject, value)| {
            subject.starts_with("$KV.CATALOG.audit.demo.")
                && value.contains(operation)
                && value.contains(made.handle())
        });
        assert_eq!(entries.count(), 1, "{operation}: {values:?}");
    }
    assert!(values.iter().any(|(_, value)| value.contains(made.handle())), "the search finds what is there");
    for bearer in [&made, &world.admin] {
        assert!(
            !values
                .iter()
                .any(|(subject, value)| subject.contains(bearer.expose()) || value.contains(bearer.expose()))
        );
    }
}

#[tokio::test]
async fn long_expired_tokens_go_and_uses_are_noted() {
    let world = World::new().await;
    let old = now_ms() - 8 * 24 * 3_600_000;
    let ada = world.person("ada", |_, _, _| {}).await;
    world.person("ada", |_, _, token| token.expires_at_ms = Some(old)).await;
    let both = async {
        while world.service.list(opaque(&ada)).await.unwrap().len() < 2 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(BOUND, both).await.unwrap();
    world.service.create(wish(opaque(&ada))).await.unwrap();
    let tokens = |catalog: &Catalog| catalog.tokens_of("ada@example.com").unwrap();
    until(&world.catalog, |catalog| {
        tokens(catalog).iter().all(|(_, token)| token.expires_at_ms != Some(old))
    })
    .await;
    until(&world.catalog, |catalog| {
        tokens(catalog)
            .iter()
            .any(|(_, token)| token.prefix == ada.handle() && token.last_used_at_ms.is_some())
    })
    .await;
}
