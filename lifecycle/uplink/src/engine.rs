//! The one thread of an uplink: it waits for packets, sockets and its end, and for nothing else.

use std::collections::BTreeSet;
use std::io;
use std::net::TcpListener;
use std::os::fd::{AsFd, OwnedFd};
use std::thread;

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::event::{EventfdFlags, Timespec, eventfd};

use crate::cable::Cable;
use crate::connection::{Connection, Turn};
use crate::datagrams::Exchange;
use crate::door::Visit;
use crate::flows::{Flow, Flows, Kind};
use crate::outside::begin_connection;
use crate::packet::{Pair, Seen, Segment, read};
use crate::refusal::{Why, reset, unreachable};
use crate::rules::Rules;

/// Numbers below are not of flows.
const END: u64 = 0;
const PACKETS: u64 = 1;
const FIRST_DOOR: u64 = 2;
const FIRST_FLOW: u64 = 1 << 16;

/// Packets read before the sockets have their turn.
const PACKETS_AT_ONCE: usize = 256;

/// Events taken at once.
const EVENTS: usize = 256;

/// A way out that is open for as long as this lives.
#[derive(Debug)]
pub struct Uplink {
    end: OwnedFd,
}

impl Uplink {
    /// Opens it: `packets` is the far end of the cable, bound to it, and `doors` listen in the command's
    /// network for who wants the API.
    ///
    /// # Errors
    /// The system has no descriptor or thread left.
    pub fn open(packets: OwnedFd, doors: Vec<OwnedFd>, rules: Rules) -> io::Result<Self> {
        let end = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let doors: Vec<TcpListener> = doors.into_iter().map(TcpListener::from).collect();
        let engine = Engine::new(packets, doors, rules, end.as_fd().try_clone_to_owned()?)?;
        thread::Builder::new().name("uplink".into()).spawn(move || engine.run())?;
        Ok(Self { end })
    }
}

impl Drop for Uplink {
    /// Closes it soon, with all connections. Closing the cable takes the kernel milliseconds, which nobody
    /// waits for.
    fn drop(&mut self) {
        let _ = rustix::io::write(&self.end, &1_u64.to_ne_bytes());
    }
}

/// Whenever a stream can be read or written anew: whoever hears of it goes on until neither is so.
const CHANGES: EventFlags =
    EventFlags::IN.union(EventFlags::OUT).union(EventFlags::RDHUP).union(EventFlags::ET);

struct Engine {
    epoll: OwnedFd,
    cable: Cable,
    doors: Vec<TcpListener>,
    rules: Rules,
    flows: Flows,
    next: u64,
    _end: OwnedFd,
}

