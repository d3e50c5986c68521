//! ICMP errors about what wide flows have sent: they go to the flow's other side, in its family, and come from where its packets
//! seem to come from. As in the narrow table ([`super::super::icmp`]), they touch no flow.

use super::super::route::Route;
use super::super::{Ingress, Verdict};
use crate::checksum;
use crate::drop_reason::DropReason;
use crate::ethernet::{self, Ethernet};
use crate::hash::Seeds;
use crate::icmp::{self, HEADER, ICMP, QUOTED_CHECKSUM};
use crate::icmp_error::{About, IcmpError};
use crate::icmpv6;
use crate::ip::{self, Family, ICMPV6, Ip, LEAST_MTU};
use crate::ipv4::{self, MAX_VERIFIED};
use crate::memory::Packet;
use crate::records::FlowKey;
use crate::tables::WideTables;
use crate::udp;
use crate::wide::{Ends, WideAddress};

/// What an error quotes of a segment or datagram.
struct Quoted {
    ip: Ip,
    /// Its ports, as they stand side by side.
    ports: u32,
    /// Sequence number of a segment, host order.
    sequence: u32,
    /// Bytes that are there behind its IP header.
    length: u16,
    /// Bytes of its fragment header, which is left out of what leaves.
    fragment: u16,
}

impl Quoted {
    #[inline(always)]
    fn parse(packet: &impl Packet, message: &Ip) -> Result<Self, DropReason> {
        let at = message.payload() + HEADER;
        let (ip, fragment) = Ip::quoted(packet, at, message.family)?;
        let headers = HEADER + ip.family.header() + fragment;
        let length = usize::from(message.length) as i32 - headers as i32;
        let Some(carried) = packet.window::<{ udp::HEADER }>(ip.payload() + fragment) else {
            return Err(DropReason::Truncated);
        };
        if length < udp::HEADER as i32 {
            return Err(DropReason::IcmpQuote);
        }
        let (ports, sequence) = (carried.u32::<0>(), u32::from_be(carried.u32::<4>()));
        Ok(Self { ip, ports, sequence, length: length as u16, fragment: fragment as u16 })
    }

    /// Offset of the segment or datagram.
    #[inline(always)]
    fn payload(&self) -> usize {
        self.ip.payload() + usize::from(self.fragment)
    }

    /// The key of the flow's direction that answers it, with names for addresses.
    #[inline(always)]
    fn answer_key(&self, vpc: u16, seeds: &Seeds) -> FlowKey {
        let Ip { source, destination, protocol, .. } = self.ip;
        FlowKey {
            source: destination.name(seeds),
            destination: source.name(seeds),
            source_port: (self.ports >> 16) as u16,
            destination_port: self.ports as u16,
            vpc,
            protocol,
        }
    }
}

/// A message to an address of ours.
#[inline(always)]
pub(super) fn error(
    packet: &mut impl Packet,
    tables: &impl WideTables,
    ingress: Ingress<'_>,
    ethernet: &Ethernet,
    ip: &Ip,
) -> Result<Verdict, DropReason> {
    if ip.ttl <= 1 {
        return Err(DropReason::TtlExpired);
    }
    if sum(packet, ip.payload(), ip.family, [ip.source, ip.destination], ip.length)? != 0xffff {
        return Err(DropReason::IcmpChecksum);
    }
    let quoted = Quoted::parse(packet, ip)?;
    if quoted.ip.source != ip.destination {
        return Err(DropReason::IcmpNoFlow);
    }
    let settings = tables.settings().ok_or(DropReason::IcmpNoFlow)?;
    let key = quoted.answer_key(ingress.interface.vpc, &settings.seeds);
    let found = tables.find(key.words()).ok_or(DropReason::IcmpNoFlow)?;
    let ends = tables.ends(found.number()).ok_or(DropReason::IcmpNoFlow)?;
    let record = tables.record(tables.owner(found.number())).ok_or(DropReason::IcmpNoFlow)?;
    let sent = record.half(found.direction().other());
    if !ends.are(quoted.ip.destination, quoted.ip.source)
        || !record.place().phase().is_live()
        || !icmp::is_recent(quoted.ip.protocol, quoted.sequence, sent)
    {
        return Err(DropReason::IcmpNoFlow);
    }
    let route = Route::of(tables, &found)?;
    if packet.is_left(route.egress) {
        return Ok(Verdict::Pass);
    }
    let family = ends.leaves_as();
    let icmp = packet.window::<HEADER>(ip.payload()).ok_or(DropReason::Truncated)?;
    let error = IcmpError {
        kind: icmp.u8::<0>(),
        code: icmp.u8::<1>(),
        word: u32::from_be(icmp.u32::<4>()),
    };
    let about = About {
        length: quoted.ip.length_as(ip.family) as u16,
        fragment: quoted.fragment,
        mtu: mtu(ingress.interface.mtu, ip.family, family).min(route.egress.mtu),
    };
    let error = error.said_in(ip.family, family, about).ok_or(DropReason::IcmpType)?;
    let length = fit(packet, &quoted, &route, family)?;

    rewrite(packet, &quoted, length, ends, found.half.new_ports().rotate_left(16))?;
    let outer = ip.rest(packet, ip.ttl - 1)?;
    let inner = quoted.ip.rest(packet, quoted.ip.ttl)?;
    let offset = packet.standing(route.tags).header();
    let message = offset + family.header();
    let quote = message + HEADER;
    let shift = quoted.payload() as i32 - (quote + family.header()) as i32;
    if !packet.reframe((ethernet.tags, ip.family), (route.tags, family), shift) {
        return Err(DropReason::NoHeadroom);
    }
    let Route { hop, tags, egress, slot } = route;
    ethernet::write_header(packet, offset, hop.mac(), egress.mac, tags, family.ether_type())?;
    let protocol = if family == Family::V6 { ICMPV6 } else { ICMP };
    let length = (HEADER + family.header()) as u16 + length;
    let identification = quoted.sequence as u16;
    let ip = Ip { length, protocol, ..*ip };
    // Their addresses are read anew each time: the stack has no room for them meanwhile.
    ip.write(packet, offset, outer, family, ends.leaving(), identification)?;
    let [source, destination] = ends.leaving();
    quoted.ip.write(packet, quote, inner, family, [destination, source], identification)?;
    write(packet, message, family, ends.leaving(), error, length)?;
    Ok(Verdict::Redirect(slot))
}

