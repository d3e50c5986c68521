//! IP headers of either family, as far as a NAT between any two of them reads and writes them (RFC 8200, RFC 791; from one
//! to the other, RFC 7915).

use crate::checksum::{self, Delta};
use crate::drop_reason::DropReason;
use crate::ethernet::{IPV4, IPV6};
use crate::extension::FRAGMENT;
use crate::fragment::{self, PART};
use crate::ipv4::{self, DONT_FRAGMENT, VERSION_IHL};
use crate::memory::{Packet, Parts, Window};
use crate::wide::WideAddress;

/// Bytes of an IPv6 header without extension headers.
pub const IPV6_HEADER: usize = 40;
/// Protocol number of ICMPv6.
pub const ICMPV6: u8 = 58;

/// The least MTU of a link that carries IPv6, bytes.
pub const LEAST_MTU: u32 = 1280;
/// Longest IPv4 packet that routers may fragment when its sender was told no MTU less than IPv6's (RFC 7915, section 5.1).
const FRAGMENTABLE: u16 = 1260;

/// A family of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// The family of this number: 0 for IPv4.
    #[inline(always)]
    pub const fn from_number(number: u32) -> Self {
        if number == 0 { Self::V4 } else { Self::V6 }
    }

    /// The family of an address.
    #[inline(always)]
    pub const fn of(address: WideAddress) -> Self {
        if address.is_ipv4() { Self::V4 } else { Self::V6 }
    }

    /// Bytes of a header.
    #[inline(always)]
    pub const fn header(self) -> usize {
        match self {
            Self::V4 => ipv4::HEADER,
            Self::V6 => IPV6_HEADER,
        }
    }

    /// EtherType, network order.
    #[inline(always)]
    pub const fn ether_type(self) -> u16 {
        match self {
            Self::V4 => IPV4,
            Self::V6 => IPV6,
        }
    }
}

/// The header of a whole packet without options or extension headers.
#[derive(Clone, Copy, Debug)]
pub struct Ip {
    /// Its family.
    pub family: Family,
    /// Its offset in the frame.
    pub offset: usize,
    /// Source.
    pub source: WideAddress,
    /// Destination.
    pub destination: WideAddress,
    /// Bytes of what the packet carries.
    pub length: u16,
    /// Time to live or hop limit.
    pub ttl: u8,
    /// IP protocol number of what it carries.
    pub protocol: u8,
}

impl Ip {
    /// Reads and checks the packet at `offset`; the reason why it is none otherwise.
    #[inline(always)]
    pub fn parse(packet: &impl Packet, offset: usize, ether_type: u16) -> Result<Self, DropReason> {
        match ether_type {
            IPV6 => Self::parse_v6(packet, offset),
            _ => Self::parse_v4(packet, offset),
        }
    }

    #[inline(always)]
    fn parse_v6(packet: &impl Packet, offset: usize) -> Result<Self, DropReason> {
        let ip = packet.window::<IPV6_HEADER>(offset).ok_or(DropReason::Truncated)?;
        let length = u16::from_be(ip.u16::<4>());
        // A length of 0 would be a jumbogram's (RFC 2675): no packet that we carry is empty.
        let end = offset + IPV6_HEADER + usize::from(length);
        if ip.u8::<0>() >> 4 != 6 || length == 0 || !packet.reaches(end) {
            return Err(DropReason::Ipv6Header);
        }
        let [source, destination] = addresses(&ip);
        // Nobody has a mapped address in an IPv6 packet; here it would be taken for an IPv4 one.
        if source.is_ipv4() || destination.is_ipv4() {
            return Err(DropReason::SourceAddress);
        }
        let (protocol, ttl) = (ip.u8::<6>(), ip.u8::<7>());
        Ok(Self { family: Family::V6, offset, source, destination, length, ttl, protocol })
    }

    #[inline(always)]
    fn parse_v4(packet: &impl Packet, offset: usize) -> Result<Self, DropReason> {
        Self::read_v4(offset, ipv4::whole(packet, offset)?)
    }

    /// As [`Self::parse`], of an IPv4 packet that may be a fragment.
    #[inline(always)]
    pub fn of_fragment(packet: &impl Packet, offset: usize) -> Result<Self, DropReason> {
        Self::read_v4(offset, ipv4::well_formed(packet, offset)?)
    }

