//! ICMP messages to our addresses: errors about a flow's segments go to the flow's other side, echo
//! requests are answered where the endpoint wants that. Neither touches a flow's words: nobody can
//! keep a flow alive or end it by ICMP (RFC 5508, REQ-6; RFC 5382, REQ-10).

use super::open::may_be_client;
use super::route::Route;
use super::{Ingress, Verdict};
use crate::drop_reason::DropReason;
use crate::ethernet::{self, Ethernet};
use crate::icmp::{ECHO_REQUEST, Message, PARAMETER_PROBLEM, Quote, TIME_EXCEEDED, UNREACHABLE};
use crate::memory::Packet;
use crate::records::Address;
use crate::stages::Stage;
use crate::tables::Tables;

/// A packet of another protocol than TCP to an address of ours, its IPv4 header at `offset` found right.
#[inline(always)]
pub(super) fn received(
    packet: &mut impl Packet,
    tables: &impl Tables,
    ingress: Ingress<'_>,
    ethernet: &Ethernet,
    offset: usize,
    address: Address,
) -> Result<Verdict, DropReason> {
    let message = Message::parse(packet, offset)?;
    let source = message.addresses.source;
    if !may_be_client(source) || source == message.addresses.destination {
        return Err(DropReason::SourceAddress);
    }
    match (message.kind, message.code) {
        (UNREACHABLE | TIME_EXCEEDED | PARAMETER_PROBLEM, _) => {
            error(packet, tables, ingress, ethernet, &message, address)
        }
        (ECHO_REQUEST, 0) => echo(packet, tables, ingress, ethernet, address, &message),
        _ => Err(DropReason::IcmpType),
    }
}

/// An error about a segment that we sent: any router on the way may have found it.
#[inline(always)]
fn error(
    packet: &mut impl Packet,
    tables: &impl Tables,
    ingress: Ingress<'_>,
    ethernet: &Ethernet,
    message: &Message,
    address: Address,
) -> Result<Verdict, DropReason> {
    if message.ttl <= 1 {
        return Err(DropReason::TtlExpired);
    }
    let quote = Quote::parse(packet, message)?;
    if quote.addresses.source != message.addresses.destination {
        return Err(DropReason::IcmpNoFlow);
    }
    let key = quote.answer_key(ingress.interface.vpc);
    let Some(found) = tables.find(key.words()) else {
        let wide = address.flags & Address::WIDE != 0;
        return if wide {
            Ok(Verdict::Next(Stage::WideOther))
        } else {
            Err(DropReason::IcmpNoFlow)
        };
    };
    let record = tables.record(tables.owner(found.number())).ok_or(DropReason::IcmpNoFlow)?;
    let half = found.half;
    let sent = record.half(found.direction().other());
    if !record.place().phase().is_live() || !quote.is_recent(sent) {
        return Err(DropReason::IcmpNoFlow);
    }
    let route = Route::of(tables, &found)?;
    if packet.is_left(route.egress) {
        return Ok(Verdict::Pass);
    }
    // No error about an error (RFC 1122, section 3.2.2): too big, it is dropped without a word.
    if u32::from(message.total_length) > route.egress.mtu {
        return Err(DropReason::TooBig);
    }
    quote.translate(packet, message, half)?;
    let Route { slot, hop, tags, egress } = route;
    ethernet::replace_header(packet, message.offset, ethernet.tags, hop, egress.mac, tags)?;
    Ok(Verdict::Redirect(slot))
}

/// An echo request. AWS has no security group rules for them: where an endpoint answers, it answers all
/// its vpc. The answer is as large as the question, so it needs no limit.
#[inline(always)]
fn echo(
    packet: &impl Packet,
    tables: &impl Tables,
    ingress: Ingress<'_>,
    ethernet: &Ethernet,
    address: Address,
    message: &Message,
) -> Result<Verdict, DropReason> {
    let answers = address.kind == Address::ENDPOINT
        && tables.endpoint(address.index).is_some_and(|endpoint| endpoint.icmp_echo != 0);
    if !answers {
        return Err(DropReason::IcmpEcho);
    }
    message.reply(packet)?;
    let header = packet.window::<{ ethernet::HEADER }>(0).ok_or(DropReason::Truncated)?;
    ethernet::write_addresses(&header, ethernet.source, ingress.interface.mac);
    Ok(Verdict::Redirect(ingress.slot))
}
