//! One TCP connection of a command: the one outside, and the end that the command sees.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::OnceLock;

use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::phy::{Checksum, ChecksumCapabilities, Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::socket::tcp::{Socket, SocketBuffer, State};
use smoltcp::time::{Duration, Instant};
use smoltcp::wire::{HardwareAddress, IpCidr, TcpSeqNumber};

use crate::cable::MTU;
use crate::outside::{break_off, stands};

/// What of a connection is on its way, in bytes, each direction.
const BUFFER: usize = 64 * 1024;

/// After this long without a word the command's end is asked whether it still knows of the connection.
const KEEP_ALIVE: Duration = Duration::from_secs(60);

/// A connection of a command.
pub(crate) struct Connection {
    pub(crate) outside: TcpStream,
    inside: Inside,
    /// What the question must be answered with: another one is of another connection.
    question: TcpSeqNumber,
}

enum Inside {
    /// Until the one outside stands; with what the command has asked.
    Asked(Vec<u8>),
    Stands(Box<Stack>),
}

/// What has become of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    GoesOn,
    /// Nothing more is to come.
    Over,
}

impl Connection {
    /// One that is on its way out, for the packet that asks for it.
    pub(crate) fn new(outside: TcpStream, asked: Vec<u8>, question: TcpSeqNumber) -> Self {
        Self { outside, inside: Inside::Asked(asked), question }
    }

    /// Whether a packet that asks for a connection asks for another one: the command has forgotten this.
    pub(crate) fn is_forgotten(&self, question: TcpSeqNumber) -> bool {
        self.question != question
    }

    /// Ends it as broken unless all that the command said is outside.
    pub(crate) fn give_up(&self) {
        if !self.has_said_all() {
            break_off(&self.outside);
        }
    }

    /// The command is gone: whether all it said is outside.
    pub(crate) fn has_said_all(&self) -> bool {
        match &self.inside {
            Inside::Asked(_) => true,
            Inside::Stands(stack) => stack.has_said_all(),
        }
    }

    /// A further packet of the command's.
    pub(crate) fn hear(&mut self, packet: Vec<u8>) {
        // what comes before it stands is the question again
        if let Inside::Stands(stack) = &mut self.inside {
            stack.wire.inbound.push_back(packet);
        }
    }

    /// Moves what can be moved; the packets for the command are put into `back`.
    ///
    /// # Errors
    /// It could not be made, or broke outside before it stood; with the question.
    pub(crate) fn turn(
        &mut self,
        to: SocketAddr,
        back: &mut Vec<Vec<u8>>,
    ) -> Result<Turn, (io::Error, Vec<u8>)> {
        if let Inside::Asked(asked) = &mut self.inside {
            match stands(&self.outside) {
                Ok(false) => return Ok(Turn::GoesOn),
                Ok(true) => self.inside = Inside::Stands(Box::new(Stack::new(to, std::mem::take(asked)))),
                Err(error) => return Err((error, std::mem::take(asked))),
            }
        }
        let Inside::Stands(stack) = &mut self.inside else { return Ok(Turn::GoesOn) };
        stack.turn(&mut self.outside);
        back.append(&mut stack.wire.outbound);
        Ok(stack.verdict(&self.outside))
    }

    /// How long until it must have a turn, in milliseconds, whatever comes.
    pub(crate) fn due_ms(&mut self) -> Option<u64> {
        let Inside::Stands(stack) = &mut self.inside else { return None };
        Some(stack.interface.poll_delay(now(), &stack.sockets)?.total_millis())
    }
}

/// The end that the command sees: a host of one address, with one connection.
struct Stack {
    interface: Interface,
    sockets: SocketSet<'static>,
    handle: SocketHandle,
    wire: Wire,
    /// What the command had still to say when its end was about to be forgotten.
    rest: VecDeque<u8>,
    ended: Ended,
    /// It ends by a break, which the command is to notice once it has what came before.
    broken: bool,
}

/// Which side has said all it has to say.
#[derive(Default)]
struct Ended {
    /// The one outside has, or is broken.
    outside: bool,
    /// The command has.
    heard: bool,
    /// And all of it is outside.
    inside: bool,
}

impl Stack {
    fn new(to: SocketAddr, asked: Vec<u8>) -> Self {
        let mut wire = Wire { inbound: VecDeque::from([asked]), outbound: Vec::new() };
        let mut interface = Interface::new(Config::new(HardwareAddress::Ip), &mut wire, now());
        // whoever it is, is on this link
        interface.update_ip_addrs(|addresses| {
            let _ = addresses.push(IpCidr::new(to.ip().into(), 0));
        });
        let buffer = || SocketBuffer::new(vec![0; BUFFER]);
        let mut socket = Socket::new(buffer(), buffer());
        socket.set_nagle_enabled(false);
        socket.set_ack_delay(None);
        socket.set_keep_alive(Some(KEEP_ALIVE));
        // it fails only for a socket that is not new, and for port 0, which is nobody's
        let broken = socket.listen((to.ip(), to.port())).is_err();
        let mut sockets = SocketSet::new(Vec::new());
        let handle = sockets.add(socket);
        let (rest, ended) = (VecDeque::new(), Ended::default());
        Self { interface, sockets, handle, wire, rest, ended, broken }
    }

    fn turn(&mut self, outside: &mut TcpStream) {
        loop {
            self.interface.poll(now(), &mut self.wire, &mut self.sockets);
            let moved = self.bring_in(outside) | self.bring_out(outside) | self.tell_of_break();
            if !moved {
                return;
            }
        }
    }

