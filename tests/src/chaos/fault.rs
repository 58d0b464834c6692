//! What can go wrong.

use std::fmt;

use super::moment::Moment;
use super::seed::Seed;
use crate::links::Peer;

/// Gateways of a chaos system, and workers.
pub(super) const EACH: usize = 2;

/// A process of the system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Victim {
    /// A gateway by its number.
    Gateway(usize),
    /// A worker by its number.
    Worker(usize),
    /// auth-service.
    Auth,
    /// nats-server.
    Nats,
    /// valkey-server.
    Valkey,
}

/// What can be done to the network between two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spoil {
    /// Nothing passes, and its connections are lost.
    Cut,
    /// Nothing passes until the end, then all of it.
    Hold,
    /// Everything comes later.
    Slow,
}

/// One thing that goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// `kill -9` at any moment, and started again.
    Kill(Victim),
    /// SIGSTOP, and SIGCONT.
    Pause(Victim),
    /// `kill -9` of a gateway or worker, by its number, at a certain moment.
    KillAt(Moment, usize),
    /// The network between a service and one it uses.
    Network(Spoil, Victim, Peer),
    /// No room on the disk of NATS or Valkey.
    DiskFull(Victim),
    /// Valkey at its memory limit.
    MemoryFull,
    /// All workers die, a backlog grows, NATS is killed over it.
    Backlog,
    /// A job that only a newer version could read.
    NewerEnvelope,
}

impl Fault {
    /// Every fault at every process.
    pub fn all() -> Vec<Self> {
        let kills = victims().into_iter().map(Self::Kill);
        let pauses = victims().into_iter().map(Self::Pause);
        let moments = Moment::ALL.into_iter();
        let moments = moments.flat_map(|moment| (0..EACH).map(move |number| Self::KillAt(moment, number)));
        let spoils = [Spoil::Cut, Spoil::Hold, Spoil::Slow].into_iter();
        let networks = spoils.flat_map(|spoil| {
            lines().into_iter().map(move |(service, peer)| Self::Network(spoil, service, peer))
        });
        kills.chain(pauses).chain(moments).chain(networks).chain(Self::others()).collect()
    }

    /// Each kind of fault once, at processes that the seed chooses.
    pub fn each_kind(seed: &mut Seed) -> Vec<Self> {
        let mut kinds: Vec<Self> = Vec::new();
        let number = |seed: &mut Seed| seed.pick(&[0, 1]);
        for make in [Self::Kill, Self::Pause] {
            let (gateway, worker) = (Victim::Gateway(number(seed)), Victim::Worker(number(seed)));
            kinds.extend([gateway, worker, Victim::Auth, Victim::Nats, Victim::Valkey].map(make));
        }
        kinds.extend(Moment::ALL.map(|moment| Self::KillAt(moment, number(seed))));
        for spoil in [Spoil::Cut, Spoil::Hold, Spoil::Slow] {
            let (service, peer) = seed.pick(&lines());
            kinds.push(Self::Network(spoil, service, peer));
        }
        kinds.extend(Self::others());
        kinds
    }

    /// The death of a worker at each moment once, at workers that the seed chooses.
    pub fn of_workers(seed: &mut Seed) -> Vec<Self> {
        Moment::OF_WORKERS.map(|moment| Self::KillAt(moment, seed.pick(&[0, 1]))).into()
    }

    fn others() -> [Self; 5] {
        let (nats, valkey) = (Self::DiskFull(Victim::Nats), Self::DiskFull(Victim::Valkey));
        [nats, valkey, Self::MemoryFull, Self::Backlog, Self::NewerEnvelope]
    }
}

fn victims() -> Vec<Victim> {
    let gateways = (0..EACH).map(Victim::Gateway);
    let workers = (0..EACH).map(Victim::Worker);
    gateways.chain(workers).chain([Victim::Auth, Victim::Nats, Victim::Valkey]).collect()
}

/// Who uses whom.
fn lines() -> Vec<(Victim, Peer)> {
    let callers = (0..EACH).flat_map(|number| [Victim::Gateway(number), Victim::Worker(number)]);
    let peers = [Peer::Nats, Peer::Valkey, Peer::Auth];
    let lines = callers.flat_map(|service| peers.map(move |peer| (service, peer)));
    lines.chain([(Victim::Auth, Peer::Nats)]).collect()
}

impl Victim {
    /// Its name as a service: what its links are known by.
    pub(super) fn service(self) -> String {
        match self {
            Self::Gateway(number) => format!("gateway-{number}"),
            Self::Worker(number) => format!("worker-{number}"),
            Self::Auth => "auth-service-0".to_owned(),
            Self::Nats => "nats-server".to_owned(),
            Self::Valkey => "valkey-server".to_owned(),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kill(victim) => write!(f, "kill -9 {}", victim.service()),
            Self::Pause(victim) => write!(f, "SIGSTOP {}", victim.service()),
            Self::KillAt(moment, number) => {
                write!(f, "kill -9 {} {moment}", moment.victim(*number).service())
            }
            Self::Network(spoil, service, peer) => {
                let what = match spoil {
                    Spoil::Cut => "cut",
                    Spoil::Hold => "hold",
                    Spoil::Slow => "slow",
                };
                write!(f, "{what} the network between {} and {peer:?}", service.service())
            }
            Self::DiskFull(victim) => write!(f, "disk full for {}", victim.service()),
            Self::MemoryFull => write!(f, "valkey-server at its memory limit"),
            Self::Backlog => write!(f, "kill -9 all workers, and nats-server with a backlog"),
            Self::NewerEnvelope => write!(f, "an envelope of a newer version"),
        }
    }
}
