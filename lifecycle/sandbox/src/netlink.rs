//! rtnetlink: how the kernel is asked for interfaces, addresses and routes (rtnetlink(7)).

use std::io;
use std::net::IpAddr;
use std::os::fd::OwnedFd;

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::address::{AddressAttribute, AddressFlags, AddressMessage};
use netlink_packet_route::link::{
    InfoData, InfoKind, InfoVeth, LinkAttribute, LinkFlags, LinkInfo, LinkMessage,
};
use netlink_packet_route::route::{
    RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use rustix::net::{RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socket_with};

/// An answer is a header, an error number and our own request again.
const ANSWER: usize = 8192;

/// The way to ask.
pub(crate) struct Route(OwnedFd);

impl Route {
    pub(crate) fn open() -> io::Result<Self> {
        let family = rustix::net::AddressFamily::NETLINK;
        // no protocol is rtnetlink's number (linux/netlink.h)
        Ok(Self(socket_with(family, SocketType::RAW, SocketFlags::CLOEXEC, None)?))
    }

    /// Asks, and waits for the answer.
    pub(crate) fn ask(&mut self, message: RouteNetlinkMessage) -> io::Result<()> {
        let mut header = NetlinkHeader::default();
        header.flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL;
        let mut request = NetlinkMessage::new(header, NetlinkPayload::from(message));
        request.finalize();
        let mut bytes = vec![0; request.buffer_len()];
        request.serialize(&mut bytes);
        send(&self.0, &bytes, SendFlags::empty())?;
        let mut answer = vec![0; ANSWER];
        let (length, _) = recv(&self.0, &mut answer, RecvFlags::empty())?;
        let answer = NetlinkMessage::<RouteNetlinkMessage>::deserialize(&answer[..length]);
        match answer.map_err(io::Error::other)?.payload {
            NetlinkPayload::Error(error) if error.code.is_none() => Ok(()),
            NetlinkPayload::Error(error) => Err(error.to_io()),
            other => Err(io::Error::other(format!("rtnetlink answered {other:?}"))),
        }
    }
}

/// A pair of interfaces, each the other's peer, which they must be before they are up. They ask nobody for
/// addresses of cards.
pub(crate) fn cable(near: (&str, u32), far: (&str, u32), mtu: u32) -> LinkMessage {
    let mut message = end(near, mtu);
    let info =
        vec![LinkInfo::Kind(InfoKind::Veth), LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(end(far, mtu))))];
    message.attributes.push(LinkAttribute::LinkInfo(info));
    message
}

fn end((name, index): (&str, u32), mtu: u32) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.header.index = index;
    message.header.flags = LinkFlags::Noarp;
    message.header.change_mask = LinkFlags::Noarp;
    // one segment: a bundle of datagrams would be taken for a long one by whoever reads packets
    message.attributes =
        vec![LinkAttribute::IfName(name.to_owned()), LinkAttribute::Mtu(mtu), LinkAttribute::GsoMaxSegs(1)];
    message
}

/// An interface that works from now on.
pub(crate) fn up(index: u32) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.header.index = index;
    message.header.flags = LinkFlags::Up;
    message.header.change_mask = LinkFlags::Up;
    message
}

/// An address that nobody else has, so that it is of use at once.
pub(crate) fn address(index: u32, ip: IpAddr) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.family = family(ip);
    message.header.prefix_len = if ip.is_ipv4() { 32 } else { 128 };
    message.header.index = index;
    message.attributes = vec![AddressAttribute::Local(ip), AddressAttribute::Flags(AddressFlags::Nodad)];
    message
}

/// Everybody else is at the other end, too.
pub(crate) fn default_route(index: u32, from: IpAddr) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = family(from);
    message.header.table = RouteHeader::RT_TABLE_MAIN;
    message.header.protocol = RouteProtocol::Static;
    message.header.scope = RouteScope::Link;
    message.header.kind = RouteType::Unicast;
    message.attributes = vec![RouteAttribute::Oif(index)];
    message
}

fn family(ip: IpAddr) -> AddressFamily {
    if ip.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 }
}
