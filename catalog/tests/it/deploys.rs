//! The rules of hash and lineage, and what a deploy leaves behind.

use catalog::{Author, CatalogError, IfUnchanged, script_hash};
use proto::ScriptHash;
use serde_json::json;

use crate::nats::Nats;
use crate::{demo, deploy, gateway, path, script};

fn text(error: &CatalogError) -> String {
    assert!(matches!(error, CatalogError::Rejected(_)), "{error:?}");
    error.to_string()
}

#[tokio::test]
async fn versions_heads_and_lineage() {
    let nats = Nats::provisioned().await;
    let catalog = gateway(nats.broker("gateway").await).await;
    assert!(catalog.resolve(&demo(), &path("f/demo/x")).await.unwrap().is_none());

    let first = script(&json!({"priority": 3, "tag": "gpu", "timeout": 7}));
    let one = deploy(&catalog, first.clone()).await.unwrap();
    assert_eq!((one.hash, one.noop), (script_hash(&first, None), false));
    let head = catalog.resolve(&demo(), &path("f/demo/x")).await.unwrap().unwrap();
    assert_eq!(
        (head.hash, head.effective_tag(), head.timeout, head.created_by.as_str()),
        (one.hash, "gpu", Some(7), "ada")
    );
    let stored = catalog.script(&demo(), one.hash).await.unwrap().unwrap();
    assert_eq!(stored.script, first);

    let again = deploy(&catalog, first.clone()).await.unwrap_err();
    assert_eq!(
        text(&again),
        format!("A script with hash {} already exists: the same was deployed before", one.hash)
    );
    let conflict = deploy(&catalog, script(&json!({"content": "echo 2"}))).await.unwrap_err();
    assert_eq!(text(&conflict), format!("Path conflict for f/demo/x with non-archived hash {}", one.hash));
    let unknown = deploy(&catalog, script(&json!({"parent_hash": "00000000000000aa"}))).await.unwrap_err();
    assert_eq!(text(&unknown), "The parent hash does not seem to exist");

    let two = deploy(&catalog, script(&json!({"content": "echo 2", "parent_hash": one.hash}))).await.unwrap();
    let late =
        deploy(&catalog, script(&json!({"content": "echo 3", "parent_hash": one.hash}))).await.unwrap_err();
    assert_eq!(
        text(&late),
        format!("The lineage must be linear: {} is not the current version of its path", one.hash)
    );
    let three =
        deploy(&catalog, script(&json!({"content": "echo 3", "auto_parent": true, "parent_hash": one.hash})));
    let three = three.await.unwrap();
    let head = catalog.resolve(&demo(), &path("f/demo/x")).await.unwrap().unwrap();
    assert_eq!((head.hash, head.parent_hashes.clone()), (three.hash, vec![two.hash, one.hash]));
    let old = catalog.script(&demo(), one.hash).await.unwrap().unwrap();
    assert_eq!(old.script.content, "echo 1", "an old version stays callable by hash");
    assert!(catalog.script(&"other".parse().unwrap(), one.hash).await.unwrap().is_none());
}

#[tokio::test]
async fn nothing_changed_writes_nothing() {
    let nats = Nats::provisioned().await;
    let catalog = gateway(nats.broker("gateway").await).await;
    let author = Author { username: "ada".into() };
    let skip = async |new| catalog.deploy(&demo(), &author, new, IfUnchanged::Skip).await;
    let one = skip(script(&json!({}))).await.unwrap();
    assert!(!one.noop);
    for same in [
        json!({"auto_parent": true}),
        json!({"parent_hash": one.hash}),
        json!({"auto_parent": true, "deployment_message": "again"}),
    ] {
        let noop = skip(script(&same)).await.unwrap();
        assert_eq!((noop.hash, noop.noop), (one.hash, true), "{same}");
    }
    let changed = skip(script(&json!({"auto_parent": true, "priority": 1}))).await.unwrap();
    assert!(!changed.noop && changed.hash != one.hash, "a field without a meaning here is a change too");
}

#[tokio::test]
async fn a_rename_moves_the_lineage() {
    let nats = Nats::provisioned().await;
    let catalog = gateway(nats.broker("gateway").await).await;
    let one = deploy(&catalog, script(&json!({}))).await.unwrap();
    let taken = deploy(&catalog, script(&json!({"path": "f/demo/taken"}))).await.unwrap();
    let onto = script(&json!({"path": "f/demo/taken", "parent_hash": one.hash}));
    let refused = deploy(&catalog, onto).await.unwrap_err();
    assert_eq!(
        text(&refused),
        format!("Path conflict for f/demo/taken with non-archived hash {}", taken.hash)
    );

    let moved =
        deploy(&catalog, script(&json!({"path": "f/demo/y", "parent_hash": one.hash}))).await.unwrap();
    assert!(catalog.resolve(&demo(), &path("f/demo/x")).await.unwrap().is_none());
    assert!(catalog.head(&demo(), &path("f/demo/x")).await.unwrap().unwrap().archived);
    let head = catalog.resolve(&demo(), &path("f/demo/y")).await.unwrap().unwrap();
    assert_eq!((head.hash, head.parent_hashes.clone()), (moved.hash, vec![one.hash]));
    let twice =
        deploy(&catalog, script(&json!({"path": "f/demo/z", "parent_hash": one.hash}))).await.unwrap_err();
    assert!(text(&twice).starts_with("The lineage must be linear"));
    // the old path is free for another script
    deploy(&catalog, script(&json!({"content": "other"}))).await.unwrap();
    assert!(catalog.resolve(&demo(), &path("f/demo/x")).await.unwrap().is_some());
}