    #[inline(always)]
    fn read_v4(
        offset: usize,
        (ip, total_length): (Window<'_, { ipv4::HEADER }>, u16),
    ) -> Result<Self, DropReason> {
        // Of a header that is written anew, damage would be healed.
        if ipv4::sum_header(&ip) != 0xffff {
            return Err(DropReason::Ipv4Checksum);
        }
        Ok(Self {
            family: Family::V4,
            offset,
            source: WideAddress::of_ipv4(ip.u32::<12>()),
            destination: WideAddress::of_ipv4(ip.u32::<16>()),
            length: total_length - ipv4::HEADER as u16,
            ttl: ip.u8::<8>(),
            protocol: ip.u8::<9>(),
        })
    }

    /// Reads the header at `offset` of a segment or datagram that an ICMP error quotes: it may end anywhere behind its first
    /// eight bytes (RFC 792). With it, the bytes of its fragment header, which stands behind it and is not in its length.
    #[inline(always)]
    pub fn quoted(
        packet: &impl Packet,
        offset: usize,
        family: Family,
    ) -> Result<(Self, usize), DropReason> {
        let quoted = match family {
            Family::V6 => {
                let ip = packet.window::<IPV6_HEADER>(offset).ok_or(DropReason::Truncated)?;
                let [source, destination] = addresses(&ip);
                let length = u16::from_be(ip.u16::<4>());
                let (protocol, ttl) = (ip.u8::<6>(), ip.u8::<7>());
                let quoted = Self { family, offset, source, destination, length, ttl, protocol };
                // No longer than an interface could have sent it.
                let is_right = ip.u8::<0>() >> 4 == 6 && length <= u16::MAX - IPV6_HEADER as u16;
                is_right.then_some(quoted)
            }
            Family::V4 => {
                let ip = packet.window::<{ ipv4::HEADER }>(offset).ok_or(DropReason::Truncated)?;
                let source = WideAddress::of_ipv4(ip.u32::<12>());
                let destination = WideAddress::of_ipv4(ip.u32::<16>());
                let total_length = u16::from_be(ip.u16::<2>());
                let (ttl, protocol) = (ip.u8::<8>(), ip.u8::<9>());
                // The first fragment is fine: a router behind us may have cut what we sent.
                let is_right = ip.u8::<0>() == VERSION_IHL
                    && !fragment::is_later(ip.u16::<6>())
                    && usize::from(total_length) >= ipv4::HEADER;
                let length = total_length.wrapping_sub(ipv4::HEADER as u16);
                let quoted = Self { family, offset, source, destination, length, ttl, protocol };
                is_right.then_some(quoted)
            }
        };
        let mut quoted = quoted.ok_or(DropReason::IcmpQuote)?;
        let fragment = match family {
            Family::V6 => quoted.first_fragment(packet).unwrap_or(0),
            Family::V4 => 0,
        };
        if !matches!(quoted.protocol, ipv4::TCP | ipv4::UDP) {
            return Err(DropReason::IcmpQuote);
        }
        Ok((quoted, fragment))
    }

    /// Of the first fragment of an IPv6 packet: it carries what follows its fragment header, the bytes of which are returned.
    #[inline(always)]
    fn first_fragment(&mut self, packet: &impl Packet) -> Option<usize> {
        if self.protocol != FRAGMENT {
            return None;
        }
        let header = packet.window::<{ fragment::HEADER }>(self.payload())?;
        let length = self.length.checked_sub(fragment::HEADER as u16)?;
        if u16::from_be(header.u16::<2>()) & PART & !1 != 0 {
            return None;
        }
        (self.protocol, self.length) = (header.u8::<0>(), length);
        Some(fragment::HEADER)
    }

    /// Offset of what the packet carries.
    #[inline(always)]
    pub const fn payload(&self) -> usize {
        self.offset + self.family.header()
    }

    /// The packets that the frame is on the wire.
    #[inline(always)]
    pub(crate) fn parts(&self, packet: &impl Packet) -> Parts {
        packet.parts(self.length, self.payload(), self.protocol)
    }

    /// Bytes of the packet with a header of a family.
    #[inline(always)]
    pub const fn length_as(&self, family: Family) -> u32 {
        family.header() as u32 + self.length as u32
    }

    /// Source and destination, read once more: cheaper than to keep them while the stack is needed for something else.
    #[inline(always)]
    pub fn addresses(&self, packet: &impl Packet) -> Result<[WideAddress; 2], DropReason> {
        match self.family {
            Family::V4 => {
                let ip =
                    packet.window::<{ ipv4::HEADER }>(self.offset).ok_or(DropReason::Truncated)?;
                Ok([WideAddress::of_ipv4(ip.u32::<12>()), WideAddress::of_ipv4(ip.u32::<16>())])
            }
            Family::V6 => {
                let ip = packet.window::<IPV6_HEADER>(self.offset).ok_or(DropReason::Truncated)?;
                Ok(addresses(&ip))
            }
        }
    }

    /// What is to be known of the header once it is overwritten, by one with this time to live.
    #[inline(always)]
    pub fn rest(&self, packet: &impl Packet, ttl: u8) -> Result<Rest, DropReason> {
        match self.family {
            Family::V4 => {
                let ip =
                    packet.window::<{ ipv4::HEADER }>(self.offset).ok_or(DropReason::Truncated)?;
                Ok(Rest::new(ttl, ip.u8::<1>(), ip.u32::<4>()))
            }
            Family::V6 => {
                let ip = packet.window::<4>(self.offset).ok_or(DropReason::Truncated)?;
                let word = ip.u32::<0>();
                Ok(Rest::new(ttl, (u32::from_be(word) >> 20) as u8, word))
            }
        }
    }

    /// Writes the header that the packet leaves with, of a family, at `offset`; with this identification, where it has none and
    /// may be fragmented.
    #[inline(always)]
    pub fn write(
        &self,
        packet: &impl Packet,
        offset: usize,
        rest: Rest,
        family: Family,
        [source, destination]: [WideAddress; 2],
        identification: u16,
    ) -> Result<(), DropReason> {
        if family == Family::V6 {
            let ip = packet.window::<IPV6_HEADER>(offset).ok_or(DropReason::Truncated)?;
            let first = match self.family {
                Family::V6 => rest.word(),
                Family::V4 => (6 << 28 | u32::from(rest.class()) << 20).to_be(),
            };
            ip.set_u32::<0>(first);
            ip.set_u16::<4>(self.length.to_be());
            ip.set_u8::<6>(self.protocol);
            ip.set_u8::<7>(rest.ttl());
            write_addresses(&ip, [source, destination]);
            return Ok(());
        }
        let ip = packet.window::<{ ipv4::HEADER }>(offset).ok_or(DropReason::Truncated)?;
        let total_length = self.length + ipv4::HEADER as u16;
        let word = match self.family {
            Family::V4 => rest.word(),
            Family::V6 if total_length > FRAGMENTABLE => u32::from(DONT_FRAGMENT) << 16,
            Family::V6 => u32::from(identification),
        };
        ip.set_u8::<0>(VERSION_IHL);
        ip.set_u8::<1>(rest.class());
        ip.set_u16::<2>(total_length.to_be());
        ip.set_u32::<4>(word);
        ip.set_u8::<8>(rest.ttl());
        ip.set_u8::<9>(self.protocol);
        ip.set_u16::<10>(0);
        ip.set_u32::<12>(source.last());
        ip.set_u32::<16>(destination.last());
        ip.set_u16::<10>(!ipv4::sum_header(&ip));
        Ok(())
    }
}

/// How a checksum that covers source and destination changes when they are replaced.
#[inline(always)]
pub fn delta(before: [WideAddress; 2], after: [WideAddress; 2]) -> Delta {
    let ([a, b], [c, d]) = (before, after);
    Delta::default().replace_sum(words(a) + words(b), words(c) + words(d))
}

/// What a header says that the one that replaces it says too, in one word: as it stands, version, class and flow label of IPv6,
/// or identification and fragmentation of IPv4; above that the class, DSCP and ECN, and the new time to live.
#[derive(Clone, Copy, Debug)]
pub struct Rest(u64);

impl Rest {
    #[inline(always)]
    const fn new(ttl: u8, class: u8, word: u32) -> Self {
        Self(word as u64 | (class as u64) << 32 | (ttl as u64) << 40)
    }

