//! The order of steps a packet goes through.
//!
//! Everything not addressed to an endpoint or load balancer address passes to the host untouched;
//! everything addressed to one is forwarded, answered or dropped with a reason.

pub mod admit;
mod icmp;
mod known;
pub mod lease;
mod mss;
pub mod open;
mod refused;
mod reset;
mod route;
mod track;
pub mod unreachable;

use open::Opening;
use unreachable::Refusal;

use crate::drop_reason::DropReason;
use crate::ethernet::{self, ArpRequest, Ethernet};
use crate::flow_table::half::Direction;
use crate::flow_table::{Entry, Found, totals};
use crate::ipv4::{Addresses, Segment};
use crate::memory::Packet;
use crate::records::{Address, AddressKey, Interface, Listener, Settings, interface_slots};
use crate::tables::Tables;
use crate::tcp;
use crate::ticks::Tick;

/// What is to become of the frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The host's business.
    Pass,
    /// Dropped and counted.
    Drop,
    /// Sent by the interface in this slot. Answers too leave so, by the interface the question came in
    /// by: XDP_TX on a veth rings the far end only if that has an XDP program (veth_xdp_flush).
    Redirect(u32),
}

/// The interface a packet came in by.
#[derive(Clone, Copy)]
struct Ingress<'t> {
    slot: u32,
    interface: &'t Interface,
}

/// The moment a packet is handled at, and the settings in force.
#[derive(Clone, Copy)]
struct Now<'t> {
    tick: Tick,
    settings: &'t Settings,
}

/// Decides about a frame that arrived on an interface, and rewrites it.
#[inline(always)]
pub fn process(packet: &mut impl Packet, tables: &impl Tables, ifindex: u32) -> Verdict {
    let Some(ingress) = find_ingress(tables, ifindex) else {
        return Verdict::Pass;
    };
    step(packet, tables, ingress).unwrap_or_else(|reason| {
        tables.count_drop(ingress.slot, reason);
        Verdict::Drop
    })
}

#[inline(always)]
fn find_ingress<T: Tables>(tables: &T, ifindex: u32) -> Option<Ingress<'_>> {
    for slot in interface_slots(ifindex) {
        let interface = tables.interface(slot)?;
        if interface.ifindex == ifindex {
            return Some(Ingress { slot, interface });
        }
    }
    None
}

#[inline(always)]
fn step(
    packet: &mut impl Packet,
    tables: &impl Tables,
    ingress: Ingress<'_>,
) -> Result<Verdict, DropReason> {
    let ethernet = Ethernet::parse(packet)?;
    match ethernet.ether_type {
        ethernet::IPV4 if ethernet.destination == ingress.interface.mac => {
            ipv4(packet, tables, ingress, &ethernet)
        }
        ethernet::ARP => arp(packet, tables, ingress, &ethernet),
        _ => Ok(Verdict::Pass),
    }
}

#[inline(always)]
fn arp(
    packet: &impl Packet,
    tables: &impl Tables,
    ingress: Ingress<'_>,
    ethernet: &Ethernet,
) -> Result<Verdict, DropReason> {
    let Some(request) = ArpRequest::parse(packet, ethernet.tags.header())? else {
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
    let vpc = ingress.interface.vpc;
    let offset = ethernet.tags.header();
    let segment = match Segment::parse(packet, offset) {
        Ok(segment) => segment,
        // Malformed, or nothing we carry: ours to drop only if it is addressed to us.
        Err(reason) => {
            let destination = Addresses::parse(packet, offset)?.destination;
            let outcome = match tables.address(&AddressKey::new(vpc, destination)) {
                None => Ok(Verdict::Pass),
                Some(&address) if reason == DropReason::Protocol => {
                    icmp::received(packet, tables, ingress, ethernet, offset, address)
                }
                Some(_) => Err(reason),
            };
            if let Err(reason) = outcome {
                refused::tell(packet, tables, ingress, offset, reason);
            }
            return outcome;
        }
    };
    tcp(packet, tables, ingress, ethernet, &segment).or_else(|refusal| {
        let (reason, _) = refusal.parts();
        refused::tell(packet, tables, ingress, offset, reason);
        unreachable::refuse(packet, tables, ingress, ethernet, &segment, refusal)
    })
}

#[inline(always)]
fn tcp(
    packet: &mut impl Packet,
    tables: &impl Tables,
    ingress: Ingress<'_>,
    ethernet: &Ethernet,
    segment: &Segment,
) -> Result<Verdict, Refusal> {
    let vpc = ingress.interface.vpc;
    let Some(settings) = tables.settings() else {
        return Ok(Verdict::Pass);
    };
    let now = Now { tick: tables.now(), settings };
    let key = segment.key(vpc);
    if let Some(found) = tables.find(key.words())
        && known::is_live(tables, now, &found, segment)
    {
        let outcome = known::forward(packet, tables, now, ingress, ethernet, segment, &found);
        if outcome.is_err()
            && let Some(record) = tables.record(tables.owner(found.number()))
        {
            totals::count_dropped(tables, record.place().endpoint());
        }
        return outcome;
    }
    let Some(&Address { kind, .. }) =
        tables.address(&AddressKey::new(vpc, segment.addresses.destination))
    else {
        return Ok(Verdict::Pass);
    };
    if tcp::impossible(segment.flags) {
        return Err(DropReason::TcpFlags.into());
    }
    if kind == Address::LOAD_BALANCER {
        return Ok(reset::unsolicited(packet, tables, ingress, ethernet, segment)?);
    }
    let listener = open::listener(tables, vpc, segment)?;
    let outcome = without_flow(packet, tables, now, ingress, ethernet, segment, listener);
    if outcome.is_err() {
        totals::count_dropped(tables, listener.endpoint);
    }
    outcome
}

/// A segment to a listener that belongs to no flow: opens one, or is answered with a RST.
#[inline(always)]
fn without_flow(
    packet: &mut impl Packet,
    tables: &impl Tables,
    now: Now<'_>,
    ingress: Ingress<'_>,
    ethernet: &Ethernet,
    segment: &Segment,
    listener: &Listener,
) -> Result<Verdict, Refusal> {
    open::permit(tables, listener, segment)?;
    let Listener { endpoint, load_balancer, .. } = *listener;
    if !tcp::opens(segment.flags) {
        let verdict = reset::no_flow(packet, tables, ingress, ethernet, segment)?;
        if let Some(usage) = tables.usage(endpoint) {
            usage.totals.resets_sent.add(1);
        }
        return Ok(verdict);
    }
    segment.verify_checksums(packet)?;
    let key = segment.key(ingress.interface.vpc).words();
    let target = tables.choose_target(key, listener);
    open::reaches(tables, target, segment.total_length)?;
    let forward = tables.admit(key, endpoint)?;
    let opening = Opening { key, endpoint, load_balancer, target, forward };
    let leased = tables.lease(&opening);
    if leased == Err(DropReason::LeaseExhausted) {
        totals::count_exhausted(tables, endpoint, target.number());
    }
    let reverse = leased?;
    let number = tables.open(&opening, reverse)?;
    let half = tables.half(number).ok_or(DropReason::FlowTableFull)?;
    let opened = Found { half, entry: Entry::new(number, Direction::Forward) };
    known::forward(packet, tables, now, ingress, ethernet, segment, &opened)
}
