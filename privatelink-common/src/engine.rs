//! The order of steps a packet goes through.
//!
//! Everything not addressed to an endpoint or load balancer address passes to the host untouched;
//! everything addressed to one is forwarded, answered or dropped with a reason.

pub mod admit;
mod fragment;
mod icmp;
mod known;
pub mod lease;
mod mss;
pub mod open;
mod other;
pub mod refused;
mod reset;
mod route;
mod track;
mod udp;
pub mod unreachable;
mod wide;

use route::Route;
use unreachable::Refusal;

use crate::drop_reason::DropReason;
use crate::ethernet::{self, Ethernet};
use crate::flow_table::totals;
use crate::ipv4::Segment;
use crate::memory::Packet;
use crate::records::{Address, AddressKey, Interface, Listener, Settings, interface_slots};
use crate::stages::Stage;
use crate::tables::{Tables, WideTables};
use crate::tcp;
use crate::ticks::Tick;

/// What is to become of the frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The host's business.
    Pass,
    /// For a program of its own to decide.
    Next(Stage),
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

/// Decides about a frame that arrived on an interface, and rewrites it, if it is a TCP segment: what else is ours is
/// handled in a program of its own, which segments need not pay for.
#[inline(always)]
pub fn process(packet: &mut impl Packet, tables: &impl Tables, ifindex: u32) -> Verdict {
    let ethernet = Ethernet::parse(packet);
    // Whose interface it is, that program finds out by itself.
    if ethernet.is_ok_and(|ethernet| ethernet.ether_type == ethernet::IPV6) {
        return Verdict::Next(Stage::Wide);
    }
    let Some(ingress) = find_ingress(tables, ifindex) else {
        return Verdict::Pass;
    };
    let outcome = ethernet.and_then(|ethernet| step(packet, tables, ingress, &ethernet));
    verdict(tables, ingress, outcome)
}

/// As [`process`], for a frame that it has left to this.
#[inline(always)]
pub fn process_other(packet: &mut impl Packet, tables: &impl Tables, ifindex: u32) -> Verdict {
    let Some(ingress) = find_ingress(tables, ifindex) else {
        return Verdict::Pass;
    };
    verdict(tables, ingress, other::step(packet, tables, ingress))
}

/// As [`process`], for a frame that was refused there, or by another stage.
#[inline(always)]
pub fn process_refused(packet: &mut impl Packet, tables: &impl Tables, ifindex: u32) -> Verdict {
    let Some(ingress) = find_ingress(tables, ifindex) else {
        return Verdict::Pass;
    };
    verdict(tables, ingress, unreachable::step(packet, tables, ingress))
}

/// As [`process`], for a frame that was left to one of the wide table's stages.
#[inline(always)]
pub fn process_wide(
    stage: Stage,
    packet: &mut impl Packet,
    tables: &impl WideTables,
    ifindex: u32,
) -> Verdict {
    let Some(ingress) = find_ingress(tables, ifindex) else {
        return Verdict::Pass;
    };
    let outcome = match stage {
        Stage::Wide => wide::step(packet, tables, ingress),
        Stage::WideNew => wide::new::step(packet, tables, ingress),
        Stage::WideFragments => wide::fragment::step(packet, tables, ingress),
        _ => wide::other::step(packet, tables, ingress),
    };
    if let Err(reason) = outcome {
        packet.tell_refused(tables, ingress.slot, reason);
    }
    verdict(tables, ingress, outcome)
}

/// As [`process`], for a frame that [`process_other`] has left to this.
#[inline(always)]
pub fn process_fragment(packet: &mut impl Packet, tables: &impl Tables, ifindex: u32) -> Verdict {
    let Some(ingress) = find_ingress(tables, ifindex) else {
        return Verdict::Pass;
    };
    verdict(tables, ingress, fragment::step(packet, tables, ingress))
}

#[inline(always)]
fn verdict(
    tables: &impl Tables,
    ingress: Ingress<'_>,
    outcome: Result<Verdict, DropReason>,
) -> Verdict {
    outcome.unwrap_or_else(|reason| {
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
    ethernet: &Ethernet,
) -> Result<Verdict, DropReason> {
    match ethernet.ether_type {
        ethernet::IPV4 if ethernet.destination == ingress.interface.mac => {}
        ethernet::ARP => return Ok(Verdict::Next(Stage::Other)),
        _ => return Ok(Verdict::Pass),
    }
    let Ok(segment) = Segment::parse(packet, packet.standing(ethernet.tags).header()) else {
        return Ok(Verdict::Next(Stage::Other));
    };
    tcp(packet, tables, ingress, ethernet, &segment)
        .or_else(|refusal| refuse(packet, tables, ingress, refusal))
}

/// Tells of a packet that is refused, or has it answered: who answers it tells of it.
#[inline(always)]
fn refuse(
    packet: &impl Packet,
    tables: &impl Tables,
    ingress: Ingress<'_>,
    refusal: Refusal,
) -> Result<Verdict, DropReason> {
    unreachable::refuse(tables, refusal)
        .inspect_err(|&reason| packet.tell_refused(tables, ingress.slot, reason))
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
    let key = segment.header.key(vpc);
    if let Some(found) = tables.find(key.words())
        && known::is_live(tables, now, &found, tcp::opens(segment.tcp.flags))
    {
        let outcome = known::forward(packet, tables, now, ingress, ethernet, segment, &found);
        return known::counted(tables, &found, outcome);
    }
    let Some(&Address { kind, flags, .. }) =
        tables.address(&AddressKey::new(vpc, segment.header.addresses.destination))
    else {
        return Ok(Verdict::Pass);
    };
    if flags & Address::WIDE != 0 {
        return Ok(Verdict::Next(Stage::Wide));
    }
    if tcp::impossible(segment.tcp.flags) {
        return Err(DropReason::TcpFlags.into());
    }
    if kind == Address::LOAD_BALANCER {
        return Ok(reset::unsolicited(packet, tables, ingress, ethernet, segment)?);
    }
    let listener = open::listener(tables, &key)?;
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
    let key = segment.header.key(ingress.interface.vpc);
    open::permit(tables, listener, &key, tcp::opens(segment.tcp.flags))?;
    if !tcp::opens(segment.tcp.flags) {
        let verdict = reset::no_flow(packet, tables, ingress, ethernet, segment)?;
        if let Some(usage) = tables.usage(listener.endpoint) {
            usage.totals.resets_sent.add(1);
        }
        return Ok(verdict);
    }
    segment.verify_checksums(packet)?;
    let parts = segment.header.parts(packet, segment.length());
    let carries = |route: &Route<'_>, _| route.carries(parts);
    let opened = open::flow(tables, key.words(), segment.tcp.sequence, listener, carries, |_| ())?;
    known::forward(packet, tables, now, ingress, ethernet, segment, &opened)
}
