//! The catalog over a real nats-server, under the permissions of an installation.
#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

mod batches;
mod cut;
mod deploys;
mod nats;
mod watches;

use catalog::{Author, Catalog, Deployed, IfUnchanged, NewScript};
use proto::{ScriptPath, WorkspaceId};
use serde_json::{Value, json};

fn demo() -> WorkspaceId {
    "demo".parse().unwrap()
}

fn path(text: &str) -> ScriptPath {
    text.parse().unwrap()
}

fn script(more: &Value) -> NewScript {
    let mut sent = json!({"path": "f/demo/x", "summary": "", "content": "echo 1", "language": "bash"});
    sent.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    serde_json::from_value(sent).unwrap()
}

/// Opens a gateway's catalog and waits for its first load.
async fn gateway(broker: broker::Broker) -> Catalog {
    let catalog = Catalog::open(broker, catalog::kinds::GATEWAY);
    tokio::time::timeout(nats::BOUND, catalog.ready()).await.expect("loaded in time");
    catalog
}

/// Waits until a catalog satisfies `wanted`, looking again whenever it changed.
async fn until(catalog: &Catalog, wanted: impl Fn(&Catalog) -> bool) {
    let mut changes = catalog.changes();
    // the value seen is not the point: it is looked at between two ticks
    let shown = changes.wait_for(|_| wanted(catalog));
    tokio::time::timeout(nats::BOUND, shown).await.expect("the watch brings it in time").unwrap();
}

async fn deploy(catalog: &Catalog, new: NewScript) -> Result<Deployed, catalog::CatalogError> {
    let author = Author { username: "ada".into() };
    catalog.deploy(&demo(), &author, new, IfUnchanged::Deploy).await
}