/// Largest packet of a family that an interface takes of what it takes as another.
#[inline(always)]
fn mtu(mtu: u32, of: Family, family: Family) -> u32 {
    (mtu + family.header() as u32).saturating_sub(of.header() as u32)
}

/// Cuts what is quoted to what an error of a family may quote, and returns how much that is, behind the IP header.
#[inline(always)]
fn fit(
    packet: &mut impl Packet,
    quoted: &Quoted,
    route: &Route<'_>,
    family: Family,
) -> Result<u16, DropReason> {
    let headers = (2 * family.header() + HEADER) as u16;
    let most = match family {
        Family::V4 => u16::MAX - headers,
        // RFC 4443, section 2.4.
        Family::V6 => LEAST_MTU as u16 - headers,
    };
    let length = quoted.length.min(most);
    if !packet.truncate(quoted.payload() + usize::from(length)) {
        return Err(DropReason::NoHeadroom);
    }
    // No error about an error (RFC 1122, section 3.2.2; RFC 4443, section 2.4): too big, it is dropped without a word.
    if u32::from(headers) + u32::from(length) > route.egress.mtu {
        return Err(DropReason::TooBig);
    }
    Ok(length)
}

/// Turns the ports and the checksum that are quoted into those that the other side had sent.
#[inline(always)]
fn rewrite(
    packet: &impl Packet,
    quoted: &Quoted,
    length: u16,
    ends: &Ends,
    ports: u32,
) -> Result<(), DropReason> {
    let at = quoted.payload();
    // Both of the answering direction, whose source and destination are the quoted ones' the other way round.
    let delta = ip::delta(ends.arriving(), ends.leaving()).replace32(quoted.ports, ports);
    let carried = packet.window::<{ udp::HEADER }>(at).ok_or(DropReason::Truncated)?;
    carried.set_u32::<0>(ports);
    if quoted.ip.protocol == ipv4::UDP {
        carried.set_u16::<6>(udp::apply(carried.u16::<6>(), delta.fold()));
    } else if usize::from(length) >= QUOTED_CHECKSUM {
        let tcp = packet.window::<QUOTED_CHECKSUM>(at).ok_or(DropReason::Truncated)?;
        tcp.set_u16::<16>(checksum::apply(tcp.u16::<16>(), delta.fold()));
    }
    Ok(())
}

/// Writes the header of an error of `length` bytes at `at`.
#[inline(always)]
fn write(
    packet: &impl Packet,
    at: usize,
    family: Family,
    addresses: [WideAddress; 2],
    error: IcmpError,
    length: u16,
) -> Result<(), DropReason> {
    let icmp = packet.window::<HEADER>(at).ok_or(DropReason::Truncated)?;
    icmp.set_u16::<0>(u16::from_ne_bytes([error.kind, error.code]));
    icmp.set_u16::<2>(0);
    icmp.set_u32::<4>(error.word.to_be());
    let sum = sum(packet, at, family, addresses, length)?;
    let icmp = packet.window::<HEADER>(at).ok_or(DropReason::Truncated)?;
    icmp.set_u16::<2>(!sum);
    Ok(())
}

/// The folded sum that a message has in a family, 0xffff where its checksum is right.
#[inline(always)]
fn sum(
    packet: &impl Packet,
    at: usize,
    family: Family,
    addresses: [WideAddress; 2],
    length: u16,
) -> Result<u16, DropReason> {
    if family == Family::V6 {
        return icmpv6::sum(packet, at, addresses, length);
    }
    if length > MAX_VERIFIED {
        return Err(DropReason::IcmpChecksum);
    }
    packet.sum_with(0, at, length)
}
