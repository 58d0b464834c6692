//! What is going on: connections, exchanges of datagrams and visits, each found by its number, and those
//! of a pair of addresses by that pair.

use std::collections::HashMap;

use crate::connection::Connection;
use crate::datagrams::Exchange;
use crate::door::Visit;
use crate::packet::Pair;

/// At most so many of each kind: each holds memory of ours.
const MOST_CONNECTIONS: usize = 512;
const MOST_EXCHANGES: usize = 256;
const MOST_VISITS: usize = 128;

/// What one number stands for.
pub(crate) enum Flow {
    Tcp(Pair, Connection),
    Udp(Pair, Exchange),
    Visit(Visit),
}

/// All of them.
#[derive(Default)]
pub(crate) struct Flows {
    pub(crate) all: HashMap<u64, Flow>,
    tcp: HashMap<Pair, u64>,
    udp: HashMap<Pair, u64>,
    visits: usize,
}

/// There are as many as may be.
#[derive(Debug)]
pub(crate) struct Full;

impl Flows {
    pub(crate) fn tcp(&self, pair: Pair) -> Option<u64> {
        self.tcp.get(&pair).copied()
    }

    pub(crate) fn udp(&self, pair: Pair) -> Option<u64> {
        self.udp.get(&pair).copied()
    }

    /// Whether there is room for one more; the exchange that has been quiet for longest makes room.
    pub(crate) fn room(&mut self, kind: Kind) -> Result<(), Full> {
        let full = match kind {
            Kind::Tcp => self.tcp.len() >= MOST_CONNECTIONS,
            Kind::Visit => self.visits >= MOST_VISITS,
            Kind::Udp => {
                if self.udp.len() >= MOST_EXCHANGES {
                    self.forget_quietest();
                }
                false
            }
        };
        if full { Err(Full) } else { Ok(()) }
    }

    pub(crate) fn add(&mut self, number: u64, flow: Flow) {
        match &flow {
            Flow::Tcp(pair, _) => _ = self.tcp.insert(*pair, number),
            Flow::Udp(pair, _) => _ = self.udp.insert(*pair, number),
            Flow::Visit(_) => self.visits += 1,
        }
        self.all.insert(number, flow);
    }

    pub(crate) fn remove(&mut self, number: u64) {
        match self.all.remove(&number) {
            Some(Flow::Tcp(pair, _)) => _ = self.tcp.remove(&pair),
            Some(Flow::Udp(pair, _)) => _ = self.udp.remove(&pair),
            Some(Flow::Visit(_)) => self.visits -= 1,
            None => {}
        }
    }

    /// The exchanges that nothing has passed over for too long.
    pub(crate) fn forget_quiet(&mut self) {
        let quiet: Vec<u64> = self.exchanges().filter(|(_, left)| *left == 0).map(|(at, _)| at).collect();
        for number in quiet {
            self.remove(number);
        }
    }

    /// In how many milliseconds something must be done whatever comes.
    pub(crate) fn due_ms(&mut self) -> Option<u64> {
        let exchanges = self.exchanges().map(|(_, left)| left).min();
        let connections = self.all.values_mut().filter_map(|flow| match flow {
            Flow::Tcp(_, connection) => connection.due_ms(),
            Flow::Udp(..) | Flow::Visit(_) => None,
        });
        connections.chain(exchanges).min()
    }

    fn forget_quietest(&mut self) {
        let quietest = self.exchanges().min_by_key(|(_, left)| *left).map(|(number, _)| number);
        if let Some(number) = quietest {
            self.remove(number);
        }
    }

    /// Numbers, and milliseconds until they are forgotten.
    fn exchanges(&self) -> impl Iterator<Item = (u64, u64)> {
        self.all.iter().filter_map(|(number, flow)| match flow {
            Flow::Udp(_, exchange) => {
                Some((*number, u64::try_from(exchange.left().as_millis()).unwrap_or(u64::MAX)))
            }
            Flow::Tcp(..) | Flow::Visit(_) => None,
        })
    }
}

/// What there is only so much of.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    Tcp,
    Udp,
    Visit,
}
