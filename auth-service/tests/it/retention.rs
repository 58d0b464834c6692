//! How long a workspace keeps its ended runs: who says so, within which bounds, and that workers are told.

use tonic::Code;

use crate::trail::stored;
use crate::world::{World, job_credential, opaque, refused};

const HOUR: u64 = 3600;

#[tokio::test]
async fn the_next_job_is_told_and_no_other_workspace() {
    let world = World::new().await;
    let service = &world.service;
    let grant = service.grant(&world.admin).await;
    assert_eq!(service.told_retention(&grant).await, 0, "nobody says");
    for seconds in [HOUR, 48 * HOUR, 60, 0] {
        service.edit_retention(opaque(&world.admin), "demo", seconds).await.unwrap();
        assert_eq!(service.told_retention(&grant).await, seconds);
    }
    service.edit_retention(opaque(&world.admin), "admins", HOUR).await.unwrap();
    assert_eq!(service.told_retention(&grant).await, 0);
    // one setting keeps the other
    service.edit_retention(opaque(&world.admin), "demo", HOUR).await.unwrap();
    service.edit(opaque(&world.admin), "demo", r#"{"memory":33554432}"#).await.unwrap();
    assert_eq!(service.told_retention(&grant).await, HOUR);
    assert_eq!(service.told(&grant).await, r#"{"memory":33554432}"#);
    let trail = stored(&world).await;
    assert!(trail.iter().any(|(_, value)| value.contains(r#""retention_period_secs":3600"#)), "{trail:?}");
}

#[tokio::test]
async fn only_within_bounds_and_only_by_its_admins() {
    let world = World::new().await;
    let service = &world.service;
    for seconds in [1, 59, 48 * HOUR + 1, u64::MAX] {
        let edited = service.edit_retention(opaque(&world.admin), "demo", seconds).await;
        refused(edited, Code::InvalidArgument, &format!("{seconds} is not between 60 and 172800"));
    }
    let ada = world.person("ada", |_, _, _| {}).await;
    let edited = service.edit_retention(opaque(&ada), "demo", HOUR).await;
    refused(edited, Code::PermissionDenied, "Require Admin privileges");
    let edited = service.edit_retention(opaque(&world.admin), "nowhere", HOUR).await;
    refused(edited, Code::NotFound, "no workspace nowhere");
    let token = service.job_token(&world.admin).await;
    let by_job = service.edit_retention(job_credential(&token), "demo", HOUR).await;
    refused(by_job, Code::PermissionDenied, "may not change how long runs are kept");
    let grant = service.grant(&world.admin).await;
    assert_eq!(service.told_retention(&grant).await, 0, "none of them changed anything");
}
