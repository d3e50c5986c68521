//! ICMP of either version to an address of ours, and what the model leaves to others.

use privatelink_common::drop_reason::DropReason;
use privatelink_common::tcp::RST;

use super::answers::framed;
use super::flow::Place;
use super::mix::Mix;
use super::nat::{Arrival, Fate, Nat, may_be_client};
use super::rewrite;
use super::wire::{self, ICMPV6, IPV4, IPV6, Link, TCP, UDP, addresses, ipv4_at, u16_at, u32_at};
use crate::frame::internet_checksum;
use crate::world::Port;

/// IPv6 extension headers, by the numbers that name them.
pub(crate) const EXTENSIONS: [u8; 11] = [0, 43, 44, 50, 51, 60, 135, 139, 140, 253, 254];

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
            (3 | 11 | 12, _) => self.icmp_error(port, packet, length),
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

    /// An error about what we had sent into a port's vpc.
    fn icmp_error(&self, port: Port, packet: &[u8], length: usize) -> Result<Fate, DropReason> {
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
        let sender = (ipv4_at(quote, 12), u16_at(quote, 20));
        let receiver = (ipv4_at(quote, 16), u16_at(quote, 22));
        if sender.0 != ipv4_at(packet, 16) {
            return Err(DropReason::IcmpNoFlow);
        }
        // The direction that answers what is quoted.
        let found = self.find(port, quote[9], receiver, sender);
        let (number, side) = found.ok_or(DropReason::IcmpNoFlow)?;
        let flow = &self.flows[number];
        // A side that has sent nothing, or only resets, has no number to be near to. UDP has none at all.
        let sent = &flow.sides[1 - side];
        let difference = sent.next.wrapping_sub(u32_at(quote, 24)) as i32;
        let near = match flow.protocol {
            UDP => sent.packets > 0,
            _ => sent.flags & !RST != 0 && (-(1 << 24)..1 << 24).contains(&difference),
        };
        if !flow.is_live() || !near {
            return Err(DropReason::IcmpNoFlow);
        }
        let (to, place) = self.route(number, side)?;
        if length as u32 > self.interfaces[to as usize].mtu {
            return Err(DropReason::TooBig);
        }
        let (source, destination) = flow.ends(side);
        let out =
            rewrite::translate_error(packet, (source.0, destination.0), (destination, source));
        Ok(Fate::Sent(to, framed(&place, to, &out)))
    }

    /// Whether a frame is one whose fate the model does not know: later fragments, errors about flows of the wide table, and
    /// what hides behind extension headers. The scenarios of packets.rs have them.
    pub(crate) fn leaves_out(&self, port: Port, frame: &[u8]) -> bool {
        let Some(link) = Link::read(frame) else { return false };
        let packet = &frame[link.length..];
        match link.ether_type {
            IPV4 if packet.len() >= 20 => {
                let is_fragment = packet[6] & 0x20 != 0 || u16_at(packet, 6) & 0x1fff != 0;
                let to_wide = self.mix.is_wide(port, ipv4_at(packet, 16));
                is_fragment && (packet[9] == UDP || to_wide)
                    || to_wide && packet[9] == 1 && matches!(packet.get(20), Some(3 | 11 | 12))
            }
            IPV6 if packet.len() >= 40 => {
                let is_error = packet[6] == ICMPV6 && matches!(packet.get(40), Some(0..128));
                let is_short = packet[6] == ICMPV6 && u16_at(packet, 4) < 8;
                is_error || is_short || EXTENSIONS.contains(&packet[6])
            }
            // Where nothing has IPv6, the kernel has no program that would look at it.
            IPV6 => self.mix == Mix::Four,
            _ => false,
        }
    }
}
