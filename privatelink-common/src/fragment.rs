//! Fragments of UDP datagrams (RFC 791, section 3.2), and what the first one leaves for the others.

use crate::drop_reason::DropReason;
use crate::flow_table::Entry;
use crate::ipv4::{self, Addresses, Header, UDP};
use crate::memory::Packet;
use crate::records::Settings;
use crate::ticks::Tick;

/// Flag: more fragments follow.
const MORE: u16 = 0x2000;
/// Where a fragment belongs, in units of eight bytes.
const OFFSET: u16 = 0x1fff;
/// Those units.
pub const UNIT: u16 = 8;
/// Most bytes behind the header of an IPv4 packet.
pub const LARGEST: u16 = u16::MAX - ipv4::HEADER as u16;
/// Seconds after its first fragment that a datagram's others may come.
const SECONDS: u32 = 2;

/// Bytes of the fragment header of IPv6.
pub const HEADER: usize = 8;
/// Offset, bytes, and "more" of the word that a fragment header of IPv6 has for them, host order.
pub const PART: u16 = 0xfff9;

/// What this word of an IPv4 header (network order) says, as IPv6 says it ([`PART`], host order).
#[inline(always)]
pub const fn part(word: u16) -> u16 {
    let word = u16::from_be(word);
    (word & OFFSET) << 3 | (word & MORE != 0) as u16
}

/// The word of an IPv4 header (network order) that says this ([`PART`], host order).
#[inline(always)]
pub const fn of_part(part: u16) -> u16 {
    (part >> 3 | (part & 1) << 13).to_be()
}

/// Whether this word of an IPv4 header (network order) is that of a fragment behind the first.
#[inline(always)]
pub const fn is_later(word: u16) -> bool {
    word & OFFSET.to_be() != 0
}

/// A fragment whose IPv4 header is well-formed.
#[derive(Clone, Copy, Debug)]
pub struct Fragment {
    /// Offset of the IPv4 header in the frame.
    pub offset: usize,
    /// Source and destination.
    pub addresses: Addresses,
    /// Length of the IP packet in bytes, host order.
    pub total_length: u16,
    /// What all fragments of a datagram have in common, network order.
    pub identification: u16,
    /// Time to live, above 1.
    pub ttl: u8,
    /// Whether it begins with the UDP header.
    pub is_first: bool,
}

impl Fragment {
    /// Reads and checks the fragment at `offset`; the reason why it is none of UDP otherwise.
    #[inline(always)]
    pub fn parse(packet: &impl Packet, offset: usize) -> Result<Self, DropReason> {
        let (ip, total_length) = ipv4::well_formed(packet, offset)?;
        if ip.u8::<9>() != UDP {
            return Err(DropReason::Fragment);
        }
        let word = u16::from_be(ip.u16::<6>());
        let length = total_length - ipv4::HEADER as u16;
        let has_gap = word & MORE != 0 && !length.is_multiple_of(UNIT);
        let end = u32::from(word & OFFSET) * u32::from(UNIT) + u32::from(length);
        if length == 0 || has_gap || end > u32::from(LARGEST) {
            return Err(DropReason::Ipv4Header);
        }
        let ttl = ip.u8::<8>();
        if ttl <= 1 {
            return Err(DropReason::TtlExpired);
        }
        Ok(Self {
            offset,
            addresses: Addresses { source: ip.u32::<12>(), destination: ip.u32::<16>() },
            total_length,
            identification: ip.u16::<4>(),
            ttl,
            is_first: !is_later(ip.u16::<6>()),
        })
    }

    /// The header it would have, had it the ports.
    #[inline(always)]
    pub const fn header(&self, ports: u32) -> Header {
        Header {
            offset: self.offset,
            addresses: self.addresses,
            source_port: ports as u16,
            destination_port: (ports >> 16) as u16,
            total_length: self.total_length,
            ttl: self.ttl,
            protocol: UDP,
        }
    }
}

/// Key of a datagram that arrives in fragments, map `FRAGMENTS`: what they have in common, and the vpc. With those to addresses
/// of the wide flow table the addresses stand by their names.
#[repr(C, align(8))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FragmentKey {
    /// Source, network order.
    pub source: u32,
    /// Destination, network order.
    pub destination: u32,
    /// Identification, as it stands in the header: 16 bits of IPv4, 32 of IPv6.
    pub identification: u32,
    /// Number of the vpc.
    pub vpc: u16,
    /// IP protocol number, with [`Self::WIDE`] where the flow is in the wide table.
    pub protocol: u16,
}

