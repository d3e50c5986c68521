//! UDP datagrams: a flow is its addresses and ports, is open once the first datagram is sent on, and ends in silence.

use super::route::{Route, learn_client};
use super::{Ingress, Now, Refusal, Verdict, known, open};
use crate::checksum::{Change, Delta};
use crate::drop_reason::DropReason;
use crate::ethernet::{self, Ethernet};
use crate::flow_table::half::{Direction, FlowHalf};
use crate::flow_table::{Found, NONE, totals};
use crate::ipv4::{self, Header};
use crate::memory::Packet;
use crate::records::{Address, AddressKey, Listener};
use crate::stages::Stage;
use crate::tables::Tables;
use crate::tcp::ACK;
use crate::udp::{self, Datagram};

/// What an IPv4 packet carries of a datagram.
pub(super) trait Carried {
    /// Its header.
    fn header(&self) -> &Header;

    /// Turns its headers into those of the flow's other side.
    fn rewrite(
        &self,
        packet: &impl Packet,
        tables: &impl Tables,
        now: Now<'_>,
        found: &Found<'_>,
    ) -> Result<(), DropReason>;

    /// It is left to the classifier, as it is: leaves word for what may come here before that has seen it.
    #[inline(always)]
    fn leave(
        &self,
        _packet: &impl Packet,
        _: &impl Tables,
        _: Now<'_>,
        _: &Found<'_>,
    ) -> Result<(), DropReason> {
        Ok(())
    }
}

/// One that may open a flow.
pub(super) trait Opener: Carried {
    /// Verifies its checksums.
    fn verify(&self, packet: &impl Packet) -> Result<(), DropReason>;
}

impl Opener for Datagram {
    #[inline(always)]
    fn verify(&self, packet: &impl Packet) -> Result<(), DropReason> {
        self.verify_checksums(packet)
    }
}

impl Carried for Datagram {
    #[inline(always)]
    fn header(&self) -> &Header {
        &self.header
    }

    #[inline(always)]
    fn rewrite(
        &self,
        packet: &impl Packet,
        _: &impl Tables,
        _: Now<'_>,
        found: &Found<'_>,
    ) -> Result<(), DropReason> {
        rewrite(packet, self, found.half)
    }
}

/// A datagram that arrived, or its first fragment.
#[inline(always)]
pub(super) fn received(
    packet: &mut impl Packet,
    tables: &impl Tables,
    ingress: Ingress<'_>,
    ethernet: &Ethernet,
    carried: &impl Opener,
) -> Result<Verdict, Refusal> {
    let Some(settings) = tables.settings() else {
        return Ok(Verdict::Pass);
    };
    let now = Now { tick: tables.now(), settings };
    let key = carried.header().key(ingress.interface.vpc);
    if let Some(found) = tables.find(key.words())
        && known::is_live(tables, now, &found, false)
    {
        let outcome = forward(packet, tables, now, ingress, ethernet, carried, &found);
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
    let outcome = without_flow(packet, tables, now, ingress, ethernet, carried, listener);
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
    carried: &impl Opener,
    listener: &Listener,
) -> Result<Verdict, Refusal> {
    let key = carried.header().key(ingress.interface.vpc);
    open::permit(tables, listener, &key, true)?;
    carried.verify(packet)?;
    let header = carried.header();
    let parts = header.parts(packet, header.total_length - ipv4::HEADER as u16);
    let carries = |route: &Route<'_>, _| route.carries(parts);
    let opened = open::flow(tables, key.words(), 0, listener, carries, |_| ())?;
    forward(packet, tables, now, ingress, ethernet, carried, &opened)
}

/// Sends on what belongs to a flow.
#[inline(always)]
pub(super) fn forward(
    packet: &mut impl Packet,
    tables: &impl Tables,
    now: Now<'_>,
    ingress: Ingress<'_>,
    ethernet: &Ethernet,
    carried: &impl Carried,
    found: &Found<'_>,
) -> Result<Verdict, Refusal> {
    let (header, half) = (carried.header(), found.half);
    learn_client(tables, found, ethernet, ingress, false);
    let route = Route::of(tables, found)?;
    if packet.is_left(route.egress) {
        carried.leave(packet, tables, now, found)?;
        return Ok(Verdict::Pass);
    }
    let parts = header.parts(packet, header.total_length - ipv4::HEADER as u16);
    route.carries(parts)?;
    carried.rewrite(packet, tables, now, found)?;
    let Route { slot, hop, tags, egress } = route;
    ethernet::replace_header(packet, header.offset, ethernet.tags, hop, egress.mac, tags)?;
    let volume = parts.volume(header.total_length, ipv4::HEADER);
    half.count(volume, now.tick.stamp(), packet.is_concurrent());
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

/// Writes the headers of the flow's other side.
#[inline(always)]
pub(super) fn rewrite(
    packet: &impl Packet,
    datagram: &Datagram,
    half: &FlowHalf,
) -> Result<(), DropReason> {
    let udp = packet
        .window::<{ udp::HEADER }>(datagram.header.offset + ipv4::HEADER)
        .ok_or(DropReason::Truncated)?;
    let addresses = known::rewrite_ip(packet, &datagram.header, half)?;
    let ports = half.new_ports();
    let own = Delta::default().replace32(udp.u32::<0>(), ports);
    udp.set_u32::<0>(ports);
    packet.mend_datagram(udp, datagram.header.offset + ipv4::HEADER, Change { addresses, own });
    Ok(())
}
