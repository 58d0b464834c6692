//! What is read of a packet before anybody trusts it.

use std::net::{IpAddr, SocketAddr};

use smoltcp::wire::{IpProtocol, IpVersion, Ipv4Packet, Ipv6Packet, TcpPacket, TcpSeqNumber, UdpPacket};

/// From whom, and to whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Pair {
    pub(crate) from: SocketAddr,
    pub(crate) to: SocketAddr,
}

/// What a packet is.
#[derive(Debug)]
pub(crate) enum Seen<'a> {
    Tcp { pair: Pair, segment: Segment },
    Udp { pair: Pair, payload: &'a [u8] },
}

/// What is to be known of a segment that belongs to no connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Segment {
    /// It asks for a connection.
    pub(crate) begins: bool,
    pub(crate) resets: bool,
    /// The sequence number an answer must acknowledge.
    pub(crate) next: TcpSeqNumber,
    /// The sequence number an answer must have, if it says.
    pub(crate) acknowledged: Option<TcpSeqNumber>,
}

/// `None` for what does not pass: other protocols, fragments, and what is no packet.
pub(crate) fn read(packet: &[u8]) -> Option<Seen<'_>> {
    let (from, to, protocol, payload) = match version(packet)? {
        IpVersion::Ipv4 => read_v4(packet)?,
        IpVersion::Ipv6 => read_v6(packet)?,
    };
    match protocol {
        IpProtocol::Tcp => {
            let tcp = TcpPacket::new_checked(payload).ok()?;
            let pair = pair(from, to, tcp.src_port(), tcp.dst_port())?;
            Some(Seen::Tcp { pair, segment: segment(&tcp) })
        }
        IpProtocol::Udp => {
            let udp = UdpPacket::new_checked(payload).ok()?;
            let pair = pair(from, to, udp.src_port(), udp.dst_port())?;
            Some(Seen::Udp { pair, payload: udp.payload() })
        }
        _ => None,
    }
}

pub(crate) fn version(packet: &[u8]) -> Option<IpVersion> {
    // smoltcp wants one byte at least
    packet.first().and_then(|_| IpVersion::of_packet(packet).ok())
}

type Parts<'a> = (IpAddr, IpAddr, IpProtocol, &'a [u8]);

fn read_v4(packet: &[u8]) -> Option<Parts<'_>> {
    let ip = Ipv4Packet::new_checked(packet).ok()?;
    let whole = !ip.more_frags() && ip.frag_offset() == 0;
    whole.then(|| (ip.src_addr().into(), ip.dst_addr().into(), ip.next_header(), ip.payload()))
}

fn read_v6(packet: &[u8]) -> Option<Parts<'_>> {
    let ip = Ipv6Packet::new_checked(packet).ok()?;
    Some((ip.src_addr().into(), ip.dst_addr().into(), ip.next_header(), ip.payload()))
}

/// Port 0 is nobody's.
fn pair(from: IpAddr, to: IpAddr, from_port: u16, to_port: u16) -> Option<Pair> {
    let pair = Pair { from: SocketAddr::new(from, from_port), to: SocketAddr::new(to, to_port) };
    (from_port != 0 && to_port != 0).then_some(pair)
}

fn segment(tcp: &TcpPacket<&[u8]>) -> Segment {
    Segment {
        begins: tcp.syn() && !tcp.ack() && !tcp.rst(),
        resets: tcp.rst(),
        next: tcp.seq_number() + tcp.segment_len(),
        acknowledged: tcp.ack().then(|| tcp.ack_number()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_packet_is_nothing() {
        for garbage in [&[][..], &[0x45], &[0x60; 39], &[0x45; 20], &[0xff; 200], &[0; 64]] {
            assert!(read(garbage).is_none(), "{garbage:?}");
        }
    }
}
