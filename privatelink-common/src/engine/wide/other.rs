//! What is neither segment nor datagram, of the wide table's addresses: neighbour discovery, ICMP, and what is malformed.

use super::super::{Ingress, Verdict};
use super::extension;
use super::new::may_be_client;
use super::{Arrived, icmp};
use crate::drop_reason::DropReason;
use crate::ethernet::{self, Ethernet};
use crate::extension::is_extension;
use crate::icmp::ICMP;
use crate::icmp_error::IcmpError;
use crate::icmpv6::{self, ADVERTISED, ECHO_REQUEST, Solicitation};
use crate::ip::{self, Family, ICMPV6, IPV6_HEADER, Ip};
use crate::ipv4::Addresses;
use crate::memory::Packet;
use crate::records::Address;
use crate::stages::Stage;
use crate::tables::WideTables;
use crate::wide::{WideAddress, WideAddressKey};

#[inline(always)]
pub(in super::super) fn step(
    packet: &mut impl Packet,
    tables: &impl WideTables,
    ingress: Ingress<'_>,
) -> Result<Verdict, DropReason> {
    let ethernet = Ethernet::parse(packet)?;
    let mut ip =
        match Ip::parse(packet, packet.standing(ethernet.tags).header(), ethernet.ether_type) {
            Ok(ip) => ip,
            Err(reason) => return malformed(packet, tables, ingress, &ethernet, reason),
        };
    ip.offset = packet.some_offset(ip.offset);
    if let Some(solicitation) = Solicitation::parse(packet, &ip) {
        return neighbour(packet, tables, ingress, &ethernet, &ip, &solicitation);
    }
    if ethernet.destination != ingress.interface.mac {
        return Ok(Verdict::Pass);
    }
    let Some(&of) = tables.either_address(ingress.interface.vpc, ip.destination) else {
        return Ok(Verdict::Pass);
    };
    match (ip.family, ip.protocol) {
        (Family::V6, ICMPV6) | (Family::V4, ICMP) => {
            message(packet, tables, ingress, &ethernet, &ip, of)
        }
        (Family::V6, next) if is_extension(next) => extension::cut(packet, &ethernet, &ip),
        _ => match Arrived::parse(packet, &ethernet) {
            Ok(_) => Ok(Verdict::Pass),
            Err(reason) => Err(reason),
        },
    }
}

/// Ours to drop only if it is addressed to us.
#[inline(always)]
fn malformed(
    packet: &impl Packet,
    tables: &impl WideTables,
    ingress: Ingress<'_>,
    ethernet: &Ethernet,
    reason: DropReason,
) -> Result<Verdict, DropReason> {
    let offset = packet.standing(ethernet.tags).header();
    let destination = if ethernet.ether_type == ethernet::IPV6 {
        let header = packet.window::<IPV6_HEADER>(offset).ok_or(DropReason::Truncated)?;
        ip::addresses(&header)[1]
    } else {
        WideAddress::of_ipv4(Addresses::parse(packet, offset)?.destination)
    };
    match (tables.either_address(ingress.interface.vpc, destination), reason) {
        (None, _) => Ok(Verdict::Pass),
        (Some(_), DropReason::Fragment) => Ok(Verdict::Next(Stage::WideFragments)),
        (Some(_), reason) => Err(reason),
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

/// An ICMP message to an address of ours. Echo requests of IPv4 do not come here.
#[inline(always)]
fn message(
    packet: &mut impl Packet,
    tables: &impl WideTables,
    ingress: Ingress<'_>,
    ethernet: &Ethernet,
    ip: &Ip,
    of: Address,
) -> Result<Verdict, DropReason> {
    if usize::from(ip.length) < icmpv6::HEADER {
        return Err(DropReason::Truncated);
    }
    let icmp = packet.window::<{ icmpv6::HEADER }>(ip.payload()).ok_or(DropReason::Truncated)?;
    let (kind, code) = (icmp.u8::<0>(), icmp.u8::<1>());
    // Neighbour discovery that asks nothing of us is the host's.
    if ip.family == Family::V6 && icmpv6::is_discovery(kind) {
        return Ok(Verdict::Pass);
    }
    if !may_be_client(ip.source) || ip.source == ip.destination {
        return Err(DropReason::SourceAddress);
    }
    if IcmpError::is_kind(ip.family, kind) {
        return icmp::error(packet, tables, ingress, ethernet, ip);
    }
    if ip.family == Family::V4 || kind != ECHO_REQUEST || code != 0 {
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
