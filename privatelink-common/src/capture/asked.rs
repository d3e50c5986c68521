//! What a packet is looked for by.

use super::UNKNOWN;
use crate::ethernet::{self, Ethernet};
use crate::extension::{self, FRAGMENT};
use crate::fragment::{self, FragmentKey, PART, Tracked};
use crate::hash::Seeds;
use crate::icmp::{self, ICMP};
use crate::icmp_error::IcmpError;
use crate::ip::{self, Family, ICMPV6, IPV6_HEADER, Ip};
use crate::ipv4::{self, TCP, UDP};
use crate::memory::Packet;
use crate::records::FlowKey;
use crate::tables::Tables;
use crate::wide::WideAddress;

/// The direction of a flow that a packet is of, all in network order: as a segment's where it is neither a segment nor a
/// datagram, and with ports of 0 where it has none. A later fragment has those of its datagram's first one. An ICMP error is
/// looked for by what it quotes.
#[repr(C, align(8))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked {
    /// Source.
    pub source: WideAddress,
    /// Destination.
    pub destination: WideAddress,
    /// Source port.
    pub source_port: u16,
    /// Destination port.
    pub destination_port: u16,
    /// Number of the vpc that it arrived from, native order.
    pub vpc: u16,
    /// IP protocol number.
    pub protocol: u8,
    /// Explicit padding, always zero.
    pub padding: u8,
}

impl Asked {
    /// Nothing that is known.
    pub const NOTHING: Self = Self::between([UNKNOWN; 2], 0, TCP);

    /// Of a packet that arrived from `vpc`; `head` are its first bytes as they arrived. `None` where it is no IP packet.
    #[inline(always)]
    pub fn of(tables: &impl Tables, head: &impl Packet, vpc: u16) -> Option<Self> {
        let ethernet = Ethernet::parse(head).ok()?;
        let offset = head.standing(ethernet.tags).header();
        match ethernet.ether_type {
            ethernet::IPV4 => Self::of_ipv4(tables, head, offset, vpc),
            ethernet::IPV6 => Self::of_ipv6(tables, head, offset, vpc),
            _ => None,
        }
    }

    /// The key of the direction in a table of these seeds, which is of no matter where both addresses are IPv4.
    #[inline(always)]
    pub fn key(&self, seeds: &Seeds) -> FlowKey {
        let Self { source_port, destination_port, vpc, protocol, .. } = *self;
        let [source, destination] = [self.source.name(seeds), self.destination.name(seeds)];
        FlowKey { source, destination, source_port, destination_port, vpc, protocol }
    }

    /// Whether both addresses are IPv4.
    #[inline(always)]
    pub const fn is_ipv4(&self) -> bool {
        self.source.is_ipv4() && self.destination.is_ipv4()
    }

    #[inline(always)]
    const fn between([source, destination]: [WideAddress; 2], vpc: u16, protocol: u8) -> Self {
        let protocol = if protocol == UDP { UDP } else { TCP };
        Self { source, destination, source_port: 0, destination_port: 0, vpc, protocol, padding: 0 }
    }

    #[inline(always)]
    const fn with_ports(self, ports: u32) -> Self {
        Self { source_port: ports as u16, destination_port: (ports >> 16) as u16, ..self }
    }

    #[inline(always)]
    fn of_ipv4(tables: &impl Tables, head: &impl Packet, offset: usize, vpc: u16) -> Option<Self> {
        let ip = head.window::<{ ipv4::HEADER }>(offset)?;
        let (source, destination, protocol) = (ip.u32::<12>(), ip.u32::<16>(), ip.u8::<9>());
        let addresses = [WideAddress::of_ipv4(source), WideAddress::of_ipv4(destination)];
        let asked = Self::between(addresses, vpc, protocol);
        if ip.u8::<0>() != ipv4::VERSION_IHL {
            return Some(asked);
        }
        if !fragment::is_later(ip.u16::<6>()) {
            return Some(asked.carrying(head, offset + ipv4::HEADER, Family::V4, protocol));
        }
        let key = FragmentKey::new(vpc, ipv4::Addresses { source, destination }, ip.u16::<4>());
        let wide = FragmentKey::wide(vpc, [source, destination], key.identification);
        let tracked = tables.tracked(&key).or_else(|| tables.tracked(&wide));
        Some(asked.of_datagram(protocol, tracked))
    }

