//! Segments without a flow: answered with a RST where a TCP would (RFC 9293, section 3.5.2).

use super::{Ingress, Verdict};
use crate::checksum::{self, fold};
use crate::drop_reason::DropReason;
use crate::ethernet::{self, Ethernet};
use crate::ipv4::{self, Segment};
use crate::lease::is_check_port;
use crate::memory::Packet;
use crate::records::TargetKey;
use crate::tables::Tables;
use crate::tcp::{self, RST};

/// Version 4, five words of header; the default DSCP.
const VERSION_IHL_TOS: u16 = u16::from_ne_bytes([0x45, 0]);
const DONT_FRAGMENT: u16 = 0x4000_u16.to_be();
const TTL_TCP: u16 = u16::from_ne_bytes([64, ipv4::TCP]);
const LENGTH: u16 = (ipv4::HEADER + tcp::HEADER) as u16;
/// Five words of TCP header in the upper half of its byte.
const DATA_OFFSET: u8 = 5 << 4;

/// A segment to a load balancer address that belongs to no flow. A SYN learns nothing. What else comes to
/// a port that health checks leave from is the daemon's, who reads it beside the host's own TCP. A target's
/// other segment in mid-stream is one whose flow is gone; anybody else learns nothing.
#[inline(always)]
pub(super) fn unsolicited(
    packet: &mut impl Packet,
    tables: &impl Tables,
    ingress: Ingress<'_>,
    ethernet: &Ethernet,
    segment: &Segment,
) -> Result<Verdict, DropReason> {
    if tcp::opens(segment.tcp.flags) {
        return Err(DropReason::Unsolicited);
    }
    if is_check_port(u16::from_be(segment.header.destination_port)) {
        return Ok(Verdict::Pass);
    }
    let target = TargetKey {
        address: segment.header.addresses.source,
        port: segment.header.source_port,
        vpc: ingress.interface.vpc,
    };
    let at_any_port = TargetKey { port: 0, ..target };
    if !tables.is_target(&target) && !tables.is_target(&at_any_port) {
        return Err(DropReason::Unsolicited);
    }
    no_flow(packet, tables, ingress, ethernet, segment)
}

/// A segment in mid-stream of a flow that we do not have: counted, and answered unless it is a RST.
#[inline(always)]
pub(super) fn no_flow(
    packet: &mut impl Packet,
    tables: &impl Tables,
    ingress: Ingress<'_>,
    ethernet: &Ethernet,
    segment: &Segment,
) -> Result<Verdict, DropReason> {
    if segment.tcp.flags & RST != 0 || !packet.truncate(segment.header.offset + usize::from(LENGTH))
    {
        return Err(DropReason::NoFlow);
    }
    packet.tell_refused(tables, ingress.slot, DropReason::NoFlow);
    write_reset(packet, segment)?;
    let header = packet.window::<{ ethernet::HEADER }>(0).ok_or(DropReason::Truncated)?;
    ethernet::write_addresses(&header, ethernet.source, ingress.interface.mac);
    tables.count_drop(ingress.slot, DropReason::NoFlow);
    Ok(Verdict::Redirect(ingress.slot))
}

/// Turns the segment, cut to its bare headers, into the RST that answers it.
///
/// It takes its sequence number from the segment's acknowledgement, which every segment that gets here
/// has: one without is a SYN that opens a flow, a RST that is not answered, or impossible.
#[inline(always)]
fn write_reset(packet: &impl Packet, segment: &Segment) -> Result<(), DropReason> {
    let unfinished = packet.is_unfinished(segment.header.offset + ipv4::HEADER + tcp::CHECKSUM);
    let ip =
        packet.window::<{ ipv4::HEADER }>(segment.header.offset).ok_or(DropReason::Truncated)?;
    let tcp = packet
        .window::<{ tcp::HEADER }>(segment.header.offset + ipv4::HEADER)
        .ok_or(DropReason::Truncated)?;

    let (source, destination) =
        (segment.header.addresses.destination, segment.header.addresses.source);
    let sequence = tcp.u32::<8>();

    ip.set_u16::<0>(VERSION_IHL_TOS);
    ip.set_u16::<2>(LENGTH.to_be());
    ip.set_u16::<4>(0);
    ip.set_u16::<6>(DONT_FRAGMENT);
    ip.set_u16::<8>(TTL_TCP);
    ip.set_u32::<12>(source);
    ip.set_u32::<16>(destination);
    let words = u32::from(VERSION_IHL_TOS)
        + u32::from(LENGTH.to_be())
        + u32::from(DONT_FRAGMENT)
        + u32::from(TTL_TCP);
    ip.set_u16::<10>(!fold(words + checksum::words(source) + checksum::words(destination)));

    tcp.set_u16::<0>(segment.header.destination_port);
    tcp.set_u16::<2>(segment.header.source_port);
    tcp.set_u32::<4>(sequence);
    tcp.set_u32::<8>(0);
    tcp.set_u8::<12>(DATA_OFFSET);
    tcp.set_u8::<13>(RST);
    tcp.set_u16::<14>(0);
    tcp.set_u32::<16>(0);
    let pseudo = checksum::pseudo_header(source, destination, ipv4::TCP, tcp::HEADER as u16);
    let sum = pseudo
        + u32::from(segment.header.source_port)
        + u32::from(segment.header.destination_port)
        + checksum::words(sequence)
        + u32::from(tcp.u16::<12>());
    tcp.set_u16::<16>(if unfinished { fold(pseudo) } else { !fold(sum) });
    Ok(())
}
