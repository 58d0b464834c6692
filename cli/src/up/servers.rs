//! nats-server and Valkey under `up`: started side by side, kept running, ended last.

use lifecycle::supervisor::Host;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::keep_running::keep_running;
use super::leftovers;
use super::server::{Ingredients, Server, start_on_free_port};

/// Both servers. Dropping this ends them, in the background.
#[derive(Debug)]
pub struct Servers {
    /// nats-server.
    pub nats: Server,
    /// Valkey.
    pub valkey: Server,
    keepers: JoinSet<()>,
    stop: CancellationToken,
}

impl Servers {
    /// Waits for what an `up` that was killed has left, then starts both on free ports and returns once
    /// they answer.
    ///
    /// # Errors
    /// A server cannot be started, or one of an earlier start does not end.
    pub async fn start(host: &Host, from: Ingredients<'_>) -> anyhow::Result<Self> {
        for name in ["nats", "valkey"] {
            leftovers::wait_for_the_end_of(&from.folder.join("run").join(format!("{name}.conf"))).await?;
        }
        let nats = start_on_free_port(host, |port| Server::nats(from, port, None));
        let valkey = start_on_free_port(host, |port| Server::valkey(from, port));
        let (nats, valkey) = tokio::try_join!(nats, valkey)?;
        let (mut keepers, stop) = (JoinSet::new(), CancellationToken::new());
        for (server, handle) in
            [&nats, &valkey].map(|(server, _)| server.clone()).into_iter().zip([nats.1, valkey.1])
        {
            keepers.spawn(keep_running(server, handle, host.clone(), stop.clone()));
        }
        Ok(Self { nats: nats.0, valkey: valkey.0, keepers, stop })
    }

    /// `nats://127.0.0.1:port`.
    pub fn nats_url(&self) -> String {
        format!("nats://{}", self.nats.addr())
    }

    /// Ends both in order: SIGTERM, 5 s, SIGKILL. Returns when nothing of them is left.
    pub async fn stop(mut self) {
        self.stop.cancel();
        while self.keepers.join_next().await.is_some() {}
    }
}
