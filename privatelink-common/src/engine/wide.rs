//! Packets of flows in the wide table: with IPv6 on either side, or opened where that may be. Each step is a program of its
//! own, so that each has the stack and the verifier's budget for itself: this one carries what belongs to a flow.

mod extension;
pub(super) mod fragment;
mod icmp;
pub(super) mod new;
pub(super) mod other;
mod reset;

use super::route::{Route, learn_client};
use super::{Ingress, Now, Refusal, Verdict, known, mss, track, unreachable};
use crate::checksum::{self, Change, Delta};
use crate::drop_reason::DropReason;
use crate::ethernet::{self, Ethernet};
use crate::flow_table::Found;
use crate::flow_table::half::Direction;
use crate::flow_table::note::Told;
use crate::hash::Seeds;
use crate::ip::{self, Family, Ip};
use crate::ipv4::{MAX_VERIFIED, TCP, UDP};
use crate::memory::Packet;
use crate::records::FlowKey;
use crate::stages::Stage;
use crate::tables::{Tables, WideTables};
use crate::tcp::{self, SYN};
use crate::udp;
use crate::wide::Ends;

/// A well-formed segment or datagram in a packet of either family.
///
/// No enum: where an arm lacks words of another, LLVM reads them ahead all the same, and the verifier refuses the program.
pub(super) struct Arrived {
    ip: Ip,
    /// Its ports, as they stand side by side.
    ports: u32,
    /// Of a segment.
    segment: tcp::Header,
}

impl Arrived {
    /// Reads and checks the packet behind an Ethernet header; the reason why it is none of both otherwise.
    #[inline(always)]
    pub(super) fn parse(packet: &impl Packet, ethernet: &Ethernet) -> Result<Self, DropReason> {
        let ip = Ip::parse(packet, packet.standing(ethernet.tags).header(), ethernet.ether_type)?;
        let (ports, segment) = match ip.protocol {
            TCP => {
                if usize::from(ip.length) < tcp::HEADER {
                    return Err(DropReason::Truncated);
                }
                let tcp =
                    packet.window::<{ tcp::HEADER }>(ip.payload()).ok_or(DropReason::Truncated)?;
                (tcp.u32::<0>(), tcp::Header::read(&tcp, ip.length)?)
            }
            UDP => {
                if usize::from(ip.length) < udp::HEADER {
                    return Err(DropReason::Truncated);
                }
                let udp =
                    packet.window::<{ udp::HEADER }>(ip.payload()).ok_or(DropReason::Truncated)?;
                // Bytes behind the datagram would be within it for a receiver of the other family.
                if udp.u16::<4>() != ip.length.to_be() {
                    return Err(DropReason::UdpLength);
                }
                // RFC 8200, section 8.1: IPv6 has no header checksum to do without this one.
                if udp.u16::<6>() == 0 && ip.family == Family::V6 {
                    return Err(DropReason::UdpChecksum);
                }
                (udp.u32::<0>(), tcp::Header::NONE)
            }
            _ => return Err(DropReason::Protocol),
        };
        if ip.ttl <= 1 {
            return Err(DropReason::TtlExpired);
        }
        Ok(Self { ip, ports, segment })
    }

    /// The key of its direction when it arrives from `vpc`, with the addresses' names for addresses.
    #[inline(always)]
    fn key(&self, vpc: u16, seeds: &Seeds) -> FlowKey {
        let [source_port, destination_port] = self.port_pair();
        let Ip { source, destination, .. } = self.ip;
        let [source, destination] = match self.ip.family {
            Family::V4 => [source.last(), destination.last()],
            Family::V6 => [source.hashed(seeds), destination.hashed(seeds)],
        };
        FlowKey {
            source,
            destination,
            source_port,
            destination_port,
            vpc,
            protocol: self.ip.protocol,
        }
    }

    /// Source and destination port, network order.
    #[inline(always)]
    const fn port_pair(&self) -> [u16; 2] {
        [self.ports as u16, (self.ports >> 16) as u16]
    }

    /// The segment's header, if it is one.
    #[inline(always)]
    fn segment(&self) -> Option<&tcp::Header> {
        (self.ip.protocol == TCP).then_some(&self.segment)
    }

