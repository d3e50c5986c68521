//! Extension headers of IPv6 (RFC 8200, section 4): an endpoint is where they end. Those that say nothing to a host are cut off,
//! their options unread, and the packet goes on as one without; with any other it is dropped.

use super::super::Verdict;
use crate::drop_reason::DropReason;
use crate::ethernet::{self, Ethernet};
use crate::fragment::PART;
use crate::ip::{IPV6_HEADER, Ip};
use crate::memory::Packet;
use crate::stages::Stage;

/// Most of them in a packet that is carried: each may be there once, the options for a destination twice (section 4.1).
const MOST: usize = 5;
/// Most bytes of them.
const MOST_BYTES: usize = 1024;
/// They are multiples of this long, bytes.
const UNIT: usize = 8;

const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
/// Header of a fragment.
pub(super) const FRAGMENT: u8 = 44;
const DESTINATION: u8 = 60;

/// Whether a next header is an extension header (the registry of IPv6 extension header types).
#[inline(always)]
pub(super) const fn is_extension(next: u8) -> bool {
    matches!(
        next,
        HOP_BY_HOP | ROUTING | FRAGMENT | 50 | 51 | DESTINATION | 135 | 139 | 140 | 253 | 254
    )
}

/// Cuts the extension headers off the packet with this header; what it is to be handled as then.
#[inline(always)]
pub(super) fn cut(
    packet: &mut impl Packet,
    ethernet: &Ethernet,
    ip: &Ip,
) -> Result<Verdict, DropReason> {
    let (next, length) = walk(packet, ip)?;
    let rest = usize::from(ip.length).checked_sub(length).ok_or(DropReason::Ipv6Extension)?;
    if rest == 0 {
        return Err(DropReason::Ipv6Extension);
    }
    if length == 0 {
        return Ok(Verdict::Next(Stage::WideFragments));
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
    header.set_u16::<4>((rest as u16).to_be());
    header.set_u8::<6>(next);
    Ok(Verdict::Next(Stage::Wide))
}

/// What follows the headers that may be cut off, and how many bytes those have: no other extension header, but for that of a
/// fragment.
#[inline(always)]
fn walk(packet: &impl Packet, ip: &Ip) -> Result<(u8, usize), DropReason> {
    let (mut next, mut length) = (ip.protocol, 0);
    for place in 0..MOST {
        if !matches!(next, HOP_BY_HOP | ROUTING | FRAGMENT | DESTINATION) || length > MOST_BYTES {
            break;
        }
        let header = packet.window::<UNIT>(ip.payload() + length).ok_or(DropReason::Truncated)?;
        match next {
            // Only the first may be for each hop.
            HOP_BY_HOP if place > 0 => break,
            // There is a way yet to go, and it is not by us.
            ROUTING if header.u8::<3>() != 0 => break,
            // One that says that the packet is whole is none (RFC 6946).
            FRAGMENT if header.u16::<2>() & PART.to_be() != 0 => return Ok((FRAGMENT, length)),
            FRAGMENT => length += UNIT,
            _ => length += (usize::from(header.u8::<1>()) + 1) * UNIT,
        }
        next = header.u8::<0>();
    }
    if is_extension(next) { Err(DropReason::Ipv6Extension) } else { Ok((next, length)) }
}
