//! Tables kept current by watches, and what happens when NATS is away.

use std::time::{Duration, Instant};

use catalog::{Batch, Catalog, CatalogError, Expect, Workspace, WorkspaceSandbox};
use serde_json::json;

use crate::nats::{BOUND, Nats};
use crate::{demo, deploy, gateway, path, script, until};

/// Waits until the table itself, without a re-read, satisfies `wanted`.
async fn table_shows(catalog: &Catalog, wanted: impl Fn(&[std::sync::Arc<catalog::Head>]) -> bool) {
    until(catalog, |catalog| wanted(&catalog.heads(&demo()).unwrap())).await;
}

async fn becomes_current(catalog: &Catalog, wanted: bool) {
    until(catalog, |catalog| catalog.is_current() == wanted).await;
}

#[tokio::test]
async fn another_gateway_sees_a_deploy() {
    let nats = Nats::provisioned().await;
    let one = gateway(nats.broker("gateway").await).await;
    let two = gateway(nats.broker("gateway").await).await;
    assert!(two.is_current() && two.revocations_current());
    let mut last = None;
    for n in 0..20 {
        let writer = if n % 2 == 0 { &one } else { &two };
        let new = script(&json!({"content": n.to_string(), "auto_parent": true}));
        last = Some(deploy(writer, new).await.unwrap().hash);
    }
    for catalog in [&one, &two] {
        table_shows(catalog, |heads| heads.len() == 1 && Some(heads[0].hash) == last).await;
    }
    let late = gateway(nats.broker("gateway").await).await;
    assert_eq!(Some(late.heads(&demo()).unwrap()[0].hash), last, "complete as soon as it is ready");
}

#[tokio::test]
async fn a_miss_reads_the_store_again() {
    let nats = Nats::provisioned().await;
    let writer = gateway(nats.broker("gateway").await).await;
    // not even loaded, so its table knows nothing
    let reader = Catalog::open(nats.broker("gateway").await, &[]);
    deploy(&writer, script(&json!({}))).await.unwrap();
    assert!(reader.resolve(&demo(), &path("f/demo/x")).await.unwrap().is_some());
    assert!(
        matches!(reader.heads(&demo()), Err(CatalogError::Unavailable(_))),
        "an unwatched kind is no empty one"
    );
}

#[tokio::test]
async fn nats_away_and_back() {
    let mut nats = Nats::provisioned().await;
    let catalog = gateway(nats.broker("gateway").await).await;
    let hash = deploy(&catalog, script(&json!({}))).await.unwrap().hash;
    nats.stop();
    becomes_current(&catalog, false).await;
    assert!(!catalog.revocations_current());
    assert!(catalog.resolve(&demo(), &path("f/demo/x")).await.unwrap().is_some(), "known things stay known");

    let begin = Instant::now();
    let missed = catalog.resolve(&demo(), &path("f/demo/nope")).await.unwrap_err();
    let unloaded = catalog.script(&demo(), hash).await;
    let refused = deploy(&catalog, script(&json!({"auto_parent": true, "content": "2"}))).await.unwrap_err();
    assert!(matches!(missed, CatalogError::Unavailable(_)), "{missed}");
    assert!(matches!(unloaded, Err(CatalogError::Unavailable(_))));
    assert!(matches!(refused, CatalogError::Unavailable(_)), "{refused}");
    assert!(begin.elapsed() < Duration::from_secs(3), "{:?}", begin.elapsed());

    nats.start();
    becomes_current(&catalog, true).await;
    assert!(catalog.resolve(&demo(), &path("f/demo/nope")).await.unwrap().is_none());
    deploy(&catalog, script(&json!({"auto_parent": true, "content": "2"}))).await.unwrap();
}

