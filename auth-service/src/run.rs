//! Starts the service: NATS, the tables, the socket; and stops it.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use broker::{Broker, BrokerConfig};
use catalog::{Catalog, kinds};
use lifecycle::{Latch, Process};
use proto::auth::auth_server::AuthServer;
use tokio::net::TcpListener;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;

use crate::guard::Guard;
use crate::service::AuthService;
use crate::signing::Signer;
use crate::{Config, last_used};

/// The longest a call may take: two reads and a write of the store at their deadlines.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);
/// Calls at the same time on one connection; more wait.
const CALLS_PER_CONNECTION: usize = 256;
/// The largest request: a token with 100 scopes is far below.
const MAX_REQUEST_BYTES: usize = 64 * 1024;
/// A peer that is gone is noticed after twice this.
const KEEPALIVE: Duration = Duration::from_secs(10);

/// Runs the service on the address of its configuration until the process stops.
///
/// # Errors
/// The address cannot be listened on, or see [`run_on`].
pub async fn run(config: Config, process: Process) -> anyhow::Result<()> {
    let listener = lifecycle::bind(config.listen, "listen").await?;
    run_on(listener, config, process).await
}

/// Runs the service on a socket that is bound already, so that its address is known.
///
/// # Errors
/// The configuration cannot be used, or the socket fails.
pub async fn run_on(listener: TcpListener, config: Config, process: Process) -> anyhow::Result<()> {
    let address = listener.local_addr().context("the listener has no address")?;
    let signer = Arc::new(Signer::from_base64(config.signing_key.expose())?);
    let latch = process.readiness.latch("catalog");
    latch.not_ready("the catalog is not loaded yet");
    let catalog = Catalog::open(connect(&config).await?, kinds::AUTH_SERVICE);
    process.spawn("catalog-ready", until_ready(catalog.clone(), latch, process.clone()));
    let (last_used, writer) = last_used::channel();
    process.spawn("last-used", writer.run(catalog.clone()));
    let retention = config.retention.clone();
    let service = AuthServer::new(AuthService { catalog, signer, last_used, retention })
        .max_decoding_message_size(MAX_REQUEST_BYTES);
    tracing::info!(listen = %address, "serving grpc");
    let draining = process.shutdown.clone();
    server()
        .layer(Guard::new(&config))
        .add_service(service)
        .serve_with_incoming_shutdown(TcpIncoming::from(listener).with_nodelay(Some(true)), async move {
            draining.draining().await;
        })
        .await
        .context("the grpc server failed")
}

fn server() -> Server {
    Server::builder()
        .timeout(CALL_TIMEOUT)
        .concurrency_limit_per_connection(CALLS_PER_CONNECTION)
        .http2_keepalive_interval(Some(KEEPALIVE))
        .http2_keepalive_timeout(Some(KEEPALIVE))
}

async fn connect(config: &Config) -> anyhow::Result<Broker> {
    let config = BrokerConfig {
        url: config.nats_url.clone(),
        user: config.nats_user.clone(),
        password: config.nats_password.expose().clone(),
        name: "auth-service".to_owned(),
    };
    Ok(Broker::connect(config).await?)
}

/// Keeps the latch until the process drains: dropping it would remove the condition.
async fn until_ready(catalog: Catalog, latch: Latch, process: Process) {
    if process.shutdown.until_drain(catalog.ready()).await.is_some() {
        latch.ready();
    }
    process.shutdown.draining().await;
}
