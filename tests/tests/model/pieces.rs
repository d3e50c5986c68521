//! Fragments of UDP datagrams: the first one has the ports, and the others go where it went.

use std::net::IpAddr;

use privatelink_common::drop_reason::DropReason;

use super::carry::fit_for_wide;
use super::extensions::bare;
use super::nat::{Arrival, Fate, Nat};
use super::rewrite::{self, Next};
use super::wire::{FRAGMENT_HEADER, Parcel, Piece, UDP, addresses, u16_at, u32_at};
use crate::world::Port;

/// How many datagrams of a run have other identifications.
pub(crate) const SALTED: u16 = 4;
/// Most bytes of a datagram.
const LARGEST: usize = 65_515;

/// What the fragments of a datagram have in common, in the narrow table or the wide one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct TrackedBy {
    wide: bool,
    port: Port,
    ends: (IpAddr, IpAddr),
    identification: u32,
}

/// What a first fragment leaves for the others.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tracked {
    ports: (u16, u16),
    /// Of the flow that has carried it.
    serial: u64,
    /// The identification that the datagram leaves with.
    identification: u16,
}

impl Parcel {
    /// What a packet of either family carries of a datagram, as an IPv4 fragment or behind a fragment header.
    pub(crate) fn read_piece(packet: &[u8]) -> Result<Self, DropReason> {
        let is_six = packet[0] >> 4 == 6;
        let (protocol, ttl, total, piece) = if is_six {
            let header = packet.get(40..48).ok_or(DropReason::Truncated)?;
            let total = 40 + u16_at(packet, 4);
            if total <= 48 {
                return Err(DropReason::Ipv6Extension);
            }
            let word = u16_at(header, 2);
            let piece = Piece {
                at: usize::from(word & 0xfff8),
                more: word & 1 != 0,
                identification: u32_at(header, 4),
            };
            (header[0], packet[7], total, piece)
        } else {
            let word = u16_at(packet, 6);
            let piece = Piece {
                at: usize::from(word & 0x1fff) * 8,
                more: word & 0x2000 != 0,
                identification: u16_at(packet, 4).into(),
            };
            (packet[9], packet[8], u16_at(packet, 2), piece)
        };
        if protocol != UDP {
            return Err(DropReason::Fragment);
        }
        let (source, destination) = addresses(packet);
        let mut parcel = Self {
            protocol,
            source: (source, 0),
            destination: (destination, 0),
            header: if is_six { 40 } else { 20 },
            total,
            sequence: 0,
            acknowledgement: 0,
            flags: 0,
            payload: 0,
            piece: Some(piece),
        };
        parcel.payload = usize::from(total) - parcel.start();
        let has_gap = piece.more && !parcel.payload.is_multiple_of(8);
        if parcel.payload == 0 || has_gap || piece.at + parcel.payload > LARGEST {
            return Err(if is_six { DropReason::Fragment } else { DropReason::Ipv4Header });
        }
        if ttl <= 1 {
            return Err(DropReason::TtlExpired);
        }
        if piece.at == 0 {
            parcel.read_udp(&packet[parcel.start()..])?;
        }
        Ok(parcel)
    }

    /// What a packet of either family carries that is at least as long as its header and has no extension headers but that of a
    /// fragment.
    pub(crate) fn read_any(packet: &[u8]) -> Result<Self, DropReason> {
        let is_six = packet[0] >> 4 == 6;
        match if is_six { Self::read_v6(packet) } else { Self::read_v4(packet) } {
            Err(DropReason::Protocol) if is_six && packet[6] == 44 => Self::read_piece(packet),
            Err(DropReason::Fragment) => Self::read_piece(packet),
            parcel => parcel,
        }
    }

    /// The header that the first fragment begins with.
    fn read_udp(&mut self, carried: &[u8]) -> Result<(), DropReason> {
        if !(self.payload..=LARGEST).contains(&usize::from(u16_at(carried, 4))) {
            return Err(DropReason::UdpLength);
        }
        if self.header == 40 && u16_at(carried, 6) == 0 {
            return Err(DropReason::UdpChecksum);
        }
        (self.source.1, self.destination.1) = (u16_at(carried, 0), u16_at(carried, 2));
        self.payload -= 8;
        Ok(())
    }

    fn tracked_by(&self, port: Port, wide: bool) -> TrackedBy {
        let identification = self.piece.map_or(0, |piece| piece.identification);
        TrackedBy { wide, port, ends: (self.source.0, self.destination.0), identification }
    }
}

/// The segment or datagram that a frame carries, behind extension headers or not, or the first fragment of one.
pub(crate) fn read(frame: &[u8]) -> Option<Parcel> {
    let packet = bare(frame)?;
    Parcel::read_any(&packet).ok().filter(|parcel| !parcel.is_later())
}

impl Nat {
    /// A fragment to one of our addresses.
    pub(super) fn piece(&mut self, arrival: Arrival<'_>) -> Result<Fate, DropReason> {
        let Arrival { port, packet, .. } = arrival;
        let parcel = Parcel::read_piece(packet)?;
        if !parcel.is_later() {
            return self.parcel(arrival, &parcel);
        }
        if parcel.header == 20
            && let Some(fate) = self.carry_later(arrival, &parcel, false)
        {
            return fate;
        }
        if self.mix.is_wide(port, parcel.destination.0) {
            fit_for_wide(packet, &parcel)?;
            if let Some(fate) = self.carry_later(arrival, &parcel, true) {
                return fate;
            }
        }
        Err(DropReason::FragmentUnknown)
    }

