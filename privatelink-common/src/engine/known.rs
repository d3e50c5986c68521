//! A packet of a known flow: rewrite, count, send on. The hot path.

use super::route::Route;
use super::{Ingress, Refusal, Verdict, mss};
use crate::checksum::{self, Delta};
use crate::drop_reason::DropReason;
use crate::ethernet::{self, Ethernet};
use crate::ipv4::{self, Segment};
use crate::memory::Packet;
use crate::records::{FlowHalf, NextHop};
use crate::tables::Tables;
use crate::tcp::{self, State};

#[inline(always)]
pub(super) fn forward(
    packet: &mut impl Packet,
    tables: &impl Tables,
    ingress: Ingress<'_>,
    ethernet: &Ethernet,
    segment: &Segment,
    half: &FlowHalf,
) -> Result<Verdict, Refusal> {
    if tcp::impossible(segment.flags) {
        return Err(DropReason::TcpFlags.into());
    }
    if half.direction == FlowHalf::FORWARD {
        learn_client(tables, ingress, ethernet, half);
        if tcp::opens(segment.flags) {
            reopen(tables, half);
        }
    }
    let route = Route::of(tables, half)?;
    route.carries(segment.total_length)?;
    rewrite(packet, segment, half)?;
    let Route { slot, hop, tags, egress } = route;
    let offset = ethernet::replace_header(packet, segment.offset, hop, egress.mac, tags)?;
    account(tables, segment, half);
    // Last, because the verifier follows what comes after it from each of its steps.
    mss::clamp(packet, tables, ingress, egress, segment, offset, half.endpoint)?;
    Ok(Verdict::Redirect(slot))
}

/// Keeps the client's MAC address, tags and interface as its last frame had them.
///
/// Two CPUs may carry frames of one client that moves just now; the last to write wins in each of the
/// four words. The worst result is one reply sent to the old place, or with the old place's tags.
#[inline(always)]
fn learn_client(tables: &impl Tables, ingress: Ingress<'_>, ethernet: &Ethernet, half: &FlowHalf) {
    let client = NextHop::new(ethernet.source, ingress.slot as u16).word();
    let tags = ethernet.tags.word();
    if half.client.get() == client && half.client_tags.get() == tags {
        return;
    }
    if let Some(reverse) = tables.flow(&half.peer_key(ipv4::TCP)) {
        reverse.client_tags.set(tags);
        reverse.client.set(client);
        half.client_tags.set(tags);
        half.client.set(client);
    }
}

/// A SYN on a connection that is over begins a new one, with the old one's lease and target; the
/// target's TIME_WAIT judges the sequence number (RFC 9293, section 3.6.1).
///
/// The reverse direction's CPU may or in a flag of the old connection just after we cleared it: the
/// flow then shows an old state until the next packets, and may be removed after the closing timeout.
#[inline(always)]
fn reopen(tables: &impl Tables, half: &FlowHalf) {
    let Some(reverse) = tables.flow(&half.peer_key(ipv4::TCP)) else {
        return;
    };
    if !State::of(half.flags.get() as u8, reverse.flags.get() as u8).is_over() {
        return;
    }
    let now = tables.now();
    for side in [half, reverse] {
        side.flags.set(0);
        side.packets.set(0);
        side.bytes.set(0);
        side.created.set(now);
        side.last_seen.set(now);
    }
}

#[inline(always)]
fn rewrite(packet: &impl Packet, segment: &Segment, half: &FlowHalf) -> Result<(), DropReason> {
    let ip = packet.window::<{ ipv4::HEADER }>(segment.offset).ok_or(DropReason::Truncated)?;
    let tcp = packet
        .window::<{ ipv4::TCP_HEADER }>(segment.offset + ipv4::HEADER)
        .ok_or(DropReason::Truncated)?;
    // TTL and protocol share a checksum word; the TTL is its first byte.
    let before = ip.u16::<8>();
    ip.set_u8::<8>(segment.ttl - 1);
    let ttl_delta = Delta::default().replace16(before, ip.u16::<8>()).fold();
    ip.set_u16::<10>(checksum::apply(checksum::apply(ip.u16::<10>(), half.ip_delta), ttl_delta));
    ip.set_u32::<12>(half.source);
    ip.set_u32::<16>(half.destination);
    tcp.set_u16::<0>(half.source_port);
    tcp.set_u16::<2>(half.destination_port);
    tcp.set_u16::<16>(checksum::apply(tcp.u16::<16>(), half.tcp_delta));
    Ok(())
}

#[inline(always)]
fn account(tables: &impl Tables, segment: &Segment, half: &FlowHalf) {
    half.packets.add_unshared(1);
    half.bytes.add_unshared(u64::from(segment.total_length));
    half.last_seen.set(tables.now());
    let seen = half.flags.get();
    let flags = seen | u64::from(segment.flags);
    if flags != seen {
        half.flags.set(flags);
    }
}
