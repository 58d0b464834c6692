//! Doing harm, and undoing it.

mod servers;
mod stop;

use std::time::Duration;

use futures::future::join_all;

use super::fault::{EACH, Fault, Spoil, Victim};
use super::ledger::{Ledger, Struck, since};
use super::plan::Step;
use crate::link::{Flow, Link};
use crate::links::Peer;
use crate::service::Service;
use crate::system::System;

/// How much later everything comes on a slow network.
const SLOW: Duration = Duration::from_millis(60);

/// Where faults are struck.
pub(super) struct Hand<'a> {
    pub(super) system: &'a System,
    pub(super) ledger: Ledger,
    /// What lies between the callers and each gateway.
    pub(super) callers: [Link; EACH],
}

/// Whether a fault found what it was meant for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Hit {
    Yes,
    No,
}

impl Hand<'_> {
    /// One step of a plan, to the point when all processes are ready again.
    pub(super) async fn step(&self, step: &Step) {
        tokio::time::sleep(step.quiet).await;
        let from_us = since();
        let hit = self.strike(step.fault, step.lasts).await;
        let healed_us = since();
        join_all(self.system.services().map(Service::ready)).await;
        let missed = hit == Hit::No;
        self.ledger.strike(Struck { fault: step.fault, from_us, healed_us, to_us: since(), missed });
    }

    async fn strike(&self, fault: Fault, lasts: Duration) -> Hit {
        match fault {
            Fault::Kill(victim) => self.kill(victim, lasts).await,
            Fault::Pause(victim) => self.pause(victim, lasts).await,
            Fault::KillAt(moment, number) => return self.kill_at(moment, number, lasts).await,
            Fault::Network(spoil, service, peer) => self.network(spoil, service, peer, lasts).await,
            Fault::DiskFull(victim) => return self.disk_full(victim, lasts).await,
            Fault::MemoryFull => self.memory_full(lasts).await,
            Fault::Backlog => self.backlog().await,
            Fault::NewerEnvelope => self.newer_envelope().await,
        }
        Hit::Yes
    }

    async fn kill(&self, victim: Victim, lasts: Duration) {
        if let Some(service) = self.service(victim) {
            service.slay().await;
            tokio::time::sleep(lasts).await;
            return service.launch();
        }
        let server = self.server(victim);
        server.kill();
        tokio::time::sleep(lasts).await;
        server.start_again().await;
    }

    async fn pause(&self, victim: Victim, lasts: Duration) {
        if let Some(service) = self.service(victim) {
            service.pause();
            tokio::time::sleep(lasts).await;
            return service.resume();
        }
        let server = self.server(victim);
        server.pause();
        tokio::time::sleep(lasts).await;
        server.resume();
    }

    async fn network(&self, spoil: Spoil, service: Victim, peer: Peer, lasts: Duration) {
        let link = self.system.link(&service.service(), peer);
        link.set_both(&match spoil {
            Spoil::Cut => Flow::Swallowed,
            Spoil::Hold => Flow::Held,
            Spoil::Slow => Flow::Slow(SLOW),
        });
        tokio::time::sleep(lasts).await;
        link.mend();
    }

    fn service(&self, victim: Victim) -> Option<&Service> {
        match victim {
            Victim::Gateway(number) => Some(self.system.gateway(number)),
            Victim::Worker(number) => Some(self.system.worker(number)),
            Victim::Auth => Some(self.system.auth()),
            Victim::Nats | Victim::Valkey => None,
        }
    }
}
