//! The links of a system: one for each service and each server it uses.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};

use hookmill::up::service_settings::Addresses;

use crate::link::Link;

/// Whom a service uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Peer {
    /// nats-server.
    Nats,
    /// Valkey.
    Valkey,
    /// auth-service.
    Auth,
}

/// All links, by the service's name and its peer.
#[derive(Debug, Default)]
pub(crate) struct Links(Mutex<BTreeMap<(String, Peer), Link>>);

impl Links {
    /// The addresses that lead a service over links of its own.
    pub(crate) fn between(&self, service: &str, real: &Addresses) -> Addresses {
        Addresses {
            nats_url: format!("nats://{}", self.link(service, Peer::Nats, &real.nats_url)),
            valkey: self.link(service, Peer::Valkey, &real.valkey),
            // auth-service comes first, and does not use itself
            auth_url: if real.auth_url.is_empty() {
                String::new()
            } else {
                format!("http://{}", self.link(service, Peer::Auth, &real.auth_url))
            },
        }
    }

    fn link(&self, service: &str, peer: Peer, address: &str) -> String {
        let server: SocketAddr =
            address.rsplit('/').next().and_then(|text| text.parse().ok()).expect(address);
        let link = Link::to(server);
        let address = link.address().to_string();
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert((service.to_owned(), peer), link);
        address
    }

    pub(crate) fn of(&self, service: &str, peer: Peer) -> Option<Link> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&(service.to_owned(), peer)).cloned()
    }
}
