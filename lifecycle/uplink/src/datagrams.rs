//! UDP: each pair of addresses has a socket outside for as long as something passes.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use crate::outside::datagrams_to;
use crate::packet::Pair;
use crate::refusal::{Why, datagram, unreachable};

/// After this long without a datagram a pair is forgotten (RFC 4787 asks for two minutes at least).
pub(crate) const QUIET: Duration = Duration::from_secs(120);

/// The longest there is.
const LONGEST: usize = 65_535;

/// What of a packet is kept to be quoted: its headers.
const QUOTED: usize = 128;

/// Datagrams taken from one socket before the others have their turn.
const AT_ONCE: usize = 64;

/// The datagrams of one pair.
pub(crate) struct Exchange {
    pub(crate) outside: UdpSocket,
    pair: Pair,
    last: Instant,
    /// The last packet that went out, to be quoted if nobody is there.
    sent: Vec<u8>,
}

impl Exchange {
    pub(crate) fn new(pair: Pair, way: SocketAddr) -> io::Result<Self> {
        Ok(Self { outside: datagrams_to(way)?, pair, last: Instant::now(), sent: Vec::new() })
    }

    /// Sends one on; what the command is told if nobody is there.
    pub(crate) fn pass(&mut self, payload: &[u8], packet: &[u8]) -> Option<Vec<u8>> {
        self.last = Instant::now();
        self.sent = packet[..packet.len().min(QUOTED)].to_vec();
        match self.outside.send(payload) {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                // that was the one before: this one has not gone
                let _ = self.outside.send(payload);
                unreachable(&self.sent, Why::NoPort)
            }
            _ => None,
        }
    }

    /// Puts what has come into `back`.
    pub(crate) fn turn(&mut self, back: &mut Vec<Vec<u8>>) {
        let mut buffer = vec![0; LONGEST];
        for _ in 0..AT_ONCE {
            match self.outside.recv(&mut buffer) {
                Ok(length) => {
                    self.last = Instant::now();
                    back.push(datagram(self.pair, &buffer[..length]));
                }
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                    back.extend(unreachable(&self.sent, Why::NoPort));
                }
                Err(_) => return,
            }
        }
    }

    /// How long until it is forgotten; zero if it is to be now.
    pub(crate) fn left(&self) -> Duration {
        QUIET.saturating_sub(self.last.elapsed())
    }
}
