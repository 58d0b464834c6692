//! What goes wrong with NATS and Valkey beside their end.

use std::time::Duration;

use futures::future::join_all;
use uuid::Uuid;

use super::{Hand, Hit};
use crate::chaos::fault::{EACH, Victim};
use crate::chaos::ledger::Newer;
use crate::data_server::DataServer;
use crate::waiting::{eventually, retried};

/// Jobs of a backlog worth a restart.
const BACKLOG: u64 = 15;
/// The outer bound of what is waited for.
const BOUND: Duration = Duration::from_secs(60);

/// An envelope that says of itself only `schema_version: 2`.
const NEWER: [u8; 2] = [0x08, 0x02];

impl Hand<'_> {
    pub(super) fn server(&self, victim: Victim) -> &DataServer {
        if victim == Victim::Nats { self.system.nats() } else { self.system.valkey() }
    }

    /// Both servers stop serving when their disk is full, by their own decision, and are started again
    /// once there is room: that is what an operator does.
    pub(super) async fn disk_full(&self, victim: Victim, lasts: Duration) -> Hit {
        let server = self.server(victim);
        let Some(disk) = self.system.disk(server) else { return Hit::No };
        disk.fill();
        tokio::time::sleep(lasts).await;
        disk.empty();
        server.kill();
        server.start_again().await;
        Hit::Yes
    }

    pub(super) async fn memory_full(&self, lasts: Duration) {
        self.limit_memory("1mb").await;
        tokio::time::sleep(lasts).await;
        self.limit_memory("0").await;
    }

    async fn limit_memory(&self, bytes: &str) {
        eventually("Valkey takes a setting", BOUND, async || {
            self.system.valkey().administer(&["CONFIG", "SET", "maxmemory", bytes]).await.ok()
        })
        .await;
    }

    pub(super) async fn backlog(&self) {
        let (system, workers) = (self.system, (0..EACH).map(|number| self.system.worker(number)));
        join_all(workers.clone().map(crate::service::Service::slay)).await;
        let before = eventually("a backlog", BOUND, async || {
            system.nats().held("JOBS_0").await.filter(|held| *held >= BACKLOG)
        })
        .await;
        system.nats().kill();
        system.nats().start_again().await;
        let after =
            eventually("NATS says what it holds", BOUND, async || system.nats().held("JOBS_0").await).await;
        if after < before {
            self.ledger
                .remark(format!("a backlog of {before} jobs was one of {after} after NATS was killed"));
        }
        workers.for_each(crate::service::Service::launch);
    }

    pub(super) async fn newer_envelope(&self) {
        let job = Uuid::now_v7().to_string();
        let subject = format!("job.0.bash.p1.main.{job}");
        self.system.put_into_queue(&subject, &NEWER).await;
        // somebody has looked at it, and has not taken it for one of ours
        let message = "a job is handed on to a worker that can read it";
        retried("a worker hands it on", BOUND, || async {
            let workers = (0..EACH).map(|number| self.system.worker(number));
            let mut lines = workers.flat_map(crate::service::Service::log_lines);
            lines
                .any(|line| line["message"] == message && line["nats.subject"] == subject.as_str())
                .then_some(())
        })
        .await;
        self.ledger.newer(Newer { job, subject });
    }
}
