//! What ICMP errors say, and how that is said in the other family: the tables of RFC 7915, sections 4.2 and 5.2.

use crate::icmp;
use crate::icmpv6;
use crate::ip::{Family, IPV6_HEADER, LEAST_MTU};
use crate::ipv4;

/// How much longer a packet is with a header of IPv6, bytes.
const LONGER: u32 = (IPV6_HEADER - ipv4::HEADER) as u32;
/// Offset of "next header" in an IPv6 header.
const NEXT_HEADER: u32 = 6;
/// Sizes of packets that links are likely to carry (RFC 1191, section 7.1), for routers that tell none; only those that IPv6
/// may be told.
const PLATEAUS: [u32; 6] = [32_000, 17_914, 8166, 4352, 2002, 1492];

/// What an error says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IcmpError {
    /// Type.
    pub kind: u8,
    /// Code.
    pub code: u8,
    /// What follows the checksum, host order: an MTU, a pointer, or nothing.
    pub word: u32,
}

/// What there is to know of the packet that an error is about.
#[derive(Clone, Copy, Debug)]
pub struct About {
    /// Its length, bytes, host order.
    pub length: u16,
    /// Bytes of its fragment header, of IPv6, which one of IPv4 is shorter by.
    pub fragment: u16,
    /// Largest packet, of the family that the error is said in, that gets past us on its way, bytes.
    pub mtu: u32,
}

impl IcmpError {
    /// Whether a message of this type is an error that can be passed on.
    #[inline(always)]
    pub const fn is_kind(family: Family, kind: u8) -> bool {
        match family {
            Family::V4 => {
                matches!(kind, icmp::UNREACHABLE | icmp::TIME_EXCEEDED | icmp::PARAMETER_PROBLEM)
            }
            Family::V6 => {
                matches!(kind, icmpv6::UNREACHABLE..=icmpv6::PARAMETER_PROBLEM)
            }
        }
    }

    /// The same in another family, if that has words for it.
    #[inline(always)]
    pub fn said_in(self, from: Family, to: Family, about: About) -> Option<Self> {
        match (from, to) {
            (Family::V4, Family::V6) => self.to_v6(about),
            (Family::V6, Family::V4) => self.to_v4(about),
            _ => Some(self),
        }
    }

    /// RFC 7915, section 4.2.
    #[inline(always)]
    fn to_v6(self, about: About) -> Option<Self> {
        let (kind, code, word) = match (self.kind, self.code) {
            (icmp::UNREACHABLE, 0 | 1 | 5..=8 | 11 | 12) => (icmpv6::UNREACHABLE, 0, 0),
            (icmp::UNREACHABLE, 2) => (icmpv6::PARAMETER_PROBLEM, 1, NEXT_HEADER),
            (icmp::UNREACHABLE, 3) => (icmpv6::UNREACHABLE, 4, 0),
            (icmp::UNREACHABLE, icmp::FRAGMENTATION_NEEDED) => {
                let told = match self.word & 0xffff {
                    0 => plateau(about.length),
                    mtu => mtu,
                };
                (icmpv6::PACKET_TOO_BIG, 0, (told + LONGER).min(about.mtu).max(LEAST_MTU))
            }
            (icmp::UNREACHABLE, 9 | 10 | icmp::PROHIBITED | 15) => {
                (icmpv6::UNREACHABLE, icmpv6::PROHIBITED, 0)
            }
            (icmp::TIME_EXCEEDED, code) => (icmpv6::TIME_EXCEEDED, code, 0),
            (icmp::PARAMETER_PROBLEM, 0 | 2) => {
                let pointer = match self.word >> 24 {
                    at @ (0 | 1) => at,
                    2 | 3 => 4,
                    8 => 7,
                    9 => 6,
                    12..=15 => 8,
                    16..=19 => 24,
                    _ => return None,
                };
                (icmpv6::PARAMETER_PROBLEM, 0, pointer)
            }
            _ => return None,
        };
        Some(Self { kind, code, word })
    }

    /// RFC 7915, section 5.2.
    #[inline(always)]
    fn to_v4(self, about: About) -> Option<Self> {
        let (kind, code, word) = match (self.kind, self.code) {
            (icmpv6::UNREACHABLE, 0 | 2 | 3) => (icmp::UNREACHABLE, 1, 0),
            (icmpv6::UNREACHABLE, icmpv6::PROHIBITED) => (icmp::UNREACHABLE, 10, 0),
            (icmpv6::UNREACHABLE, 4) => (icmp::UNREACHABLE, 3, 0),
            (icmpv6::PACKET_TOO_BIG, _) => {
                let mtu = self.word.saturating_sub(LONGER).min(about.mtu);
                let mtu = mtu.saturating_sub(u32::from(about.fragment)).min(0xffff);
                (icmp::UNREACHABLE, icmp::FRAGMENTATION_NEEDED, mtu)
            }
            (icmpv6::TIME_EXCEEDED, code) => (icmp::TIME_EXCEEDED, code, 0),
            (icmpv6::PARAMETER_PROBLEM, 0) => {
                let pointer = match self.word {
                    at @ (0 | 1) => at,
                    4 | 5 => 2,
                    6 => 9,
                    7 => 8,
                    8..=23 => 12,
                    24..=39 => 16,
                    _ => return None,
                };
                (icmp::PARAMETER_PROBLEM, 0, pointer << 24)
            }
            (icmpv6::PARAMETER_PROBLEM, 1) => (icmp::UNREACHABLE, 2, 0),
            _ => return None,
        };
        Some(Self { kind, code, word })
    }
}

