//! UDP datagrams (RFC 768) as far as a NAT reads them.

use crate::checksum;
use crate::drop_reason::DropReason;
use crate::fragment::{self, Fragment};
use crate::ipv4::{self, Addresses, Header, UDP, whole};
use crate::memory::Packet;

/// Bytes of a UDP header.
pub const HEADER: usize = 8;
/// Offset of the checksum in it.
pub const CHECKSUM: usize = 6;

/// A well-formed datagram.
#[derive(Clone, Copy, Debug)]
pub struct Datagram {
    /// Where it comes from and goes to.
    pub header: Header,
    /// Bytes of UDP header and payload.
    pub length: u16,
    /// The checksum as it stands there; 0 where the sender has computed none.
    pub checksum: u16,
}

impl Datagram {
    /// Reads and checks the packet at `offset`; the reason why it is none otherwise.
    #[inline(always)]
    pub fn parse(packet: &impl Packet, offset: usize) -> Result<Self, DropReason> {
        let (ip, total_length) = whole(packet, offset)?;
        if ip.u8::<9>() != UDP {
            return Err(DropReason::Protocol);
        }
        if usize::from(total_length) < ipv4::HEADER + HEADER {
            return Err(DropReason::Truncated);
        }
        let udp = packet.window::<HEADER>(offset + ipv4::HEADER).ok_or(DropReason::Truncated)?;
        let length = u16::from_be(udp.u16::<4>());
        if usize::from(length) < HEADER || length > total_length - ipv4::HEADER as u16 {
            return Err(DropReason::UdpLength);
        }
        let ttl = ip.u8::<8>();
        if ttl <= 1 {
            return Err(DropReason::TtlExpired);
        }
        let header = Header {
            offset,
            addresses: Addresses { source: ip.u32::<12>(), destination: ip.u32::<16>() },
            source_port: udp.u16::<0>(),
            destination_port: udp.u16::<2>(),
            total_length,
            ttl,
            protocol: UDP,
        };
        Ok(Self { header, length, checksum: udp.u16::<6>() })
    }

    /// Reads and checks what a datagram's first fragment has of it: its whole header at least, since that has the length of
    /// the smallest one.
    #[inline(always)]
    pub fn of_fragment(packet: &impl Packet, fragment: &Fragment) -> Result<Self, DropReason> {
        let here = fragment.total_length - ipv4::HEADER as u16;
        let start = fragment.offset + ipv4::HEADER;
        let udp = packet.window::<HEADER>(start).ok_or(DropReason::Truncated)?;
        let length = u16::from_be(udp.u16::<4>());
        if !(here..=fragment::LARGEST).contains(&length) {
            return Err(DropReason::UdpLength);
        }
        let header = fragment.header(udp.u32::<0>());
        Ok(Self { header, length, checksum: udp.u16::<6>() })
    }

    /// Verifies the IPv4 header checksum and, of datagrams up to 1 480 bytes, the UDP checksum if there is one.
    #[inline(always)]
    pub fn verify_checksums(&self, packet: &impl Packet) -> Result<(), DropReason> {
        self.header.verify(packet)?;
        if self.checksum == 0 {
            return Ok(());
        }
        self.header.verify_payload(packet, self.length, self.checksum, DropReason::UdpChecksum)
    }
}

/// A UDP checksum after a change: none stays none, and one that comes to 0 is written as 0xffff.
#[inline(always)]
pub const fn apply(checksum: u16, delta: u16) -> u16 {
    if checksum == 0 {
        return 0;
    }
    match checksum::apply(checksum, delta) {
        0 => 0xffff,
        checksum => checksum,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checksum::Delta;

    #[test]
    fn no_checksum_stays_none_and_none_is_made() {
        let delta = |old, new| Delta::default().replace16(old, new).fold();
        assert_eq!(apply(0, delta(1, 2)), 0);
        for old in 1..=u16::MAX {
            for new in [0, 1, old.wrapping_sub(1), old.wrapping_add(1), u16::MAX] {
                assert_ne!(apply(old, delta(old, new)), 0);
            }
        }
        // The words sum up to 0xffff now: their complement would be 0.
        assert_eq!(apply(1, delta(0, 1)), 0xffff);
    }
}
