//! A deploy cut off at any byte: a proxy between the deployer and NATS ends the
//! connection after so many bytes, so the cut falls between and inside the writes.

use std::collections::HashSet;

use broker::Broker;
use futures::StreamExt;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::nats::{BOUND, Nats, broker_at};
use crate::{demo, deploy, gateway, script};

/// Forwards one connection to `server`; once armed with a number of bytes, ends it
/// after so many more from the client.
async fn proxy(server: u16) -> (u16, watch::Sender<Option<usize>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (budget, armed) = watch::channel(None);
    tokio::spawn(async move {
        let (client, _) = listener.accept().await.unwrap();
        drop(listener);
        let server = TcpStream::connect(("127.0.0.1", server)).await.unwrap();
        let (mut from_server, mut to_server) = server.into_split();
        let (mut from_client, mut to_client) = client.into_split();
        let back = tokio::io::copy(&mut from_server, &mut to_client);
        let forth = forward(&mut from_client, &mut to_server, armed);
        tokio::select! { _ = back => {}, () = forth => {} }
    });
    (port, budget)
}

async fn forward(
    from: &mut (impl AsyncReadExt + Unpin),
    to: &mut (impl AsyncWriteExt + Unpin),
    armed: watch::Receiver<Option<usize>>,
) {
    let mut buffer = [0; 4096];
    let mut sent = 0;
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        let left = (*armed.borrow()).map_or(read, |budget| read.min(budget - sent));
        if to.write_all(&buffer[..left]).await.is_err() || left < read {
            return;
        }
        sent += if armed.borrow().is_some() { left } else { 0 };
    }
}

#[tokio::test]
async fn a_version_never_exists_without_its_head() {
    // NATS holds 50 open batches and forgets one after 10 s, so no more cuts at once
    const CUTS: usize = 45;
    const STEP: usize = 42;
    let nats = Nats::provisioned().await;
    let cuts = (0..CUTS).map(|cut| {
        let server = nats.port();
        async move {
            let (port, budget) = proxy(server).await;
            let broker = broker_at(port, "gateway").await;
            let catalog = catalog::Catalog::open(broker, &[]);
            // the last few come through whole
            budget.send_replace(Some(if cut < CUTS - 5 { cut * STEP } else { usize::MAX }));
            deploy(&catalog, script(&json!({"path": format!("f/demo/cut{cut}")}))).await.is_ok()
        }
    });
    let outcomes = futures::future::join_all(cuts).await;
    let done = outcomes.iter().filter(|done| **done).count();
    println!("{done} of {CUTS} deploys were done: {outcomes:?}");
    assert!((1..CUTS).contains(&done), "some cuts hit and some came too late: {done} of {CUTS} were done");

    let (versions, heads, audits) = everything(&nats.broker("provision").await).await;
    assert_eq!(versions, heads, "each version is the head of its path");
    assert_eq!(versions.len(), audits);
    assert!(versions.len() >= done && versions.len() < CUTS);
    // and the next one is not in the way of what was cut
    let catalog = gateway(nats.broker("gateway").await).await;
    for cut in 0..CUTS {
        let known = catalog
            .heads(&demo())
            .unwrap()
            .iter()
            .any(|head| head.path.as_str() == format!("f/demo/cut{cut}"));
        let again = deploy(&catalog, script(&json!({"path": format!("f/demo/cut{cut}")}))).await;
        assert_eq!(again.is_ok(), !known, "cut {cut}: {again:?}");
    }
}

/// The versions there are, the versions that heads name, and the number of audit entries.
async fn everything(broker: &Broker) -> (HashSet<String>, HashSet<String>, usize) {
    let stream = broker.jetstream().get_stream("KV_CATALOG").await.unwrap();
    let config = async_nats::jetstream::consumer::push::OrderedConfig {
        deliver_subject: broker.client().new_inbox(),
        ..Default::default()
    };
    let consumer = stream.create_consumer(config).await.unwrap();
    let count = usize::try_from(consumer.cached_info().num_pending).unwrap();
    let messages = consumer.messages().await.unwrap().take(count).collect::<Vec<_>>();
    let messages = tokio::time::timeout(BOUND, messages).await.unwrap();
    let (mut versions, mut heads, mut audits) = (HashSet::new(), HashSet::new(), 0);
    for message in messages {
        let message = message.unwrap();
        let subject = message.subject.to_string();
        let value: serde_json::Value = serde_json::from_slice(&message.payload).unwrap();
        match subject.split('.').nth(2).unwrap() {
            "script" => drop(versions.insert(subject.rsplit('.').next().unwrap().to_owned())),
            "head" => drop(heads.insert(value["hash"].as_str().unwrap().to_owned())),
            "audit" => audits += 1,
            other => panic!("unexpected kind {other}"),
        }
    }
    (versions, heads, audits)
}