    /// Whether it is a datagram without a checksum, as IPv4 has them. Read anew: the stack has no room for it.
    #[inline(always)]
    fn is_unsummed(&self, packet: &impl Packet) -> bool {
        let checksum = self.ip.payload() + udp::CHECKSUM;
        self.ip.family == Family::V4
            && self.ip.protocol == UDP
            && packet.window::<2>(checksum).is_some_and(|sum| sum.u16::<0>() == 0)
    }

    /// Whether it asks for a connection.
    #[inline(always)]
    fn opens(&self) -> bool {
        tcp::opens(self.segment.flags)
    }
}

/// A direction of a flow, with its addresses.
pub(super) struct Known<'t> {
    found: Found<'t>,
    ends: &'t Ends,
}

impl<'t> Known<'t> {
    /// The direction that was found, if a packet has the addresses behind the names.
    #[inline(always)]
    fn of(
        found: Found<'t>,
        ip: &Ip,
        packet: &impl Packet,
        tables: &'t impl Tables,
    ) -> Option<Self> {
        let [source, destination] = ip.addresses(packet).ok()?;
        let ends = tables.ends(found.number())?;
        ends.are(source, destination).then_some(Self { found, ends })
    }
}

/// Carries what belongs to a flow.
#[inline(always)]
pub(super) fn step(
    packet: &mut impl Packet,
    tables: &impl WideTables,
    ingress: Ingress<'_>,
) -> Result<Verdict, DropReason> {
    let ethernet = Ethernet::parse(packet)?;
    if ethernet.destination != ingress.interface.mac {
        return Ok(Verdict::Next(Stage::WideOther));
    }
    let Ok(arrived) = Arrived::parse(packet, &ethernet) else {
        return Ok(Verdict::Next(Stage::WideOther));
    };
    let Some(settings) = tables.settings() else {
        return Ok(Verdict::Pass);
    };
    let now = Now { tick: tables.now(), settings };
    let key = arrived.key(ingress.interface.vpc, &settings.seeds);
    if let Some(found) = tables.find(key.words())
        && let Some(known) = Known::of(found, &arrived.ip, packet, tables)
        && known::is_live(tables, now, &known.found, arrived.opens())
    {
        let outcome = forward(packet, tables, now, ingress, &ethernet, &arrived, &known);
        let outcome = known::counted(tables, &known.found, outcome);
        return outcome.or_else(|refusal| unreachable::refuse(tables, refusal));
    }
    Ok(Verdict::Next(Stage::WideNew))
}

#[inline(always)]
fn forward(
    packet: &mut impl Packet,
    tables: &impl WideTables,
    now: Now<'_>,
    ingress: Ingress<'_>,
    ethernet: &Ethernet,
    arrived: &Arrived,
    &Known { ref found, ends }: &Known<'_>,
) -> Result<Verdict, Refusal> {
    let (half, ip) = (found.half, &arrived.ip);
    let again = match arrived.segment() {
        Some(segment) => {
            if tcp::impossible(segment.flags) {
                return Err(DropReason::TcpFlags.into());
            }
            let [next, _] = half.sequence();
            segment.payload(ip.length) > 0
                && next.wrapping_sub(segment.end(ip.length)) < u32::MAX / 2
        }
        None => false,
    };
    learn_client(tables, found, ethernet, ingress, again);
    let route = Route::of(tables, found)?;
    if packet.is_left(route.egress) {
        return Ok(Verdict::Pass);
    }
    let family = ends.leaves_as();
    fits(ip.parts(packet).longest, ip.family, &route, family, 0)?;
    rewrite(packet, arrived, family, ends, half.new_ports())?;
    let rest = ip.rest(packet, ip.ttl - 1)?;
    let Route { slot, hop, tags, egress } = route;
    let offset = packet.standing(tags).header();
    let shift = ip.payload() as i32 - (offset + family.header()) as i32;
    if !packet.reframe((ethernet.tags, ip.family), (tags, family), shift) {
        return Err(DropReason::NoHeadroom.into());
    }
    ethernet::write_header(packet, offset, hop.mac(), egress.mac, tags, family.ether_type())?;
    // Each packet of a flow has another, and flows between the same two addresses begin elsewhere.
    let identification = (half.packets() as u16).wrapping_add(half.new_ports() as u16);
    // Read once more: the stack has no room for them meanwhile.
    ip.write(packet, offset, rest, family, ends.leaving(), identification)?;

    let parts = packet.parts(ip.length, offset + family.header(), ip.protocol);
    let volume = parts.volume(ip.length_as(ip.family) as u16, ip.family.header());
    let Some(segment) = arrived.segment() else {
        half.count(volume, now.tick.stamp(), packet.is_concurrent());
        super::udp::replied(tables, found);
        return Ok(Verdict::Redirect(slot));
    };
    let alive = track::follow(tables, found, segment, ip.length);
    let stamp = if alive { now.tick.stamp() } else { half.stamp() };
    half.count(volume, stamp, packet.is_concurrent());
    let told = match found.direction() {
        Direction::Forward if segment.flags & SYN != 0 => Told::Syn,
        Direction::Reverse if segment.flags & SYN != 0 => Told::SynAck,
        _ if again => Told::Again,
        _ => Told::Nothing,
    };
    if told != Told::Nothing {
        tables.note_told(found.number(), told);
    }
    let room = |mtu: u32, family: Family| mtu.saturating_sub(family.header() as u32);
    let fits = || room(ingress.interface.mtu, ip.family).min(room(egress.mtu, family));
    mss::clamp(packet, tables, segment, offset + family.header(), fits, found)?;
    Ok(Verdict::Redirect(slot))
}

