//! The one thread of an uplink: it waits for packets, sockets and its end, and for nothing else.

use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::event::{EventfdFlags, Timespec, eventfd};

use crate::cable::Cable;
use crate::connection::{Connection, Turn};
use crate::datagrams::Exchange;
use crate::door::Visit;
use crate::flows::{Flow, Flows, Kind};
use crate::outside::{Room, begin_connection};
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

/// How often that is done at most before the last turn.
const LAST_READS: usize = 16;

/// How long what a command has said is brought out after its end, if whoever it is for is slow.
const LINGER: Duration = Duration::from_secs(5);

/// Of one process, those that linger included: a command that comes soon ends the oldest.
const MOST_OPEN: usize = 4;

/// Doors are tried again after this long.
const SHUT: Duration = Duration::from_secs(1);

/// Events taken at once.
const EVENTS: usize = 256;

/// A way out that is open for as long as this lives.
#[derive(Debug)]
pub struct Uplink {
    end: OwnedFd,
}

/// Those of this process that are open, or linger, the oldest first.
static OPEN: Mutex<VecDeque<OwnedFd>> = Mutex::new(VecDeque::new());

impl Uplink {
    /// Opens it: `packets` hears the far end of the cable, and `doors` listen in the command's network for who
    /// wants what is on our loopback.
    ///
    /// # Errors
    /// The system has no descriptor or thread left.
    pub fn open(packets: OwnedFd, doors: Vec<OwnedFd>, rules: Rules) -> io::Result<Self> {
        let end = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let doors: Vec<TcpListener> = doors.into_iter().map(TcpListener::from).collect();
        let engine = Engine::new(packets, doors, rules, end.as_fd().try_clone_to_owned()?)?;
        let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
        open.push_back(end.as_fd().try_clone_to_owned()?);
        if open.len() > MOST_OPEN {
            open.pop_front().inspect(tell);
        }
        thread::Builder::new().name("uplink".into()).spawn(move || engine.run())?;
        Ok(Self { end })
    }
}

impl Drop for Uplink {
    /// The command is gone. What it said last is still brought out, for some seconds at most; nobody waits for
    /// that, nor for the kernel, which takes milliseconds to close the cable.
    fn drop(&mut self) {
        tell(&self.end);
    }
}

/// Once to let it end, twice to end it at once.
fn tell(end: &OwnedFd) {
    let _ = rustix::io::write(end, &1_u64.to_ne_bytes());
}

/// Whenever a stream can be read or written anew: whoever hears of it goes on until neither is so.
const CHANGES: EventFlags =
    EventFlags::IN.union(EventFlags::OUT).union(EventFlags::RDHUP).union(EventFlags::ET);

struct Engine {
    epoll: OwnedFd,
    cable: Cable,
    doors: Vec<TcpListener>,
    /// Doors that nobody is let in by until there are descriptors again.
    shut: Vec<u64>,
    rules: Rules,
    flows: Flows,
    next: u64,
    end: OwnedFd,
    /// How often its end has been told.
    told: u64,
}

