//! Packets read and rewritten the plain way: byte by byte, every right checksum computed anew.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use privatelink_common::drop_reason::DropReason;

use crate::frame::{Mac, internet_checksum};

/// IP protocol numbers.
pub(crate) const TCP: u8 = 6;
pub(crate) const UDP: u8 = 17;
pub(crate) const ICMPV6: u8 = 58;
/// EtherTypes.
pub(crate) const IPV4: u16 = 0x0800;
pub(crate) const IPV6: u16 = 0x86dd;

pub(crate) fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from(u16_at(bytes, at)) << 16 | u32::from(u16_at(bytes, at + 2))
}

pub(crate) fn ipv4_at(bytes: &[u8], at: usize) -> IpAddr {
    Ipv4Addr::from(u32_at(bytes, at)).into()
}

pub(crate) fn ipv6_at(bytes: &[u8], at: usize) -> IpAddr {
    let octets: [u8; 16] = bytes[at..at + 16].try_into().expect("sixteen bytes");
    Ipv6Addr::from(octets).into()
}

/// An address and a port.
pub(crate) type Socket = (IpAddr, u16);

/// An Ethernet header with at most two tags.
#[derive(Clone, Debug)]
pub(crate) struct Link {
    pub(crate) to: Mac,
    pub(crate) from: Mac,
    pub(crate) tags: Vec<(u16, u16)>,
    pub(crate) ether_type: u16,
    pub(crate) length: usize,
}

impl Link {
    /// The header of a frame; none where the frame ends within it.
    pub(crate) fn read(frame: &[u8]) -> Option<Self> {
        let (to, from) = (frame.get(..6)?.try_into().ok()?, frame.get(6..12)?.try_into().ok()?);
        let mut tags = Vec::new();
        let mut at = 12;
        loop {
            let bytes = frame.get(at..at + 2)?;
            let ether_type = u16_at(bytes, 0);
            at += 2;
            if !matches!(ether_type, 0x8100 | 0x88a8) || tags.len() == 2 {
                return Some(Self { to, from, tags, ether_type, length: at });
            }
            tags.push((ether_type, u16_at(frame.get(at..at + 2)?, 0)));
            at += 2;
        }
    }
}

/// Bytes of the IP header that packets with this address have.
pub(crate) const fn header_of(address: IpAddr) -> usize {
    if address.is_ipv6() { 40 } else { 20 }
}

pub(crate) const fn ether_type_of(address: IpAddr) -> u16 {
    if address.is_ipv6() { IPV6 } else { IPV4 }
}

/// Source and destination of a packet that is long enough for them.
pub(crate) fn addresses(packet: &[u8]) -> (IpAddr, IpAddr) {
    match packet[0] >> 4 {
        6 => (ipv6_at(packet, 8), ipv6_at(packet, 24)),
        _ => (ipv4_at(packet, 12), ipv4_at(packet, 16)),
    }
}

/// A TCP segment or UDP datagram, and what a NAT reads in its headers.
#[derive(Clone, Debug)]
pub(crate) struct Parcel {
    pub(crate) protocol: u8,
    pub(crate) source: Socket,
    pub(crate) destination: Socket,
    /// Bytes of the IP header.
    pub(crate) header: usize,
    /// Bytes of the IP packet.
    pub(crate) total: u16,
    /// TCP's, or zeros.
    pub(crate) sequence: u32,
    pub(crate) acknowledgement: u32,
    pub(crate) flags: u8,
    /// Bytes behind the TCP or UDP header.
    pub(crate) payload: usize,
    /// Where it belongs in its datagram, if it is a fragment.
    pub(crate) piece: Option<Piece>,
}

/// Where a fragment belongs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Piece {
    /// Bytes of the datagram before it.
    pub(crate) at: usize,
    /// Whether some follow.
    pub(crate) more: bool,
    pub(crate) identification: u32,
}

/// Bytes of the fragment header of IPv6.
pub(crate) const FRAGMENT_HEADER: usize = 8;

impl Parcel {
    /// What an IPv4 packet of at least 20 bytes carries, padding behind it or not.
    pub(crate) fn read_v4(packet: &[u8]) -> Result<Self, DropReason> {
        let (version, words) = (packet[0] >> 4, packet[0] & 15);
        if version != 4 || words < 5 {
            return Err(DropReason::Ipv4Header);
        }
        if words > 5 {
            return Err(DropReason::Ipv4Options);
        }
        let total = u16_at(packet, 2);
        let length = usize::from(total);
        if length < 20 || length > packet.len() {
            return Err(DropReason::Ipv4Header);
        }
        let (more_fragments, offset) = (packet[6] & 0x20 != 0, u16_at(packet, 6) & 0x1fff);
        if more_fragments || offset != 0 {
            return Err(DropReason::Fragment);
        }
        let ends = (ipv4_at(packet, 12), ipv4_at(packet, 16));
        Self::read(ends, packet[9], packet[8], 20, &packet[20..length])
    }

    /// What an IPv6 packet carries.
    pub(crate) fn read_v6(packet: &[u8]) -> Result<Self, DropReason> {
        if packet.len() < 40 {
            return Err(DropReason::Truncated);
        }
        let length = usize::from(u16_at(packet, 4));
        if packet[0] >> 4 != 6 || length == 0 || 40 + length > packet.len() {
            return Err(DropReason::Ipv6Header);
        }
        let (source, destination) = (ipv6_at(packet, 8), ipv6_at(packet, 24));
        let is_mapped = |address: IpAddr| address.to_canonical().is_ipv4();
        if is_mapped(source) || is_mapped(destination) {
            return Err(DropReason::SourceAddress);
        }
        let carried = &packet[40..40 + length];
        if packet[6] == UDP && length >= 8 {
            if usize::from(u16_at(carried, 4)) != length {
                return Err(DropReason::UdpLength);
            }
            if u16_at(carried, 6) == 0 {
                return Err(DropReason::UdpChecksum);
            }
        }
        Self::read((source, destination), packet[6], packet[7], 40, carried)
    }

