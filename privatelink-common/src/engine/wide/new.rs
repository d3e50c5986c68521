//! What belongs to no flow of the wide table: a SYN, or a datagram or its first fragment, opens one, to be carried as any other's then; what else is
//! TCP is answered with a RST.

use super::super::route::Route;
use super::super::{Ingress, Refusal, Verdict, open, reset, unreachable};
use super::fragment::Piece;
use super::{Arrived, Known, fits};
use crate::checksum::fold;
use crate::drop_reason::DropReason;
use crate::ethernet::Ethernet;
use crate::flow_table::totals;
use crate::fragment;
use crate::ip::{self, Family, Ip};
use crate::ipv4::{MAX_VERIFIED, Segment};
use crate::memory::Packet;
use crate::records::{Address, Listener};
use crate::stages::Stage;
use crate::tables::WideTables;
use crate::tcp;
use crate::udp;
use crate::wide::WideAddress;

#[inline(always)]
pub(in super::super) fn step(
    packet: &mut impl Packet,
    tables: &impl WideTables,
    ingress: Ingress<'_>,
) -> Result<Verdict, DropReason> {
    let ethernet = Ethernet::parse(packet)?;
    let (mut arrived, whole) = match Arrived::parse(packet, &ethernet) {
        Ok(arrived) => (arrived, true),
        Err(_) => (Piece::parse(packet, &ethernet)?.first(packet)?, false),
    };
    arrived.ip.offset = packet.some_offset(arrived.ip.offset);
    without_flow(packet, tables, ingress, &ethernet, &arrived, whole)
        .or_else(|refusal| unreachable::refuse(tables, refusal))
}

#[inline(always)]
fn without_flow(
    packet: &mut impl Packet,
    tables: &impl WideTables,
    ingress: Ingress<'_>,
    ethernet: &Ethernet,
    arrived: &Arrived,
    whole: bool,
) -> Result<Verdict, Refusal> {
    let vpc = ingress.interface.vpc;
    let Ip { source, destination, family, .. } = arrived.ip;
    let Some(&Address { kind, .. }) = tables.either_address(vpc, destination) else {
        return Ok(Verdict::Pass);
    };
    if arrived.segment().is_some_and(|segment| tcp::impossible(segment.flags)) {
        return Err(DropReason::TcpFlags.into());
    }
    if kind == Address::LOAD_BALANCER {
        let Some(segment) = arrived.segment() else {
            return Err(DropReason::Unsolicited.into());
        };
        return Ok(match family {
            Family::V4 => {
                let segment = Segment::parse(packet, arrived.ip.offset)?;
                reset::unsolicited(packet, tables, ingress, ethernet, &segment)?
            }
            Family::V6 => {
                super::reset::unsolicited(packet, tables, ingress, ethernet, arrived, segment)?
            }
        });
    }
    if !may_be_client(source) || source == destination {
        return Err(DropReason::SourceAddress.into());
    }
    let [_, port] = arrived.port_pair();
    let protocol = arrived.ip.protocol;
    let listener = tables.either_listener(vpc, destination, protocol, port);
    let listener = listener.ok_or(DropReason::NoListener)?;
    let outcome = at_listener(packet, tables, ingress, ethernet, arrived, whole, listener);
    if outcome.is_err() {
        totals::count_dropped(tables, listener.endpoint);
    }
    outcome
}

/// Whether an address can be a single host's on a network; an IPv6 address not unspecified, loopback, link-local or multicast.
#[inline(always)]
pub(in super::super) const fn may_be_client(address: WideAddress) -> bool {
    if let Some(address) = address.ipv4() {
        return open::may_be_client(address);
    }
    let [first, second] = address.0;
    let top = (u64::from_be(first) >> 48) as u16;
    let unspecified_or_loopback = first == 0 && u64::from_be(second) <= 1;
    !unspecified_or_loopback && top & 0xffc0 != 0xfe80 && top >> 8 != 0xff
}

