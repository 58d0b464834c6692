//! Packets of our own that say no, and those that carry a datagram back.

use std::net::{IpAddr, SocketAddr};

use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    IPV4_HEADER_LEN, IPV6_HEADER_LEN, Icmpv4DstUnreachable, Icmpv4Packet, Icmpv4Repr, Icmpv6DstUnreachable,
    Icmpv6Packet, Icmpv6Repr, IpProtocol, IpRepr, IpVersion, Ipv4Packet, Ipv4Repr, Ipv6Packet, Ipv6Repr,
    TcpControl, TcpPacket, TcpRepr, TcpSeqNumber, UdpPacket, UdpRepr,
};

use crate::packet::{Pair, Segment, version};

const HOPS: u8 = 64;

/// What is told of the packet that was refused: its ports at least (RFC 792).
const QUOTED: usize = 8;

/// Why a packet has not arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// It may not: `No route to host` by IPv4, `Permission denied` by IPv6.
    Prohibited,
    /// Nobody is there: `No route to host`.
    NoHost,
    /// Nobody listens: `Connection refused`.
    NoPort,
}

/// Says why `packet` has not arrived, of which the headers are enough; `None` for what is no packet.
pub(crate) fn unreachable(packet: &[u8], why: Why) -> Option<Vec<u8>> {
    match version(packet)? {
        IpVersion::Ipv4 => unreachable_v4(packet, why),
        IpVersion::Ipv6 => unreachable_v6(packet, why),
    }
}

fn unreachable_v4(packet: &[u8], why: Why) -> Option<Vec<u8>> {
    let reason = match why {
        Why::Prohibited => Icmpv4DstUnreachable::CommProhibited,
        Why::NoHost => Icmpv4DstUnreachable::HostUnreachable,
        Why::NoPort => Icmpv4DstUnreachable::PortUnreachable,
    };
    packet.get(..IPV4_HEADER_LEN)?;
    let ip = Ipv4Packet::new_unchecked(packet);
    let length = usize::from(ip.header_len());
    let data = packet.get(length..length + QUOTED)?;
    let (src_addr, dst_addr) = (ip.src_addr(), ip.dst_addr());
    let header = Ipv4Repr {
        src_addr,
        dst_addr,
        next_header: ip.next_header(),
        payload_len: usize::from(ip.total_len()).saturating_sub(length),
        hop_limit: HOPS,
    };
    let icmp = Icmpv4Repr::DstUnreachable { reason, header, data };
    let ip = IpRepr::new(dst_addr.into(), src_addr.into(), IpProtocol::Icmp, icmp.buffer_len(), HOPS);
    Some(around(ip, |payload, checksums| icmp.emit(&mut Icmpv4Packet::new_unchecked(payload), checksums)))
}

fn unreachable_v6(packet: &[u8], why: Why) -> Option<Vec<u8>> {
    let reason = match why {
        Why::Prohibited => Icmpv6DstUnreachable::AdminProhibit,
        Why::NoHost => Icmpv6DstUnreachable::AddrUnreachable,
        Why::NoPort => Icmpv6DstUnreachable::PortUnreachable,
    };
    let data = packet.get(IPV6_HEADER_LEN..IPV6_HEADER_LEN + QUOTED)?;
    let ip = Ipv6Packet::new_unchecked(packet);
    let (src_addr, dst_addr) = (ip.src_addr(), ip.dst_addr());
    let payload_len = usize::from(ip.payload_len());
    let header = Ipv6Repr { src_addr, dst_addr, next_header: ip.next_header(), payload_len, hop_limit: HOPS };
    let icmp = Icmpv6Repr::DstUnreachable { reason, header, data };
    let ip = IpRepr::new(dst_addr.into(), src_addr.into(), IpProtocol::Icmpv6, icmp.buffer_len(), HOPS);
    Some(around(ip, |payload, checksums| {
        icmp.emit(&dst_addr, &src_addr, &mut Icmpv6Packet::new_unchecked(payload), checksums);
    }))
}

/// Ends a connection that is none.
pub(crate) fn reset(pair: Pair, segment: Segment) -> Vec<u8> {
    let tcp = TcpRepr {
        src_port: pair.to.port(),
        dst_port: pair.from.port(),
        control: TcpControl::Rst,
        seq_number: segment.acknowledged.unwrap_or(TcpSeqNumber(0)),
        ack_number: segment.acknowledged.is_none().then_some(segment.next),
        window_len: 0,
        window_scale: None,
        max_seg_size: None,
        sack_permitted: false,
        sack_ranges: [None; 3],
        timestamp: None,
        payload: &[],
    };
    let (from, to) = (address(pair.to), address(pair.from));
    let ip = IpRepr::new(from, to, IpProtocol::Tcp, tcp.buffer_len(), HOPS);
    around(ip, |payload, checksums| {
        tcp.emit(&mut TcpPacket::new_unchecked(payload), &from, &to, checksums);
    })
}

/// A datagram that goes back over `pair`.
pub(crate) fn datagram(pair: Pair, data: &[u8]) -> Vec<u8> {
    let udp = UdpRepr { src_port: pair.to.port(), dst_port: pair.from.port() };
    let (from, to) = (address(pair.to), address(pair.from));
    let ip = IpRepr::new(from, to, IpProtocol::Udp, udp.header_len() + data.len(), HOPS);
    around(ip, |payload, checksums| {
        let mut packet = UdpPacket::new_unchecked(payload);
        udp.emit(&mut packet, &from, &to, data.len(), |into| into.copy_from_slice(data), checksums);
    })
}

fn address(of: SocketAddr) -> smoltcp::wire::IpAddress {
    match of.ip() {
        IpAddr::V4(v4) => v4.into(),
        IpAddr::V6(v6) => v6.into(),
    }
}

fn around(ip: IpRepr, emit: impl FnOnce(&mut [u8], &ChecksumCapabilities)) -> Vec<u8> {
    let checksums = ChecksumCapabilities::default();
    let mut packet = vec![0; ip.buffer_len()];
    ip.emit(&mut packet, &checksums);
    emit(&mut packet[ip.header_len()..], &checksums);
    packet
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::{Seen, read};

    #[test]
    fn what_we_write_can_be_read() {
        let ends = [("198.18.0.1:7", "203.0.113.7:9"), ("[fd00::1]:7", "[2001:db8::7]:9")];
        for (from, to) in ends {
            let pair = Pair { from: from.parse().unwrap(), to: to.parse().unwrap() };
            let back = Pair { from: pair.to, to: pair.from };
            let carried = datagram(pair, b"data");
            assert!(matches!(read(&carried), Some(Seen::Udp { pair, payload: b"data" }) if pair == back));
            let segment = Segment { begins: true, resets: false, next: TcpSeqNumber(8), acknowledged: None };
            let reset = reset(pair, segment);
            let Some(Seen::Tcp { pair, segment }) = read(&reset) else { panic!("{reset:?}") };
            assert_eq!((pair, segment.resets, segment.acknowledged), (back, true, Some(TcpSeqNumber(8))));
            for why in [Why::Prohibited, Why::NoHost, Why::NoPort] {
                let told = unreachable(&carried, why).unwrap();
                assert!(read(&told).is_none() && told.len() < 100, "{told:?}");
                // its headers are enough
                let headers = &carried[..carried.len() - 4];
                assert_eq!(unreachable(headers, why), Some(told));
            }
        }
        assert_eq!(unreachable(&[0; 60], Why::NoHost), None);
    }
}
