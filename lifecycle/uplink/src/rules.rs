//! Whom a command reaches: the world, and of what lies beside us the API alone.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use serde::{Deserialize, Serialize};

use crate::outside::is_ours;

/// Where a command sees the first of the machine's name servers; the others follow. Of a block that is
/// nobody's (RFC 2544).
pub const FIRST_RESOLVER: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 2);

/// As many as the C library asks (`MAXNS` of resolv.h).
pub const MAX_RESOLVERS: usize = 3;

/// Where name servers answer.
const DNS: u16 = 53;

/// Never, whatever is allowed besides: this host, the link, everybody at once, where clouds keep their machines'
/// secrets (AWS, Oracle and GCP by IPv6, Alibaba, Oracle, Azure), and translations that lead to any of these.
const NEVER: [IpNet; 16] = [
    v4([0, 0, 0, 0], 8),
    v4([127, 0, 0, 0], 8),
    v4([169, 254, 0, 0], 16),
    v4([224, 0, 0, 0], 3),
    v4([100, 100, 100, 200], 32),
    v4([192, 0, 0, 192], 32),
    v6(0, 127),
    v6(0xffff_0000_0000, 96),
    v6(0xfe80 << 112, 10),
    v6(0xff00 << 112, 8),
    v4([168, 63, 129, 16], 32),
    v6(0xfd00_0ec2 << 96, 32),
    v6(0xfd00_00c1 << 96, 32),
    v6(0xfd20_00ce << 96 | 0x254, 128),
    v6(0x2002 << 112, 16),
    v6(0x0064_ff9b_0001 << 80, 48),
];

/// Not of the world: private and shared networks, and blocks that are nobody's.
const PRIVATE: [IpNet; 8] = [
    v4([10, 0, 0, 0], 8),
    v4([172, 16, 0, 0], 12),
    v4([192, 168, 0, 0], 16),
    v4([100, 64, 0, 0], 10),
    v4([192, 0, 0, 0], 24),
    v4([198, 18, 0, 0], 15),
    v6(0xfc00 << 112, 7),
    v6(0xfec0 << 112, 10),
];

/// IPv4 within IPv6, where the network translates (RFC 6052).
const NAT64: IpNet = v6(0x0064_ff9b << 96, 96);

const fn v4(address: [u8; 4], prefix: u8) -> IpNet {
    let [a, b, c, d] = address;
    IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), prefix))
}

const fn v6(address: u128, prefix: u8) -> IpNet {
    IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::from_bits(address), prefix))
}

/// Whom one command reaches.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rules {
    /// Networks that are private, and allowed all the same.
    pub allowed: Vec<IpNet>,
    /// The services beside us: not even if their network is allowed.
    pub refused: Vec<IpAddr>,
    /// What is reached wherever it is: the API, and what else the machine lets commands have. What is on the
    /// loopback is reached through a door, at the same port.
    pub open: Vec<SocketAddr>,
    /// The machine's name servers, the first of which are seen at [`FIRST_RESOLVER`] and after.
    pub resolvers: Vec<IpAddr>,
}

impl Rules {
    /// Where to connect for a command that wants to reach `to`; `None` if it may not.
    pub(crate) fn way(&self, to: SocketAddr) -> Option<SocketAddr> {
        let (ip, port) = (to.ip(), to.port());
        if let Some(resolver) = self.resolver(ip) {
            return (port == DNS).then_some(SocketAddr::new(resolver, DNS));
        }
        let inner = carried(ip);
        let allowed = self.is_allowed(ip, port) && inner.is_none_or(|inner| self.is_allowed(inner, port));
        allowed.then_some(to)
    }

    /// The address on our loopback that a door of this port stands for.
    pub(crate) fn behind_door(&self, port: u16) -> Option<SocketAddr> {
        self.open.iter().copied().find(|open| open.ip().is_loopback() && open.port() == port)
    }

    fn resolver(&self, seen: IpAddr) -> Option<IpAddr> {
        let IpAddr::V4(seen) = seen else { return None };
        let place = seen.to_bits().checked_sub(FIRST_RESOLVER.to_bits())?;
        let known = self.resolvers.iter().take(MAX_RESOLVERS);
        known.enumerate().find(|(at, _)| u32::try_from(*at) == Ok(place)).map(|(_, resolver)| *resolver)
    }

    fn is_allowed(&self, ip: IpAddr, port: u16) -> bool {
        let within = |nets: &[IpNet]| nets.iter().any(|net| net.contains(&ip));
        if within(&NEVER) {
            return false;
        }
        if self.open.contains(&SocketAddr::new(ip, port)) {
            return true;
        }
        if self.refused.contains(&ip) {
            return false;
        }
        // our own only if it is named itself, not with its network
        let named =
            self.allowed.iter().any(|net| net.prefix_len() == net.max_prefix_len() && net.contains(&ip));
        named || !is_ours(ip) && (within(&self.allowed) || !within(&PRIVATE))
    }
}

fn carried(ip: IpAddr) -> Option<IpAddr> {
    let IpAddr::V6(v6) = ip else { return None };
    let [.., a, b, c, d] = v6.octets();
    NAT64.contains(&ip).then_some(IpAddr::V4(Ipv4Addr::new(a, b, c, d)))
}

#[cfg(test)]
mod tests;
