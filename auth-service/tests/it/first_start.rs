//! The very first start.

use auth_service::{FirstAdmin, bootstrap};

use crate::nats::Nats;
use crate::world::{ADMIN, Service, World, demo, first_admin, opaque, open};

#[tokio::test]
async fn the_first_admin_is_made_once() {
    let world = World::new().await;
    let identity = world.service.identify(opaque(&world.admin)).await.unwrap().identity.unwrap();
    assert_eq!((identity.email.as_str(), identity.super_admin), (ADMIN, true));
    assert!(identity.scopes.is_empty() && identity.workspace.is_empty() && identity.job.is_none());
    assert!(bootstrap(&world.catalog, &first_admin()).await.unwrap().is_none());
    assert!(bootstrap(&open(&world.nats).await, &first_admin()).await.unwrap().is_none());
    let mut ids: Vec<String> =
        world.catalog.workspaces().unwrap().iter().map(|one| one.id.to_string()).collect();
    ids.sort();
    assert_eq!(ids, ["admins", "demo"]);
    let user = world.catalog.user_by_email(&demo(), ADMIN).unwrap().unwrap();
    assert_eq!((user.username.as_str(), user.is_admin), ("admin", true));
}

#[tokio::test]
async fn of_several_at_once_one_succeeds() {
    let nats = Nats::provisioned().await;
    let mut catalogs = Vec::new();
    for _ in 0..5 {
        catalogs.push(open(&nats).await);
    }
    let tries = catalogs.iter().enumerate().map(|(n, catalog)| {
        let first = FirstAdmin { email: format!("admin{n}@example.com"), ..first_admin() };
        async move { bootstrap(catalog, &first).await.unwrap() }
    });
    let made: Vec<_> = futures::future::join_all(tries).await.into_iter().flatten().collect();
    assert_eq!(made.len(), 1);
    let service = Service::start(&nats).await;
    assert!(service.identify(opaque(&made[0])).await.is_ok());
}

#[tokio::test]
async fn admins_may_be_the_only_workspace_and_emails_must_be_some() {
    let nats = Nats::provisioned().await;
    let catalog = open(&nats).await;
    let bad = FirstAdmin { email: "nobody".into(), ..first_admin() };
    assert!(bootstrap(&catalog, &bad).await.is_err());
    let admins = FirstAdmin { workspace: "admins".parse().unwrap(), ..first_admin() };
    assert!(bootstrap(&catalog, &admins).await.unwrap().is_some());
    assert_eq!(catalog.workspaces().unwrap().len(), 1);
}
