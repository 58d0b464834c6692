//! A network of one's own: a namespace with a loopback, a cable, and nothing at its far end but whoever is
//! given it. Everything that is not on the loopback goes into the cable.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpListener};
use std::num::NonZeroU32;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use netlink_packet_route::RouteNetlinkMessage as Message;
use nix::sched::{CloneFlags, unshare};
use rustix::net::{AddressFamily, Protocol, SocketFlags, SocketType, socket_with, sockopt};
use serde::{Deserialize, Serialize};
use socket2::{SockFilter, Socket};

use crate::bpf::{IF_EQUAL, LOAD, RETURN};
use crate::netlink::{self, Route};

/// The first interface of every network.
const LOOPBACK: u32 = 1;

/// The command's end of the cable, and the far one.
const NEAR: (&str, u32) = ("net0", 3);
const FAR: (&str, u32) = ("far0", 2);

/// The command's addresses, of blocks that are nobody's (RFC 2544, RFC 4193).
const ADDRESS: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 1);
const ADDRESS_V6: Ipv6Addr = Ipv6Addr::new(0xfdc6, 0x1200, 0, 0, 0, 0, 0, 1);

/// As long as packets may be that whoever has the far end must take whole.
const MTU: u32 = 65_520;

/// Room for packets that wait to be read at the far end, in bytes; the system may give less.
const ROOM: usize = 4 << 20;

/// Every protocol (`ETH_P_ALL`, linux/if_ether.h), in network order.
const ALL: u32 = (0x0003_u16).to_be() as u32;

/// What is wanted of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// Ports of the loopback at which others are to listen.
    pub doors: Vec<u16>,
    /// A file that stands for `/etc/resolv.conf`.
    pub resolver: Option<PathBuf>,
    /// Whether there is a way out by IPv6, too.
    pub ipv6: bool,
}

/// What leads out of it.
#[derive(Debug)]
pub struct Ends {
    /// A packet socket that hears what comes out at the far end of the cable, and nothing else.
    pub packets: OwnedFd,
    /// Listeners on the loopback, those of one port after those of another.
    pub doors: Vec<OwnedFd>,
}

/// From now on we are in it. Needs the rights to make network namespaces.
pub(crate) fn make(wanted: &Link) -> io::Result<Ends> {
    unshare(CloneFlags::CLONE_NEWNET)?;
    let packets = far_end()?;
    let mut route = Route::open()?;
    route.ask(Message::NewLink(netlink::cable(NEAR, FAR, MTU)))?;
    for interface in [FAR.1, NEAR.1, LOOPBACK] {
        route.ask(Message::SetLink(netlink::up(interface)))?;
    }
    address(&mut route, ADDRESS.into())?;
    if wanted.ipv6 {
        // new networks may have none though ours has: then there is IPv4
        let _: io::Result<()> = address(&mut route, ADDRESS_V6.into());
    }
    Ok(Ends { packets, doors: doors(&wanted.doors)? })
}

fn address(route: &mut Route, ip: IpAddr) -> io::Result<()> {
    route.ask(Message::NewAddress(netlink::address(NEAR.1, ip)))?;
    route.ask(Message::NewRoute(netlink::default_route(NEAR.1, ip)))
}

/// A socket that hears what comes out at the far end. Only a filter can say so: to bind it to the interface
/// would take the kernel 10 ms, a grace period.
fn far_end() -> io::Result<OwnedFd> {
    let all = NonZeroU32::new(ALL).map(Protocol::from_raw);
    let socket = socket_with(AddressFamily::PACKET, SocketType::RAW, SocketFlags::CLOEXEC, all)?;
    let socket = Socket::from(socket);
    socket.attach_filter(&comes_out())?;
    if sockopt::set_socket_recv_buffer_size_force(&socket, ROOM).is_err() {
        sockopt::set_socket_recv_buffer_size(&socket, ROOM)?;
    }
    Ok(socket.into())
}

/// Lets through what the far end receives, whole: neither what the loopback or the near end carry, nor what the
/// far end sends (classic BPF, with the extensions of <https://docs.kernel.org/networking/filter.html>).
fn comes_out() -> [SockFilter; 6] {
    let extension = |number: i32| (libc::SKF_AD_OFF + number).cast_unsigned();
    [
        SockFilter::new(LOAD, 0, 0, extension(libc::SKF_AD_IFINDEX)),
        SockFilter::new(IF_EQUAL, 0, 3, FAR.1),
        SockFilter::new(LOAD, 0, 0, extension(libc::SKF_AD_PKTTYPE)),
        SockFilter::new(IF_EQUAL, 1, 0, libc::PACKET_OUTGOING.into()),
        SockFilter::new(RETURN, 0, 0, u32::MAX),
        SockFilter::new(RETURN, 0, 0, 0),
    ]
}

fn doors(ports: &[u16]) -> io::Result<Vec<OwnedFd>> {
    let mut doors = Vec::new();
    for port in ports {
        doors.push(TcpListener::bind((Ipv4Addr::LOCALHOST, *port))?.into());
        // there may be no IPv6
        doors.extend(TcpListener::bind((Ipv6Addr::LOCALHOST, *port)).ok().map(OwnedFd::from));
    }
    Ok(doors)
}
