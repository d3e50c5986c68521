//! UDP datagrams: a flow is its addresses and ports, is open once the first datagram is sent on, and ends in silence.

use super::route::Route;
use super::{Ingress, Now, Refusal, Stage, Verdict, known, open};
use crate::drop_reason::DropReason;
use crate::ethernet::{self, Ethernet};
use crate::flow_table::half::{Direction, FlowHalf};
use crate::flow_table::record::learn_client;
use crate::flow_table::{Found, NONE, totals};
use crate::ipv4;
use crate::memory::Packet;
use crate::records::{Address, AddressKey, Listener, NextHop};
use crate::tables::Tables;
use crate::tcp::ACK;
use crate::udp::{self, Datagram};

/// A datagram that arrived.
#[inline(always)]
pub(super) fn received(
    packet: &mut impl Packet,
    tables: &impl Tables,
    ingress: Ingress<'_>,
    ethernet: &Ethernet,
    datagram: &Datagram,
) -> Result<Verdict, Refusal> {
    let Some(settings) = tables.settings() else {
        return Ok(Verdict::Pass);
    };
    let now = Now { tick: tables.now(), settings };
    let key = datagram.header.key(ingress.interface.vpc);
    if let Some(found) = tables.find(key.words())
        && known::is_live(tables, now, &found, false)
    {
        let outcome = forward(packet, tables, now, ingress, ethernet, datagram, &found);
        return known::counted(tables, &found, outcome);
    }
    match tables.address(&AddressKey::new(key.vpc, key.destination)) {
        None => return Ok(Verdict::Pass),
        Some(Address { flags, .. }) if flags & Address::WIDE != 0 => {
            return Ok(Verdict::Next(Stage::Wide));
        }
        Some(Address { kind: Address::LOAD_BALANCER, .. }) => {
            return Err(DropReason::Unsolicited.into());
        }
        Some(_) => {}
    }
    let listener = open::listener(tables, &key)?;
    let outcome = without_flow(packet, tables, now, ingress, ethernet, datagram, listener);
    if outcome.is_err() {
        totals::count_dropped(tables, listener.endpoint);
    }
    outcome
}

/// A datagram to a listener that belongs to no flow opens one.
#[inline(always)]
fn without_flow(
    packet: &mut impl Packet,
    tables: &impl Tables,
    now: Now<'_>,
    ingress: Ingress<'_>,
    ethernet: &Ethernet,
    datagram: &Datagram,
    listener: &Listener,
) -> Result<Verdict, Refusal> {
    let key = datagram.header.key(ingress.interface.vpc);
    open::permit(tables, listener, &key, true)?;
    datagram.verify_checksums(packet)?;
    let carries = |route: &Route<'_>, _| route.carries(datagram.header.total_length);
    let opened = open::flow(tables, key.words(), listener, carries, |_| ())?;
    forward(packet, tables, now, ingress, ethernet, datagram, &opened)
}

#[inline(always)]
fn forward(
    packet: &mut impl Packet,
    tables: &impl Tables,
    now: Now<'_>,
    ingress: Ingress<'_>,
    ethernet: &Ethernet,
    datagram: &Datagram,
    found: &Found<'_>,
) -> Result<Verdict, Refusal> {
    let (header, half) = (&datagram.header, found.half);
    if found.direction() == Direction::Forward {
        let hop = NextHop::new(ethernet.source, ingress.slot as u16);
        learn_client(tables, half, hop, ethernet.tags, false);
    }
    let route = Route::of(tables, found)?;
    route.carries(header.total_length)?;
    rewrite(packet, datagram, half)?;
    let Route { slot, hop, tags, egress } = route;
    ethernet::replace_header(packet, header.offset, hop, egress.mac, tags)?;
    half.count(header.total_length, now.tick.stamp());
    replied(tables, found);
    Ok(Verdict::Redirect(slot))
}

/// A datagram of a flow has passed: its target may have answered for the first time. UDP has no flags: ACK stands for that. Two
/// CPUs that see the first answers at once both mark the flow, and one of them counts it.
#[inline(always)]
pub(super) fn replied(tables: &impl Tables, found: &Found<'_>) {
    if found.direction() == Direction::Forward || found.half.flags() != 0 {
        return;
    }
    found.half.set_flags(ACK);
    let owner = tables.owner(found.number());
    if owner != NONE {
        tables.establish(owner);
    }
}

#[inline(always)]
fn rewrite(packet: &impl Packet, datagram: &Datagram, half: &FlowHalf) -> Result<(), DropReason> {
    let udp = packet
        .window::<{ udp::HEADER }>(datagram.header.offset + ipv4::HEADER)
        .ok_or(DropReason::Truncated)?;
    let addresses = known::rewrite_ip(packet, &datagram.header, half)?;
    let ports = half.new_ports();
    let delta = addresses.replace32(udp.u32::<0>(), ports).fold();
    udp.set_u32::<0>(ports);
    udp.set_u16::<6>(udp::apply(datagram.checksum, delta));
    Ok(())
}
