//! Making an installation's streams: done by `up` at each start, and by `hookmill provision` elsewhere.

use std::time::Duration;

use anyhow::{Context, bail};
use broker::permissions::PROVISION;
use broker::{Broker, BrokerConfig, Link};

/// How long NATS may be away before we give up.
const CONNECT_WITHIN: Duration = Duration::from_secs(30);

/// Which NATS, and how its streams are kept.
#[derive(Clone, Debug)]
pub struct Streams {
    /// `nats://host:port`, several separated by commas.
    pub url: String,
    /// The password of the user `provision`.
    pub password: lifecycle::Secret<String>,
    /// Copies of each stream in a cluster.
    pub replicas: usize,
    /// The size of the job stream in bytes: beyond it the queue is full.
    pub max_queue_bytes: i64,
}

/// Makes the streams, or updates them. Doing it again changes nothing.
///
/// # Errors
/// NATS is not there within 30 s, or refuses.
pub async fn provision(streams: &Streams) -> anyhow::Result<()> {
    let broker = connect(&streams.url, &streams.password).await?;
    let profile = catalog::Profile { replicas: streams.replicas };
    // each waits for the disk: side by side they wait once
    let catalog =
        async { catalog::provision(&broker, profile).await.context("cannot make the catalog's streams") };
    let jobs = async {
        let made = job_queue::provision(&broker, streams.replicas, streams.max_queue_bytes).await;
        made.context("cannot make the job streams")
    };
    tokio::try_join!(catalog, jobs)?;
    Ok(())
}

/// A connection as the user `provision`.
///
/// # Errors
/// NATS is not there within 30 s.
pub async fn connect(url: &str, password: &lifecycle::Secret<String>) -> anyhow::Result<Broker> {
    let config = BrokerConfig {
        url: url.to_owned(),
        user: PROVISION.to_owned(),
        password: password.expose().clone(),
        name: "hookmill provision".to_owned(),
    };
    let broker = Broker::connect(config).await?;
    let mut link = broker.link();
    let up = link.wait_for(|link| matches!(link, Link::Up(_)));
    match tokio::time::timeout(CONNECT_WITHIN, up).await {
        Ok(link) => drop(link?),
        Err(_) => bail!("no connection to NATS at {url} within {} s", CONNECT_WITHIN.as_secs()),
    }
    Ok(broker)
}
