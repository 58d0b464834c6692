//! Deploys killed between any two of their writes: the wire between a gateway and NATS is cut
//! after so many bytes, and the gateway killed with it. The catalog never holds a version
//! without a head, or a head without its version.

use std::collections::BTreeMap;

use broker::permissions::PROVISION;
use broker::{Broker, BrokerConfig};
use futures::StreamExt;
use serde_json::{Value, json};
use system_tests::{System, within};

use super::stage::{BOUND, figure, slay};
use super::wire::Wire;

/// How many deploys are cut, at as many places.
const CUTS: usize = 24;

/// What one deploy holds: long enough that several cuts fall into its writes.
fn source(cut: usize) -> String {
    format!("# {}\necho {cut}\n", "x".repeat(600))
}

fn path(cut: usize) -> String {
    format!("f/faults/cut{cut}")
}

#[tokio::test]
async fn a_version_never_exists_without_its_head() {
    let system = System::start().gateways(2).workers(0).await;
    let gateway = system.gateway(1);
    let wire = Wire::to(system.nats().address()).await;
    gateway.kill();
    gateway.set("nats-url", &wire.url());
    gateway.start_again().await;
    let client = system.client().at(gateway);
    let before = wire.sent();
    client.deploy("f/faults/whole", "bash", &source(0)).await;
    let whole = wire.sent() - before;

    let mut hit = 0;
    for cut in 0..CUTS {
        wire.cut_after(whole * cut / (CUTS - 2));
        let (path, source) = (path(cut), source(cut));
        let deploy = client.try_deploy(&path, "bash", &source, json!({}));
        let cut_off = tokio::select! {
            answer = deploy => { answer.expect(201); false }
            () = within("the cut", BOUND, wire.cut()) => true,
        };
        if cut_off {
            hit += 1;
            slay(gateway).await;
            wire.mend();
            gateway.start_again().await;
        }
    }
    wire.mend();
    figure(&format!("{hit} of {CUTS} deploys of about {whole} bytes were cut off"));
    assert!(hit > CUTS / 2 && hit < CUTS, "most were cut off, the last came through: {hit} of {CUTS}");

    let stored = Stored::read(&system).await;
    stored.assert_whole();
    assert!(stored.heads.len() > CUTS - hit && stored.heads.len() <= CUTS + 1, "{:?}", stored.heads);
    let clients = [system.client(), &client];
    for cut in 0..CUTS {
        clients[cut % 2].deploy(&path(cut), "bash", &format!("echo again {cut}")).await;
    }
    let again = Stored::read(&system).await;
    again.assert_whole();
    assert_eq!(again.heads.len(), CUTS + 1);
}

/// The versions by their hash, the versions that heads name by path, and the audit's entries.
#[derive(Debug, Default)]
struct Stored {
    versions: BTreeMap<String, Value>,
    heads: BTreeMap<String, String>,
    audits: usize,
}

impl Stored {
    async fn read(system: &System) -> Self {
        let broker = Broker::connect(BrokerConfig {
            url: format!("nats://{}", system.nats().address()),
            user: PROVISION.to_owned(),
            password: system.credentials().nats_password(PROVISION).to_owned(),
            name: "system tests".to_owned(),
        });
        within("the whole catalog", BOUND, read(&broker.await.unwrap())).await
    }

    /// Each version is its path's head or an ancestor of it, and each head is there.
    fn assert_whole(&self) {
        let mut reached = 0;
        for (path, head) in &self.heads {
            let version = self.versions.get(head).unwrap_or_else(|| panic!("{path}: no version {head}"));
            assert_eq!(version["script"]["path"], path.as_str());
            let parents = version["parent_hashes"].as_array().map_or(0, Vec::len);
            reached += 1 + parents;
        }
        assert_eq!(reached, self.versions.len(), "{self:?}");
        assert_eq!(self.audits, self.versions.len(), "one entry for each deploy");
    }
}

async fn read(broker: &Broker) -> Stored {
    let stream = broker.jetstream().get_stream("KV_CATALOG").await.unwrap();
    let config = async_nats::jetstream::consumer::push::OrderedConfig {
        deliver_subject: broker.client().new_inbox(),
        ..Default::default()
    };
    let consumer = stream.create_consumer(config).await.unwrap();
    let count = usize::try_from(consumer.cached_info().num_pending).unwrap();
    let mut messages = consumer.messages().await.unwrap().take(count);
    let mut stored = Stored::default();
    while let Some(message) = messages.next().await {
        let message = message.unwrap();
        let value: Value = serde_json::from_slice(&message.payload).unwrap();
        let text = |name: &str| value[name].as_str().unwrap_or_default().to_owned();
        match message.subject.split('.').nth(2).unwrap() {
            "script" => drop(stored.versions.insert(text("hash"), value.clone())),
            "head" => drop(stored.heads.insert(text("path"), text("hash"))),
            "audit" if value.to_string().contains("scripts.") => stored.audits += 1,
            _ => {}
        }
    }
    stored
}
