//! Frames read and rewritten the plain way: byte by byte, every right checksum computed anew.

use std::net::Ipv4Addr;

use privatelink_common::drop_reason::DropReason;

use crate::frame::{Mac, internet_checksum};

pub(crate) fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from(u16_at(bytes, at)) << 16 | u32::from(u16_at(bytes, at + 2))
}

pub(crate) fn address_at(bytes: &[u8], at: usize) -> Ipv4Addr {
    Ipv4Addr::from(u32_at(bytes, at))
}

/// An address and a port.
pub(crate) type Socket = (Ipv4Addr, u16);

/// An Ethernet header with at most two tags.
#[derive(Clone, Debug)]
pub(crate) struct Link {
    pub(crate) to: Mac,
    pub(crate) from: Mac,
    pub(crate) tags: Vec<(u16, u16)>,
    pub(crate) ether_type: u16,
    pub(crate) length: usize,
}

impl Link {
    /// The header of a frame; none where the frame ends within it.
    pub(crate) fn read(frame: &[u8]) -> Option<Self> {
        let (to, from) = (frame.get(..6)?.try_into().ok()?, frame.get(6..12)?.try_into().ok()?);
        let mut tags = Vec::new();
        let mut at = 12;
        loop {
            let bytes = frame.get(at..at + 2)?;
            let ether_type = u16_at(bytes, 0);
            at += 2;
            if !matches!(ether_type, 0x8100 | 0x88a8) || tags.len() == 2 {
                return Some(Self { to, from, tags, ether_type, length: at });
            }
            tags.push((ether_type, u16_at(frame.get(at..at + 2)?, 0)));
            at += 2;
        }
    }
}

/// A TCP segment.
#[derive(Clone, Debug)]
pub(crate) struct Segment {
    pub(crate) source: Socket,
    pub(crate) destination: Socket,
    pub(crate) sequence: u32,
    pub(crate) acknowledgement: u32,
    pub(crate) flags: u8,
    pub(crate) total: u16,
    /// Bytes behind the TCP header.
    pub(crate) payload: usize,
}

impl Segment {
    /// The segment in an IPv4 packet of at least 20 bytes, padding behind it or not.
    pub(crate) fn read(packet: &[u8]) -> Result<Self, DropReason> {
        let (version, words) = (packet[0] >> 4, packet[0] & 15);
        if version != 4 || words < 5 {
            return Err(DropReason::Ipv4Header);
        }
        if words > 5 {
            return Err(DropReason::Ipv4Options);
        }
        let total = u16_at(packet, 2);
        let length = usize::from(total);
        if length < 20 || length > packet.len() {
            return Err(DropReason::Ipv4Header);
        }
        let (more_fragments, offset) = (packet[6] & 0x20 != 0, u16_at(packet, 6) & 0x1fff);
        if more_fragments || offset != 0 {
            return Err(DropReason::Fragment);
        }
        if packet[9] != 6 {
            return Err(DropReason::Protocol);
        }
        if length < 40 {
            return Err(DropReason::Truncated);
        }
        let tcp = &packet[20..length];
        let header = usize::from(tcp[12] >> 4) * 4;
        if header < 20 || header > tcp.len() {
            return Err(DropReason::TcpHeader);
        }
        if packet[8] <= 1 {
            return Err(DropReason::TtlExpired);
        }
        Ok(Self {
            source: (address_at(packet, 12), u16_at(tcp, 0)),
            destination: (address_at(packet, 16), u16_at(tcp, 2)),
            sequence: u32_at(tcp, 4),
            acknowledgement: u32_at(tcp, 8),
            flags: tcp[13],
            total,
            payload: tcp.len() - header,
        })
    }

    /// Whether any of these flags is set.
    pub(crate) const fn has(&self, flags: u8) -> bool {
        self.flags & flags != 0
    }
}

pub(crate) fn ipv4_is_right(packet: &[u8]) -> bool {
    internet_checksum(&packet[..20]) == 0
}

/// The pseudo-header of a segment, and behind it the segment.
fn with_pseudo_header(packet: &[u8]) -> Vec<u8> {
    let length = u16_at(packet, 2);
    let mut bytes = packet[12..20].to_vec();
    bytes.extend([0, 6]);
    bytes.extend((length - 20).to_be_bytes());
    bytes.extend(&packet[20..usize::from(length)]);
    bytes
}

pub(crate) fn tcp_is_right(packet: &[u8]) -> bool {
    internet_checksum(&with_pseudo_header(packet)) == 0
}

/// What the TCP checksum field of a packet holds that a card is to finish: the sum of the pseudo-header.
pub(crate) fn unfinished(packet: &[u8]) -> u16 {
    !internet_checksum(&with_pseudo_header(packet)[..12])
}

