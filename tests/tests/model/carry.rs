//! What a flow carries, and how it ends.

use std::net::IpAddr;

use privatelink_common::drop_reason::DropReason;
use privatelink_common::flow_table::record::mark;
use privatelink_common::tcp::{ACK, FIN, RST, SYN};

use super::answers::{error, framed, reset};
use super::flow::{FROM_CLIENT, HOLD, Place, Stage, opens};
use super::nat::{Arrival, Fate, Nat};
use super::open::{may_be_client, verify};
use super::rewrite;
use super::wire::{self, Parcel, header_of};
use crate::world::{Port, TARGET_MACS};

/// Flags that no TCP sends together, or alone.
fn are_impossible(segment: &Parcel) -> bool {
    let exclusive = [SYN, RST, FIN].into_iter().filter(|&flag| segment.has(flag)).count();
    segment.is_tcp() && (exclusive > 1 || !segment.has(SYN | RST | ACK))
}

impl Nat {
    pub(super) fn parcel(
        &mut self,
        arrival: Arrival<'_>,
        parcel: &Parcel,
    ) -> Result<Fate, DropReason> {
        let Arrival { port, packet, .. } = arrival;
        let (ours, to_wide) = {
            let to = parcel.destination.0;
            (self.mix.is_ours(port, to), self.mix.is_wide(port, to))
        };
        let found = self.find(port, parcel.protocol, parcel.source, parcel.destination);
        let found = found.filter(|&(number, _)| self.flows[number].is_live());
        let [narrow, wide] =
            [false, true].map(|wide| found.filter(|&(at, _)| self.flows[at].wide == wide));
        if let Some(fate) = self.carry_live(arrival, parcel, narrow) {
            return fate;
        }
        if ours && to_wide {
            // A header that is written anew would heal the damage.
            fit_for_wide(packet, parcel)?;
        }
        if let Some(fate) = self.carry_live(arrival, parcel, wide) {
            return fate;
        }
        if !ours {
            return Ok(Fate::Pass);
        }
        if are_impossible(parcel) {
            return Err(DropReason::TcpFlags);
        }
        if port == Port::Provider {
            return self.unsolicited(arrival, parcel);
        }
        let opening = !parcel.is_tcp() || opens(parcel);
        let published = self.may_enter(port, parcel, opening)?;
        if !opening {
            return reset(arrival, parcel);
        }
        verify(packet, parcel)?;
        self.open(arrival, parcel, published)
    }

    /// Carries what is of a live flow. One that is due is ended, and so is one that is over when its client opens another.
    pub(super) fn carry_live(
        &mut self,
        arrival: Arrival<'_>,
        parcel: &Parcel,
        found: Option<(usize, usize)>,
    ) -> Option<Result<Fate, DropReason>> {
        let (number, side) = found?;
        let flow = &self.flows[number];
        let anew = side == FROM_CLIENT && parcel.is_tcp() && opens(parcel) && flow.is_over();
        if !anew && !flow.is_due(self.now) {
            return Some(self.carry(arrival, parcel, number, side));
        }
        self.end(number);
        None
    }

    /// Where a direction of a flow leads.
    pub(super) fn route(&self, number: usize, side: usize) -> Result<(Port, Place), DropReason> {
        let flow = &self.flows[number];
        let (to, place) = match side {
            FROM_CLIENT if !self.reachable[flow.target] => {
                return Err(DropReason::NextHopUnresolved);
            }
            FROM_CLIENT => {
                (Port::Provider, Place { mac: TARGET_MACS[flow.target % 2], tags: Vec::new() })
            }
            _ => (flow.port, flow.place.clone()),
        };
        if !self.interfaces[to as usize].attached {
            return Err(DropReason::InterfaceGone);
        }
        Ok((to, place))
    }

    /// Takes a client to be where it sends from, but for the one move in 32 768 that is not told from none.
    fn learn(&mut self, number: usize, place: Place) {
        let flow = &mut self.flows[number];
        let slot = self.interfaces[flow.port as usize].slot;
        let mark = |place: &Place| {
            let (hop, tags) = place.learned(slot);
            mark(hop, tags)
        };
        if mark(&flow.place) != mark(&place) {
            flow.place = place;
        }
    }

