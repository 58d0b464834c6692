//! Sends a supervisor the order to start a command; its first byte carries the ends of the pipes
//! that the command writes to. What receives it is `orders` of the `supervisor` crate.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use ::supervisor::orders;
use ::supervisor::wire::{Order, encode};
use tokio::io::{AsyncWriteExt, Interest};

/// Sends the order and, with its first byte, the pipes: one or two.
pub(super) async fn send_with_pipes(
    socket: &mut tokio::net::UnixStream,
    order: &Order,
    pipes: &[BorrowedFd<'_>],
) -> io::Result<()> {
    let (bytes, stream) = (encode(order)?, &*socket);
    let sent = stream
        .async_io(Interest::WRITABLE, || orders::send_with_pipes(stream.as_fd(), &bytes, pipes))
        .await?;
    socket.write_all(&bytes[sent..]).await
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::fd::OwnedFd;
    use std::path::PathBuf;

    use ::supervisor::orders::receive_with_pipes;
    use ::supervisor::wire::{Input, Kind, Output, Spec, Streams};

    use super::*;

    fn order(arguments: usize) -> Order {
        Order::Start(Spec {
            program: PathBuf::from("/bin/true"),
            args: vec!["x".repeat(1000); arguments],
            env: Vec::new(),
            cwd: PathBuf::from("/"),
            kind: Kind::Script,
            output: Output::Log(Streams::Apart),
            input: Input::Null,
            grant: None,
            rules: None,
        })
    }

    async fn handed(arguments: usize, pipes: &[BorrowedFd<'_>]) -> Vec<OwnedFd> {
        let (mut ours, theirs) = tokio::net::UnixStream::pair().unwrap();
        let mut theirs = theirs.into_std().unwrap();
        theirs.set_nonblocking(false).unwrap();
        let received = tokio::task::spawn_blocking(move || receive_with_pipes::<Order>(&mut theirs));
        send_with_pipes(&mut ours, &order(arguments), pipes).await.unwrap();
        let (order, pipes) = received.await.unwrap().unwrap().unwrap();
        assert!(matches!(order, Order::Start(spec) if spec.args.len() == arguments));
        pipes
    }

    #[tokio::test]
    async fn pipes_come_with_orders_of_any_size_in_their_order() {
        // the larger one is more than the socket holds
        for arguments in [0, 5000] {
            let ((mut first, one), (mut second, two)) = (io::pipe().unwrap(), io::pipe().unwrap());
            let pipes = handed(arguments, &[one.as_fd(), two.as_fd()]).await;
            drop((one, two));
            for (pipe, text) in pipes.into_iter().zip(["first", "second"]) {
                io::PipeWriter::from(pipe).write_all(text.as_bytes()).unwrap();
            }
            let (mut a, mut b) = (String::new(), String::new());
            first.read_to_string(&mut a).unwrap();
            second.read_to_string(&mut b).unwrap();
            assert_eq!((a.as_str(), b.as_str()), ("first", "second"));
        }
    }
}
