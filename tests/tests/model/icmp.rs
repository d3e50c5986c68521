//! ICMP of either version to an address of ours, and what the model leaves to others.

use privatelink_common::drop_reason::DropReason;
use privatelink_common::tcp::RST;

use super::answers::framed;
use super::extensions::{EXTENSIONS, cut_off};
use super::flow::Place;
use super::nat::{Arrival, Fate, Nat};
use super::open::may_be_client;
use super::rewrite;
use super::said::{self, Way};
use super::wire::{
    self, IPV4, IPV6, Link, Parcel, Socket, TCP, UDP, addresses, header_of, ipv4_at, ipv6_at,
    u16_at, u32_at,
};
use crate::frame::internet_checksum;
use crate::world::Port;

impl Nat {
    /// Whether what has come by `port` to an address of ours is answered if it asks for an echo.
    fn echoes(&self, port: Port) -> bool {
        port != Port::Provider && self.endpoints[port as usize - 1].echo
    }

    /// A packet to one of our addresses that is neither TCP nor UDP.
    pub(super) fn icmp(&self, arrival: Arrival<'_>) -> Result<Fate, DropReason> {
        let Arrival { port, link, packet, .. } = arrival;
        let length = usize::from(u16_at(packet, 2));
        if packet[9] != 1 {
            return Err(DropReason::Protocol);
        }
        if length < 28 {
            return Err(DropReason::Truncated);
        }
        if length > 1500 || internet_checksum(&packet[20..length]) != 0 {
            return Err(DropReason::IcmpChecksum);
        }
        let (source, destination) = addresses(packet);
        if !may_be_client(source) || source == destination {
            return Err(DropReason::SourceAddress);
        }
        match (packet[20], packet[21]) {
            (3 | 11 | 12, _) => self.error_v4(arrival),
            (8, 0) if !self.echoes(port) => Err(DropReason::IcmpEcho),
            (8, 0) => {
                let place = Place { mac: link.from, tags: link.tags.clone() };
                Ok(Fate::Replied(framed(&place, port, &rewrite::echo_reply(packet))))
            }
            _ => Err(DropReason::IcmpType),
        }
    }

    /// An ICMPv6 message to one of our addresses.
    pub(super) fn icmpv6(&self, arrival: Arrival<'_>) -> Result<Fate, DropReason> {
        let Arrival { port, link, packet, .. } = arrival;
        let length = usize::from(u16_at(packet, 4));
        if length < 8 {
            return Err(DropReason::Truncated);
        }
        // Neighbour discovery that asks nothing of us is the host's.
        if (133..=137).contains(&packet[40]) {
            return Ok(Fate::Pass);
        }
        let (source, destination) = addresses(packet);
        if !may_be_client(source) || source == destination {
            return Err(DropReason::SourceAddress);
        }
        if matches!(packet[40], 1..=4) {
            return self.error_v6(arrival);
        }
        if (packet[40], packet[41]) != (128, 0) {
            return Err(DropReason::IcmpType);
        }
        if !self.echoes(port) {
            return Err(DropReason::IcmpEcho);
        }
        if length > 1480 || !wire::icmpv6_is_right(&packet[..40 + length]) {
            return Err(DropReason::IcmpChecksum);
        }
        let place = Place { mac: link.from, tags: link.tags.clone() };
        Ok(Fate::Replied(framed(&place, port, &rewrite::echo_reply(packet))))
    }

    /// An error of IPv4 about what we had sent into a port's vpc.
    fn error_v4(&self, arrival: Arrival<'_>) -> Result<Fate, DropReason> {
        let Arrival { port, packet, .. } = arrival;
        let length = usize::from(u16_at(packet, 2));
        if packet[8] <= 1 {
            return Err(DropReason::TtlExpired);
        }
        if length < 56 {
            return Err(DropReason::IcmpQuote);
        }
        let quote = &packet[28..length];
        let later_fragment = u16_at(quote, 6) & 0x1fff != 0;
        if quote[0] != 0x45 || later_fragment || ![TCP, UDP].contains(&quote[9]) {
            return Err(DropReason::IcmpQuote);
        }
        let quoted = Quoted::read(quote);
        let us = ipv4_at(packet, 16);
        if quoted.sender.0 != us {
            return Err(DropReason::IcmpNoFlow);
        }
        // The direction that answers what is quoted.
        let found = self.find(port, quoted.protocol, quoted.receiver, quoted.sender);
        if let Some((number, side)) = found.filter(|&(number, _)| !self.flows[number].wide) {
            if !self.has_sent(number, side, &quoted) {
                return Err(DropReason::IcmpNoFlow);
            }
            let (to, place) = self.route(number, side)?;
            if length as u32 > self.interfaces[to as usize].mtu {
                return Err(DropReason::TooBig);
            }
            let (source, destination) = self.flows[number].ends(side);
            let (ends, about) = ((source.0, destination.0), (destination, source));
            let out = rewrite::translate_error(packet, ends, about);
            return Ok(Fate::Sent(to, framed(&place, to, &out)));
        }
        if self.mix.is_wide(port, us) {
            // A header that is written anew would heal the damage.
            if !wire::ipv4_is_right(packet) {
                return Err(DropReason::Ipv4Checksum);
            }
            if u16_at(quote, 2) < 20 {
                return Err(DropReason::IcmpQuote);
            }
        }
        self.tell(arrival, found, &quoted, u16_at(quote, 2).into())
    }