    /// From outside to the command.
    fn bring_in(&mut self, outside: &mut TcpStream) -> bool {
        let socket = self.sockets.get_mut::<Socket<'_>>(self.handle);
        let mut moved = false;
        while socket.can_send() && !self.ended.outside {
            match socket.send(|room| read(outside, room)) {
                Ok(Ok(1..)) => {}
                Ok(Err(error)) if error.kind() == io::ErrorKind::WouldBlock => break,
                ended => {
                    self.ended.outside = true;
                    self.broken |= !matches!(ended, Ok(Ok(0)));
                    if !self.broken {
                        socket.close();
                    }
                }
            }
            moved = true;
        }
        moved
    }

    /// From the command to outside.
    fn bring_out(&mut self, outside: &mut TcpStream) -> bool {
        let socket = self.sockets.get_mut::<Socket<'_>>(self.handle);
        self.ended.heard |= has_ended(socket.state());
        let mut moved = false;
        while socket.can_recv() && !self.broken && self.rest.is_empty() {
            match socket.recv(|data| write(outside, data)) {
                Ok(Ok(())) => moved = true,
                Ok(Err(error)) if error.kind() == io::ErrorKind::WouldBlock => break,
                // it may have an answer all the same
                Ok(Err(_)) | Err(_) => self.broken = true,
            }
        }
        moved |= self.bring_rest_out(outside);
        let socket = self.sockets.get_mut::<Socket<'_>>(self.handle);
        if !self.ended.inside
            && self.ended.heard
            && (self.broken || !socket.can_recv() && self.rest.is_empty())
        {
            self.ended.inside = true;
            let _ = outside.shutdown(Shutdown::Write);
        }
        moved
    }

    /// A connection that both sides have ended forgets what was said after ten seconds: it is kept here.
    fn bring_rest_out(&mut self, outside: &mut TcpStream) -> bool {
        let socket = self.sockets.get_mut::<Socket<'_>>(self.handle);
        if self.broken {
            self.rest.clear();
            return false;
        }
        if socket.state() == State::TimeWait {
            while let Ok(1..) =
                socket.recv(|data| (data.len(), self.rest.extend(&*data))).map(|()| self.rest.len())
            {
            }
        }
        let mut moved = false;
        while !self.rest.is_empty() {
            let (data, _) = self.rest.as_slices();
            match outside.write(data) {
                Ok(written) => drop(self.rest.drain(..written)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(_) => {
                    self.broken = true;
                    break;
                }
            }
            moved = true;
        }
        moved
    }

    /// Once the command has all that came before.
    fn tell_of_break(&mut self) -> bool {
        let socket = self.sockets.get_mut::<Socket<'_>>(self.handle);
        let due = self.broken && self.ended.outside && socket.send_queue() == 0;
        if !due || socket.state() == State::Closed {
            return false;
        }
        socket.abort();
        true
    }

    fn verdict(&self, outside: &TcpStream) -> Turn {
        let socket = self.sockets.get::<Socket<'_>>(self.handle);
        // a question that was taken back is listened for again
        let over = matches!(socket.state(), State::Closed | State::Listen | State::TimeWait);
        let clean = self.ended.outside && self.ended.inside && !self.broken;
        let unsaid = !self.broken && (self.ended.heard && socket.can_recv() || !self.rest.is_empty());
        if !over || unsaid || socket.state() == State::TimeWait && !clean {
            return Turn::GoesOn;
        }
        if !clean {
            break_off(outside);
        }
        Turn::Over
    }

    /// The command is gone: whether all it said is outside.
    fn has_said_all(&self) -> bool {
        self.ended.inside
            || self.broken
            || self.sockets.get::<Socket<'_>>(self.handle).state() == State::Closed
    }
}

/// The command has ended its side.
fn has_ended(state: State) -> bool {
    matches!(state, State::CloseWait | State::LastAck | State::Closing | State::TimeWait)
}

/// Monotonic, as smoltcp's own is not.
fn now() -> Instant {
    static START: OnceLock<std::time::Instant> = OnceLock::new();
    let micros = START.get_or_init(std::time::Instant::now).elapsed().as_micros();
    Instant::from_micros(i64::try_from(micros).unwrap_or(i64::MAX))
}

fn read(outside: &mut TcpStream, room: &mut [u8]) -> (usize, io::Result<usize>) {
    let read = outside.read(room);
    (*read.as_ref().unwrap_or(&0), read)
}

fn write(outside: &mut TcpStream, data: &mut [u8]) -> (usize, io::Result<()>) {
    match outside.write(data) {
        Ok(written) => (written, Ok(())),
        Err(error) => (0, Err(error)),
    }
}

/// Packets from the command, and to it.
struct Wire {
    inbound: VecDeque<Vec<u8>>,
    outbound: Vec<Vec<u8>>,
}

struct Inbound(Vec<u8>);

struct Outbound<'a>(&'a mut Vec<Vec<u8>>);

impl RxToken for Inbound {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, read: F) -> R {
        read(&self.0)
    }
}

impl TxToken for Outbound<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, length: usize, write: F) -> R {
        let mut packet = vec![0; length];
        let result = write(&mut packet);
        self.0.push(packet);
        result
    }
}

impl Device for Wire {
    type RxToken<'a> = Inbound;
    type TxToken<'a> = Outbound<'a>;

    fn receive(&mut self, _: Instant) -> Option<(Inbound, Outbound<'_>)> {
        self.inbound.pop_front().map(|packet| (Inbound(packet), Outbound(&mut self.outbound)))
    }

    fn transmit(&mut self, _: Instant) -> Option<Outbound<'_>> {
        Some(Outbound(&mut self.outbound))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ip;
        capabilities.max_transmission_unit = MTU;
        // the kernel leaves sums to a card that is none here
        let mut checksums = ChecksumCapabilities::default();
        checksums.tcp = Checksum::Tx;
        checksums.ipv4 = Checksum::Tx;
        capabilities.checksum = checksums;
        capabilities
    }
}
