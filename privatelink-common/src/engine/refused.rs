//! What is told of packets that are refused.

use crate::drop_reason::DropReason;
use crate::ethernet::{self, Ethernet};
use crate::flow_event::What;
use crate::ip::{self, IPV6_HEADER};
use crate::ipv4;
use crate::memory::Packet;
use crate::records::FlowKey;
use crate::tables::Tables;

/// Bytes of an IPv4 header with the ports behind it, and with a TCP header up to its flags.
const PORTS: usize = ipv4::HEADER + 4;
const FLAGS: usize = ipv4::HEADER + 14;

/// Tells of a packet to an address of ours that came in by the interface in a slot, before it is turned into an answer. It is
/// read anew: what was read of it before need not be kept for this. One that was refused after it was rewritten, as too long
/// for its frame, is told of as it left.
#[inline(always)]
pub fn tell(packet: &impl Packet, tables: &impl Tables, slot: u32, reason: DropReason) {
    let (Ok(ethernet), Some(interface)) = (Ethernet::parse(packet), tables.interface(slot)) else {
        return;
    };
    let (offset, vpc) = (packet.standing(ethernet.tags).header(), interface.vpc);
    match ethernet.ether_type {
        ethernet::IPV4 => read_v4(packet, tables, (slot, vpc), offset, reason),
        ethernet::IPV6 => read_v6(packet, tables, (slot, vpc), offset, reason),
        _ => {}
    }
}

/// What stands behind extension headers is not read.
#[inline(always)]
fn read_v6(
    packet: &impl Packet,
    tables: &impl Tables,
    (slot, vpc): (u32, u16),
    offset: usize,
    reason: DropReason,
) {
    let Some(ip) = packet.window::<IPV6_HEADER>(offset) else {
        return;
    };
    let (length, protocol) = (u16::from_be(ip.u16::<4>()), ip.u8::<6>());
    let carried = offset + IPV6_HEADER;
    let ports = match protocol {
        ipv4::TCP | ipv4::UDP => packet.window::<4>(carried).map_or(0, |ports| ports.u32::<0>()),
        _ => 0,
    };
    let flags = match protocol {
        ipv4::TCP => packet.window::<14>(carried).map_or(0, |tcp| tcp.u8::<13>()),
        _ => 0,
    };
    let key = FlowKey {
        source: 0,
        destination: 0,
        source_port: ports as u16,
        destination_port: (ports >> 16) as u16,
        vpc,
        protocol,
    };
    let [_, ports] = key.words();
    let what = What::new(slot, reason, length.saturating_add(IPV6_HEADER as u16), flags);
    tables.tell_wide_refused((ip::addresses(&ip), ports), what);
}

#[inline(always)]
fn read_v4(
    packet: &impl Packet,
    tables: &impl Tables,
    (slot, vpc): (u32, u16),
    offset: usize,
    reason: DropReason,
) {
    let there = packet.len().wrapping_sub(offset).min(FLAGS);
    let Some(words) = packet.chunk(offset, there) else {
        return;
    };
    let [first, second, third, source, destination, ports, _, _, flags, ..] = words;
    let [version_ihl, _, high, low] = first.to_ne_bytes();
    let [_, protocol, ..] = third.to_ne_bytes();
    let length = u16::from_be_bytes([high, low]);
    let [_, _, fragment @ ..] = second.to_ne_bytes();
    let later_fragment = u16::from_be_bytes(fragment) & 0x1fff != 0;
    let readable = version_ihl == ipv4::VERSION_IHL && there >= PORTS && !later_fragment;
    let ports = if readable && matches!(protocol, ipv4::TCP | ipv4::UDP) { ports } else { 0 };
    let flags = if ports != 0 && protocol == ipv4::TCP { flags.to_ne_bytes()[1] } else { 0 };
    let key = FlowKey {
        source,
        destination,
        source_port: ports as u16,
        destination_port: (ports >> 16) as u16,
        vpc,
        protocol,
    };
    tables.tell_refused(key.words(), What::new(slot, reason, length, flags));
}