/// The likely MTU of a way that a packet of this length was too big for.
#[inline(always)]
fn plateau(length: u16) -> u32 {
    PLATEAUS.into_iter().find(|&plateau| plateau < u32::from(length)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(from: Family, kind: u8, code: u8, word: u32) -> Option<(u8, u8, u32)> {
        let to = if from == Family::V4 { Family::V6 } else { Family::V4 };
        let about = About { length: 1500, fragment: 0, mtu: 1500 };
        let error = IcmpError { kind, code, word }.said_in(from, to, about)?;
        Some((error.kind, error.code, error.word))
    }

    #[test]
    fn from_ipv4_as_the_rfc_has_it() {
        for (code, expected) in [
            (0, Some((1, 0, 0))),
            (1, Some((1, 0, 0))),
            (2, Some((4, 1, 6))),
            (3, Some((1, 4, 0))),
            (5, Some((1, 0, 0))),
            (6, Some((1, 0, 0))),
            (7, Some((1, 0, 0))),
            (8, Some((1, 0, 0))),
            (9, Some((1, 1, 0))),
            (10, Some((1, 1, 0))),
            (11, Some((1, 0, 0))),
            (12, Some((1, 0, 0))),
            (13, Some((1, 1, 0))),
            (14, None),
            (15, Some((1, 1, 0))),
            (16, None),
        ] {
            assert_eq!(said(Family::V4, 3, code, 0), expected, "unreachable, code {code}");
        }
        assert_eq!(said(Family::V4, 11, 0, 0), Some((3, 0, 0)));
        assert_eq!(said(Family::V4, 11, 1, 0), Some((3, 1, 0)));
        for kind in [0, 4, 5, 8, 10, 13, 17, 40] {
            assert_eq!(said(Family::V4, kind, 0, 0), None, "type {kind}");
        }
        let pointers = [
            (0..=0, Some(0)),
            (1..=1, Some(1)),
            (2..=3, Some(4)),
            (4..=7, None),
            (8..=8, Some(7)),
            (9..=9, Some(6)),
            (10..=11, None),
            (12..=15, Some(8)),
            (16..=19, Some(24)),
            (20..=255, None),
        ];
        for (range, expected) in pointers {
            for pointer in range {
                let expected = expected.map(|pointer| (4, 0, pointer));
                assert_eq!(said(Family::V4, 12, 0, pointer << 24), expected, "pointer {pointer}");
                assert_eq!(said(Family::V4, 12, 2, pointer << 24), expected, "length {pointer}");
            }
        }
        assert_eq!(said(Family::V4, 12, 1, 0), None, "a missing option");
    }

    #[test]
    fn from_ipv6_as_the_rfc_has_it() {
        for (code, expected) in [
            (0, Some((3, 1, 0))),
            (1, Some((3, 10, 0))),
            (2, Some((3, 1, 0))),
            (3, Some((3, 1, 0))),
            (4, Some((3, 3, 0))),
            (5, None),
        ] {
            assert_eq!(said(Family::V6, 1, code, 0), expected, "unreachable, code {code}");
        }
        assert_eq!(said(Family::V6, 3, 0, 0), Some((11, 0, 0)));
        assert_eq!(said(Family::V6, 3, 1, 0), Some((11, 1, 0)));
        let pointers = [
            (0..=0, Some(0)),
            (1..=1, Some(1)),
            (2..=3, None),
            (4..=5, Some(2)),
            (6..=6, Some(9)),
            (7..=7, Some(8)),
            (8..=23, Some(12)),
            (24..=39, Some(16)),
            (40..=400, None),
        ];
        for (range, expected) in pointers {
            for pointer in range {
                let expected = expected.map(|pointer: u32| (12, 0, pointer << 24));
                assert_eq!(said(Family::V6, 4, 0, pointer), expected, "pointer {pointer}");
            }
        }
        assert_eq!(said(Family::V6, 4, 1, 6), Some((3, 2, 0)));
        assert_eq!(said(Family::V6, 4, 2, 6), None, "an option");
        for kind in [100, 128, 129, 135, 255] {
            assert_eq!(said(Family::V6, kind, 0, 0), None, "type {kind}");
        }
    }

    #[test]
    fn mtus_differ_by_a_header() {
        let four = |word| said(Family::V4, 3, 4, word);
        assert_eq!(four(1400), Some((2, 0, 1420)));
        assert_eq!(four(1260), Some((2, 0, 1280)));
        assert_eq!(four(576), Some((2, 0, 1280)), "no less than every link of IPv6 carries");
        assert_eq!(four(1490), Some((2, 0, 1500)), "no more than we do");
        assert_eq!(four(0), Some((2, 0, 1500)), "the plateau below 1500 is 1492");
        let six = |word| said(Family::V6, 2, 0, word);
        assert_eq!(six(1400), Some((3, 4, 1380)));
        assert_eq!(six(1280), Some((3, 4, 1260)));
        assert_eq!(six(9000), Some((3, 4, 1500)));
        assert_eq!(six(u32::MAX), Some((3, 4, 1500)));
        assert_eq!([1493, 1492, 2003].map(plateau), [1492, 0, 2002]);
    }
}