    fn read(
        (source, destination): (IpAddr, IpAddr),
        protocol: u8,
        ttl: u8,
        header: usize,
        carried: &[u8],
    ) -> Result<Self, DropReason> {
        let total = (header + carried.len()) as u16;
        let least = match protocol {
            TCP => 20,
            UDP => 8,
            _ => return Err(DropReason::Protocol),
        };
        if carried.len() < least {
            return Err(DropReason::Truncated);
        }
        let own = match protocol {
            TCP => usize::from(carried[12] >> 4) * 4,
            _ => 8,
        };
        if own < least || own > carried.len() {
            return Err(DropReason::TcpHeader);
        }
        if protocol == UDP && !(8..=carried.len()).contains(&usize::from(u16_at(carried, 4))) {
            return Err(DropReason::UdpLength);
        }
        if ttl <= 1 {
            return Err(DropReason::TtlExpired);
        }
        let of_tcp = |word: u32| if protocol == TCP { word } else { 0 };
        Ok(Self {
            protocol,
            source: (source, u16_at(carried, 0)),
            destination: (destination, u16_at(carried, 2)),
            header,
            total,
            sequence: of_tcp(u32_at(carried, 4)),
            acknowledgement: of_tcp(carried.get(8..12).map_or(0, |bytes| u32_at(bytes, 0))),
            flags: if protocol == TCP { carried[13] } else { 0 },
            payload: carried.len() - own,
            piece: None,
        })
    }

    pub(crate) const fn is_tcp(&self) -> bool {
        self.protocol == TCP
    }

    /// Whether any of these flags is set.
    pub(crate) const fn has(&self, flags: u8) -> bool {
        self.flags & flags != 0
    }

    /// Bytes behind the IP header.
    pub(crate) fn length(&self) -> usize {
        usize::from(self.total) - self.header
    }

    /// Whether it is a fragment that has no ports.
    pub(crate) fn is_later(&self) -> bool {
        self.piece.is_some_and(|piece| piece.at > 0)
    }

    /// Where in its packet begins what it carries of segment or datagram.
    pub(crate) const fn start(&self) -> usize {
        match self.piece {
            Some(_) if self.header == 40 => self.header + FRAGMENT_HEADER,
            _ => self.header,
        }
    }

    /// Bytes of the packet that it leaves as with headers of an address' family.
    pub(crate) fn length_as(&self, address: IpAddr) -> usize {
        let fragment = if self.piece.is_some() && address.is_ipv6() { FRAGMENT_HEADER } else { 0 };
        header_of(address) + fragment + usize::from(self.total) - self.start()
    }

    /// Where its checksum stands in the packet.
    pub(crate) const fn checksum(&self) -> usize {
        self.start() + if self.is_tcp() { 16 } else { 6 }
    }

    /// Where what its checksum covers ends in the packet: with the datagram, whatever the IP packet has behind it.
    pub(crate) fn end(&self, packet: &[u8]) -> usize {
        match self.protocol {
            UDP => self.header + usize::from(u16_at(packet, self.header + 4)),
            _ => usize::from(self.total),
        }
    }

    /// What its checksum covers, and the checksum: the pseudo-header, and behind it segment or datagram.
    fn covered(&self, packet: &[u8]) -> Vec<u8> {
        covered(
            (self.source.0, self.destination.0),
            self.protocol,
            &packet[self.header..self.end(packet)],
        )
    }

    /// How many bytes behind the IP header its checksum covers.
    pub(crate) fn covered_length(&self, packet: &[u8]) -> usize {
        self.end(packet) - self.header
    }

    /// Whether the packet, of which this was read, has a right checksum, or the one that UDP has instead of any.
    pub(crate) fn is_right(&self, packet: &[u8]) -> bool {
        let has_none = !self.is_tcp() && u16_at(packet, self.checksum()) == 0;
        let is_whole = self.end(packet) <= packet.len();
        has_none || is_whole && internet_checksum(&self.covered(packet)) == 0
    }

    /// What the checksum field holds that a card is to finish: the sum of the pseudo-header.
    pub(crate) fn unfinished(&self, packet: &[u8]) -> u16 {
        let bytes = self.covered(packet);
        let pseudo = bytes.len() - self.covered_length(packet);
        !internet_checksum(&bytes[..pseudo])
    }
}

/// What the checksum of TCP, UDP or ICMPv6 covers: the pseudo-header between these addresses, and behind it `carried`.
pub(crate) fn covered(ends: (IpAddr, IpAddr), protocol: u8, carried: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for address in [ends.0, ends.1] {
        match address {
            IpAddr::V4(address) => bytes.extend(address.octets()),
            IpAddr::V6(address) => bytes.extend(address.octets()),
        }
    }
    bytes.extend((carried.len() as u32).to_be_bytes());
    bytes.extend([0, 0, 0, protocol]);
    bytes.extend(carried);
    bytes
}

pub(crate) fn ipv4_is_right(packet: &[u8]) -> bool {
    internet_checksum(&packet[..20]) == 0
}

/// Whether the ICMPv6 message in a whole packet has a right checksum.
pub(crate) fn icmpv6_is_right(packet: &[u8]) -> bool {
    internet_checksum(&covered(addresses(packet), ICMPV6, &packet[40..])) == 0
}