#[tokio::test]
async fn what_bounds_others_is_not_read_from_a_table_that_was_left_behind() {
    let mut nats = Nats::provisioned().await;
    let writer = Catalog::open(nats.broker("auth-service").await, &[]);
    let sandbox: Option<WorkspaceSandbox> = serde_json::from_str(r#"{"network_max":"none"}"#).unwrap();
    let workspace = Workspace {
        id: demo(),
        name: "Demo".into(),
        owner: "a@b.c".into(),
        archived: false,
        created_at_ms: 1,
        sandbox,
        retention_s: None,
    };
    let mut batch = Batch::new();
    batch.put(workspace.key(), &workspace, Expect::Absent).unwrap();
    writer.commit(&batch).await.unwrap();
    let unwatched = writer.current_workspace(&demo()).await.unwrap().unwrap();
    assert_eq!(unwatched.sandbox, sandbox, "from the store");

    let catalog = gateway(nats.broker("gateway").await).await;
    assert_eq!(catalog.current_workspace(&demo()).await.unwrap().unwrap().sandbox, sandbox);
    nats.stop();
    becomes_current(&catalog, false).await;
    assert!(catalog.workspace(&demo()).await.unwrap().is_some(), "it is in the table");
    let error = catalog.current_workspace(&demo()).await.unwrap_err();
    assert!(matches!(error, CatalogError::Unavailable(_)), "{error}");
    nats.start();
    becomes_current(&catalog, true).await;
    assert_eq!(catalog.current_workspace(&demo()).await.unwrap().unwrap().sandbox, sandbox);
}

#[tokio::test]
async fn what_went_while_the_watch_was_broken_goes_from_the_table() {
    let mut nats = Nats::provisioned().await;
    let catalog = gateway(nats.broker("gateway").await).await;
    for n in 0..5 {
        deploy(&catalog, script(&json!({"path": format!("f/demo/x{n}")}))).await.unwrap();
    }
    nats.stop();
    becomes_current(&catalog, false).await;
    std::fs::remove_dir_all(nats.store()).unwrap();
    nats.start();
    nats.provision().await;
    table_shows(&catalog, <[_]>::is_empty).await;
    // the new store counts from 1 again, far below the revisions seen before
    deploy(&catalog, script(&json!({"path": "f/demo/x1", "content": "new"}))).await.unwrap();
    let head = catalog.resolve(&demo(), &path("f/demo/x1")).await.unwrap().unwrap();
    assert_eq!(catalog.script(&demo(), head.hash).await.unwrap().unwrap().script.content, "new");
}

#[tokio::test]
async fn a_newer_format_is_an_error_not_a_404() {
    let nats = Nats::provisioned().await;
    let catalog = gateway(nats.broker("gateway").await).await;
    deploy(&catalog, script(&json!({}))).await.unwrap();
    let writer = nats.broker("gateway").await;
    let subject = "$KV.CATALOG.head.demo.f=2Fdemo=2Fx";
    writer.jetstream().publish(subject, r#"{"v":2,"hash":"later"}"#.into()).await.unwrap().await.unwrap();
    table_shows(&catalog, <[_]>::is_empty).await;
    let error = catalog.resolve(&demo(), &path("f/demo/x")).await.unwrap_err();
    assert!(matches!(error, CatalogError::NewerFormat { version: 2, .. }), "{error}");
}

#[tokio::test]
async fn dropping_the_catalog_ends_its_watches() {
    let nats = Nats::provisioned().await;
    let broker = nats.broker("gateway").await;
    // the client starts tasks of its own with its first requests
    drop(gateway(broker.clone()).await);
    let alive = tokio::runtime::Handle::current().metrics();
    let before = alive.num_alive_tasks();
    let catalog = gateway(broker.clone()).await;
    let clone = catalog.clone();
    drop(catalog);
    assert!(clone.is_current(), "a clone keeps them");
    drop(clone);
    let ended = async {
        while alive.num_alive_tasks() > before - catalog::kinds::GATEWAY.len() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(BOUND, ended).await.expect("tasks end");
}