impl FragmentKey {
    /// Bit of [`Self::protocol`].
    pub const WIDE: u16 = 1 << 8;

    /// The key of the UDP datagram that has this identification (network order) in `vpc`.
    #[inline(always)]
    pub const fn new(vpc: u16, addresses: Addresses, identification: u16) -> Self {
        let Addresses { source, destination } = addresses;
        let identification = identification as u32;
        Self { source, destination, identification, vpc, protocol: UDP as u16 }
    }

    /// The same between two names of the wide flow table.
    #[inline(always)]
    pub const fn wide(vpc: u16, [source, destination]: [u32; 2], identification: u32) -> Self {
        Self { source, destination, identification, vpc, protocol: UDP as u16 | Self::WIDE }
    }
}

/// What a datagram's first fragment leaves for the others, map `FRAGMENTS`: which half carries it, and as what; then the
/// ports it goes between, and the moment.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tracked(pub [u64; 2]);

impl Tracked {
    const IDENTIFICATION: u32 = 48;

    /// Carried by a half since `at`, with an identification and ports as they stand side by side in the header.
    #[inline(always)]
    pub const fn new(entry: Entry, identification: u16, ports: u32, at: Tick) -> Self {
        let carried = entry.0 | (identification as u64) << Self::IDENTIFICATION;
        Self([carried, ports as u64 | (at.0 as u64) << 32])
    }

    /// The half.
    #[inline(always)]
    pub const fn entry(self) -> Entry {
        Entry(self.0[0] & ((1 << Self::IDENTIFICATION) - 1))
    }

    /// The identification that the datagram leaves with, network order.
    #[inline(always)]
    pub const fn identification(self) -> u16 {
        (self.0[0] >> Self::IDENTIFICATION) as u16
    }

    /// The ports of the datagram as it arrives, as they stand side by side in the header.
    #[inline(always)]
    pub const fn ports(self) -> u32 {
        self.0[1] as u32
    }

    /// Whether others may still come. One that another CPU took for the first just after `now` is fresh.
    #[inline(always)]
    pub const fn is_fresh(self, now: Tick, settings: &Settings) -> bool {
        let age = now.0.wrapping_sub((self.0[1] >> 32) as u32);
        age <= SECONDS * settings.second || age > u32::MAX / 2
    }
}

const _: () = assert!(size_of::<FragmentKey>() == 16 && size_of::<Tracked>() == 16);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow_table::half::Direction;

    #[test]
    fn both_families_say_where_a_fragment_belongs() {
        for (word, six) in [(0, 0), (MORE, 1), (185, 1480), (MORE | 185, 1481), (OFFSET, 0xfff8)] {
            assert_eq!(part(word.to_be()), six);
            assert_eq!(of_part(six), word.to_be());
            assert_eq!(six & !PART, 0);
        }
        assert_eq!(part(0x4000_u16.to_be()), 0, "that it may not be fragmented says nothing here");
    }

    #[test]
    fn what_is_tracked_keeps_its_parts() {
        for direction in [Direction::Forward, Direction::Reverse] {
            let entry = Entry::new((1 << 25) - 1, direction);
            let tracked = Tracked::new(entry, 0xbeef, 0x1234_5678, Tick(u32::MAX));
            assert_eq!((tracked.entry(), tracked.identification()), (entry, 0xbeef));
            assert_eq!(tracked.ports(), 0x1234_5678);
        }
    }

    #[test]
    fn fresh_for_two_seconds() {
        let settings = Settings { second: 16, ..Settings::default() };
        for at in [0, 77, u32::MAX - 20] {
            let tracked = Tracked::new(Entry::NONE, 0, 0, Tick(at));
            for (later, fresh) in [(0, true), (32, true), (33, false), (1 << 20, false)] {
                let now = Tick(at.wrapping_add(later));
                assert_eq!(tracked.is_fresh(now, &settings), fresh, "{later} after {at}");
            }
            assert!(tracked.is_fresh(Tick(at.wrapping_sub(1)), &settings), "another CPU's");
        }
    }
}
