//! IPv6 segments without a flow: answered with a RST where a TCP would, as IPv4 ones are by [`super::super::reset`].

use super::super::{Ingress, Verdict};
use super::Arrived;
use crate::checksum::{self, fold};
use crate::drop_reason::DropReason;
use crate::ethernet::{self, Ethernet};
use crate::ip::{self, IPV6_HEADER, write_addresses};
use crate::ipv4::TCP;
use crate::lease::is_check_port;
use crate::memory::Packet;
use crate::tables::WideTables;
use crate::tcp::{self, RST};
use crate::wide::WideTargetKey;

const VERSION: u32 = (6_u32 << 28).to_be();
const HOP_LIMIT: u8 = 64;
/// Five words of TCP header in the upper half of its byte, and RST.
const OFFSET_FLAGS: u16 = u16::from_ne_bytes([5 << 4, RST]);

/// A segment to a load balancer address: see [`super::super::reset::unsolicited`].
#[inline(always)]
pub(super) fn unsolicited(
    packet: &mut impl Packet,
    tables: &impl WideTables,
    ingress: Ingress<'_>,
    ethernet: &Ethernet,
    arrived: &Arrived,
    segment: &tcp::Header,
) -> Result<Verdict, DropReason> {
    let [source_port, destination_port] = arrived.port_pair();
    if tcp::opens(segment.flags) {
        return Err(DropReason::Unsolicited);
    }
    if is_check_port(u16::from_be(destination_port)) {
        return Ok(Verdict::Pass);
    }
    let vpc = ingress.interface.vpc;
    let key = |port| WideTargetKey::new(vpc, arrived.ip.source, port);
    if !tables.is_wide_target(&key(source_port)) && !tables.is_wide_target(&key(0)) {
        return Err(DropReason::Unsolicited);
    }
    no_flow(packet, tables, ingress, ethernet, arrived, segment)
}

/// A segment in mid-stream of a flow that we do not have: counted, and answered unless it is a RST.
#[inline(always)]
pub(super) fn no_flow(
    packet: &mut impl Packet,
    tables: &impl WideTables,
    ingress: Ingress<'_>,
    ethernet: &Ethernet,
    arrived: &Arrived,
    segment: &tcp::Header,
) -> Result<Verdict, DropReason> {
    let end = arrived.ip.payload() + tcp::HEADER;
    if segment.flags & RST != 0 || !packet.truncate(end) {
        return Err(DropReason::NoFlow);
    }
    packet.tell_refused(tables, ingress.slot, DropReason::NoFlow);
    write(packet, arrived, segment)?;
    let header = packet.window::<{ ethernet::HEADER }>(0).ok_or(DropReason::Truncated)?;
    ethernet::write_addresses(&header, ethernet.source, ingress.interface.mac);
    tables.count_drop(ingress.slot, DropReason::NoFlow);
    Ok(Verdict::Redirect(ingress.slot))
}

/// Turns the segment, cut to its bare headers, into the RST that answers it.
#[inline(always)]
fn write(packet: &impl Packet, arrived: &Arrived, segment: &tcp::Header) -> Result<(), DropReason> {
    let unfinished = packet.is_unfinished(arrived.ip.payload() + tcp::CHECKSUM);
    let ip = packet.window::<IPV6_HEADER>(arrived.ip.offset).ok_or(DropReason::Truncated)?;
    let tcp =
        packet.window::<{ tcp::HEADER }>(arrived.ip.payload()).ok_or(DropReason::Truncated)?;
    let ends = [arrived.ip.destination, arrived.ip.source];
    let ports = arrived.ports.rotate_left(16);
    let sequence = segment.acknowledgement.to_be();

    ip.set_u32::<0>(VERSION);
    ip.set_u16::<4>((tcp::HEADER as u16).to_be());
    ip.set_u8::<6>(TCP);
    ip.set_u8::<7>(HOP_LIMIT);
    write_addresses(&ip, ends);

    tcp.set_u32::<0>(ports);
    tcp.set_u32::<4>(sequence);
    tcp.set_u32::<8>(0);
    tcp.set_u16::<12>(OFFSET_FLAGS);
    tcp.set_u16::<14>(0);
    tcp.set_u32::<16>(0);
    let pseudo = ip::pseudo_header(ends, TCP, tcp::HEADER as u16);
    let sum = pseudo + checksum::words(ports) + checksum::words(sequence) + u32::from(OFFSET_FLAGS);
    tcp.set_u16::<16>(if unfinished { fold(pseudo) } else { !fold(sum) });
    Ok(())
}