impl Engine {
    fn new(packets: OwnedFd, doors: Vec<TcpListener>, rules: Rules, end: OwnedFd) -> io::Result<Self> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        epoll::add(&epoll, &end, EventData::new_u64(END), EventFlags::IN)?;
        epoll::add(&epoll, &packets, EventData::new_u64(PACKETS), EventFlags::IN)?;
        for (door, number) in doors.iter().zip(FIRST_DOOR..) {
            door.set_nonblocking(true)?;
            epoll::add(&epoll, door, EventData::new_u64(number), EventFlags::IN)?;
        }
        let flows = Flows::default();
        Ok(Self { epoll, cable: Cable::new(packets), doors, rules, flows, next: FIRST_FLOW, _end: end })
    }

    fn run(mut self) {
        let mut events = Vec::with_capacity(EVENTS);
        while let Ok(true) = self.turn(&mut events) {}
    }

    /// Waits for something and does it; false at the end.
    fn turn(&mut self, events: &mut Vec<Event>) -> io::Result<bool> {
        let due = self.flows.due_ms().and_then(|ms| i64::try_from(ms).ok());
        let due = due.map(|ms| Timespec { tv_sec: ms / 1000, tv_nsec: (ms % 1000) * 1_000_000 });
        events.clear();
        match epoll::wait(&self.epoll, spare_capacity(events), due.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let mut touched = BTreeSet::new();
        for event in events.iter() {
            match event.data.u64() {
                END => return Ok(false),
                PACKETS => self.read_packets(&mut touched),
                number if number >= FIRST_FLOW => _ = touched.insert(number),
                door => self.visits(door, &mut touched),
            }
        }
        if events.is_empty() {
            self.flows.forget_quiet();
            touched.extend(self.flows.all.keys());
        }
        for number in touched {
            self.move_on(number);
        }
        Ok(true)
    }

    fn read_packets(&mut self, touched: &mut BTreeSet<u64>) {
        for _ in 0..PACKETS_AT_ONCE {
            let Some(packet) = self.cable.read() else { return };
            match read(&packet) {
                Some(Seen::Tcp { pair, segment }) => touched.extend(self.tcp(pair, segment, packet)),
                Some(Seen::Udp { pair, payload }) => touched.extend(self.udp(pair, payload, &packet)),
                None => {}
            }
        }
    }

    /// The flow that has something to do now.
    fn tcp(&mut self, pair: Pair, segment: Segment, packet: Vec<u8>) -> Option<u64> {
        if let Some(number) = self.flows.tcp(pair) {
            if let Some(Flow::Tcp(_, connection)) = self.flows.all.get_mut(&number) {
                connection.hear(packet);
            }
            return Some(number);
        }
        if segment.begins {
            return self.begin(pair, packet);
        }
        if !segment.resets {
            self.cable.write(&reset(pair, segment));
        }
        None
    }

    fn begin(&mut self, pair: Pair, packet: Vec<u8>) -> Option<u64> {
        let Some(way) = self.rules.way(pair.to) else { return self.refuse(&packet, Why::Prohibited) };
        if self.flows.room(Kind::Tcp).is_err() {
            return self.refuse(&packet, Why::NoHost);
        }
        let Ok(outside) = begin_connection(way) else { return self.refuse(&packet, Why::NoHost) };
        let connection = Connection::new(outside, packet);
        let number = self.number();
        self.listen_to(&connection.outside, number, CHANGES).ok()?;
        self.flows.add(number, Flow::Tcp(pair, connection));
        None
    }

    fn udp(&mut self, pair: Pair, payload: &[u8], packet: &[u8]) -> Option<u64> {
        if self.flows.udp(pair).is_none() {
            let Some(way) = self.rules.way(pair.to) else { return self.refuse(packet, Why::Prohibited) };
            // it always makes room
            let _ = self.flows.room(Kind::Udp);
            let Ok(exchange) = Exchange::new(pair, way) else { return self.refuse(packet, Why::NoHost) };
            let number = self.number();
            self.listen_to(&exchange.outside, number, EventFlags::IN).ok()?;
            self.flows.add(number, Flow::Udp(pair, exchange));
        }
        let number = self.flows.udp(pair)?;
        let Some(Flow::Udp(_, exchange)) = self.flows.all.get_mut(&number) else { return None };
        if let Some(told) = exchange.pass(payload, packet) {
            self.cable.write(&told);
        }
        None
    }

    fn refuse(&self, packet: &[u8], why: Why) -> Option<u64> {
        if let Some(told) = unreachable(packet, why) {
            self.cable.write(&told);
        }
        None
    }

    fn visits(&mut self, door: u64, touched: &mut BTreeSet<u64>) {
        while let Some((inside, _)) = self.door(door).and_then(|door| door.accept().ok()) {
            // one that cannot be served is closed
            if self.flows.room(Kind::Visit).is_err() {
                continue;
            }
            let number = self.number();
            let port = inside.local_addr().map(|at| at.port()).ok();
            let Some(to) = port.and_then(|port| self.rules.behind_door(port)) else { continue };
            let Ok(visit) = Visit::new(inside, to) else { continue };
            let heard = self.listen_to(&visit.inside, number, CHANGES);
            if heard.and_then(|()| self.listen_to(&visit.outside, number, CHANGES)).is_ok() {
                self.flows.add(number, Flow::Visit(visit));
                touched.insert(number);
            }
        }
    }

    fn door(&self, number: u64) -> Option<&TcpListener> {
        self.doors.get(usize::try_from(number - FIRST_DOOR).ok()?)
    }

    fn move_on(&mut self, number: u64) {
        let mut back = Vec::new();
        let turn = match self.flows.all.get_mut(&number) {
            Some(Flow::Tcp(pair, connection)) => match connection.turn(pair.to, &mut back) {
                Ok(turn) => turn,
                Err((error, asked)) => {
                    back.extend(no_connection(*pair, &error, &asked));
                    Turn::Over
                }
            },
            Some(Flow::Udp(_, exchange)) => {
                exchange.turn(&mut back);
                Turn::GoesOn
            }
            Some(Flow::Visit(visit)) => visit.turn(),
            None => return,
        };
        for packet in &back {
            self.cable.write(packet);
        }
        if turn == Turn::Over {
            self.flows.remove(number);
        }
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn listen_to(&self, socket: &impl AsFd, number: u64, to: EventFlags) -> io::Result<()> {
        Ok(epoll::add(&self.epoll, socket, EventData::new_u64(number), to)?)
    }
}

/// What the command is told, as it would be told it outside.
fn no_connection(pair: Pair, error: &io::Error, asked: &[u8]) -> Option<Vec<u8>> {
    match (error.kind(), read(asked)) {
        (
            io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionReset,
            Some(Seen::Tcp { segment, .. }),
        ) => Some(reset(pair, segment)),
        _ => unreachable(asked, Why::NoHost),
    }
}