#[tokio::test]
async fn concurrent_deploys_make_one_line() {
    let nats = Nats::provisioned().await;
    let catalog = gateway(nats.broker("gateway").await).await;
    let other = gateway(nats.broker("gateway").await).await;
    let deploys = (0..8).map(|n| {
        let catalog = if n % 2 == 0 { &catalog } else { &other };
        deploy(catalog, script(&json!({"content": n.to_string(), "auto_parent": true})))
    });
    let made: Vec<ScriptHash> =
        futures::future::join_all(deploys).await.into_iter().map(|deployed| deployed.unwrap().hash).collect();
    // what a process wrote last is in its own table at once, but another may have written after it
    let newest = gateway(nats.broker("gateway").await).await;
    let head = newest.resolve(&demo(), &path("f/demo/x")).await.unwrap().unwrap();
    let mut line = head.parent_hashes.clone();
    line.push(head.hash);
    line.sort_unstable();
    let mut made = made;
    made.sort_unstable();
    assert_eq!(line, made, "every version is in the lineage exactly once");
}

#[tokio::test]
async fn concurrent_first_versions_have_one_winner() {
    let nats = Nats::provisioned().await;
    let catalog = gateway(nats.broker("gateway").await).await;
    let deploys = (0..6).map(|n| deploy(&catalog, script(&json!({"content": n.to_string()}))));
    let outcomes = futures::future::join_all(deploys).await;
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
    for error in outcomes.iter().filter_map(|outcome| outcome.as_ref().err()) {
        assert!(text(error).starts_with("Path conflict for f/demo/x"), "{error}");
    }
}

#[tokio::test]
async fn lineage_is_kept_twenty_deep() {
    let nats = Nats::provisioned().await;
    let catalog = gateway(nats.broker("gateway").await).await;
    let mut made = Vec::new();
    for n in 0..25 {
        let new = script(&json!({"content": n.to_string(), "auto_parent": true}));
        made.insert(0, deploy(&catalog, new).await.unwrap().hash);
    }
    let head = catalog.resolve(&demo(), &path("f/demo/x")).await.unwrap().unwrap();
    assert_eq!(head.parent_hashes, made[1..21]);
}

#[tokio::test]
async fn large_sources_are_blobs_checked_on_reading() {
    let nats = Nats::provisioned().await;
    let catalog = gateway(nats.broker("gateway").await).await;
    let content = "é".repeat(300_000);
    let made = deploy(&catalog, script(&json!({"content": content}))).await.unwrap();
    let reader = nats.broker("worker").await;
    let worker = catalog::Catalog::open(reader, catalog::kinds::WORKER);
    let script_read = worker.script(&demo(), made.hash).await.unwrap().unwrap();
    assert_eq!(script_read.script.content, content);
    let noop = catalog
        .deploy(
            &demo(),
            &Author { username: "ada".into() },
            script(&json!({"content": content, "auto_parent": true})),
            IfUnchanged::Skip,
        )
        .await
        .unwrap();
    assert!(noop.noop, "the source of the parent is compared, not its place");

    let blob = script_read.content_blob.clone().unwrap();
    let writer = nats.broker("gateway").await;
    let bucket = writer.jetstream().get_object_store("BLOBS").await.unwrap();
    bucket.put(blob.as_str(), &mut "evil".as_bytes()).await.unwrap();
    let fresh = gateway(nats.broker("gateway").await).await;
    let error = fresh.script(&demo(), made.hash).await.unwrap_err();
    assert!(error.to_string().contains("its SHA-256 is another"), "{error}");
}

#[tokio::test]
async fn bounds_have_numbers() {
    let nats = Nats::provisioned().await;
    let catalog = gateway(nats.broker("gateway").await).await;
    let huge = deploy(&catalog, script(&json!({"content": "x".repeat((8 << 20) + 1)}))).await.unwrap_err();
    assert_eq!(text(&huge), "the script is 8388609 bytes, the limit is 8388608 bytes");
    let settings = deploy(&catalog, script(&json!({"modules": "x".repeat(800_000)}))).await.unwrap_err();
    assert!(text(&settings).contains("the limit is 786432"), "{settings}");
    assert!(catalog.resolve(&demo(), &path("f/demo/x")).await.unwrap().is_none());
}
