//! What the gateway says by itself: answers to ARP and neighbour discovery, resets, errors.

use std::net::IpAddr;

use privatelink_common::drop_reason::DropReason;
use privatelink_common::tcp::RST;

use super::build::{self, Around, ON_LINK, OURS};
use super::flow::Place;
use super::nat::{Arrival, Fate};
use super::wire::{self, IPV6, Parcel, TCP, addresses, ether_type_of, ipv4_at, u16_at};
use crate::frame::{self, Mac, Message};
use crate::world::Port;

/// A packet behind a new Ethernet header.
pub(crate) fn framed(place: &Place, from: Port, packet: &[u8]) -> Vec<u8> {
    let ether_type = ether_type_of(addresses(packet).0);
    [&frame::ethernet(place.mac, from.mac(), &place.tags, ether_type), packet].concat()
}

/// A packet behind the Ethernet header of an answer.
fn back(arrival: Arrival<'_>, packet: &[u8]) -> Vec<u8> {
    let Arrival { port, link, .. } = arrival;
    framed(&Place { mac: link.from, tags: link.tags.clone() }, port, packet)
}

pub(crate) fn arp(
    arrival: Arrival<'_>,
    is_ours: impl Fn(IpAddr) -> bool,
) -> Result<Fate, DropReason> {
    let Arrival { port, link, packet, .. } = arrival;
    let message = packet.get(..28).ok_or(DropReason::Truncated)?;
    let (asker, wanted) = (ipv4_at(message, 14), ipv4_at(message, 24));
    let request = message[..8] == [0, 1, 8, 0, 6, 4, 0, 1];
    let (IpAddr::V4(asker), IpAddr::V4(at)) = (asker, wanted) else { panic!("IPv4") };
    if !request || asker == at || !is_ours(wanted) {
        return Ok(Fate::Pass);
    }
    let who: Mac = message[8..14].try_into().expect("six bytes");
    let mut out = frame::ethernet(link.from, port.mac(), &link.tags, 0x0806);
    out.extend(frame::arp(2, (port.mac(), at), (who, asker)));
    out.extend(&packet[28..]);
    Ok(Fate::Replied(out))
}

/// The answer to a neighbour solicitation in a whole packet: RFC 4861, section 7.2.4. Who has no address yet, and so asks for
/// the one he would like, is told with everybody.
pub(crate) fn advertisement(arrival: Arrival<'_>, wanted: IpAddr) -> Result<Fate, DropReason> {
    let Arrival { port, link, packet, .. } = arrival;
    let length = usize::from(u16_at(packet, 4));
    if length > 1480 || !wire::icmpv6_is_right(&packet[..40 + length]) {
        return Err(DropReason::IcmpChecksum);
    }
    let asker = addresses(packet).0;
    let (receiver, mac, flags) = if asker.is_unspecified() {
        (IpAddr::from([0xff02, 0, 0, 0, 0, 0, 0, 1]), [0x33, 0x33, 0, 0, 0, 1], 0x2000_0000)
    } else {
        (asker, link.from, 0x6000_0000)
    };
    let IpAddr::V6(at) = wanted else { panic!("IPv6") };
    let body = [&at.octets()[..], &[2, 1], &port.mac()].concat();
    let message = build::icmp(ON_LINK, (wanted, receiver), (136, 0, flags), &body);
    let header = frame::ethernet(mac, port.mac(), &link.tags, IPV6);
    Ok(Fate::Replied([header, message].concat()))
}

/// A segment without a flow: a RST is dropped, everything else answered by one.
pub(crate) fn reset(arrival: Arrival<'_>, parcel: &Parcel) -> Result<Fate, DropReason> {
    if parcel.has(RST) {
        return Err(DropReason::NoFlow);
    }
    let ends = (parcel.destination, parcel.source);
    let segment = build::tcp(ends, (parcel.acknowledgement, 0), RST, 0, &[], &[]);
    let packet = build::packet(OURS, (ends.0.0, ends.1.0), TCP, &segment, true);
    Ok(Fate::Answered(DropReason::NoFlow, back(arrival, &packet)))
}

/// The error that answers a packet: too big for this MTU, or else prohibited.
pub(crate) fn error(arrival: Arrival<'_>, parcel: &Parcel, mtu: Option<u16>) -> Vec<u8> {
    let Arrival { port, link, packet, .. } = arrival;
    let (us, sender) = (parcel.destination.0, parcel.source.0);
    let (IpAddr::V4(source), IpAddr::V4(destination)) = (us, sender) else {
        let what = mtu.map_or((1, 1, 0), |mtu| (2, 0, u32::from(mtu)));
        let quoted = usize::from(parcel.total).min(1280 - 48);
        return back(
            arrival,
            &build::icmp(Around { class: 0xc0, ..OURS }, (us, sender), what, &packet[..quoted]),
        );
    };
    let Around { ttl, identification, dont_fragment, .. } = OURS;
    let [high, low] = mtu.unwrap_or(0).to_be_bytes();
    let message = Message {
        to: link.from,
        from: port.mac(),
        tags: link.tags.clone(),
        source,
        destination,
        ttl,
        identification,
        dscp_ecn: 0xc0,
        dont_fragment,
        kind: 3,
        code: if mtu.is_some() { 4 } else { 13 },
        rest: [0, 0, high, low],
        body: packet[..28].to_vec(),
    };
    message.bytes()
}