/// The checksum in place of `checksum`, which covered `before`, when that has become `after`; neither includes it. A
/// right one is computed anew. A wrong one stays wrong by the same amount: equation 3 of RFC 1624.
pub(crate) fn carried_over(checksum: u16, before: &[u8], after: &[u8]) -> u16 {
    if internet_checksum(&[&checksum.to_be_bytes(), before].concat()) == 0 {
        return internet_checksum(after);
    }
    adjusted(checksum, before, after)
}

/// Equation 3 of RFC 1624, over all 16-bit words that differ.
pub(crate) fn adjusted(checksum: u16, before: &[u8], after: &[u8]) -> u16 {
    let word = |bytes: &[u8], at: usize| {
        u16::from_be_bytes([bytes[at], bytes.get(at + 1).copied().unwrap_or(0)])
    };
    let mut sum = u64::from(!checksum);
    for at in (0..before.len()).step_by(2) {
        if word(before, at) != word(after, at) {
            sum += u64::from(!word(before, at)) + u64::from(word(after, at));
        }
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

fn put_address(packet: &mut [u8], at: usize, address: Ipv4Addr) {
    packet[at..at + 4].copy_from_slice(&address.octets());
}

fn put(packet: &mut [u8], at: usize, word: u16) {
    packet[at..at + 2].copy_from_slice(&word.to_be_bytes());
}

/// Writes the IPv4 checksum after changes to a header that was `before`.
fn fix_ipv4(packet: &mut [u8], before: &[u8]) {
    let without = |packet: &[u8]| [&packet[..10], &packet[12..20]].concat();
    put(packet, 10, carried_over(u16_at(before, 10), &without(before), &without(packet)));
}

/// Sends a segment on between other ends, with a MSS of `mss` at most if it is a SYN.
pub(crate) fn translate_segment(
    packet: &[u8],
    source: Socket,
    destination: Socket,
    mss: Option<u16>,
) -> Vec<u8> {
    let mut out = packet.to_vec();
    out[8] -= 1;
    put_address(&mut out, 12, source.0);
    put_address(&mut out, 16, destination.0);
    put(&mut out, 20, source.1);
    put(&mut out, 22, destination.1);
    if let Some(mss) = mss {
        let header = usize::from(packet[32] >> 4) * 4;
        lower_mss(&mut out[40..20 + header], mss);
    }
    fix_ipv4(&mut out, packet);
    let without = |packet: &[u8]| {
        let bytes = with_pseudo_header(packet);
        [&bytes[..28], &bytes[30..]].concat()
    };
    let checksum = carried_over(u16_at(packet, 36), &without(packet), &without(&out));
    put(&mut out, 36, checksum);
    out
}

/// Lowers every MSS option; an option whose length cannot be true ends the walk.
fn lower_mss(options: &mut [u8], mss: u16) {
    let mut at = 0;
    while at < options.len() && options[at] != 0 {
        if options[at] == 1 {
            at += 1;
            continue;
        }
        let Some(&size) = options.get(at + 1) else { return };
        let size = usize::from(size);
        if size < 2 {
            return;
        }
        if options[at] == 2 && size == 4 && at + 4 <= options.len() {
            let lowered = u16_at(options, at + 2).min(mss);
            put(options, at + 2, lowered);
        }
        at += size;
    }
}

/// An ICMP message between other ends, about a segment between other ends. `ends` are those of the message;
/// `quoted` those of the segment it quotes.
pub(crate) fn translate_error(
    packet: &[u8],
    ends: (Ipv4Addr, Ipv4Addr),
    quoted: (Socket, Socket),
) -> Vec<u8> {
    let length = usize::from(u16_at(packet, 2));
    let mut out = packet.to_vec();
    out[8] -= 1;
    put_address(&mut out, 12, ends.0);
    put_address(&mut out, 16, ends.1);
    fix_ipv4(&mut out, packet);

    let (before, quote) = (&packet[28..length], &mut out[28..length]);
    put_address(quote, 12, quoted.0.0);
    put_address(quote, 16, quoted.1.0);
    put(quote, 20, quoted.0.1);
    put(quote, 22, quoted.1.1);
    fix_ipv4(quote, before);
    if quote.len() >= 38 {
        // The rest of the segment is not there: how the sum changes is all that can be known.
        let checksum = adjusted(u16_at(before, 36), &before[12..24], &quote[12..24]);
        put(quote, 36, checksum);
    }
    finish_icmp(&mut out, length);
    out
}

/// The reply to an echo request.
pub(crate) fn echo_reply(packet: &[u8]) -> Vec<u8> {
    let mut out = packet.to_vec();
    out[8] = 64;
    put_address(&mut out, 12, address_at(packet, 16));
    put_address(&mut out, 16, address_at(packet, 12));
    fix_ipv4(&mut out, packet);
    out[20] = 0;
    finish_icmp(&mut out, usize::from(u16_at(packet, 2)));
    out
}

fn finish_icmp(packet: &mut [u8], length: usize) {
    put(packet, 22, 0);
    let checksum = internet_checksum(&packet[20..length]);
    put(packet, 22, checksum);
}
