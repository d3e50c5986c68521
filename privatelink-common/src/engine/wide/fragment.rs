//! Fragments of UDP datagrams of wide flows, of either family into either; otherwise as in the narrow table, with the same map
//! ([`super::super::fragment`]). One that an IPv4 sender let grow up to the MTU does not fit as one of IPv6, and is not cut into
//! two: the sender is told.

use super::super::route::{Route, learn_client};
use super::super::{Ingress, Now, Refusal, Verdict, fragment, known, udp, unreachable};
use super::{Arrived, Known, fits};
use crate::checksum::{self, Change, Delta};
use crate::drop_reason::DropReason;
use crate::ethernet::{self, Ethernet};
use crate::extension::FRAGMENT;
use crate::fragment::{self as fragments, FragmentKey, HEADER, LARGEST, PART, UNIT};
use crate::hash::Seeds;
use crate::ip::{self, Family, Ip};
use crate::ipv4::{self, UDP};
use crate::memory::{Packet, Volume};
use crate::records::FlowKey;
use crate::stages::Stage;
use crate::tables::WideTables;
use crate::tcp;
use crate::udp::HEADER as UDP_HEADER;
use crate::wide::Ends;

/// A well-formed fragment of a datagram.
pub(super) struct Piece {
    /// Its header, which carries the bytes behind a fragment header.
    ip: Ip,
    /// What all fragments of the datagram have in common, as it stands.
    identification: u32,
    /// Where it belongs, bytes, and in the lowest bit whether more follow: as IPv6 has it, host order.
    part: u16,
}

impl Piece {
    /// Reads and checks the packet behind an Ethernet header; the reason why it is none otherwise.
    #[inline(always)]
    pub(super) fn parse(packet: &impl Packet, ethernet: &Ethernet) -> Result<Self, DropReason> {
        let offset = packet.standing(ethernet.tags).header();
        let piece = if ethernet.ether_type == ethernet::IPV6 {
            let ip = Ip::parse(packet, offset, ethernet::IPV6)?;
            let header = packet.window::<HEADER>(ip.payload()).ok_or(DropReason::Truncated)?;
            if ip.protocol != FRAGMENT || usize::from(ip.length) <= HEADER {
                return Err(DropReason::Ipv6Extension);
            }
            let part = u16::from_be(header.u16::<2>()) & PART;
            let identification = header.u32::<4>();
            let (protocol, length) = (header.u8::<0>(), ip.length - HEADER as u16);
            Self { ip: Ip { protocol, length, ..ip }, identification, part }
        } else {
            let ip = Ip::of_fragment(packet, offset)?;
            let header = packet.window::<{ ipv4::HEADER }>(offset).ok_or(DropReason::Truncated)?;
            let identification = u32::from(header.u16::<4>());
            Self { ip, identification, part: fragments::part(header.u16::<6>()) }
        };
        let Ip { protocol, length, ttl, .. } = piece.ip;
        if protocol != UDP {
            return Err(DropReason::Fragment);
        }
        let end = u32::from(piece.part & !1) + u32::from(length);
        let has_gap = piece.part & 1 != 0 && !length.is_multiple_of(UNIT);
        if length == 0 || has_gap || end > u32::from(LARGEST) {
            return Err(DropReason::Fragment);
        }
        if ttl <= 1 {
            return Err(DropReason::TtlExpired);
        }
        Ok(piece)
    }

    /// Whether it begins with the UDP header.
    #[inline(always)]
    const fn is_first(&self) -> bool {
        self.part & !1 == 0
    }

    /// Offset of what it has of the datagram.
    #[inline(always)]
    const fn payload(&self) -> usize {
        self.ip.offset + headers(self.ip.family)
    }

    /// The datagram that it is the first fragment of.
    #[inline(always)]
    pub(super) fn first(&self, packet: &impl Packet) -> Result<Arrived, DropReason> {
        if !self.is_first() {
            return Err(DropReason::FragmentUnknown);
        }
        let udp = packet.window::<UDP_HEADER>(self.payload()).ok_or(DropReason::Truncated)?;
        let length = u16::from_be(udp.u16::<4>());
        if usize::from(self.ip.length) < UDP_HEADER || !(self.ip.length..=LARGEST).contains(&length)
        {
            return Err(DropReason::UdpLength);
        }
        if udp.u16::<6>() == 0 && self.ip.family == Family::V6 {
            return Err(DropReason::UdpChecksum);
        }
        Ok(Arrived { ip: self.ip, ports: udp.u32::<0>(), segment: tcp::Header::NONE })
    }

    /// The key of its datagram when it arrives from `vpc`.
    #[inline(always)]
    fn key(&self, vpc: u16, seeds: &Seeds) -> FragmentKey {
        let Ip { source, destination, .. } = self.ip;
        FragmentKey::wide(vpc, [source.name(seeds), destination.name(seeds)], self.identification)
    }
}

