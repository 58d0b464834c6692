//! Batches: all or nothing, each write under its expectation.

use catalog::{Batch, Catalog, CatalogError, Expect, Key, Kind, Revoked, Workspace, kinds};

use crate::nats::{BOUND, Nats};
use crate::{demo, until};

fn workspace(id: &str, name: &str) -> Workspace {
    Workspace {
        id: id.parse().unwrap(),
        name: name.into(),
        owner: "a@b.c".into(),
        archived: false,
        created_at_ms: 1,
        sandbox: None,
        retention_s: None,
    }
}

fn put(batch: &mut Batch, id: &str, name: &str, expect: Expect) {
    let workspace = workspace(id, name);
    batch.put(workspace.key(), &workspace, expect).unwrap();
}

async fn auth(nats: &Nats) -> Catalog {
    let catalog = Catalog::open(nats.broker("auth-service").await, kinds::AUTH_SERVICE);
    tokio::time::timeout(BOUND, catalog.ready()).await.unwrap();
    catalog
}

async fn name_of(catalog: &Catalog, id: &str) -> Option<String> {
    let key = Key::global(Kind::Workspace, id);
    catalog.read::<Workspace>(&key).await.unwrap().and_then(|(_, record)| record).map(|record| record.name)
}

#[tokio::test]
async fn one_write_is_a_batch_and_own_writes_are_seen_at_once() {
    let nats = Nats::provisioned().await;
    let catalog = auth(&nats).await;
    let mut batch = Batch::new();
    put(&mut batch, "demo", "Demo", Expect::Absent);
    catalog.commit(&batch).await.unwrap();
    assert_eq!(catalog.workspaces().unwrap().len(), 1, "from the table, without waiting for the watch");
    assert_eq!(catalog.workspace(&demo()).await.unwrap().unwrap().name, "Demo");
    assert!(matches!(catalog.commit(&batch).await, Err(CatalogError::Conflict(_))));
    assert!(matches!(catalog.commit(&Batch::new()).await, Err(CatalogError::Rejected(_))));
}

#[tokio::test]
async fn a_failed_expectation_writes_nothing() {
    let nats = Nats::provisioned().await;
    let catalog = auth(&nats).await;
    let mut batch = Batch::new();
    put(&mut batch, "one", "1", Expect::Absent);
    put(&mut batch, "two", "1", Expect::Absent);
    let first = catalog.commit(&batch).await.unwrap().first_revision;

    for place in 0..3 {
        let mut batch = Batch::new();
        let expects = [Expect::Revision(first), Expect::Revision(first + 1), Expect::Absent];
        for (n, (id, right)) in ["one", "two", "three"].into_iter().zip(expects).enumerate() {
            let expect = if n == place { Expect::Revision(999) } else { right };
            put(&mut batch, id, "2", expect);
        }
        let error = catalog.commit(&batch).await.unwrap_err();
        assert!(matches!(error, CatalogError::Conflict(_)), "{error}");
        assert_eq!(name_of(&catalog, "one").await.as_deref(), Some("1"));
        assert_eq!(name_of(&catalog, "two").await.as_deref(), Some("1"));
        assert_eq!(name_of(&catalog, "three").await, None);
    }
}

#[tokio::test]
async fn revisions_of_a_batch_follow_each_other_and_deletions_have_one() {
    let nats = Nats::provisioned().await;
    let catalog = auth(&nats).await;
    let mut batch = Batch::new();
    put(&mut batch, "one", "1", Expect::Any);
    put(&mut batch, "two", "1", Expect::Any);
    let first = catalog.commit(&batch).await.unwrap().first_revision;
    let revision =
        async |id| catalog.read::<Workspace>(&Key::global(Kind::Workspace, id)).await.unwrap().unwrap().0;
    assert_eq!((revision("one").await, revision("two").await), (first, first + 1));

    let mut batch = Batch::new();
    batch.delete(Key::global(Kind::Workspace, "one"), Expect::Revision(first));
    let deleted = catalog.commit(&batch).await.unwrap().first_revision;
    let (revision, record) =
        catalog.read::<Workspace>(&Key::global(Kind::Workspace, "one")).await.unwrap().unwrap();
    assert_eq!((revision, record), (deleted, None));
    assert!(catalog.workspaces().unwrap().iter().all(|workspace| workspace.id.as_str() != "one"));
    // "absent" means never written; after a deletion its revision is expected
    let mut batch = Batch::new();
    put(&mut batch, "one", "2", Expect::Revision(deleted));
    catalog.commit(&batch).await.unwrap();
}

#[tokio::test]
async fn expiring_keys_go_with_a_batch() {
    let nats = Nats::provisioned().await;
    let catalog = auth(&nats).await;
    let revoked = Revoked { token_id: "t1".parse().unwrap(), revoked_at_ms: 1 };
    let mut batch = Batch::new();
    batch.put_for(revoked.key(), &revoked, std::time::Duration::from_hours(24)).unwrap();
    put(&mut batch, "one", "1", Expect::Any);
    catalog.commit(&batch).await.unwrap();
    assert!(catalog.is_revoked(&revoked.token_id).unwrap());
    let stream = nats.broker("provision").await.jetstream().get_stream("KV_CATALOG").await.unwrap();
    let message = stream.get_last_raw_message_by_subject("$KV.CATALOG.revoked._.t1").await.unwrap();
    assert_eq!(message.headers.get("Nats-TTL").unwrap().as_str(), "86400s");
}

#[tokio::test]
async fn an_expired_key_leaves_every_table() {
    let nats = Nats::provisioned().await;
    let (catalog, other) = (auth(&nats).await, auth(&nats).await);
    let revoked = Revoked { token_id: "t1".parse().unwrap(), revoked_at_ms: 1 };
    let mut batch = Batch::new();
    batch.put_for(revoked.key(), &revoked, std::time::Duration::from_secs(1)).unwrap();
    catalog.commit(&batch).await.unwrap();
    for catalog in [&catalog, &other] {
        until(catalog, |catalog| !catalog.is_revoked(&revoked.token_id).unwrap()).await;
    }
}

#[tokio::test]
async fn provisioning_again_changes_nothing() {
    let nats = Nats::provisioned().await;
    let catalog = auth(&nats).await;
    let mut batch = Batch::new();
    put(&mut batch, "demo", "Demo", Expect::Absent);
    catalog.commit(&batch).await.unwrap();
    nats.provision().await;
    assert_eq!(name_of(&catalog, "demo").await.as_deref(), Some("Demo"));
    let broker = nats.broker("provision").await;
    let mut stream = broker.jetstream().get_stream("KV_CATALOG").await.unwrap();
    let config = stream.info().await.unwrap().config.clone();
    assert!(
        config.allow_atomic_publish && config.allow_message_ttl && config.deny_delete && config.allow_direct
    );
    assert_eq!((config.max_messages_per_subject, config.max_age), (1, std::time::Duration::ZERO));
    assert!(broker.jetstream().get_key_value("CATALOG").await.is_ok(), "it is a key-value bucket");
}

#[tokio::test]
async fn a_gateway_cannot_write_users() {
    let nats = Nats::provisioned().await;
    let catalog = crate::gateway(nats.broker("gateway").await).await;
    let mut batch = Batch::new();
    put(&mut batch, "demo", "Demo", Expect::Absent);
    let error = catalog.commit(&batch).await.unwrap_err();
    assert!(matches!(error, CatalogError::Unavailable(_)), "{error}");
    assert_eq!(name_of(&auth(&nats).await, "demo").await, None);
}
