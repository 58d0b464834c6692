//! The least that this design can cost, on the same servers, stream and settings as the product: HTTP in, one
//! publish, one pull, one start write, a pipe to a warm Python, one result write, one completion, one ack. No
//! tokens, no permissions, no scripts to find, no logs, no process of the job's own.
//!
//! Its gateway and worker are processes of their own, as the product's are, with the product's NATS and Valkey
//! users, on a tag that no worker of the product serves.

mod gateway;
mod message;
mod python;
mod worker;

use std::net::SocketAddr;
use std::time::Duration;

use broker::permissions::{GATEWAY, WORKER};
use hookmill::up::server::free_port;
use http::StatusCode;

pub(crate) use gateway::GatewayArgs;
pub(crate) use worker::WorkerArgs;

use crate::case::{Mode, arguments};
use crate::http_client::{self, Call, Reply};
use crate::install::{Install, loopback, ours, python};
use crate::load::Target;
use crate::product::agree;

/// Warm Pythons: one for each of the two cores the figures are for.
const PYTHONS: usize = 2;

/// How long its processes may take to answer.
const READY_WITHIN: Duration = Duration::from_secs(10);

/// What the floor's worker pulls, and nobody else.
const SUBJECT: &str = "job.0.floor.p1.bench";
const CONSUMER: &str = "w-floor-p1";
/// The floor's gateway in completion subjects.
const INSTANCE: &str = "bench-floor";

/// The running floor.
pub(crate) struct Floor {
    addr: SocketAddr,
}

impl Floor {
    /// Starts its two processes as part of the installation.
    ///
    /// # Errors
    /// They do not start.
    pub(crate) async fn start(install: &mut Install) -> anyhow::Result<Self> {
        let addr = loopback(free_port()?);
        let program = ours("bench")?;
        let (nats, password) = install.nats(WORKER);
        let env = worker::environment(&nats, &password, &install.redis(WORKER)?, &python()?);
        install.child("floor-worker", program.clone(), vec!["floor-worker".to_owned()], env).await?;
        let (nats, password) = install.nats(GATEWAY);
        let env = gateway::environment(addr, &nats, &password);
        install.child("floor-gateway", program, vec!["floor-gateway".to_owned()], env).await?;
        let whole_way = FloorTarget { mode: Mode::Sync }.call(0);
        http_client::until(addr, &whole_way, StatusCode::OK, READY_WITHIN).await?;
        Ok(Self { addr })
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Its webhook.
    pub(crate) fn webhook(mode: Mode) -> impl Target {
        FloorTarget { mode }
    }
}

struct FloorTarget {
    mode: Mode,
}

impl Target for FloorTarget {
    fn call(&self, n: u64) -> Call {
        Call::post(format!("/{}", self.mode.name()), arguments(n).to_string())
    }

    fn check(&self, n: u64, reply: Reply) -> anyhow::Result<String> {
        match self.mode {
            Mode::Async => Ok(String::from_utf8(reply.expect(StatusCode::CREATED)?.body.to_vec())?),
            Mode::Sync => {
                agree(&arguments(n), &reply.expect(StatusCode::OK)?.body)?;
                Ok(String::new())
            }
        }
    }
}
