//! Packets rewritten the plain way, every right checksum computed anew.

use std::net::IpAddr;

use super::wire::{ICMPV6, Parcel, Socket, UDP, addresses, covered, header_of, u16_at};
use crate::frame::internet_checksum;

/// The checksum in place of `checksum`, which covered `before`, when that has become `after`; neither includes it. A
/// right one is computed anew. A wrong one stays wrong by the same amount: equation 3 of RFC 1624.
fn carried_over(checksum: u16, before: &[u8], after: &[u8]) -> u16 {
    if internet_checksum(&[&checksum.to_be_bytes(), before].concat()) == 0 {
        return internet_checksum(after);
    }
    adjusted(checksum, before, after)
}

/// Equation 3 of RFC 1624, over all 16-bit words.
fn adjusted(checksum: u16, before: &[u8], after: &[u8]) -> u16 {
    let sum = |bytes: &[u8]| u64::from(!internet_checksum(bytes));
    if before == after {
        return checksum;
    }
    let mut sum = u64::from(!checksum) + (0xffff - sum(before)) + sum(after);
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

pub(super) fn put_address(packet: &mut [u8], at: usize, address: IpAddr) {
    match address {
        IpAddr::V4(address) => packet[at..at + 4].copy_from_slice(&address.octets()),
        IpAddr::V6(address) => packet[at..at + 16].copy_from_slice(&address.octets()),
    }
}

pub(super) fn put(packet: &mut [u8], at: usize, word: u16) {
    packet[at..at + 2].copy_from_slice(&word.to_be_bytes());
}

/// Writes the IPv4 checksum after changes to a header that was `before`.
fn fix_ipv4(packet: &mut [u8], before: &[u8]) {
    let without = |packet: &[u8]| [&packet[..10], &packet[12..20]].concat();
    put(packet, 10, carried_over(u16_at(before, 10), &without(before), &without(packet)));
}

/// The largest IPv4 packet that may be fragmented where it was IPv6: RFC 7915, section 5.1.
const FRAGMENTABLE: usize = 1260;

/// Whether routers may fragment what was IPv6, has so many bytes behind its header and goes on to an address.
pub(crate) fn may_be_fragmented(to: IpAddr, length: usize) -> bool {
    to.is_ipv4() && 20 + length <= FRAGMENTABLE
}

/// What the IP header says with which a packet goes on.
pub(crate) struct Next {
    /// Of either family.
    pub(crate) ends: (IpAddr, IpAddr),
    pub(crate) protocol: u8,
    /// Bytes behind the header.
    pub(crate) length: usize,
    pub(crate) ttl: u8,
    /// Of an IPv4 packet that was IPv6 and may be fragmented.
    pub(crate) identification: u16,
}

/// The IP header with which a packet goes on; DSCP and ECN stay as they were.
pub(crate) fn ip_header(packet: &[u8], next: &Next) -> Vec<u8> {
    let &Next { ends, protocol, length, ttl, identification } = next;
    let was_six = packet[0] >> 4 == 6;
    let class = if was_six { (u16_at(packet, 0) >> 4) as u8 } else { packet[1] };
    if ends.0.is_ipv6() {
        let mut header = vec![0x60 | class >> 4, class << 4, 0, 0];
        if was_six {
            header.copy_from_slice(&packet[..4]);
        }
        header.extend((length as u16).to_be_bytes());
        header.extend([protocol, ttl]);
        header.resize(40, 0);
        put_address(&mut header, 8, ends.0);
        put_address(&mut header, 24, ends.1);
        return header;
    }
    let mut header = if was_six { vec![0x45, class] } else { packet[..20].to_vec() };
    header.resize(20, 0);
    header[8] = ttl;
    put_address(&mut header, 12, ends.0);
    put_address(&mut header, 16, ends.1);
    if !was_six {
        fix_ipv4(&mut header, packet);
        return header;
    }
    put(&mut header, 2, (20 + length) as u16);
    if may_be_fragmented(ends.0, length) {
        put(&mut header, 4, identification);
    } else {
        put(&mut header, 6, 0x4000);
    }
    header[9] = protocol;
    finish_ipv4(&mut header);
    header
}

/// Makes a header that went on from `packet` that of a fragment; `place` is the word that says where it belongs and whether
/// more follow. What was IPv4 has it, and its flags.
pub(crate) fn fragment(header: &mut [u8], packet: &[u8], place: u16, identification: u16) {
    put(header, 4, identification);
    if packet[0] >> 4 == 4 {
        fix_ipv4(header, packet);
        return;
    }
    put(header, 6, place);
    finish_ipv4(header);
}

/// Sends a parcel on between other ends, with a MSS of `mss` at most if it is a SYN.
pub(crate) fn translate(
    packet: &[u8],
    parcel: &Parcel,
    source: Socket,
    destination: Socket,
    mss: Option<u16>,
    identification: u16,
) -> Vec<u8> {
    let next = Next {
        ends: (source.0, destination.0),
        protocol: parcel.protocol,
        length: parcel.length(),
        ttl: packet[if parcel.header == 40 { 7 } else { 8 }] - 1,
        identification,
    };
    let mut out = ip_header(packet, &next);
    let at = out.len();
    out.extend(&packet[parcel.header..]);
    put(&mut out, at, source.1);
    put(&mut out, at + 2, destination.1);
    if let Some(mss) = mss {
        let header = usize::from(out[at + 12] >> 4) * 4;
        lower_mss(&mut out[at + 20..at + header], mss);
    }
    let offset = parcel.checksum() - parcel.header;
    let end = parcel.end(packet) - parcel.header;
    let without = |ends: (IpAddr, IpAddr), carried: &[u8]| {
        let mut carried = carried.to_vec();
        carried[offset..offset + 2].fill(0);
        covered(ends, parcel.protocol, &carried)
    };
    let before = without((parcel.source.0, parcel.destination.0), &packet[parcel.header..][..end]);
    let after = without((source.0, destination.0), &out[at..at + end]);
    let checksum = u16_at(packet, parcel.checksum());
    if !parcel.is_tcp() && checksum == 0 && !destination.0.is_ipv6() {
        return out;
    }
    let checksum = match checksum {
        // None becomes one where IPv6 demands it: RFC 7915, section 4.5.
        0 if !parcel.is_tcp() => internet_checksum(&after),
        checksum => carried_over(checksum, &before, &after),
    };
    // RFC 768: a checksum of 0 is sent as its other form.
    put(&mut out, at + offset, if checksum == 0 && !parcel.is_tcp() { 0xffff } else { checksum });
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

/// Gives what begins a segment or datagram other ends than those that it has with these addresses. The rest is not there:
/// how the checksum changes is all that can be known, and of a segment not even that where it ends before.
pub(crate) fn retarget(
    carried: &mut [u8],
    protocol: u8,
    (source, destination): (Socket, Socket),
    before: (IpAddr, IpAddr),
) {
    let covered = |ends: (IpAddr, IpAddr), carried: &[u8]| {
        let mut bytes = [0; 36];
        put_address(&mut bytes, 0, ends.0);
        put_address(&mut bytes, 16, ends.1);
        bytes[32..].copy_from_slice(&carried[..4]);
        bytes
    };
    let was = covered(before, carried);
    put(carried, 0, source.1);
    put(carried, 2, destination.1);
    let is = covered((source.0, destination.0), carried);
    let is_udp = protocol == UDP;
    let at = if is_udp { 6 } else { 16 };
    let has_none = is_udp && u16_at(carried, at) == 0;
    if carried.len() >= at + 2 && !has_none {
        let checksum = adjusted(u16_at(carried, at), &was, &is);
        put(carried, at, if is_udp && checksum == 0 { 0xffff } else { checksum });
    }
}

/// What an ICMP error says: its type and code, and what stands behind the checksum.
pub(crate) type Said = (u8, u8, u32);

/// Most bytes that an ICMPv6 error has: RFC 4443, section 2.4.
const LEAST_MTU: usize = 1280;

/// An ICMP error of either family between other ends of either, about a packet between other ends, whose rest is what an error
/// may quote of it. `ends` are those of the message; `quoted` those of what it quotes, and `identifications` those of both
/// where they are unknown.
pub(crate) fn tell_error(
    packet: &[u8],
    (ends, quoted): ((IpAddr, IpAddr), (Socket, Socket)),
    said: Said,
    identifications: [u16; 2],
) -> Vec<u8> {
    let header = header_of(addresses(packet).0);
    let is_six = ends.0.is_ipv6();
    let (hops, end) = match header {
        40 => (7, 40 + usize::from(u16_at(packet, 4))),
        _ => (8, usize::from(u16_at(packet, 2))),
    };
    let quote = &packet[header + 8..end];
    let (protocol, told) = match header {
        40 => (quote[6], usize::from(u16_at(quote, 4))),
        _ => (quote[9], usize::from(u16_at(quote, 2)) - 20),
    };
    let mut carried = quote[header..].to_vec();
    if is_six {
        carried.truncate(LEAST_MTU - 40 - 8 - 40);
    }
    retarget(&mut carried, protocol, quoted, addresses(quote));
    let quoted = (quoted.0.0, quoted.1.0);
    let [outer, inner] = identifications;
    let next =
        Next { ends: quoted, protocol, length: told, ttl: quote[hops], identification: inner };
    let mut about = ip_header(quote, &next);
    if !is_six {
        // Made anew, be it right or wrong as it came.
        finish_ipv4(&mut about);
    }
    let length = 8 + about.len() + carried.len();
    let protocol = if is_six { ICMPV6 } else { 1 };
    let next = Next { ends, protocol, length, ttl: packet[hops] - 1, identification: outer };
    let mut out = ip_header(packet, &next);
    out.extend([said.0, said.1, 0, 0]);
    out.extend(said.2.to_be_bytes());
    out.extend([about, carried].concat());
    finish_message(&mut out);
    out
}

/// An ICMP message between other ends, about a parcel between other ends. `ends` are those of the message;
/// `quoted` those of the parcel it quotes.
pub(crate) fn translate_error(
    packet: &[u8],
    ends: (IpAddr, IpAddr),
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
    fix_ipv4(quote, before);
    retarget(&mut quote[20..], before[9], quoted, addresses(before));
    finish_message(&mut out[..length]);
    out
}

/// The reply to an echo request of either family.
pub(crate) fn echo_reply(packet: &[u8]) -> Vec<u8> {
    let mut out = packet.to_vec();
    let (source, destination) = addresses(packet);
    if source.is_ipv6() {
        out[7] = 64;
        put_address(&mut out, 8, destination);
        put_address(&mut out, 24, source);
        out[40] = 129;
        let end = 40 + usize::from(u16_at(packet, 4));
        finish_message(&mut out[..end]);
        return out;
    }
    out[8] = 64;
    put_address(&mut out, 12, destination);
    put_address(&mut out, 16, source);
    fix_ipv4(&mut out, packet);
    out[20] = 0;
    finish_message(&mut out[..usize::from(u16_at(packet, 2))]);
    out
}

fn finish_ipv4(header: &mut [u8]) {
    put(header, 10, 0);
    let checksum = internet_checksum(&header[..20]);
    put(header, 10, checksum);
}

/// Makes the checksum right of the ICMP message that all of a packet carries.
pub(super) fn finish_message(packet: &mut [u8]) {
    let ends = addresses(packet);
    let start = header_of(ends.0);
    put(packet, start + 2, 0);
    let message = &packet[start..];
    let checksum = match ends.0 {
        IpAddr::V4(_) => internet_checksum(message),
        IpAddr::V6(_) => internet_checksum(&covered(ends, ICMPV6, message)),
    };
    put(packet, start + 2, checksum);
}
