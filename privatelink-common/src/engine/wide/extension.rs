//! An endpoint is where the extension headers of IPv6 end. Those that say nothing to a host are cut off, their options unread, and
//! the packet goes on as one without; with any other it is dropped.

use super::super::Verdict;
use crate::drop_reason::DropReason;
use crate::ethernet::{self, Ethernet};
use crate::extension::walk;
use crate::icmpv6;
use crate::ip::{ICMPV6, IPV6_HEADER, Ip};
use crate::memory::Packet;
use crate::stages::Stage;

/// Cuts the extension headers off the packet with this header; what it is to be handled as then.
#[inline(always)]
pub(super) fn cut(
    packet: &mut impl Packet,
    ethernet: &Ethernet,
    ip: &Ip,
) -> Result<Verdict, DropReason> {
    let (next, length) = walk(packet, ip.protocol, ip.payload())?;
    if usize::from(ip.length) <= length {
        return Err(DropReason::Ipv6Extension);
    }
    if length == 0 {
        return Ok(Verdict::Next(Stage::WideFragments));
    }
    // Neighbour discovery has none; behind a fragment header it is not to be heard (RFC 6980, section 5).
    if next == ICMPV6 {
        let icmp = packet.window::<{ icmpv6::HEADER }>(ip.payload() + length);
        if icmpv6::is_discovery(icmp.ok_or(DropReason::Truncated)?.u8::<0>()) {
            return Err(DropReason::Ipv6Extension);
        }
    }
    let header = packet.window::<IPV6_HEADER>(ip.offset).ok_or(DropReason::Truncated)?;
    let (first, second) = (header.u64::<0>(), header.u64::<8>());
    let (third, fourth, fifth) = (header.u64::<16>(), header.u64::<24>(), header.u64::<32>());
    if !packet.move_start(length as i32) {
        return Err(DropReason::NoHeadroom);
    }
    let Ethernet { source, destination, tags, .. } = *ethernet;
    ethernet::write_header(packet, ip.offset, destination, source, tags, ethernet::IPV6)?;
    let header = packet.window::<IPV6_HEADER>(ip.offset).ok_or(DropReason::Truncated)?;
    header.set_u64::<0>(first);
    header.set_u64::<8>(second);
    header.set_u64::<16>(third);
    header.set_u64::<24>(fourth);
    header.set_u64::<32>(fifth);
    header.set_u16::<4>((ip.length - length as u16).to_be());
    header.set_u8::<6>(next);
    Ok(Verdict::Next(Stage::Wide))
}
