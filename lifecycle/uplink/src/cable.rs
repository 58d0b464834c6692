//! The far end of the cable: a packet socket that hears nothing else.

use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, SocketAddrAny, recvfrom, sendto};

/// Two addresses and what is inside (IEEE 802.3).
const HEADER: usize = 14;

/// Of an address.
const ADDRESS: usize = 6;

/// The longest frame that a cable carries, its header included.
const LONGEST: usize = 65_535 + HEADER;

/// Ethernet's word for what is inside.
const IPV4: [u8; 2] = [0x08, 0x00];
const IPV6: [u8; 2] = [0x86, 0xdd];

/// The longest packet it carries: as long as the cable's near end is made for.
pub(crate) const MTU: usize = 65_520;

pub(crate) struct Cable {
    pub(crate) packets: OwnedFd,
    frame: Vec<u8>,
    near: Option<Near>,
}

/// The command's end, once it has spoken.
struct Near {
    interface: SocketAddrAny,
    card: [u8; ADDRESS],
}

impl Cable {
    pub(crate) fn new(packets: OwnedFd) -> Self {
        Self { packets, frame: vec![0; LONGEST], near: None }
    }

    /// The next packet, without waiting; what is no packet of the command's is passed over.
    pub(crate) fn read(&mut self) -> Option<Vec<u8>> {
        loop {
            let (length, interface) = match recvfrom(&self.packets, &mut self.frame, RecvFlags::DONTWAIT) {
                Ok((length, _, interface)) => (length, interface),
                Err(Errno::INTR) => continue,
                Err(_) => return None,
            };
            let Some((header, packet)) = self.frame[..length].split_at_checked(HEADER) else { continue };
            let (to, rest) = header.split_at(ADDRESS);
            // a cable without addresses is written to by its own: the kernel's words at our end are others
            if !rest.starts_with(to) || ![IPV4, IPV6].iter().any(|inside| rest.ends_with(inside)) {
                continue;
            }
            if self.near.is_none()
                && let (Some(interface), Ok(card)) = (interface, to.try_into())
            {
                self.near = Some(Near { interface, card });
            }
            return Some(packet.to_vec());
        }
    }

    /// Sends a packet back. One that finds no room is lost, as on any cable.
    pub(crate) fn write(&self, packet: &[u8]) {
        let Some(near) = &self.near else { return };
        let inside = if packet.first().is_some_and(|first| first >> 4 == 6) { IPV6 } else { IPV4 };
        let frame = [&near.card, &near.card, &inside[..], packet].concat();
        let _ = sendto(&self.packets, &frame, SendFlags::DONTWAIT, &near.interface);
    }
}
