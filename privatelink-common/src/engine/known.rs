//! A packet of a known flow: rewrite, count, send on. The hot path.

use super::route::{Route, learn_client};
use super::{Ingress, Now, Refusal, Verdict, mss, track};
use crate::checksum::{self, Change, Delta};
use crate::drop_reason::DropReason;
use crate::ethernet::{self, Ethernet};
use crate::flow_table::half::{Direction, FlowHalf};
use crate::flow_table::life::Pressure;
use crate::flow_table::note::Told;
use crate::flow_table::{Found, NONE, totals};
use crate::ipv4::{self, Header, Segment};
use crate::memory::Packet;
use crate::tables::Tables;
use crate::tcp::{self, SYN};

/// Whether the flow still carries packets; `opens` where this one asks for a connection. A flow that is due is ended, and
/// so is one that is over when its client begins a new connection from the same port ([`super::lease::renew`]).
#[inline(always)]
pub(super) fn is_live(tables: &impl Tables, now: Now<'_>, found: &Found<'_>, opens: bool) -> bool {
    if !carries(found) {
        return false;
    }
    let opens = opens && found.direction() == Direction::Forward;
    let silent = now.tick.since_stamp(found.half.stamp());
    if !opens && silent <= now.settings.shortest_timeout {
        return true;
    }
    let owner = tables.owner(found.number());
    let pressure = if opens { Pressure::Reopening } else { Pressure::None };
    tables.sweep(owner, pressure, now.tick);
    owner != NONE && carries(found)
}

/// What became of a packet of a flow, which is counted where it is dropped.
#[inline(always)]
pub(super) fn counted(
    tables: &impl Tables,
    found: &Found<'_>,
    outcome: Result<Verdict, Refusal>,
) -> Result<Verdict, Refusal> {
    if outcome.is_err()
        && let Some(record) = tables.record(tables.owner(found.number()))
    {
        totals::count_dropped(tables, record.place().endpoint());
    }
    outcome
}

/// Whether a half is a live flow's.
#[inline(always)]
fn carries(found: &Found<'_>) -> bool {
    match found.direction() {
        Direction::Forward => found.half.place().phase().is_live(),
        // Nothing comes back before the client is known, nor after it is forgotten.
        Direction::Reverse => !found.half.client().0.is_unknown(),
    }
}

#[inline(always)]
pub(super) fn forward(
    packet: &mut impl Packet,
    tables: &impl Tables,
    now: Now<'_>,
    ingress: Ingress<'_>,
    ethernet: &Ethernet,
    segment: &Segment,
    found: &Found<'_>,
) -> Result<Verdict, Refusal> {
    if tcp::impossible(segment.tcp.flags) {
        return Err(DropReason::TcpFlags.into());
    }
    let half = found.half;
    let [next, _] = half.sequence();
    let again = segment.tcp.payload(segment.length()) > 0
        && next.wrapping_sub(segment.tcp.end(segment.length())) < u32::MAX / 2;
    learn_client(tables, found, ethernet, ingress, again);
    let route = Route::of(tables, found)?;
    if packet.is_left(route.egress) {
        return Ok(Verdict::Pass);
    }
    let parts = segment.header.parts(packet, segment.length());
    route.carries(parts)?;
    rewrite(packet, segment, half)?;
    let Route { slot, hop, tags, egress } = route;
    let offset = ethernet::replace_header(
        packet,
        segment.header.offset,
        ethernet.tags,
        hop,
        egress.mac,
        tags,
    )?;
    let alive = track::follow(tables, found, &segment.tcp, segment.length());
    let volume = parts.volume(segment.header.total_length, ipv4::HEADER);
    let stamp = if alive { now.tick.stamp() } else { half.stamp() };
    half.count(volume, stamp, packet.is_concurrent());
    let told = match found.direction() {
        Direction::Forward if segment.tcp.flags & SYN != 0 => Told::Syn,
        Direction::Reverse if segment.tcp.flags & SYN != 0 => Told::SynAck,
        _ if again => Told::Again,
        _ => Told::Nothing,
    };
    if told != Told::Nothing {
        tables.note_told(found.number(), told);
    }
    // Last, because the verifier follows what comes after it from each of its steps.
    let fits = || ingress.interface.mtu.min(egress.mtu).saturating_sub(ipv4::HEADER as u32);
    mss::clamp(packet, tables, &segment.tcp, offset + ipv4::HEADER, fits, found)?;
    Ok(Verdict::Redirect(slot))
}

#[inline(always)]
fn rewrite(packet: &impl Packet, segment: &Segment, half: &FlowHalf) -> Result<(), DropReason> {
    let tcp = packet
        .window::<{ tcp::HEADER }>(segment.header.offset + ipv4::HEADER)
        .ok_or(DropReason::Truncated)?;
    let addresses = rewrite_ip(packet, &segment.header, half)?;
    let ports = half.new_ports();
    let own = Delta::default().replace32(tcp.u32::<0>(), ports);
    tcp.set_u32::<0>(ports);
    packet.mend_segment(tcp, segment.header.offset + ipv4::HEADER, Change { addresses, own });
    Ok(())
}

/// Writes the IPv4 header of the flow's other side; how a checksum changes by it that covers the addresses.
#[inline(always)]
pub(super) fn rewrite_ip(
    packet: &impl Packet,
    header: &Header,
    half: &FlowHalf,
) -> Result<Delta, DropReason> {
    let ip = packet.window::<{ ipv4::HEADER }>(header.offset).ok_or(DropReason::Truncated)?;
    let [source, destination] = half.new_addresses();
    let addresses = Delta::default()
        .replace32(header.addresses.source, source)
        .replace32(header.addresses.destination, destination);
    // TTL and protocol share a checksum word; the TTL is its first byte.
    let before = ip.u16::<8>();
    ip.set_u8::<8>(header.ttl - 1);
    let delta = addresses.replace16(before, ip.u16::<8>()).fold();
    ip.set_u16::<10>(checksum::apply(ip.u16::<10>(), delta));
    ip.set_u32::<12>(source);
    ip.set_u32::<16>(destination);
    Ok(addresses)
}