    /// Whether a packet is a later fragment of which nobody knows what it comes to: a run before this one may have left word
    /// for it, or it would find a flow that is due, by the place of one that had the same ends.
    pub(super) fn is_undecided(&self, port: Port, packet: &[u8]) -> bool {
        let Ok(parcel) = Parcel::read_piece(packet) else { return false };
        let known = [false, true]
            .into_iter()
            .any(|wide| self.tracked.contains_key(&parcel.tracked_by(port, wide)));
        let identification = parcel.piece.map_or(0, |piece| piece.identification);
        let own = identification as u16 & !(SALTED - 1) == self.salt;
        let is_lost = |tracked: &Tracked| {
            let (source, destination) = (parcel.source.0, parcel.destination.0);
            let ends = ((source, tracked.ports.0), (destination, tracked.ports.1));
            self.find(port, UDP, ends.0, ends.1).is_some_and(|(number, _)| {
                let flow = &self.flows[number];
                flow.serial != tracked.serial && flow.is_due(self.now)
            })
        };
        let is_lost = self.tracked.get(&parcel.tracked_by(port, false)).is_some_and(is_lost);
        parcel.is_later() && (is_lost || !own && !known)
    }

    /// Carries a later fragment where the first has left word, and the flow lives.
    fn carry_later(
        &mut self,
        arrival: Arrival<'_>,
        parcel: &Parcel,
        wide: bool,
    ) -> Option<Result<Fate, DropReason>> {
        let Arrival { port, seen, .. } = arrival;
        let tracked = *self.tracked.get(&parcel.tracked_by(port, wide))?;
        let mut parcel = parcel.clone();
        (parcel.source.1, parcel.destination.1) = tracked.ports;
        let found = self.find(port, UDP, parcel.source, parcel.destination)?;
        let flow = &self.flows[found.0];
        // The narrow table knows the first one's flow by its place, which another may have now that is between the same ends.
        let is_lost = !wide && flow.serial != tracked.serial;
        if !flow.is_live()
            || flow.wide != wide
            || is_lost && seen.reason == Some(DropReason::FragmentUnknown)
        {
            return None;
        }
        self.carry_live(arrival, &parcel, Some(found))
    }

    /// A fragment as it leaves.
    pub(super) fn send_piece(
        &mut self,
        arrival: Arrival<'_>,
        parcel: &Parcel,
        number: usize,
        side: usize,
    ) -> Result<Vec<u8>, DropReason> {
        let Arrival { packet, .. } = arrival;
        let (source, destination) = self.flows[number].ends(side);
        let (is_six, start) = (destination.0.is_ipv6(), parcel.start());
        let mut carried = packet[start..].to_vec();
        if !parcel.is_later() {
            let checksum = u16_at(&carried, 6);
            // RFC 7915, section 4.5: it would cover what is not here.
            if checksum == 0 && is_six {
                return Err(DropReason::UdpChecksum);
            }
            rewrite::retarget(&mut carried, UDP, (source, destination), addresses(packet));
        }
        let identification = self.name_datagram(arrival, parcel, number, side);
        let piece = parcel.piece.expect("it is one");
        let length = usize::from(parcel.total) - start;
        let ends = (source.0, destination.0);
        let ttl = packet[if parcel.header == 40 { 7 } else { 8 }] - 1;
        if is_six {
            let length = FRAGMENT_HEADER + length;
            let next = Next { ends, protocol: 44, length, ttl, identification };
            let mut out = rewrite::ip_header(packet, &next);
            out.extend([UDP, 0]);
            out.extend((piece.at as u16 | u16::from(piece.more)).to_be_bytes());
            out.extend(u32::from(identification).to_be_bytes());
            return Ok([out, carried].concat());
        }
        let next = Next { ends, protocol: UDP, length, ttl, identification };
        let mut out = rewrite::ip_header(packet, &next);
        let place = (piece.at / 8) as u16 | u16::from(piece.more) << 13;
        rewrite::fragment(&mut out, packet, place, identification);
        Ok([out, carried].concat())
    }

    /// The identification that a datagram leaves with: between two addresses none comes again, but for a first fragment that was
    /// sent twice.
    fn name_datagram(
        &mut self,
        arrival: Arrival<'_>,
        parcel: &Parcel,
        number: usize,
        side: usize,
    ) -> u16 {
        let Arrival { port, seen, .. } = arrival;
        let flow = &self.flows[number];
        let by = parcel.tracked_by(port, flow.wide);
        let ports = (parcel.source.1, parcel.destination.1);
        let before = self.tracked.get(&by).copied();
        if let Some(before) = before
            && parcel.is_later()
        {
            return before.identification;
        }
        let (source, destination) = flow.ends(side);
        let seen = seen.identification(if destination.0.is_ipv6() { 42 } else { 0 });
        let same = before.filter(|before| before.ports == ports);
        let identification = match same {
            Some(same) if same.serial == flow.serial => same.identification,
            // Another flow of the same ends, which may have the place of that one.
            Some(same) if same.identification == seen => seen,
            _ => {
                let is_new = self.given.insert((source.0, destination.0, seen));
                assert!(is_new, "{seen:04x} again");
                seen
            }
        };
        self.tracked.insert(by, Tracked { ports, serial: flow.serial, identification });
        identification
    }
}
