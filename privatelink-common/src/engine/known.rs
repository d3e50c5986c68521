//! A packet of a known flow: rewrite, count, send on. The hot path.

use super::route::Route;
use super::{Ingress, Now, Refusal, Verdict, mss, track};
use crate::checksum::{self, Delta};
use crate::drop_reason::DropReason;
use crate::ethernet::{self, Ethernet};
use crate::flow_table::Found;
use crate::flow_table::life::{self, Pressure};
use crate::flow_table::record::{Direction, FlowHalf};
use crate::ipv4::{self, Segment};
use crate::memory::Packet;
use crate::records::NextHop;
use crate::tables::Tables;
use crate::tcp;

/// Whether the flow still carries packets. One that is due is ended, and so is one that is over when its
/// client begins a new connection from the same port: that gets a new lease, so that it does not meet the
/// target's TIME_WAIT of the old one.
#[inline(always)]
pub(super) fn is_live(
    tables: &impl Tables,
    now: Now<'_>,
    found: &Found<'_>,
    segment: &Segment,
) -> bool {
    let (record, direction) = (found.record, found.entry.direction());
    let alive = match direction {
        Direction::Forward => record.place().phase().is_live(),
        // Only who has no hop need look at the other line.
        Direction::Reverse => !record.client().0.is_unknown() || record.place().phase().is_live(),
    };
    if !alive {
        return false;
    }
    let silent = now.tick.since_stamp(record.half(direction).stamp());
    let opens = direction == Direction::Forward && tcp::opens(segment.flags);
    !(opens || silent > now.settings.shortest_timeout) || !is_over(tables, now, found, opens)
}

/// Looks closer at a flow that was silent for a while, or whose client sends a SYN; ends it if its time has come.
#[inline(always)]
fn is_over(tables: &impl Tables, now: Now<'_>, found: &Found<'_>, opens: bool) -> bool {
    let (record, number) = (found.record, found.entry.number());
    let Some(timeouts) = tables.timeouts(record.place().endpoint()) else {
        return false;
    };
    let over = opens && life::state(record).is_over()
        || life::is_due(now.settings, record, timeouts, Pressure::None, now.tick);
    if over {
        life::end(tables, record, number, timeouts, now.tick);
    }
    over
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
    if tcp::impossible(segment.flags) {
        return Err(DropReason::TcpFlags.into());
    }
    let (record, direction) = (found.record, found.entry.direction());
    let half = record.half(direction);
    if direction == Direction::Forward {
        let [next, _] = half.sequence();
        let again = segment.payload() > 0 && next.wrapping_sub(segment.end()) < u32::MAX / 2;
        let hop = NextHop::new(ethernet.source, ingress.slot as u16);
        record.learn_client(hop, ethernet.tags, again);
    }
    let route = Route::of(tables, record, direction)?;
    route.carries(segment.total_length)?;
    rewrite(packet, segment, half)?;
    let Route { slot, hop, tags, egress } = route;
    let offset = ethernet::replace_header(packet, segment.offset, hop, egress.mac, tags)?;
    let alive = track::follow(tables, record, direction, segment);
    half.count(segment.total_length, if alive { now.tick.stamp() } else { half.stamp() });
    // Last, because the verifier follows what comes after it from each of its steps.
    mss::clamp(packet, tables, ingress, egress, segment, offset, record)?;
    Ok(Verdict::Redirect(slot))
}

#[inline(always)]
fn rewrite(packet: &impl Packet, segment: &Segment, half: &FlowHalf) -> Result<(), DropReason> {
    let ip = packet.window::<{ ipv4::HEADER }>(segment.offset).ok_or(DropReason::Truncated)?;
    let tcp = packet
        .window::<{ ipv4::TCP_HEADER }>(segment.offset + ipv4::HEADER)
        .ok_or(DropReason::Truncated)?;
    let [source, destination] = half.new_addresses();
    let ports = half.new_ports();
    let addresses = Delta::default()
        .replace32(segment.addresses.source, source)
        .replace32(segment.addresses.destination, destination);
    // TTL and protocol share a checksum word; the TTL is its first byte.
    let before = ip.u16::<8>();
    ip.set_u8::<8>(segment.ttl - 1);
    let ip_delta = addresses.replace16(before, ip.u16::<8>()).fold();
    ip.set_u16::<10>(checksum::apply(ip.u16::<10>(), ip_delta));
    ip.set_u32::<12>(source);
    ip.set_u32::<16>(destination);
    let tcp_delta = addresses.replace32(tcp.u32::<0>(), ports).fold();
    tcp.set_u32::<0>(ports);
    tcp.set_u16::<16>(checksum::apply(tcp.u16::<16>(), tcp_delta));
    Ok(())
}
