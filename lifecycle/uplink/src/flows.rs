//! What is going on: connections, exchanges of datagrams and visits, each found by its number, and those
//! of a pair of addresses by that pair.

use std::collections::HashMap;
use std::time::Duration;

use crate::connection::Connection;
use crate::datagrams::Exchange;
use crate::door::Visit;
use crate::packet::Pair;

/// At most so many of each kind: each holds memory of ours.
const MOST_CONNECTIONS: usize = 256;
const MOST_EXCHANGES: usize = 256;
const MOST_VISITS: usize = 128;

/// So many connections have more room in the kernel than the others.
const FEW: usize = 16;

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

    /// Whether another connection is one of few.
    pub(crate) fn are_few(&self) -> bool {
        self.tcp.len() < FEW
    }

    /// How long until something must be done whatever comes.
    pub(crate) fn due(&mut self) -> Option<Duration> {
        // a flow that is late all the time must not take a core
        self.all.values_mut().filter_map(left_ms).min().map(|left| Duration::from_millis(left.max(1)))
    }

    /// Those with which it must be done now.
    pub(crate) fn overdue(&mut self) -> impl Iterator<Item = u64> {
        let late = self.all.iter_mut().filter_map(|(number, flow)| Some((*number, left_ms(flow)?)));
        late.filter(|(_, left)| *left == 0).map(|(number, _)| number)
    }

    /// Forgets all that a command that is gone has nothing to say by; whether others are left.
    pub(crate) fn have_unsaid(&mut self) -> bool {
        let said = |flow: &Flow| match flow {
            Flow::Tcp(_, connection) => connection.has_said_all(),
            Flow::Udp(..) => true,
            Flow::Visit(visit) => visit.has_said_all(),
        };
        let done: Vec<u64> =
            self.all.iter().filter(|(_, flow)| said(flow)).map(|(number, _)| *number).collect();
        for number in done {
            self.remove(number);
        }
        !self.all.is_empty()
    }

    /// Whoever is still there learns that it was not all.
    pub(crate) fn give_up(&self) {
        for flow in self.all.values() {
            match flow {
                Flow::Tcp(_, connection) => connection.give_up(),
                Flow::Visit(visit) => visit.give_up(),
                Flow::Udp(..) => {}
            }
        }
    }

    fn forget_quietest(&mut self) {
        let exchanges = self.all.iter_mut().filter(|(_, flow)| matches!(flow, Flow::Udp(..)));
        let quietest = exchanges.filter_map(|(number, flow)| Some((left_ms(flow)?, *number))).min();
        let quietest = quietest.map(|(_, number)| number);
        if let Some(number) = quietest {
            self.remove(number);
        }
    }
}

/// Milliseconds until something must be done with it.
fn left_ms(flow: &mut Flow) -> Option<u64> {
    match flow {
        Flow::Tcp(_, connection) => connection.due_ms(),
        Flow::Udp(_, exchange) => u64::try_from(exchange.left().as_millis()).ok(),
        Flow::Visit(_) => None,
    }
}

/// What there is only so much of.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    Tcp,
    Udp,
    Visit,
}
