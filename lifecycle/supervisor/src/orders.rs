//! Messages with descriptors, on their way to a supervisor or a launcher. The one to start a command carries,
//! with its first byte, the ends of the pipes that the command writes to: whoever starts it was there before,
//! so it cannot have inherited them.

use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};
use serde::de::DeserializeOwned;

use super::wire::receive;

/// Descriptors that come with one message at most: standard output, and standard error if it is apart; the end
/// of a cable, and doors.
pub const MAX_DESCRIPTORS: usize = 40;

/// Blocks until a message has come, and the pipes with it in the order in which they were sent; `None`
/// at the end of the stream.
///
/// # Errors
/// The socket broke, or what came is no such message.
pub fn receive_with_pipes<T: DeserializeOwned>(
    socket: &mut UnixStream,
) -> io::Result<Option<(T, Vec<OwnedFd>)>> {
    let mut byte = [0];
    let (count, pipes) = receive_with(socket.as_fd(), &mut byte)?;
    let message = receive(&mut byte[..count].chain(socket))?;
    Ok(message.map(|message| (message, pipes)))
}

/// Sends as much of `bytes` as there is room for, at least one, and the pipes with the first; how
/// many it was.
///
/// # Errors
/// The socket broke, or has no room.
pub fn send_with_pipes(socket: BorrowedFd<'_>, bytes: &[u8], pipes: &[BorrowedFd<'_>]) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !control.push(SendAncillaryMessage::ScmRights(pipes)) {
        return Err(io::Error::other("no room for the descriptors beside a message"));
    }
    Ok(sendmsg(socket, &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL)?)
}

/// Blocks until all of `bytes` are sent, with the pipes; without any, as it sends anything.
pub(crate) fn send_all<F: AsFd>(line: &mut UnixStream, bytes: &[u8], pipes: &[F]) -> io::Result<()> {
    if pipes.is_empty() {
        return line.write_all(bytes);
    }
    let pipes: Vec<BorrowedFd<'_>> = pipes.iter().map(AsFd::as_fd).collect();
    let sent = send_with_pipes(line.as_fd(), bytes, &pipes)?;
    line.write_all(&bytes[sent..])
}

fn receive_with(socket: BorrowedFd<'_>, into: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
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
    use crate::wire::Order;

    #[test]
    fn a_host_gone_before_its_order_is_the_end() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        drop(ours);
        assert!(receive_with_pipes::<Order>(&mut theirs).unwrap().is_none());
    }
}