    #[inline(always)]
    fn of_ipv6(tables: &impl Tables, head: &impl Packet, offset: usize, vpc: u16) -> Option<Self> {
        let header = head.window::<IPV6_HEADER>(offset)?;
        let addresses = ip::addresses(&header);
        let start = offset + IPV6_HEADER;
        let Ok((next, length)) = extension::walk(head, header.u8::<6>(), start) else {
            return Some(Self::between(addresses, vpc, TCP));
        };
        let at = start + length;
        if next != FRAGMENT {
            return Some(Self::between(addresses, vpc, next).carrying(head, at, Family::V6, next));
        }
        let fragment = head.window::<{ fragment::HEADER }>(at)?;
        let next = fragment.u8::<0>();
        let asked = Self::between(addresses, vpc, next);
        if u16::from_be(fragment.u16::<2>()) & PART & !1 == 0 {
            return Some(asked.carrying(head, at + fragment::HEADER, Family::V6, next));
        }
        let seeds = &tables.settings()?.seeds;
        let names = addresses.map(|address| address.name(seeds));
        let key = FragmentKey::wide(vpc, names, fragment.u32::<4>());
        Some(asked.of_datagram(next, tables.tracked(&key)))
    }

    /// Of a later fragment, whose datagram's first one has left this.
    #[inline(always)]
    fn of_datagram(self, protocol: u8, tracked: Option<Tracked>) -> Self {
        match tracked {
            Some(tracked) if protocol == UDP => self.with_ports(tracked.ports()),
            _ => self,
        }
    }

    /// Of a packet that carries this protocol, which begins at `at`.
    #[inline(always)]
    fn carrying(self, head: &impl Packet, at: usize, family: Family, protocol: u8) -> Self {
        match (family, protocol) {
            (_, TCP | UDP) => {
                let ports = head.window::<4>(at);
                ports.map_or(self, |ports| self.with_ports(ports.u32::<0>()))
            }
            (Family::V4, ICMP) | (Family::V6, ICMPV6) => {
                self.quoted(head, at, family).unwrap_or(self)
            }
            _ => self,
        }
    }

    /// The direction that answers what the ICMP error at `at` quotes.
    #[inline(always)]
    fn quoted(self, head: &impl Packet, at: usize, family: Family) -> Option<Self> {
        let kind = head.window::<1>(at)?.u8::<0>();
        if !IcmpError::is_kind(family, kind) {
            return None;
        }
        let at = at + icmp::HEADER;
        let (ip, fragment) = Ip::quoted(head, at, family).ok()?;
        let ports = head.window::<4>(ip.payload() + fragment)?.u32::<0>();
        let answers = Self::between([ip.destination, ip.source], self.vpc, ip.protocol);
        Some(answers.with_ports(ports.rotate_left(16)))
    }
}

#[cfg(all(test, feature = "std"))]
mod tests {
    use super::*;
    use crate::host::MemoryTables;
    use crate::memory::Frame;

    const CLIENT: [u8; 2] = 40_000_u16.to_be_bytes();
    const ENDPOINT: [u8; 2] = 53_u16.to_be_bytes();

    fn header(next: u8, length: usize, [source, destination]: [u8; 2]) -> Vec<u8> {
        let mut header = [&[0x60, 0, 0, 0, 0, length as u8, next, 64][..], &[0; 32]].concat();
        (header[23], header[39]) = (source, destination);
        header
    }

    /// An error from host 2 to host 1 that quotes what begins a datagram of host 1 to host 2.
    fn error_about(next: u8, between: &[u8]) -> Frame {
        let datagram = [&CLIENT[..], &ENDPOINT, &[0; 4]].concat();
        let quoted = [&header(next, between.len() + 8, [1, 2]), between, &datagram].concat();
        let message = [&[1, 4, 0, 0, 0, 0, 0, 0][..], &quoted].concat();
        let packet = [header(ICMPV6, message.len(), [2, 1]), message].concat();
        Frame::new(&[&[0; 12][..], &0x86dd_u16.to_be_bytes(), &packet].concat())
    }

    #[test]
    fn an_error_is_of_the_flow_whose_packet_it_quotes() {
        let tables = MemoryTables::default();
        let about = |next, between: &[u8]| {
            Asked::of(&tables, &error_about(next, between), 7).expect("it is one")
        };
        let asked = about(UDP, &[]);
        assert_eq!((asked.source.bytes()[15], asked.destination.bytes()[15]), (2, 1));
        let ports = [asked.source_port, asked.destination_port].map(u16::to_ne_bytes);
        assert_eq!((ports, asked.protocol, asked.vpc), ([ENDPOINT, CLIENT], UDP, 7));
        // A first fragment, of which more follow; and a later one, which has no ports.
        assert_eq!(about(FRAGMENT, &[UDP, 0, 0, 1, 0, 0, 0, 9]), asked);
        let later = about(FRAGMENT, &[UDP, 0, 0, 9, 0, 0, 0, 9]);
        assert_eq!((later.source_port, later.destination_port), (0, 0));
    }
}