/// Whether a packet that carries `length` bytes fits the way on which it has this family, and in IPv6 `more` bytes of headers. The MTU that its sender is
/// told is one for his own.
#[inline(always)]
fn fits(
    length: u16,
    from: Family,
    route: &Route<'_>,
    family: Family,
    more: u32,
) -> Result<(), Refusal> {
    let mtu = route.egress.mtu;
    let headers = |family: Family| match family {
        Family::V4 => family.header() as u32,
        Family::V6 => family.header() as u32 + more,
    };
    if headers(family) + u32::from(length) <= mtu {
        return Ok(());
    }
    let own = (mtu + headers(from)).saturating_sub(headers(family));
    let least = if from == Family::V6 { ip::LEAST_MTU } else { 0 };
    Err(Refusal::TooBig { mtu: own.max(least).min(u32::from(u16::MAX)) as u16 })
}

/// Writes ports and checksum of what leaves with the addresses that `ends` tell.
#[inline(always)]
fn rewrite(
    packet: &impl Packet,
    arrived: &Arrived,
    family: Family,
    ends: &Ends,
    ports: u32,
) -> Result<(), DropReason> {
    let (ip, at) = (&arrived.ip, arrived.ip.payload());
    let addresses = ip::delta(ip.addresses(packet)?, ends.leaving());
    let change = Change { addresses, own: Delta::default().replace32(arrived.ports, ports) };
    if arrived.segment().is_some() {
        let tcp = packet.window::<{ tcp::HEADER }>(at).ok_or(DropReason::Truncated)?;
        tcp.set_u32::<0>(ports);
        packet.mend_segment(tcp, at, change);
        return Ok(());
    }
    // RFC 7915, section 4.5: IPv6 demands one.
    let lacks = arrived.is_unsummed(packet) && family == Family::V6;
    let computed = if lacks { computed(packet, ip)? } else { 0 };
    let udp = packet.window::<{ udp::HEADER }>(at).ok_or(DropReason::Truncated)?;
    udp.set_u32::<0>(ports);
    if lacks {
        udp.set_u16::<6>(udp::apply(computed, change.whole().fold()));
    } else {
        packet.mend_datagram(udp, at, change);
    }
    Ok(())
}

/// The checksum of a datagram that has none.
#[inline(always)]
fn computed(packet: &impl Packet, ip: &Ip) -> Result<u16, DropReason> {
    if ip.length > MAX_VERIFIED {
        return Err(DropReason::UdpChecksum);
    }
    // The stack has no room for the pseudo-header's sum meanwhile.
    let sum = packet.sum_with(0, ip.payload(), ip.length)?;
    let pseudo = ip::pseudo_header(ip.addresses(packet)?, UDP, ip.length);
    Ok(match !checksum::fold(u32::from(checksum::fold(pseudo)) + u32::from(sum)) {
        0 => 0xffff,
        checksum => checksum,
    })
}
