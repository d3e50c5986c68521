//! Packets cut into fragments, and packets with extension headers.

use super::build::{self, Around};
use super::steps::{Extension, Piece};
use super::wire::{FRAGMENT_HEADER, IPV6, Link, Socket, u16_at};
use crate::frame::internet_checksum;

/// Bytes of the longest frame: the kernel runs programs for tests on what fits a page with room before it and behind.
const LONGEST: usize = 3000;

/// A fragment of a datagram between `ends`.
pub(super) fn piece(
    ends: (Socket, Socket),
    identification: u16,
    &Piece { at, length, more, claims, checksum, dont_fragment, protocol, ttl, .. }: &Piece,
) -> Vec<u8> {
    let mut bytes: Vec<u8> = (at..at + length).map(|at| at as u8 ^ 0x5a).collect();
    if at == 0 && length >= 8 {
        bytes[..2].copy_from_slice(&ends.0.1.to_be_bytes());
        bytes[2..4].copy_from_slice(&ends.1.1.to_be_bytes());
        bytes[4..6].copy_from_slice(&claims.unwrap_or(length as u16).to_be_bytes());
        bytes[6..8].copy_from_slice(&checksum.to_be_bytes());
    }
    let around = Around { class: 0xb9, ttl, identification, dont_fragment: false, label: 0x54321 };
    let between = (ends.0.0, ends.1.0);
    if between.0.is_ipv6() {
        let mut header = vec![protocol, 0];
        header.extend((at as u16 | u16::from(more)).to_be_bytes());
        header.extend((0xbeef_0000 | u32::from(identification)).to_be_bytes());
        assert_eq!(header.len(), FRAGMENT_HEADER);
        header.extend(bytes);
        return build::packet(around, between, 44, &header, false);
    }
    let mut packet = build::packet(around, between, protocol, &bytes, false);
    let word = (at / 8) as u16 | u16::from(more) << 13 | u16::from(dont_fragment) << 14;
    packet[6..8].copy_from_slice(&word.to_be_bytes());
    packet[10..12].fill(0);
    let checksum = internet_checksum(&packet[..20]);
    packet[10..12].copy_from_slice(&checksum.to_be_bytes());
    packet
}

/// A frame with an IPv6 packet, with extension headers between its header and what that carries.
pub(super) fn extended(frame: &[u8], extensions: &[Extension]) -> Option<Vec<u8>> {
    let link = Link::read(frame)?;
    let packet = frame.get(link.length..).filter(|packet| packet.len() >= 40)?;
    if link.ether_type != IPV6 {
        return None;
    }
    let mut between = Vec::new();
    for (number, &Extension { units, says, word, .. }) in extensions.iter().enumerate() {
        let next = extensions.get(number + 1).map_or(packet[6], |next| next.kind);
        between.extend([next, says]);
        between.extend(word.to_be_bytes());
        between.resize(between.len() + 4 + 8 * usize::from(units), 0);
    }
    let mut out = [&frame[..link.length + 40], &between, &packet[40..]].concat();
    let header = &mut out[link.length..];
    let length = u16_at(header, 4).wrapping_add(between.len() as u16);
    header[4..6].copy_from_slice(&length.to_be_bytes());
    header[6] = extensions.first().map_or(header[6], |first| first.kind);
    Some(out).filter(|out| out.len() <= LONGEST)
}