#[inline(always)]
fn at_listener(
    packet: &mut impl Packet,
    tables: &impl WideTables,
    ingress: Ingress<'_>,
    ethernet: &Ethernet,
    arrived: &Arrived,
    whole: bool,
    listener: &Listener,
) -> Result<Verdict, Refusal> {
    let ip = &arrived.ip;
    let opens = arrived.segment().is_none_or(|segment| tcp::opens(segment.flags));
    permit(tables, listener, arrived, opens)?;
    if let Some(segment) = arrived.segment()
        && !opens
    {
        let verdict = match ip.family {
            Family::V4 => {
                let segment = Segment::parse(packet, ip.offset)?;
                reset::no_flow(packet, tables, ingress, ethernet, &segment)?
            }
            Family::V6 => {
                super::reset::no_flow(packet, tables, ingress, ethernet, arrived, segment)?
            }
        };
        if let Some(usage) = tables.usage(listener.endpoint) {
            usage.totals.resets_sent.add(1);
        }
        return Ok(verdict);
    }
    // The UDP checksum of a fragment covers what is not here.
    if whole {
        verify(packet, arrived)?;
    }
    let settings = tables.settings().ok_or(DropReason::FlowTableFull)?;
    let key = arrived.key(ingress.interface.vpc, &settings.seeds);
    // One word, for which the stack has room: how long its packets get, what fragments need more, and whether there is no checksum to be
    // had.
    let longest = u64::from(ip.parts(packet).longest);
    let more = if whole { 0 } else { fragment::HEADER as u64 };
    let carried = longest | more << 16 | u64::from(cannot_be_summed(packet, arrived, whole)) << 32;
    let carries = |route: &Route<'_>, target: u32| {
        let target = tables.wide_target(target).ok_or(DropReason::NoTarget)?;
        let family = Family::of(*target);
        if family == Family::V6 && carried >> 32 != 0 {
            return Err(DropReason::UdpChecksum.into());
        }
        fits(carried as u16, ip.family, route, family, u32::from((carried >> 16) as u16))
    };
    let claimed = |forward: u32| {
        if let Some(ends) = tables.ends(forward) {
            ends.set_arriving([ip.source, ip.destination]);
        }
    };
    let sequence = arrived.segment().map_or(0, |segment| segment.sequence);
    let opened = open::flow(tables, key.words(), sequence, listener, carries, claimed)?;
    // Another flow's, whose addresses have the same names.
    if Known::of(opened, ip, packet, tables).is_none() {
        return Err(DropReason::FlowTableBusy.into());
    }
    Ok(Verdict::Next(if whole { Stage::Wide } else { Stage::WideFragments }))
}

/// As [`open::permit`], by the rules for the client's family.
#[inline(always)]
fn permit(
    tables: &impl WideTables,
    listener: &Listener,
    arrived: &Arrived,
    opens: bool,
) -> Result<(), DropReason> {
    let (protocol, [_, port]) = (arrived.ip.protocol, arrived.port_pair());
    let endpoint = tables.endpoint(listener.endpoint).ok_or(DropReason::EndpointNotAvailable)?;
    let allows = match arrived.ip.source.ipv4() {
        Some(client) => endpoint.allows(protocol, client, port),
        None => tables
            .wide_rules(listener.endpoint)
            .is_some_and(|rules| rules.allows(protocol, arrived.ip.source, port)),
    };
    if !allows {
        return Err(DropReason::SecurityGroup);
    }
    if endpoint.available == 0 && opens {
        return Err(DropReason::EndpointNotAvailable);
    }
    Ok(())
}

/// Whether a datagram has no checksum, and none can be computed, as IPv6 demands.
#[inline(always)]
fn cannot_be_summed(packet: &impl Packet, arrived: &Arrived, whole: bool) -> bool {
    arrived.is_unsummed(packet) && (!whole || arrived.ip.length > MAX_VERIFIED)
}

/// Verifies the checksum of a flow's first packet, up to 1 480 bytes.
#[inline(always)]
fn verify(packet: &impl Packet, arrived: &Arrived) -> Result<(), DropReason> {
    let ip = &arrived.ip;
    if arrived.is_unsummed(packet) || ip.length > MAX_VERIFIED {
        return Ok(());
    }
    let pseudo = ip::pseudo_header([ip.source, ip.destination], ip.protocol, ip.length);
    if packet.sum_with(pseudo, ip.payload(), ip.length)? == 0xffff {
        return Ok(());
    }
    let (at, wrong) = match arrived.segment() {
        Some(_) => (tcp::CHECKSUM, DropReason::TcpChecksum),
        None => (udp::CHECKSUM, DropReason::UdpChecksum),
    };
    let checksum = packet.window::<2>(ip.payload() + at).ok_or(DropReason::Truncated)?;
    if checksum.u16::<0>() != fold(pseudo) {
        return Err(wrong);
    }
    if packet.is_unfinished(ip.payload() + at) {
        return Ok(());
    }
    Err(DropReason::ChecksumUnfinished)
}