    /// The same of IPv6.
    fn error_v6(&self, arrival: Arrival<'_>) -> Result<Fate, DropReason> {
        let Arrival { port, packet, .. } = arrival;
        let length = usize::from(u16_at(packet, 4));
        if packet[7] <= 1 {
            return Err(DropReason::TtlExpired);
        }
        if length > 1480 || !wire::icmpv6_is_right(&packet[..40 + length]) {
            return Err(DropReason::IcmpChecksum);
        }
        let quote = packet.get(48..).filter(|quote| quote.len() >= 40);
        let quote = quote.ok_or(DropReason::Truncated)?;
        // No longer than an interface could have sent it.
        let is_right = quote[0] >> 4 == 6 && u16_at(quote, 4) <= u16::MAX - 40;
        if !is_right || ![TCP, UDP].contains(&quote[6]) {
            return Err(DropReason::IcmpQuote);
        }
        if quote.len() < 48 {
            return Err(DropReason::Truncated);
        }
        if length < 56 {
            return Err(DropReason::IcmpQuote);
        }
        let quoted = Quoted::read(quote);
        if quoted.sender.0 != ipv6_at(packet, 24) {
            return Err(DropReason::IcmpNoFlow);
        }
        let found = self.find(port, quoted.protocol, quoted.receiver, quoted.sender);
        self.tell(arrival, found, &quoted, 40 + u32::from(u16_at(quote, 4)))
    }

    /// Tells the other side of a flow of the wide table, in its family, of an error about a packet of this length.
    fn tell(
        &self,
        arrival: Arrival<'_>,
        found: Option<(usize, usize)>,
        quoted: &Quoted,
        length: u32,
    ) -> Result<Fate, DropReason> {
        let Arrival { port, packet, seen, .. } = arrival;
        let found = found.filter(|&(number, side)| self.has_sent(number, side, quoted));
        let (number, side) = found.ok_or(DropReason::IcmpNoFlow)?;
        let (to, place) = self.route(number, side)?;
        let (source, destination) = self.flows[number].ends(side);
        let (was_six, is_six) = (quoted.sender.0.is_ipv6(), source.0.is_ipv6());
        let at = header_of(quoted.sender.0);
        let said = (packet[at], packet[at + 1], u32_at(packet, at + 4));
        let way = Way { length, mtus: [port, to].map(|port| self.interfaces[port as usize].mtu) };
        let said = match (was_six, is_six) {
            (false, true) => said::to_six(said, &way),
            (true, false) => said::to_four(said, &way),
            _ => Some(said),
        };
        let said = said.ok_or(DropReason::IcmpType)?;
        let identifications = [0, 28].map(|at| {
            let may_be = was_six && !is_six;
            if may_be { seen.identification(at) } else { 0 }
        });
        let ends = ((source.0, destination.0), (destination, source));
        let out = rewrite::tell_error(packet, ends, said, identifications);
        // No error about an error: RFC 1122, section 3.2.2; RFC 4443, section 2.4.
        if out.len() as u32 > self.interfaces[to as usize].mtu {
            return Err(DropReason::TooBig);
        }
        Ok(Fate::Sent(to, framed(&place, to, &out)))
    }

    /// Whether the side of a live flow that `side` answers has sent such a packet lately.
    fn has_sent(&self, number: usize, side: usize, quoted: &Quoted) -> bool {
        let flow = &self.flows[number];
        let sent = &flow.sides[1 - side];
        let difference = sent.next.wrapping_sub(quoted.sequence) as i32;
        // A side that has sent nothing, or only resets, has no number to be near to. UDP has none at all.
        let near = match flow.protocol {
            UDP => sent.packets > 0,
            _ => sent.flags & !RST != 0 && (-(1 << 24)..1 << 24).contains(&difference),
        };
        flow.is_live() && near
    }

    /// Whether a frame is one whose fate the model does not know.
    pub(crate) fn leaves_out(&self, port: Port, frame: &[u8]) -> bool {
        let Some(link) = Link::read(frame) else { return false };
        let packet = &frame[link.length..];
        match link.ether_type {
            IPV4 if packet.len() >= 20 => {
                let is_piece = matches!(Parcel::read_v4(packet), Err(DropReason::Fragment));
                is_piece && self.is_undecided(port, packet)
            }
            IPV6 if matches!(Parcel::read_v6(packet), Err(DropReason::Protocol)) => {
                let extended = EXTENSIONS.contains(&packet[6]).then(|| cut_off(packet));
                let Ok(bare) = extended.unwrap_or_else(|| Ok(packet.to_vec())) else {
                    return false;
                };
                bare[6] == 44 && self.is_undecided(port, &bare)
            }
            _ => false,
        }
    }
}

/// What an error quotes, whose header and eight bytes behind it are there.
pub(super) struct Quoted {
    pub(super) protocol: u8,
    pub(super) sender: Socket,
    pub(super) receiver: Socket,
    /// Of a segment.
    sequence: u32,
}

impl Quoted {
    pub(super) fn read(quote: &[u8]) -> Self {
        let (sender, receiver) = addresses(quote);
        let header = header_of(sender);
        Self {
            protocol: quote[if header == 40 { 6 } else { 9 }],
            sender: (sender, u16_at(quote, header)),
            receiver: (receiver, u16_at(quote, header + 2)),
            sequence: u32_at(quote, header + 4),
        }
    }
}
