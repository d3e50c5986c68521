//! Extension headers of IPv6 (RFC 8200, section 4).

use crate::drop_reason::DropReason;
use crate::fragment::PART;
use crate::memory::Packet;

/// Most of them in a packet that is carried: each may be there once, the options for a destination twice (section 4.1).
const MOST: usize = 5;
/// Most bytes of them.
const MOST_BYTES: usize = 1024;
/// They are multiples of this long, bytes.
const UNIT: usize = 8;

const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
/// Header of a fragment.
pub(crate) const FRAGMENT: u8 = 44;
const DESTINATION: u8 = 60;

/// Whether a next header is an extension header (the registry of IPv6 extension header types).
#[inline(always)]
pub const fn is_extension(next: u8) -> bool {
    matches!(
        next,
        HOP_BY_HOP | ROUTING | FRAGMENT | 50 | 51 | DESTINATION | 135 | 139 | 140 | 253 | 254
    )
}

/// What follows the headers that may be cut off, where at `start` is one of this kind, and how many bytes those have: no other
/// extension header, but for that of a fragment.
#[inline(always)]
pub fn walk(packet: &impl Packet, mut next: u8, start: usize) -> Result<(u8, usize), DropReason> {
    let mut length = 0;
    for place in 0..MOST {
        if !matches!(next, HOP_BY_HOP | ROUTING | FRAGMENT | DESTINATION) || length > MOST_BYTES {
            break;
        }
        let header = packet.window::<UNIT>(start + length).ok_or(DropReason::Truncated)?;
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