/// Carries what belongs to a flow, and has a first fragment without one open it. All of them are addressed to us.
#[inline(always)]
pub(in super::super) fn step(
    packet: &mut impl Packet,
    tables: &impl WideTables,
    ingress: Ingress<'_>,
) -> Result<Verdict, DropReason> {
    let Some(settings) = tables.settings() else {
        return Ok(Verdict::Pass);
    };
    let now = Now { tick: tables.now(), settings };
    let ethernet = Ethernet::parse(packet)?;
    let piece = Piece::parse(packet, &ethernet)?;
    let key = piece.key(ingress.interface.vpc, &settings.seeds);
    let tracked = tables.tracked(&key).filter(|tracked| tracked.is_fresh(now.tick, settings));
    let ports = match tracked {
        _ if piece.is_first() => piece.first(packet)?.ports,
        Some(tracked) => tracked.ports(),
        None => return Err(DropReason::FragmentUnknown),
    };
    let flow = FlowKey {
        source: key.source,
        destination: key.destination,
        source_port: ports as u16,
        destination_port: (ports >> 16) as u16,
        vpc: key.vpc,
        protocol: UDP,
    };
    if let Some(found) = tables.find(flow.words())
        && let Some(known) = Known::of(found, &piece.ip, packet, tables)
        && known::is_live(tables, now, &known.found, false)
    {
        let outcome = forward(packet, tables, now, ingress, &ethernet, &piece, &key, &known);
        let outcome = known::counted(tables, &known.found, outcome);
        return outcome.or_else(|refusal| match piece.is_first() {
            true => unreachable::refuse(tables, refusal),
            // No error is about a later fragment (RFC 1122, section 3.2.2).
            false => Err(refusal.parts().0),
        });
    }
    match piece.is_first() {
        true => Ok(Verdict::Next(Stage::WideNew)),
        false => Err(DropReason::FragmentUnknown),
    }
}

#[inline(always)]
#[expect(clippy::too_many_arguments, reason = "the key stays where it is on the stack")]
fn forward(
    packet: &mut impl Packet,
    tables: &impl WideTables,
    now: Now<'_>,
    ingress: Ingress<'_>,
    ethernet: &Ethernet,
    piece: &Piece,
    key: &FragmentKey,
    &Known { ref found, ends }: &Known<'_>,
) -> Result<Verdict, Refusal> {
    let (half, ip) = (found.half, &piece.ip);
    learn_client(tables, found, ethernet, ingress, false);
    let route = Route::of(tables, found)?;
    if packet.is_left(route.egress) {
        if piece.is_first() {
            fragment::track(tables, now, key, found);
        }
        return Ok(Verdict::Pass);
    }
    let family = ends.leaves_as();
    fits(ip.length, ip.family, &route, family, HEADER as u32)?;
    let identification = if piece.is_first() {
        rewrite(packet, piece, family, ends, half.new_ports())?;
        fragment::track(tables, now, key, found)
    } else {
        let tracked = tables.tracked(key).ok_or(DropReason::FragmentUnknown)?;
        tracked.identification()
    };
    let rest = ip.rest(packet, ip.ttl - 1)?;
    let Route { slot, hop, tags, egress } = route;
    let offset = packet.standing(tags).header();
    let shift = piece.payload() as i32 - (offset + headers(family)) as i32;
    if !packet.reframe((ethernet.tags, ip.family), (tags, family), shift) {
        return Err(DropReason::NoHeadroom.into());
    }
    ethernet::write_header(packet, offset, hop.mac(), egress.mac, tags, family.ether_type())?;
    let (protocol, length) = match family {
        Family::V4 => (UDP, ip.length),
        Family::V6 => (FRAGMENT, ip.length + HEADER as u16),
    };
    let header = Ip { protocol, length, ..*ip };
    header.write(packet, offset, rest, family, ends.leaving(), identification)?;
    write(packet, offset, family, piece, identification)?;
    let bytes = u64::from(headers(ip.family) as u16 + ip.length);
    half.count(Volume { packets: 1, bytes }, now.tick.stamp(), packet.is_concurrent());
    udp::replied(tables, found);
    Ok(Verdict::Redirect(slot))
}

/// Bytes of the headers before a piece of a datagram.
#[inline(always)]
const fn headers(family: Family) -> usize {
    match family {
        Family::V4 => family.header(),
        Family::V6 => family.header() + HEADER,
    }
}

/// Writes ports and checksum of a first fragment.
#[inline(always)]
fn rewrite(
    packet: &impl Packet,
    piece: &Piece,
    family: Family,
    ends: &Ends,
    ports: u32,
) -> Result<(), DropReason> {
    let udp = packet.window::<UDP_HEADER>(piece.payload()).ok_or(DropReason::Truncated)?;
    // IPv6 demands one, and it would cover what is not here (RFC 7915, section 4.5).
    if udp.u16::<6>() == 0 && family == Family::V6 {
        return Err(DropReason::UdpChecksum);
    }
    let addresses = ip::delta(ends.arriving(), ends.leaving());
    let own = Delta::default().replace32(udp.u32::<0>(), ports);
    udp.set_u32::<0>(ports);
    packet.mend_datagram(udp, piece.payload(), Change { addresses, own });
    Ok(())
}

/// Writes what makes a fragment of the packet whose header is at `offset`.
#[inline(always)]
fn write(
    packet: &impl Packet,
    offset: usize,
    family: Family,
    piece: &Piece,
    identification: u16,
) -> Result<(), DropReason> {
    if family == Family::V6 {
        let at = offset + family.header();
        let header = packet.window::<HEADER>(at).ok_or(DropReason::Truncated)?;
        header.set_u16::<0>(u16::from_ne_bytes([UDP, 0]));
        header.set_u16::<2>(piece.part.to_be());
        header.set_u16::<4>(0);
        header.set_u16::<6>(identification);
        return Ok(());
    }
    let ip = packet.window::<{ ipv4::HEADER }>(offset).ok_or(DropReason::Truncated)?;
    let before = ip.u32::<4>();
    // What came as IPv4 keeps its flags.
    let flags = match piece.ip.family {
        Family::V4 => (before >> 16) as u16,
        Family::V6 => fragments::of_part(piece.part),
    };
    let word = u32::from(identification) | u32::from(flags) << 16;
    let delta = Delta::default().replace32(before, word).fold();
    ip.set_u32::<4>(word);
    ip.set_u16::<10>(checksum::apply(ip.u16::<10>(), delta));
    Ok(())
}