impl Engine {
    fn new(packets: OwnedFd, doors: Vec<TcpListener>, rules: Rules, end: OwnedFd) -> io::Result<Self> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        epoll::add(&epoll, &end, EventData::new_u64(END), EventFlags::IN)?;
        epoll::add(&epoll, &packets, EventData::new_u64(PACKETS), EventFlags::IN)?;
        for door in &doors {
            door.set_nonblocking(true)?;
        }
        let shut = (FIRST_DOOR..).take(doors.len()).collect();
        let (cable, flows) = (Cable::new(packets), Flows::default());
        Ok(Self { epoll, cable, doors, shut, rules, flows, next: FIRST_FLOW, end, told: 0 })
    }

    fn run(mut self) {
        let mut events = Vec::with_capacity(EVENTS);
        while self.told == 0 {
            if self.turn(&mut events, None).is_err() {
                return;
            }
        }
        self.linger(&mut events);
    }

    /// The command is gone, and its sockets have ended with it; what they had to say comes out of the cable still.
    fn linger(&mut self, events: &mut Vec<Event>) {
        let until = Instant::now() + LINGER;
        let mut touched = BTreeSet::new();
        (0..LAST_READS).for_each(|_| self.read_packets(&mut touched));
        touched.extend(self.flows.all.keys());
        self.move_all(touched);
        while self.told < 2 && self.flows.have_unsaid() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() || self.turn(events, Some(left)).is_err() {
                break;
            }
        }
        self.flows.give_up();
    }

    /// Waits for something, `at_most` this long, and does it.
    fn turn(&mut self, events: &mut Vec<Event>, at_most: Option<Duration>) -> io::Result<()> {
        self.open_doors();
        let again = (!self.shut.is_empty()).then_some(SHUT);
        let wait = self.flows.due().into_iter().chain(at_most).chain(again).min();
        let wait = wait.map(Timespec::try_from).transpose().map_err(io::Error::other)?;
        events.clear();
        match epoll::wait(&self.epoll, spare_capacity(events), wait.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        // whose time has come is not kept waiting by whoever is busy
        let mut touched: BTreeSet<u64> = self.flows.overdue().collect();
        for event in events.iter() {
            match event.data.u64() {
                END => self.hear_end(),
                PACKETS => self.read_packets(&mut touched),
                number if number >= FIRST_FLOW => _ = touched.insert(number),
                door => self.visits(door, &mut touched),
            }
        }
        self.move_all(touched);
        Ok(())
    }

    fn move_all(&mut self, touched: BTreeSet<u64>) {
        for number in touched {
            self.move_on(number);
        }
    }

    fn hear_end(&mut self) {
        let mut count = [0; 8];
        if rustix::io::read(&self.end, &mut count).is_ok() {
            self.told += u64::from_ne_bytes(count);
        }
    }

    fn open_doors(&mut self) {
        for number in std::mem::take(&mut self.shut) {
            let Some(door) = self.door(number) else { continue };
            if epoll::add(&self.epoll, door, EventData::new_u64(number), EventFlags::IN).is_err() {
                self.shut.push(number);
            }
        }
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
        if let Some(number) = self.flows.tcp(pair)
            && let Some(Flow::Tcp(_, connection)) = self.flows.all.get_mut(&number)
        {
            if !segment.begins || !connection.is_forgotten(segment.next) {
                connection.hear(packet);
                return Some(number);
            }
            connection.give_up();
            self.flows.remove(number);
        }
        if segment.begins {
            self.begin(pair, segment, packet);
        } else if !segment.resets {
            self.cable.write(&reset(pair, segment));
        }
        None
    }

    fn begin(&mut self, pair: Pair, segment: Segment, packet: Vec<u8>) -> Option<u64> {
        let Some(way) = self.rules.way(pair.to) else { return self.refuse(&packet, Why::Prohibited) };
        if self.flows.room(Kind::Tcp).is_err() {
            return self.refuse(&packet, Why::NoHost);
        }
        let room = if self.flows.are_few() { Room::Wide } else { Room::Narrow };
        let Ok(outside) = begin_connection(way, room) else { return self.refuse(&packet, Why::NoHost) };
        let connection = Connection::new(outside, packet, segment.next);
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
        loop {
            let Some(listener) = self.door(door) else { return };
            match listener.accept() {
                // one that cannot be served is closed
                Ok((inside, _)) => touched.extend(self.visit(inside)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(_) => {
                    let _ = epoll::delete(&self.epoll, listener);
                    self.shut.push(door);
                    return;
                }
            }
        }
    }

    fn visit(&mut self, inside: TcpStream) -> Option<u64> {
        self.flows.room(Kind::Visit).ok()?;
        let to = self.rules.behind_door(inside.local_addr().ok()?.port())?;
        let visit = Visit::new(inside, to).ok()?;
        let number = self.number();
        self.listen_to(&visit.inside, number, CHANGES).ok()?;
        self.listen_to(&visit.outside, number, CHANGES).ok()?;
        self.flows.add(number, Flow::Visit(visit));
        Some(number)
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
                if exchange.left().is_zero() { Turn::Over } else { Turn::GoesOn }
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
