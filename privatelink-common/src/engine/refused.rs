//! What is told of packets that are refused.

use super::Ingress;
use crate::drop_reason::DropReason;
use crate::flow_event::What;
use crate::ipv4;
use crate::memory::Packet;
use crate::records::FlowKey;
use crate::tables::Tables;

/// Bytes of an IPv4 header with the ports behind it, and with a TCP header up to its flags.
const PORTS: usize = ipv4::HEADER + 4;
const FLAGS: usize = ipv4::HEADER + 14;

/// Tells of a packet to an address of ours, its IPv4 header at `offset`, before it is turned into an answer. It is read
/// anew: what was read of it before need not be kept for this. One that was refused after it was rewritten, as too long for
/// its frame, is told of as it left.
#[inline(always)]
pub(super) fn tell(
    packet: &impl Packet,
    tables: &impl Tables,
    ingress: Ingress<'_>,
    offset: usize,
    reason: DropReason,
) {
    let Ingress { slot, interface } = ingress;
    read(packet, tables, [slot, u32::from(interface.vpc)], offset, reason);
}

/// A function of its own, for its buffer: the kernel gives 512 bytes of stack to all together.
#[inline(never)]
fn read(
    packet: &impl Packet,
    tables: &impl Tables,
    [slot, vpc]: [u32; 2],
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
        vpc: vpc as u16,
        protocol,
    };
    tables.tell_refused(key.words(), What::new(slot, reason, length, flags));
}
