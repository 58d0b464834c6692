//! Sockets in the network that we are in.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, connect, ipproto, socket_with, sockopt};

/// Whether packets to `ip` would stay on this machine: it is one of our own addresses. Asks the kernel for the
/// way, and sends nothing.
pub(crate) fn is_ours(ip: IpAddr) -> bool {
    let source = datagrams_to(SocketAddr::new(ip, 9)).and_then(|socket| socket.local_addr());
    source.is_ok_and(|source| source.ip() == ip)
}

/// A socket that sends to `to` and hears from nobody else.
pub(crate) fn datagrams_to(to: SocketAddr) -> io::Result<UdpSocket> {
    let any: IpAddr = if to.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind(SocketAddr::new(any, 0))?;
    socket.connect(to)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// A connection that is on its way: it can be written to once it stands, which [`stands`] tells.
pub(crate) fn begin_connection(to: SocketAddr) -> io::Result<TcpStream> {
    let family = if to.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(family, SocketType::STREAM, flags, Some(ipproto::TCP))?;
    sockopt::set_tcp_nodelay(&socket, true)?;
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
