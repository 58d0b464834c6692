//! The servers start, keep their data and end.

use std::time::Duration;

use broker::permissions::{PROVISION, users};
use test_servers::{Fsync, Nats, NatsOptions, Valkey, within};

#[tokio::test]
async fn every_user_connects_and_a_wrong_password_does_not() {
    let nats = Nats::start().await;
    for user in users() {
        assert!(nats.broker(user.name).await.is_up(), "{}", user.name);
    }
    let mut wrong = nats.broker_config(PROVISION);
    wrong.password = "wrong".to_owned();
    let broker = broker::Broker::connect(wrong).await.expect("the address is right");
    let mut link = broker.link();
    let up = link.wait_for(|link| matches!(link, broker::Link::Up(_)));
    let connected = tokio::time::timeout(Duration::from_millis(500), up).await;
    assert!(connected.is_err(), "a wrong password must not connect");
}

#[tokio::test]
async fn nats_comes_back_with_its_port_and_its_data() {
    let mut nats = Nats::start_with(NatsOptions { sync_always: true }).await;
    let (url, broker) = (nats.url(), nats.broker(PROVISION).await);
    let mut link = broker.link();
    link.mark_unchanged();
    nats.kill();
    within("the broken link", link.wait_for(|state| *state == broker::Link::Down)).await.unwrap();
    nats.start_again().await;
    within("the new link", link.wait_for(|state| *state != broker::Link::Down)).await.unwrap();
    assert_eq!(nats.url(), url);
    assert!(nats.connection_stats().await.connections >= 1);
    nats.stop().await;
    nats.start_again().await;
}

#[tokio::test]
async fn valkey_comes_back_with_its_port() {
    for fsync in [Fsync::Always, Fsync::EverySecond] {
        let mut valkey = Valkey::start_with(fsync).await;
        let url = valkey.url();
        let before = valkey.command_count().await;
        assert_eq!(valkey.command_count().await, before, "its own questions are not counted");
        valkey.kill();
        valkey.start_again().await;
        valkey.stop().await;
        valkey.start_again().await;
        valkey.pause();
        valkey.resume();
        assert_eq!(valkey.url(), url);
    }
}
