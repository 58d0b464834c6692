//! The connection and its options.

use std::time::Duration;

use async_nats::connection::State;
use async_nats::{Client, ConnectOptions, Event, jetstream};
use tokio::sync::watch;

/// Where and as whom to connect.
#[derive(Clone)]
pub struct BrokerConfig {
    /// `nats://host:port`, several separated by commas.
    pub url: String,
    /// The service's NATS user; see [`crate::permissions`].
    pub user: String,
    /// Its password.
    pub password: String,
    /// Shown in the server's connection list.
    pub name: String,
}

/// Whether the server can be reached. A hint for readiness and for re-reading what a
/// broken link may have lost; never a reason to skip a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// Connected for the `n`-th time, counted from 1.
    Up(u64),
    /// Not connected; the client goes on trying.
    Down,
}

impl Link {
    /// What stands against work while the link is like this, for readiness.
    pub fn why_not(&self) -> Option<&'static str> {
        match self {
            Self::Up(_) => None,
            Self::Down => Some("not connected"),
        }
    }
}

/// The configuration cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot use the NATS configuration: {0}")]
pub struct ConnectError(#[from] async_nats::ConnectError);

/// A connection to NATS that outlives the server's restarts. Cheap to clone.
#[derive(Clone)]
pub struct Broker {
    client: Client,
    jetstream: jetstream::Context,
    link: watch::Receiver<Link>,
}

impl Broker {
    /// Starts connecting and returns at once; [`Broker::link`] says when it is there.
    /// Reconnects for ever, at most half a second apart.
    ///
    /// # Errors
    /// The address cannot be parsed.
    pub async fn connect(config: BrokerConfig) -> Result<Self, ConnectError> {
        let (sender, link) = watch::channel(Link::Down);
        let user = config.user.clone();
        let options = ConnectOptions::with_user_and_password(config.user, config.password)
            .name(config.name)
            .custom_inbox_prefix(crate::names::inbox_prefix(&user))
            .retry_on_initial_connect()
            .connection_timeout(Duration::from_secs(2))
            // a half-open connection is noticed after three of these
            .ping_interval(Duration::from_secs(5))
            .request_timeout(Some(Duration::from_secs(2)))
            .reconnect_delay_callback(|attempts| Duration::from_millis((attempts as u64 * 50).min(500)))
            .event_callback(move |event| {
                note(&sender, &event);
                std::future::ready(())
            });
        let servers: Vec<String> = config.url.split(',').map(str::to_owned).collect();
        let client = options.connect(servers).await?;
        let mut jetstream = jetstream::new(client.clone());
        jetstream.set_timeout(Duration::from_secs(2));
        Ok(Self { client, jetstream, link })
    }

    /// The plain client.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The JetStream context; its API calls end after 2 s.
    pub fn jetstream(&self) -> &jetstream::Context {
        &self.jetstream
    }

    /// The state of the link, now and as it changes.
    pub fn link(&self) -> watch::Receiver<Link> {
        self.link.clone()
    }

    /// Waits until everything published has left this process, for `bound` at most; says
    /// whether it has. A publish only reaches a buffer: what is in it when the process ends
    /// is lost.
    pub async fn flush(&self, bound: Duration) -> bool {
        matches!(tokio::time::timeout(bound, self.client.flush()).await, Ok(Ok(())))
    }

    /// Waits until there is a link. What is published without one leaves with the next one, however late that is.
    pub async fn linked(&self) {
        let mut link = self.link.clone();
        // the sender lives as long as the client does; without it there will be no link, and our caller has a deadline
        if link.wait_for(|link| matches!(link, Link::Up(_))).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Whether the client holds a connection at this moment.
    pub fn is_up(&self) -> bool {
        self.client.connection_state() == State::Connected
    }
}

fn note(link: &watch::Sender<Link>, event: &Event) {
    match event {
        Event::Connected => {
            link.send_modify(|state| *state = next_up(*state));
            tracing::info!("nats connected");
        }
        // our own doing: the last clone of the client is gone
        Event::Closed => {
            link.send_replace(Link::Down);
        }
        Event::Disconnected => {
            // told again at every attempt to connect
            if link.send_replace(Link::Down) != Link::Down {
                metrics::counter!("nats_disconnected_total").increment(1);
                tracing::warn!("nats disconnected");
            }
        }
        Event::SlowConsumer(id) => {
            metrics::counter!("nats_slow_consumer_total").increment(1);
            tracing::error!(nats.subscription = id, "messages dropped: a subscription is too slow");
        }
        Event::ServerError(error) => tracing::error!(%error, "nats server error"),
        Event::ClientError(error) => tracing::warn!(%error, "nats client error"),
        Event::LameDuckMode | Event::Draining => tracing::info!(?event, "nats connection event"),
    }
}

/// Counts connections over the whole life of the process: a watcher that saw `Up(1)`
/// and then `Up(2)` knows that the link was down between.
fn next_up(_state: Link) -> Link {
    use std::sync::atomic::{AtomicU64, Ordering};
    static CONNECTIONS: AtomicU64 = AtomicU64::new(0);
    Link::Up(CONNECTIONS.fetch_add(1, Ordering::Relaxed) + 1)
}
