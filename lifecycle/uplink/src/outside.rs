//! Sockets in the network that we are in.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, connect, ipproto, socket_with, sockopt};

/// Whether it is one of this machine's own addresses, or that cannot be told: only those can be bound to.
pub(crate) fn is_ours(ip: IpAddr) -> bool {
    let bound = UdpSocket::bind(SocketAddr::new(ip, 0));
    !bound.is_err_and(|error| error.kind() == io::ErrorKind::AddrNotAvailable)
}

/// A socket that sends to `to` and hears from nobody else.
pub(crate) fn datagrams_to(to: SocketAddr) -> io::Result<UdpSocket> {
    let any: IpAddr = if to.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind(SocketAddr::new(any, 0))?;
    socket.connect(to)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// What the kernel may hold of a connection, in bytes, each direction. It would grow to megabytes otherwise,
/// which are nobody's limit.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Room {
    /// For one of few.
    Wide,
    /// For one of many.
    Narrow,
}

impl Room {
    fn bytes(self) -> usize {
        match self {
            Self::Wide => 1 << 20,
            Self::Narrow => 128 << 10,
        }
    }
}

/// A connection that is on its way: it can be written to once it stands, which [`stands`] tells.
pub(crate) fn begin_connection(to: SocketAddr, room: Room) -> io::Result<TcpStream> {
    let family = if to.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(family, SocketType::STREAM, flags, Some(ipproto::TCP))?;
    sockopt::set_tcp_nodelay(&socket, true)?;
    sockopt::set_socket_recv_buffer_size(&socket, room.bytes())?;
    sockopt::set_socket_send_buffer_size(&socket, room.bytes())?;
    match connect(&socket, &to) {
        Ok(()) | Err(Errno::INPROGRESS) => Ok(socket.into()),
        Err(error) => Err(error.into()),
    }
}

/// Whether a connection stands by now.
pub(crate) fn stands(stream: &TcpStream) -> io::Result<bool> {
    if let Some(error) = stream.take_error()? {
        return Err(error);
    }
    Ok(stream.peer_addr().is_ok())
}

/// Closes it so that the other side hears of a break, not of an end.
pub(crate) fn break_off(stream: &TcpStream) {
    let _ = sockopt::set_socket_linger(stream, Some(std::time::Duration::ZERO));
}
