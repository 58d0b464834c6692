//! NATS away: what is known goes on, what is not is unavailable and never "who are you".

use std::time::{Duration, Instant};

use proto::Bearer;
use tonic::Code;

use crate::nats::BOUND;
use crate::world::{Service, World, job, opaque, refused, until, wish};

#[tokio::test]
async fn hits_go_on_and_misses_are_unavailable() {
    let mut world = World::new().await;
    let service = &world.service;
    let grant = service.grant(&world.admin).await;
    world.nats.stop();
    until(&world.catalog, |catalog| !catalog.is_current()).await;
    let begin = Instant::now();
    assert!(service.identify(opaque(&world.admin)).await.is_ok());
    // what bounds the job may have been narrowed by another service meanwhile
    refused(service.issue(job(grant.clone())).await, Code::Unavailable, "unavailable");
    let stranger = Bearer::generate().unwrap();
    refused(service.identify(opaque(&stranger)).await, Code::Unavailable, "unavailable");
    refused(service.create(wish(opaque(&world.admin))).await, Code::Unavailable, "unavailable");
    let revoked = service.revoke(opaque(&world.admin), world.admin.handle()).await;
    refused(revoked, Code::Unavailable, "unavailable");
    assert!(service.identify(opaque(&world.admin)).await.is_ok(), "nothing was revoked here either");
    assert!(begin.elapsed() < Duration::from_secs(6), "{:?}", begin.elapsed());

    world.nats.start();
    let back = async {
        while world.service.create(wish(opaque(&world.admin))).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(BOUND, back).await.expect("it writes again");
    assert!(world.service.issue(job(grant)).await.is_ok());
    refused(world.service.identify(opaque(&stranger)).await, Code::Unauthenticated, "unknown");
}

#[tokio::test]
async fn a_service_that_never_saw_nats_is_not_ready_and_knows_nobody() {
    let mut world = World::new().await;
    world.nats.stop();
    let service = Service::start_unready(&world.nats).await;
    assert!(!service.process.readiness.is_ready());
    refused(service.identify(opaque(&world.admin)).await, Code::Unavailable, "unavailable");
    world.nats.start();
    let ready = service.process.readiness.wait_ready();
    tokio::time::timeout(BOUND, ready).await.expect("ready once NATS is there");
    assert!(service.identify(opaque(&world.admin)).await.is_ok());
}
