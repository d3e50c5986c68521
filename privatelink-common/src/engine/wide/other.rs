//! What is neither segment nor datagram, of the wide table's addresses: neighbour discovery, ICMP, and what is malformed.

use super::super::{Ingress, Verdict};
use super::Arrived;
use super::new::{address, may_be_client};
use crate::drop_reason::DropReason;
use crate::ethernet::{self, Ethernet};
use crate::icmpv6::{self, ADVERTISED, ECHO_REQUEST, Solicitation};
use crate::ip::{ICMPV6, IPV6_HEADER, Ip};
use crate::memory::Packet;
use crate::records::Address;
use crate::tables::WideTables;
use crate::wide::{WideAddress, WideAddressKey};

#[inline(always)]
pub(in super::super) fn step(
    packet: &mut impl Packet,
    tables: &impl WideTables,
    ingress: Ingress<'_>,
) -> Result<Verdict, DropReason> {
    let ethernet = Ethernet::parse(packet)?;
    if ethernet.ether_type != ethernet::IPV6 {
        return Ok(Verdict::Pass);
    }
    let offset = ethernet.tags.header();
    let ip = match Ip::parse(packet, offset, ethernet.ether_type) {
        Ok(ip) => ip,
        Err(reason) => return malformed(packet, tables, ingress, offset, reason),
    };
    if let Some(solicitation) = Solicitation::parse(packet, &ip) {
        return neighbour(packet, tables, ingress, &ethernet, &ip, &solicitation);
    }
    if ethernet.destination != ingress.interface.mac {
        return Ok(Verdict::Pass);
    }
    let Some(&of) = address(tables, ingress.interface.vpc, ip.destination) else {
        return Ok(Verdict::Pass);
    };
    if ip.protocol == ICMPV6 {
        return message(packet, tables, ingress, &ethernet, &ip, of);
    }
    match Arrived::parse(packet, &ethernet) {
        Ok(_) => Ok(Verdict::Pass),
        Err(DropReason::Protocol) if is_extension(ip.protocol) => Err(DropReason::Ipv6Extension),
        Err(reason) => Err(reason),
    }
}

/// Whether a next header is an extension header (the registry of IPv6 extension header types).
#[inline(always)]
const fn is_extension(next: u8) -> bool {
    matches!(next, 0 | 43 | 44 | 50 | 51 | 60 | 135 | 139 | 140 | 253 | 254)
}

/// Ours to drop only if it is addressed to us.
#[inline(always)]
fn malformed(
    packet: &impl Packet,
    tables: &impl WideTables,
    ingress: Ingress<'_>,
    offset: usize,
    reason: DropReason,
) -> Result<Verdict, DropReason> {
    let header = packet.window::<IPV6_HEADER>(offset).ok_or(DropReason::Truncated)?;
    let destination = WideAddress([header.u64::<24>(), header.u64::<32>()]);
    match tables.wide_address(&WideAddressKey::new(ingress.interface.vpc, destination)) {
        None => Ok(Verdict::Pass),
        Some(_) => Err(reason),
    }
}

/// A question for the MAC address of an address of ours is answered, and so is whoever is about to take the address.
#[inline(always)]
fn neighbour(
    packet: &mut impl Packet,
    tables: &impl WideTables,
    ingress: Ingress<'_>,
    ethernet: &Ethernet,
    ip: &Ip,
    solicitation: &Solicitation,
) -> Result<Verdict, DropReason> {
    let Ingress { slot, interface } = ingress;
    if tables.wide_address(&WideAddressKey::new(interface.vpc, solicitation.wanted)).is_none() {
        return Ok(Verdict::Pass);
    }
    let ends = [ip.source, ip.destination];
    if icmpv6::sum(packet, ip.payload(), ends, ip.length)? != 0xffff {
        return Err(DropReason::IcmpChecksum);
    }
    let end = ip.offset + IPV6_HEADER + ADVERTISED;
    let there = packet.len().min(end);
    // What is missing of the answer's length is made at the start.
    let missing = there as i32 - end as i32;
    if !packet.truncate(there) || missing != 0 && !packet.move_start(missing) {
        return Err(DropReason::NoHeadroom);
    }
    let (_, receiver) = solicitation.receiver(ethernet.source);
    let tags = ethernet.tags;
    ethernet::write_header(packet, ip.offset, receiver, interface.mac, tags, ethernet::IPV6)?;
    solicitation.answer(packet, ip.offset, interface.mac)?;
    Ok(Verdict::Redirect(slot))
}

/// An ICMPv6 message to an address of ours.
#[inline(always)]
fn message(
    packet: &impl Packet,
    tables: &impl WideTables,
    ingress: Ingress<'_>,
    ethernet: &Ethernet,
    ip: &Ip,
    of: Address,
) -> Result<Verdict, DropReason> {
    let icmp = packet.window::<{ icmpv6::HEADER }>(ip.payload()).ok_or(DropReason::Truncated)?;
    let kind = icmp.u8::<0>();
    // Neighbour discovery that asks nothing of us is the host's.
    if (133..=137).contains(&kind) {
        return Ok(Verdict::Pass);
    }
    if !may_be_client(ip.source) || ip.source == ip.destination {
        return Err(DropReason::SourceAddress);
    }
    if kind != ECHO_REQUEST || icmp.u8::<1>() != 0 {
        return Err(DropReason::IcmpType);
    }
    let answers = of.kind == Address::ENDPOINT
        && tables.endpoint(of.index).is_some_and(|endpoint| endpoint.icmp_echo != 0);
    if !answers {
        return Err(DropReason::IcmpEcho);
    }
    if icmpv6::sum(packet, ip.payload(), [ip.source, ip.destination], ip.length)? != 0xffff {
        return Err(DropReason::IcmpChecksum);
    }
    icmpv6::reply(packet, ip)?;
    let header = packet.window::<{ ethernet::HEADER }>(0).ok_or(DropReason::Truncated)?;
    ethernet::write_addresses(&header, ethernet.source, ingress.interface.mac);
    Ok(Verdict::Redirect(ingress.slot))
}
