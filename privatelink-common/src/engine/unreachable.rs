//! Packets that are refused, and the ICMP messages that say so to their senders.

use super::wide::new::may_be_client;
use super::{Ingress, Verdict};
use crate::drop_reason::DropReason;
use crate::ethernet::{self, Ethernet};
use crate::icmp::{self, ERROR, ERROR_HEADERS, FRAGMENTATION_NEEDED, PROHIBITED};
use crate::icmpv6;
use crate::ip::{IPV6_HEADER, Ip};
use crate::ipv4::{self, Addresses};
use crate::memory::{Packet, Shared};
use crate::stages::Stage;
use crate::tables::Tables;
use crate::{tcp, udp};

/// Why a packet is not sent on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Of no concern to its sender, or a secret.
    Silent(DropReason),
    /// Larger than the MTU, bytes, of the interface it must leave by.
    TooBig {
        /// That MTU.
        mtu: u16,
    },
    /// There is no room for a new flow.
    Exhausted(DropReason),
}

impl From<DropReason> for Refusal {
    #[inline(always)]
    fn from(reason: DropReason) -> Self {
        match reason {
            DropReason::LeaseExhausted
            | DropReason::FlowTableFull
            | DropReason::EndpointFlowLimit => Self::Exhausted(reason),
            reason => Self::Silent(reason),
        }
    }
}

impl Refusal {
    /// The reason the packet is dropped for, and the MTU of [`Refusal::TooBig`], 0 of others.
    #[inline(always)]
    pub const fn parts(self) -> (DropReason, u16) {
        match self {
            Self::Silent(reason) | Self::Exhausted(reason) => (reason, 0),
            Self::TooBig { mtu } => (DropReason::TooBig, mtu),
        }
    }

    /// The refusal of these parts.
    #[inline(always)]
    pub fn from_parts(reason: DropReason, mtu: u16) -> Self {
        match reason {
            DropReason::TooBig => Self::TooBig { mtu },
            reason => reason.into(),
        }
    }
}

/// Drops a packet, or has the program for that answer it.
#[inline(always)]
pub(super) fn refuse(tables: &impl Tables, refusal: Refusal) -> Result<Verdict, DropReason> {
    match refusal {
        Refusal::Silent(reason) => Err(reason),
        answered => {
            tables.keep_refusal(answered);
            Ok(Verdict::Next(Stage::Refused))
        }
    }
}

/// Drops a packet that was refused, and tells its sender why: that it was too big unless fragmented, or that no flow could be
/// opened.
#[inline(always)]
pub(super) fn step(
    packet: &mut impl Packet,
    tables: &impl Tables,
    ingress: Ingress<'_>,
) -> Result<Verdict, DropReason> {
    let ethernet = Ethernet::parse(packet)?;
    let refusal = tables.kept_refusal();
    packet.tell_refused(tables, ingress.slot, refusal.parts().0);
    match ethernet.ether_type {
        ethernet::IPV6 => answer_v6(packet, tables, ingress, &ethernet, refusal),
        _ => answer_v4(packet, tables, ingress, &ethernet, refusal),
    }
}

/// RFC 1191, section 4; RFC 4787, REQ-13; RFC 5508, REQ-8.
#[inline(always)]
fn answer_v4(
    packet: &mut impl Packet,
    tables: &impl Tables,
    ingress: Ingress<'_>,
    ethernet: &Ethernet,
    refusal: Refusal,
) -> Result<Verdict, DropReason> {
    let ((reason, mtu), offset) = (refusal.parts(), packet.standing(ethernet.tags).header());
    let code = match refusal {
        Refusal::TooBig { .. } => FRAGMENTATION_NEEDED,
        _ => PROHIBITED,
    };
    let ip = packet.window::<{ ipv4::HEADER }>(offset).ok_or(DropReason::Truncated)?;
    // A damaged header may name a wrong sender: no answer (RFC 1122, section 3.2.1.2). Who lets it be fragmented is told too,
    // since nobody does that here: his next ones are smaller then (Linux).
    if ipv4::sum_header(&ip) != 0xffff || !may_send(tables, ingress.slot) {
        return Err(reason);
    }
    let Addresses { source, destination } = Addresses::parse(packet, offset)?;
    let protocol = ip.u8::<9>();
    let unfinished = unfinished(packet, offset + ipv4::HEADER, protocol);
    let Some(end) = packet.cut(offset + ERROR - ERROR_HEADERS) else {
        return Err(reason);
    };
    if !packet.move_start(-(ERROR_HEADERS as i32)) {
        return Err(reason);
    }
    let (sender, us) = (ethernet.source, ingress.interface.mac);
    ethernet::write_header(packet, offset, sender, us, ethernet.tags, ethernet::IPV4)?;
    let addresses = Addresses { source: destination, destination: source };
    let length = (end - offset + ERROR_HEADERS) as u16;
    icmp::write_unreachable(packet, offset, addresses, code, mtu, length, unfinished)?;
    tables.count_drop(ingress.slot, reason);
    Ok(Verdict::Redirect(ingress.slot))
}

