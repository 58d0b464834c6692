//! Doors: ports of the command's own loopback that lead to ours.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};

use crate::connection::Turn;
use crate::outside::{Room, begin_connection, break_off, stands};

/// What of a connection is on its way, in bytes, each direction.
const BUFFER: usize = 64 * 1024;

/// One connection through a door.
pub(crate) struct Visit {
    pub(crate) inside: TcpStream,
    pub(crate) outside: TcpStream,
    stood: bool,
    out: Lane,
    back: Lane,
}

/// One direction: what has been read and not been written yet.
struct Lane {
    buffer: Vec<u8>,
    from: usize,
    to: usize,
    ended: bool,
    told: bool,
}

impl Visit {
    pub(crate) fn new(inside: TcpStream, to: SocketAddr) -> io::Result<Self> {
        inside.set_nonblocking(true)?;
        inside.set_nodelay(true)?;
        let (out, back) = (Lane::new(), Lane::new());
        Ok(Self { inside, outside: begin_connection(to, Room::Narrow)?, stood: false, out, back })
    }

    /// Moves what can be moved.
    pub(crate) fn turn(&mut self) -> Turn {
        self.carry().unwrap_or_else(|_| {
            self.give_up();
            Turn::Over
        })
    }

    /// Whether all that the command has said is outside.
    pub(crate) fn has_said_all(&self) -> bool {
        self.out.told
    }

    /// Ends it as broken.
    pub(crate) fn give_up(&self) {
        break_off(&self.inside);
        break_off(&self.outside);
    }

    fn carry(&mut self) -> io::Result<Turn> {
        // once it has: a connection that both sides have closed does not stand any more
        self.stood = self.stood || stands(&self.outside)?;
        if !self.stood {
            return Ok(Turn::GoesOn);
        }
        let out = self.out.carry(&mut self.inside, &mut self.outside);
        // who does not listen any more may have answered
        self.back.carry(&mut self.outside, &mut self.inside)?;
        match (self.out.told, self.back.told) {
            (true, true) => Ok(Turn::Over),
            (_, false) => Ok(Turn::GoesOn),
            (false, true) => out.map(|()| Turn::GoesOn),
        }
    }
}

impl Lane {
    fn new() -> Self {
        Self { buffer: vec![0; BUFFER], from: 0, to: 0, ended: false, told: false }
    }

    fn carry(&mut self, source: &mut TcpStream, sink: &mut TcpStream) -> io::Result<()> {
        loop {
            if self.from == self.to && !self.ended {
                let Some(read) = ready(source.read(&mut self.buffer))? else { return Ok(()) };
                (self.from, self.to, self.ended) = (0, read, read == 0);
            }
            if self.from < self.to {
                let Some(written) = ready(sink.write(&self.buffer[self.from..self.to]))? else {
                    return Ok(());
                };
                self.from += written;
            } else if self.ended {
                if !self.told {
                    sink.shutdown(Shutdown::Write)?;
                    self.told = true;
                }
                return Ok(());
            }
        }
    }
}

/// `None` if it would have to wait.
fn ready(done: io::Result<usize>) -> io::Result<Option<usize>> {
    match done {
        Ok(count) => Ok(Some(count)),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(None),
        Err(error) => Err(error),
    }
}
