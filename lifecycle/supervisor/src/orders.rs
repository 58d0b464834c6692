//! Orders on their way to a supervisor. The one to start a command carries, with its first byte,
//! the ends of the pipes that the command writes to: a supervisor is there before its commands
//! and outlives them, so it cannot have inherited them.

use std::io::{self, IoSliceMut, Read};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};

use super::wire::{Order, receive};

/// Pipes that come with one order at most: standard output, and standard error if it is apart.
pub const MAX_PIPES: usize = 2;

/// An order and what came with it.
#[derive(Debug)]
pub struct Received {
    /// What to do.
    pub order: Order,
    /// The pipes, in the order in which they were sent.
    pub pipes: Vec<OwnedFd>,
}

/// Blocks until an order has come; `None` at the end of the stream.
///
/// # Errors
/// The socket broke, or what came is no order.
pub fn receive_order(socket: &mut UnixStream) -> io::Result<Option<Received>> {
    let mut byte = [0];
    let (count, pipes) = receive_with(socket.as_fd(), &mut byte)?;
    let order = receive(&mut byte[..count].chain(socket))?;
    Ok(order.map(|order| Received { order, pipes }))
}

fn receive_with(socket: BorrowedFd<'_>, into: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_PIPES))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut into = [IoSliceMut::new(into)];
    let received =
        rustix::io::retry_on_intr(|| recvmsg(socket, &mut into, &mut control, RecvFlags::CMSG_CLOEXEC))?;
    let mut pipes = Vec::new();
    for message in control.drain() {
        // non-exhaustive, and none of the others was asked for
        if let RecvAncillaryMessage::ScmRights(came) = message {
            pipes.extend(came);
        }
    }
    Ok((received.bytes, pipes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_gone_before_its_order_is_the_end() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        drop(ours);
        assert!(receive_order(&mut theirs).unwrap().is_none());
    }
}
