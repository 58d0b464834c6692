//! One TCP connection of a command: the one outside, and the end that the command sees.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};

use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::phy::{Checksum, ChecksumCapabilities, Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::socket::tcp::{Socket, SocketBuffer, State};
use smoltcp::time::Instant;
use smoltcp::wire::{HardwareAddress, IpCidr};

use crate::cable::MTU;
use crate::outside::{break_off, stands};

/// What of a connection is on its way, in bytes, each direction.
const BUFFER: usize = 128 * 1024;

/// A connection of a command.
pub(crate) struct Connection {
    pub(crate) outside: TcpStream,
    inside: Inside,
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
    pub(crate) fn new(outside: TcpStream, asked: Vec<u8>) -> Self {
        Self { outside, inside: Inside::Asked(asked) }
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
        let delay = stack.interface.poll_delay(Instant::now(), &stack.sockets)?;
        Some(delay.total_millis().max(1))
    }
}

/// The end that the command sees: a host of one address, with one connection.
struct Stack {
    interface: Interface,
    sockets: SocketSet<'static>,
    handle: SocketHandle,
    wire: Wire,
    /// The one outside has said all it has to say.
    outside_ended: bool,
    /// So has the command.
    inside_ended: bool,
    broken: bool,
}

impl Stack {
    fn new(to: SocketAddr, asked: Vec<u8>) -> Self {
        let mut wire = Wire { inbound: VecDeque::from([asked]), outbound: Vec::new() };
        let mut interface = Interface::new(Config::new(HardwareAddress::Ip), &mut wire, Instant::now());
        // whoever it is, is on this link
        interface.update_ip_addrs(|addresses| {
            let _ = addresses.push(IpCidr::new(to.ip().into(), 0));
        });
        let buffer = || SocketBuffer::new(vec![0; BUFFER]);
        let mut socket = Socket::new(buffer(), buffer());
        socket.set_nagle_enabled(false);
        socket.set_ack_delay(None);
        // it fails only for a socket that is not new, and for port 0, which is nobody's
        let broken = socket.listen((to.ip(), to.port())).is_err();
        let mut sockets = SocketSet::new(Vec::new());
        let handle = sockets.add(socket);
        Self { interface, sockets, handle, wire, outside_ended: false, inside_ended: false, broken }
    }

    fn turn(&mut self, outside: &mut TcpStream) {
        loop {
            self.interface.poll(Instant::now(), &mut self.wire, &mut self.sockets);
            let moved = self.bring_in(outside) | self.bring_out(outside);
            if !moved {
                return;
            }
        }
    }

    /// From outside to the command.
    fn bring_in(&mut self, outside: &mut TcpStream) -> bool {
        let socket = self.sockets.get_mut::<Socket<'_>>(self.handle);
        let mut moved = false;
        while socket.can_send() && !self.outside_ended && !self.broken {
            match socket.send(|room| read(outside, room)) {
                Ok(Ok(0)) => {
                    self.outside_ended = true;
                    socket.close();
                }
                Ok(Ok(_)) => {}
                Ok(Err(error)) if error.kind() == io::ErrorKind::WouldBlock => break,
                Ok(Err(_)) | Err(_) => {
                    self.broken = true;
                    socket.abort();
                }
            }
            moved = true;
        }
        moved
    }

    /// From the command to outside.
    fn bring_out(&mut self, outside: &mut TcpStream) -> bool {
        let socket = self.sockets.get_mut::<Socket<'_>>(self.handle);
        let mut moved = false;
        while socket.can_recv() && !self.broken {
            match socket.recv(|data| write(outside, data)) {
                Ok(Ok(())) => {}
                Ok(Err(error)) if error.kind() == io::ErrorKind::WouldBlock => break,
                Ok(Err(_)) | Err(_) => {
                    self.broken = true;
                    socket.abort();
                }
            }
            moved = true;
        }
        if !self.inside_ended && has_ended(socket) {
            self.inside_ended = true;
            let _ = outside.shutdown(Shutdown::Write);
        }
        moved
    }

    fn verdict(&self, outside: &TcpStream) -> Turn {
        let state = self.sockets.get::<Socket<'_>>(self.handle).state();
        if self.outside_ended && self.inside_ended && matches!(state, State::Closed | State::TimeWait) {
            return Turn::Over;
        }
        if state == State::Closed {
            break_off(outside);
            return Turn::Over;
        }
        Turn::GoesOn
    }
}

/// The command has said all it has to say, and we have heard it.
fn has_ended(socket: &Socket<'_>) -> bool {
    let heard = !socket.can_recv();
    heard && matches!(socket.state(), State::CloseWait | State::LastAck | State::Closing | State::TimeWait)
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