    pub(super) fn carry(
        &mut self,
        arrival: Arrival<'_>,
        parcel: &Parcel,
        number: usize,
        side: usize,
    ) -> Result<Fate, DropReason> {
        let Arrival { port, link, packet, .. } = arrival;
        if are_impossible(parcel) {
            return Err(DropReason::TcpFlags);
        }
        if side == FROM_CLIENT {
            let place = Place { mac: link.from, tags: link.tags.clone() };
            self.learn(number, place);
        }
        let (to, place) = self.route(number, side)?;
        let (source, destination) = self.flows[number].ends(side);
        let header = header_of(destination.0);
        let mtu = self.interfaces[to as usize].mtu;
        if parcel.length_as(destination.0) as u32 > mtu {
            return self.too_big(arrival, parcel, to, destination.0);
        }
        let room = |mtu: u32, header: usize| mtu.saturating_sub(header as u32 + 20) as u16;
        let mss = room(mtu, header).min(room(self.interfaces[port as usize].mtu, parcel.header));
        let mss = Some(mss).filter(|_| parcel.has(SYN));
        let out = if parcel.piece.is_some() {
            self.send_piece(arrival, parcel, number, side)?
        } else {
            let identification = self.identify(arrival, parcel, number, side);
            rewrite::translate(packet, parcel, source, destination, mss, identification)
        };
        let flow = &mut self.flows[number];
        let own = &mut flow.sides[side];
        own.packets += 1;
        own.bytes += u64::from(parcel.total);
        if flow.follow(side, parcel) {
            flow.last = self.now;
        }
        Ok(Fate::Sent(to, framed(&place, to, &out)))
    }

    /// The identification of an IPv4 packet that was IPv6 and may be fragmented: another than the last one's.
    fn identify(
        &mut self,
        arrival: Arrival<'_>,
        parcel: &Parcel,
        number: usize,
        side: usize,
    ) -> u16 {
        let flow = &mut self.flows[number];
        let (_, (destination, _)) = flow.ends(side);
        if parcel.header == 20 || !rewrite::may_be_fragmented(destination, parcel.length()) {
            return 0;
        }
        let identification = arrival.seen.identification(0);
        let last = flow.sides[side].identification.replace(identification);
        assert_ne!(last, Some(identification), "again");
        identification
    }

    /// Too big for the interface `to` with the header of an address' family: its sender is told, even if it might have been
    /// fragmented.
    pub(super) fn too_big(
        &self,
        arrival: Arrival<'_>,
        parcel: &Parcel,
        to: Port,
        family: IpAddr,
    ) -> Result<Fate, DropReason> {
        let is_four = parcel.source.0.is_ipv4();
        // No error is about a later fragment: RFC 1122, section 3.2.2.
        if parcel.is_later() || !may_be_told(arrival, parcel) {
            return Err(DropReason::TooBig);
        }
        // As his own packets may be large: those of the other family have headers of another length.
        let mtu = self.interfaces[to as usize].mtu as usize + usize::from(parcel.total)
            - parcel.length_as(family);
        let mtu = if is_four { mtu } else { mtu.max(1280) };
        Ok(Fate::Answered(DropReason::TooBig, error(arrival, parcel, Some(mtu as u16))))
    }

    /// Ends a flow. One that was established keeps its lease, unless it was silent for as long as the hold.
    fn end(&mut self, number: usize) {
        let flow = &mut self.flows[number];
        if flow.stage == Stage::Established && self.now - flow.last <= HOLD {
            flow.stage = Stage::Held;
            flow.last = self.now;
        } else {
            self.flows.remove(number);
        }
    }

    /// Takes everything that is due one step further.
    pub(crate) fn sweep(&mut self) {
        let (now, mut number) = (self.now, 0);
        while number < self.flows.len() {
            let before = self.flows.len();
            if self.flows[number].is_due(now) {
                self.end(number);
            }
            number += 1 - (before - self.flows.len());
        }
    }
}

/// Whether what is refused is answered by an error: nobody is named wrongly by its header.
pub(super) fn may_be_told(arrival: Arrival<'_>, parcel: &Parcel) -> bool {
    match parcel.source.0 {
        IpAddr::V4(_) => wire::ipv4_is_right(arrival.packet),
        source => may_be_client(source),
    }
}

/// What a packet must be whose header is written anew: whole by all that is known of it.
pub(super) fn fit_for_wide(packet: &[u8], parcel: &Parcel) -> Result<(), DropReason> {
    if parcel.header == 20 && !wire::ipv4_is_right(packet) {
        return Err(DropReason::Ipv4Checksum);
    }
    let is_datagram = !parcel.is_tcp() && parcel.piece.is_none();
    if is_datagram && parcel.covered_length(packet) != parcel.length() {
        return Err(DropReason::UdpLength);
    }
    Ok(())
}