    #[inline(always)]
    const fn ttl(self) -> u8 {
        (self.0 >> 40) as u8
    }

    #[inline(always)]
    const fn class(self) -> u8 {
        (self.0 >> 32) as u8
    }

    #[inline(always)]
    const fn word(self) -> u32 {
        self.0 as u32
    }
}

/// Source and destination of an IPv6 header.
#[inline(always)]
pub fn addresses(ip: &Window<'_, IPV6_HEADER>) -> [WideAddress; 2] {
    [WideAddress([ip.u64::<8>(), ip.u64::<16>()]), WideAddress([ip.u64::<24>(), ip.u64::<32>()])]
}

/// Writes source and destination of an IPv6 header.
#[inline(always)]
pub fn write_addresses(
    ip: &Window<'_, IPV6_HEADER>,
    [WideAddress([a, b]), WideAddress([c, d])]: [WideAddress; 2],
) {
    ip.set_u64::<8>(a);
    ip.set_u64::<16>(b);
    ip.set_u64::<24>(c);
    ip.set_u64::<32>(d);
}

/// The sum of an address's words, as a pseudo-header has them: what a mapped address has before its last four bytes is a zero of
/// the one's complement.
#[inline(always)]
const fn words(address: WideAddress) -> u64 {
    let [first, second] = address.0;
    checksum::long_words(first) + checksum::long_words(second)
}

/// The same, folded.
#[inline(always)]
pub const fn sum(address: WideAddress) -> u16 {
    checksum::fold_long(words(address))
}

/// The sum of the pseudo-header that TCP, UDP and ICMPv6 checksums cover, not folded; `length` of what the packet carries,
/// host order. IPv4 and IPv6 have the same words there, the addresses aside (RFC 8200, section 8.1).
#[inline(always)]
pub const fn pseudo_header(
    [source, destination]: [WideAddress; 2],
    protocol: u8,
    length: u16,
) -> u32 {
    sum(source) as u32
        + sum(destination) as u32
        + (protocol as u16).to_be() as u32
        + length.to_be() as u32
}
