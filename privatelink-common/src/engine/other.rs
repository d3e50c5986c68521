//! Frames that are no TCP segments: ARP, UDP, ICMP, and what is malformed.

use super::{Ingress, Verdict, icmp, refuse, udp};
use crate::drop_reason::DropReason;
use crate::ethernet::{self, ArpRequest, Ethernet};
use crate::ipv4::{Addresses, Segment};
use crate::memory::Packet;
use crate::records::AddressKey;
use crate::stages::Stage;
use crate::tables::Tables;
use crate::udp::Datagram;

#[inline(always)]
pub(super) fn step(
    packet: &mut impl Packet,
    tables: &impl Tables,
    ingress: Ingress<'_>,
) -> Result<Verdict, DropReason> {
    let ethernet = Ethernet::parse(packet)?;
    match ethernet.ether_type {
        ethernet::IPV4 => ipv4(packet, tables, ingress, &ethernet),
        _ => arp(packet, tables, ingress, &ethernet),
    }
}

#[inline(always)]
fn arp(
    packet: &impl Packet,
    tables: &impl Tables,
    ingress: Ingress<'_>,
    ethernet: &Ethernet,
) -> Result<Verdict, DropReason> {
    let Some(request) = ArpRequest::parse(packet, packet.standing(ethernet.tags).header())? else {
        return Ok(Verdict::Pass);
    };
    if tables.address(&AddressKey::new(ingress.interface.vpc, request.wanted())).is_none() {
        return Ok(Verdict::Pass);
    }
    request.answer(ingress.interface.mac);
    let header = packet.window::<{ ethernet::HEADER }>(0).ok_or(DropReason::Truncated)?;
    ethernet::write_addresses(&header, ethernet.source, ingress.interface.mac);
    Ok(Verdict::Redirect(ingress.slot))
}

#[inline(always)]
fn ipv4(
    packet: &mut impl Packet,
    tables: &impl Tables,
    ingress: Ingress<'_>,
    ethernet: &Ethernet,
) -> Result<Verdict, DropReason> {
    let offset = packet.standing(ethernet.tags).header();
    let reason = match Datagram::parse(packet, offset) {
        Ok(datagram) => {
            return udp::received(packet, tables, ingress, ethernet, &datagram)
                .or_else(|refusal| refuse(packet, tables, ingress, refusal));
        }
        Err(DropReason::Fragment) => return Ok(Verdict::Next(Stage::Fragments)),
        Err(DropReason::Protocol) => match Segment::parse(packet, offset) {
            Ok(_) => return Ok(Verdict::Pass),
            Err(reason) => reason,
        },
        Err(reason) => reason,
    };
    // Malformed, or nothing we carry: ours to drop only if it is addressed to us.
    let destination = Addresses::parse(packet, offset)?.destination;
    let Some(&address) = tables.address(&AddressKey::new(ingress.interface.vpc, destination))
    else {
        return Ok(Verdict::Pass);
    };
    if reason == DropReason::Protocol {
        return icmp::received(packet, tables, ingress, ethernet, offset, address)
            .inspect_err(|&reason| packet.tell_refused(tables, ingress.slot, reason));
    }
    packet.tell_refused(tables, ingress.slot, reason);
    Err(reason)
}
