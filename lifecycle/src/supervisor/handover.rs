//! The first order on its way to a supervisor: its first byte may carry the end of a pipe. A
//! supervisor waits before its command is known, so it cannot have inherited a pipe that only
//! some commands need.

use std::io::{self, IoSlice, IoSliceMut, Read};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};
use tokio::io::{AsyncWriteExt, Interest};

use super::wire::{Order, encode, receive};

/// What a supervisor begins with.
pub(super) struct First {
    pub(super) order: Order,
    /// The pipe that came with it.
    pub(super) pipe: Option<OwnedFd>,
}

/// Sends the order and, with its first byte, the pipe.
pub(super) async fn send_first(
    socket: &mut tokio::net::UnixStream,
    order: &Order,
    pipe: Option<BorrowedFd<'_>>,
) -> io::Result<()> {
    let bytes = encode(order)?;
    let sent = match pipe {
        Some(pipe) => {
            let stream = &*socket;
            stream.async_io(Interest::WRITABLE, || send_with(stream.as_fd(), &bytes, pipe)).await?
        }
        None => 0,
    };
    socket.write_all(&bytes[sent..]).await
}

fn send_with(socket: BorrowedFd<'_>, bytes: &[u8], pipe: BorrowedFd<'_>) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let pipes = [pipe];
    if !control.push(SendAncillaryMessage::ScmRights(&pipes)) {
        return Err(io::Error::other("no room for a descriptor beside a message"));
    }
    Ok(sendmsg(socket, &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL)?)
}

/// Blocks until the first order has come; `None` at the end of the stream.
pub(super) fn receive_first(socket: &mut UnixStream) -> io::Result<Option<First>> {
    let mut byte = [0];
    let (count, pipe) = receive_with(socket.as_fd(), &mut byte)?;
    let order = receive(&mut byte[..count].chain(socket))?;
    Ok(order.map(|order| First { order, pipe }))
}

fn receive_with(socket: BorrowedFd<'_>, into: &mut [u8]) -> io::Result<(usize, Option<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut into = [IoSliceMut::new(into)];
    let received =
        rustix::io::retry_on_intr(|| recvmsg(socket, &mut into, &mut control, RecvFlags::CMSG_CLOEXEC))?;
    let pipe = control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut pipes) => pipes.next(),
        // non-exhaustive, and none of the others was asked for
        _ => None,
    });
    Ok((received.bytes, pipe))
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::path::PathBuf;

    use super::super::wire::{Kind, Output, Spec, Streams};
    use super::*;

    fn order(arguments: usize) -> Order {
        Order::Start(Spec {
            program: PathBuf::from("/bin/true"),
            args: vec!["x".repeat(1000); arguments],
            env: Vec::new(),
            cwd: PathBuf::from("/"),
            kind: Kind::Script,
            output: Output::Log(Streams::Apart),
        })
    }

    async fn handed(arguments: usize, pipe: Option<BorrowedFd<'_>>) -> Option<OwnedFd> {
        let (mut ours, theirs) = tokio::net::UnixStream::pair().unwrap();
        let mut theirs = theirs.into_std().unwrap();
        theirs.set_nonblocking(false).unwrap();
        let received = tokio::task::spawn_blocking(move || receive_first(&mut theirs));
        send_first(&mut ours, &order(arguments), pipe).await.unwrap();
        let First { order, pipe } = received.await.unwrap().unwrap().unwrap();
        assert!(matches!(order, Order::Start(spec) if spec.args.len() == arguments));
        pipe
    }

    #[tokio::test]
    async fn a_pipe_comes_with_orders_of_any_size() {
        // the larger one is more than the socket holds
        for arguments in [0, 5000] {
            let (mut reader, writer) = io::pipe().unwrap();
            let pipe = handed(arguments, Some(writer.as_fd())).await.unwrap();
            drop(writer);
            io::PipeWriter::from(pipe).write_all(b"through").unwrap();
            let mut text = String::new();
            reader.read_to_string(&mut text).unwrap();
            assert_eq!(text, "through");
            assert!(handed(arguments, None).await.is_none());
        }
    }

    #[test]
    fn a_host_gone_before_its_order_is_the_end() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        drop(ours);
        assert!(receive_first(&mut theirs).unwrap().is_none());
    }
}
