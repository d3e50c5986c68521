//! Extension headers of IPv6: an endpoint is where they end.

use privatelink_common::drop_reason::DropReason;

use super::wire::{IPV4, IPV6, Link, Parcel, u16_at};

/// The numbers that name them: the registry of IPv6 extension header types.
pub(crate) const EXTENSIONS: [u8; 11] = [0, 43, 44, 50, 51, 60, 135, 139, 140, 253, 254];
/// Most of them that are cut off a packet, and how many bytes none may have before it.
const MOST: usize = 5;
const MOST_BYTES: usize = 1024;

/// One that may be cut off.
enum Header {
    /// Of so many bytes, with what follows it.
    Silent(u8, usize),
    /// Of a fragment of something larger.
    Piece,
}

/// What the header of this kind says, the first one or not.
fn read(kind: u8, bytes: &[u8], is_first: bool) -> Option<Header> {
    let silent = Header::Silent(bytes[0], usize::from(bytes[1]) * 8 + 8);
    match kind {
        // RFC 8200, section 4.1: only right behind the IPv6 header.
        0 => is_first.then_some(silent),
        60 => Some(silent),
        // Section 4.4: no segments are left.
        43 => (bytes[3] == 0).then_some(silent),
        // Section 4.5; RFC 6946: without offset and more to follow it is the whole packet.
        44 if u16_at(bytes, 2) & 0xfff9 == 0 => Some(Header::Silent(bytes[0], 8)),
        44 => Some(Header::Piece),
        _ => None,
    }
}

/// A right IPv6 packet without those of its extension headers that say nothing to a host: as it came, if the first one is
/// that of a fragment.
pub(crate) fn cut_off(packet: &[u8]) -> Result<Vec<u8>, DropReason> {
    let (mut kind, mut at) = (packet[6], 40);
    for number in 0.. {
        if !EXTENSIONS.contains(&kind) {
            break;
        }
        if number == MOST || at - 40 > MOST_BYTES || !matches!(kind, 0 | 43 | 44 | 60) {
            return Err(DropReason::Ipv6Extension);
        }
        let bytes = packet.get(at..at + 8).ok_or(DropReason::Truncated)?;
        match read(kind, bytes, number == 0).ok_or(DropReason::Ipv6Extension)? {
            Header::Silent(next, length) => (kind, at) = (next, at + length),
            Header::Piece => break,
        }
    }
    let length = u16_at(packet, 4);
    // Something must follow them.
    let rest = (40 + length).checked_sub(at as u16).filter(|&rest| rest > 0);
    let rest = rest.ok_or(DropReason::Ipv6Extension)?;
    let mut bare = packet[..40].to_vec();
    bare[4..6].copy_from_slice(&rest.to_be_bytes());
    bare[6] = kind;
    bare.extend(&packet[at..]);
    Ok(bare)
}

/// The IP packet of a frame, if its header is whole, without the extension headers that may be cut off.
pub(crate) fn bare(frame: &[u8]) -> Option<Vec<u8>> {
    let link = Link::read(frame)?;
    let packet = &frame[link.length..];
    match link.ether_type {
        IPV4 => (packet.len() >= 20).then(|| packet.to_vec()),
        IPV6 if packet.len() < 40 => None,
        IPV6 => match Parcel::read_v6(packet) {
            Err(DropReason::Protocol) if EXTENSIONS.contains(&packet[6]) => cut_off(packet).ok(),
            _ => Some(packet.to_vec()),
        },
        _ => None,
    }
}