/// RFC 4443, sections 3.1 and 3.2. Quotes as much of the packet as an error may (section 2.4).
#[inline(always)]
fn answer_v6(
    packet: &mut impl Packet,
    tables: &impl Tables,
    ingress: Ingress<'_>,
    ethernet: &Ethernet,
    refusal: Refusal,
) -> Result<Verdict, DropReason> {
    let (reason, mtu) = refusal.parts();
    let offset = packet.standing(ethernet.tags).header();
    let ip = Ip::parse(packet, offset, ethernet.ether_type)?;
    if !may_be_client(ip.source) || !may_send(tables, ingress.slot) {
        return Err(reason);
    }
    let quoted = (IPV6_HEADER as u16 + ip.length).min(icmpv6::MOST_QUOTED);
    let headers = IPV6_HEADER + icmpv6::HEADER;
    let unfinished = unfinished(packet, ip.payload(), ip.protocol);
    if !packet.truncate(offset + usize::from(quoted)) || !packet.move_start(-(headers as i32)) {
        return Err(reason);
    }
    let (sender, us) = (ethernet.source, ingress.interface.mac);
    ethernet::write_header(packet, offset, sender, us, ethernet.tags, ethernet::IPV6)?;
    let what = match refusal {
        Refusal::TooBig { .. } => [icmpv6::PACKET_TOO_BIG, 0],
        _ => [icmpv6::UNREACHABLE, icmpv6::PROHIBITED],
    };
    let addresses = [ip.destination, ip.source];
    icmpv6::write_error(packet, offset, addresses, what, u32::from(mtu), quoted, unfinished)?;
    tables.count_drop(ingress.slot, reason);
    Ok(Verdict::Redirect(ingress.slot))
}

/// What stands for the checksum of a segment or datagram at `offset`, if it is unfinished. Who finishes it, when the error that
/// quotes it is sent, has the bytes from there on add up to what this is the complement of.
#[inline(always)]
fn unfinished(packet: &impl Packet, offset: usize, protocol: u8) -> Option<u16> {
    let is_tcp = protocol == ipv4::TCP;
    let at = offset + if is_tcp { tcp::CHECKSUM } else { udp::CHECKSUM };
    if !packet.is_unfinished(at) {
        return None;
    }
    // Four bytes: UDP's length is before its checksum.
    let word = packet.window::<4>(if is_tcp { at } else { at - 2 })?;
    Some(if is_tcp { word.u16::<0>() } else { word.u16::<2>() })
}

/// ICMP errors sent per second by one interface, and how many may leave at once: Linux's own limits
/// (`icmp_msgs_per_sec`, `icmp_msgs_burst`), here for each interface, so that nobody who provokes
/// errors silences those that another vpc needs.
const PER_SECOND: u64 = 1000;
const BURST: u64 = 50;
const INTERVAL_NS: u64 = 1_000_000_000 / PER_SECOND;

/// Whether the interface in a slot may send an ICMP error now; if so, it is taken off its budget.
///
/// The budget is a token bucket in one word: the time at which the bucket will be full again. Two CPUs
/// that take a token at once may both write the same time, or one an older time over a later one: a
/// token is then given twice. The worst result is as many times the rate as CPUs serve the interface.
#[inline(always)]
fn may_send(tables: &impl Tables, slot: u32) -> bool {
    tables.icmp_budget(slot).is_some_and(|budget| take(budget, tables.nanoseconds()))
}

#[inline(always)]
fn take(budget: &Shared, now: u64) -> bool {
    let full_at = budget.get().max(now) + INTERVAL_NS;
    let within = full_at - now <= BURST * INTERVAL_NS;
    if within {
        budget.set(full_at);
    }
    within
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many of `wanted` messages at one time are granted.
    fn granted(budget: &Shared, now: u64, wanted: u32) -> usize {
        (0..wanted).filter(|_| take(budget, now)).count()
    }

    #[test]
    fn a_burst_then_one_each_millisecond() {
        const START: u64 = 7_000_000_000;
        let budget = Shared::default();
        assert_eq!(granted(&budget, START, 1000), 50);
        assert_eq!(granted(&budget, START + 999_999, 1000), 0);
        assert_eq!(granted(&budget, START + 1_000_000, 1000), 1);
        assert_eq!(granted(&budget, START + 11_000_000, 1000), 10);
        assert_eq!(granted(&budget, START + 3_600_000_000_000, 1000), 50, "no more than a burst");
    }

    #[test]
    fn a_thousand_each_second() {
        let budget = Shared::default();
        let in_a_second: usize =
            (0..10_000).map(|tenth| granted(&budget, tenth * 100_000, 1)).sum();
        assert_eq!(in_a_second, 50 + 999);
    }
}
