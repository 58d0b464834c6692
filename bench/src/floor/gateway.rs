//! The floor's gateway: a request becomes a message; a synchronous one waits for its completion.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::{self, Context};
use async_nats::{Client, ConnectOptions, Subscriber};
use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use broker::names;
use broker::permissions::GATEWAY;
use bytes::Bytes;
use futures::StreamExt;
use http::StatusCode;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use uuid::Uuid;

use super::message::{Message, read_completion};
use super::{INSTANCE, SUBJECT};

const WAIT: Duration = Duration::from_secs(30);

/// Where it listens, and where NATS is.
#[derive(Debug, clap::Args)]
pub(crate) struct GatewayArgs {
    #[arg(long, env = "BENCH_FLOOR_LISTEN")]
    listen: SocketAddr,
    #[arg(long, env = "BENCH_FLOOR_NATS_URL")]
    nats_url: String,
    #[arg(long, env = "BENCH_FLOOR_NATS_PASSWORD", hide_env_values = true)]
    nats_password: String,
}

pub(super) fn environment(listen: SocketAddr, nats_url: &str, password: &str) -> Vec<(String, String)> {
    let pairs = [
        ("BENCH_FLOOR_LISTEN", listen.to_string()),
        ("BENCH_FLOOR_NATS_URL", nats_url.to_owned()),
        ("BENCH_FLOOR_NATS_PASSWORD", password.to_owned()),
    ];
    pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

struct Gateway {
    jetstream: Context,
    waiting: Mutex<HashMap<Uuid, oneshot::Sender<Bytes>>>,
}

type Failure = (StatusCode, String);

impl GatewayArgs {
    /// Serves until it is killed.
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        let client = connect(&self.nats_url, GATEWAY, &self.nats_password).await?;
        let completions = client.subscribe(names::done(INSTANCE)).await?;
        client.flush().await?;
        let gateway = Arc::new(Gateway { jetstream: jetstream::new(client), waiting: Mutex::default() });
        tokio::spawn(hear(gateway.clone(), completions));
        let router = Router::new().route("/async", post(queue)).route("/sync", post(run)).with_state(gateway);
        let listener = TcpListener::bind(self.listen).await?;
        axum::serve(axum::serve::ListenerExt::tap_io(listener, no_delay), router).await?;
        Ok(())
    }
}

fn no_delay(stream: &mut tokio::net::TcpStream) {
    // slower without it, and correct all the same
    let _ = stream.set_nodelay(true);
}

/// A connection with the inbox its user may listen on.
pub(super) async fn connect(url: &str, user: &str, password: &str) -> anyhow::Result<Client> {
    let options = ConnectOptions::with_user_and_password(user.to_owned(), password.to_owned());
    Ok(options.custom_inbox_prefix(names::inbox_prefix(user)).connect(url).await?)
}

async fn hear(gateway: Arc<Gateway>, mut completions: Subscriber) {
    while let Some(message) = completions.next().await {
        let Some((id, result)) = read_completion(&message.payload) else { continue };
        if let Some(waiter) = gateway.waiting().remove(&id) {
            // whoever waited has gone
            let _ = waiter.send(result);
        }
    }
}

async fn queue(State(gateway): State<Arc<Gateway>>, args: Bytes) -> Result<Response, Failure> {
    let id = Uuid::now_v7();
    gateway.publish(Message { answer: false, id, args }).await?;
    Ok((StatusCode::CREATED, id.to_string()).into_response())
}

async fn run(State(gateway): State<Arc<Gateway>>, args: Bytes) -> Result<Response, Failure> {
    let (waiter, ended) = oneshot::channel();
    let id = Uuid::now_v7();
    gateway.waiting().insert(id, waiter);
    gateway.publish(Message { answer: true, id, args }).await?;
    match tokio::time::timeout(WAIT, ended).await {
        Ok(Ok(result)) => Ok(result.into_response()),
        Ok(Err(_)) | Err(_) => {
            Err((StatusCode::GATEWAY_TIMEOUT, format!("no completion within {} s", WAIT.as_secs())))
        }
    }
}

impl Gateway {
    fn waiting(&self) -> std::sync::MutexGuard<'_, HashMap<Uuid, oneshot::Sender<Bytes>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn publish(&self, message: Message) -> Result<(), Failure> {
        let id = message.id;
        let publish = PublishMessage::build().payload(message.encode()).message_id(format!("bench/{id}/0"));
        let sent = self.jetstream.send_publish(format!("{SUBJECT}.{id}"), publish).await;
        let acked = match sent {
            Ok(ack) => ack.await.map(drop),
            Err(error) => Err(error),
        };
        acked.map_err(|error| (StatusCode::SERVICE_UNAVAILABLE, error.to_string()))
    }
}
