//! Packets rewritten and written the plain way, every right checksum computed anew.

use std::net::IpAddr;

use super::wire::{ICMPV6, Parcel, Socket, TCP, UDP, addresses, covered, u16_at};
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

fn put_address(packet: &mut [u8], at: usize, address: IpAddr) {
    match address {
        IpAddr::V4(address) => packet[at..at + 4].copy_from_slice(&address.octets()),
        IpAddr::V6(address) => packet[at..at + 16].copy_from_slice(&address.octets()),
    }
}

fn put(packet: &mut [u8], at: usize, word: u16) {
    packet[at..at + 2].copy_from_slice(&word.to_be_bytes());
}

/// Writes the IPv4 checksum after changes to a header that was `before`.
fn fix_ipv4(packet: &mut [u8], before: &[u8]) {
    let without = |packet: &[u8]| [&packet[..10], &packet[12..20]].concat();
    put(packet, 10, carried_over(u16_at(before, 10), &without(before), &without(packet)));
}

/// The largest IPv4 packet that may be fragmented where it was IPv6: RFC 7915, section 5.1.
const FRAGMENTABLE: usize = 1260;

/// Whether routers may fragment what was IPv6 and goes on to an address.
pub(crate) fn may_be_fragmented(parcel: &Parcel, to: IpAddr) -> bool {
    to.is_ipv4() && 20 + parcel.length() <= FRAGMENTABLE
}

/// The IP header with which a packet between `ends` of either family goes on: one hop less, DSCP and ECN as they were.
/// `identification` is for an IPv4 packet that was IPv6 and may be fragmented.
fn ip_header(
    packet: &[u8],
    parcel: &Parcel,
    ends: (IpAddr, IpAddr),
    identification: u16,
) -> Vec<u8> {
    let (was_six, is_six) = (parcel.header == 40, ends.0.is_ipv6());
    let (class, ttl) = match was_six {
        true => ((u16_at(packet, 0) >> 4) as u8, packet[7] - 1),
        false => (packet[1], packet[8] - 1),
    };
    if is_six {
        let mut header = vec![0x60 | class >> 4, class << 4, 0, 0];
        if was_six {
            header.copy_from_slice(&packet[..4]);
        }
        header.extend((parcel.length() as u16).to_be_bytes());
        header.extend([parcel.protocol, ttl]);
        header.resize(40, 0);
        put_address(&mut header, 8, ends.0);
        put_address(&mut header, 24, ends.1);
        return header;
    }
    let mut header = match was_six {
        false => packet[..20].to_vec(),
        true => vec![0x45, class],
    };
    header.resize(20, 0);
    header[8] = ttl;
    put_address(&mut header, 12, ends.0);
    put_address(&mut header, 16, ends.1);
    if !was_six {
        fix_ipv4(&mut header, packet);
        return header;
    }
    let total = 20 + parcel.length();
    put(&mut header, 2, total as u16);
    if may_be_fragmented(parcel, ends.0) {
        put(&mut header, 4, identification);
    } else {
        put(&mut header, 6, 0x4000);
    }
    header[9] = parcel.protocol;
    let checksum = internet_checksum(&header);
    put(&mut header, 10, checksum);
    header
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
    let mut out = ip_header(packet, parcel, (source.0, destination.0), identification);
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
    put(quote, 20, quoted.0.1);
    put(quote, 22, quoted.1.1);
    fix_ipv4(quote, before);
    let is_udp = quote[9] == UDP;
    let at = if is_udp { 26 } else { 36 };
    let has_none = is_udp && u16_at(before, at) == 0;
    if quote.len() >= at + 2 && !has_none {
        // The rest of the parcel is not there: how the sum changes is all that can be known.
        let checksum = adjusted(u16_at(before, at), &before[12..24], &quote[12..24]);
        put(quote, at, if is_udp && checksum == 0 { 0xffff } else { checksum });
    }
    finish_icmp(&mut out, length);
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
        finish_icmpv6(&mut out[..end]);
        return out;
    }
    out[8] = 64;
    put_address(&mut out, 12, destination);
    put_address(&mut out, 16, source);
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

fn finish_icmpv6(packet: &mut [u8]) {
    put(packet, 42, 0);
    let checksum = internet_checksum(&covered(addresses(packet), ICMPV6, &packet[40..]));
    put(packet, 42, checksum);
}

/// A packet with an ICMPv6 message: kind, code and the word behind the checksum, then its body.
pub(crate) fn icmpv6(
    class: u8,
    hops: u8,
    ends: (IpAddr, IpAddr),
    (kind, code, word): (u8, u8, u32),
    body: &[u8],
) -> Vec<u8> {
    let mut packet = vec![0x60 | class >> 4, class << 4, 0, 0];
    packet.extend((8 + body.len() as u16).to_be_bytes());
    packet.extend([ICMPV6, hops]);
    packet.resize(40, 0);
    put_address(&mut packet, 8, ends.0);
    put_address(&mut packet, 24, ends.1);
    packet.extend([kind, code, 0, 0]);
    packet.extend(word.to_be_bytes());
    packet.extend(body);
    finish_icmpv6(&mut packet);
    packet
}

/// What an IP header says beside its addresses.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Around {
    /// DSCP and ECN.
    pub(crate) class: u8,
    pub(crate) ttl: u8,
    /// IPv4's.
    pub(crate) identification: u16,
    pub(crate) dont_fragment: bool,
    /// IPv6's.
    pub(crate) label: u32,
}

/// What we say by ourselves: no options, an ordinary hop limit.
pub(crate) const OURS: Around =
    Around { class: 0, ttl: 64, identification: 0, dont_fragment: true, label: 0 };

/// A TCP header with its options and data, without a checksum.
pub(crate) fn tcp(
    (source, destination): (Socket, Socket),
    (sequence, acknowledgement): (u32, u32),
    flags: u8,
    window: u16,
    options: &[u8],
    data: &[u8],
) -> Vec<u8> {
    let mut out = [source.1.to_be_bytes(), destination.1.to_be_bytes()].concat();
    out.extend([sequence.to_be_bytes(), acknowledgement.to_be_bytes()].concat());
    out.extend([(5 + options.len() as u8 / 4) << 4, flags]);
    out.extend(window.to_be_bytes());
    out.extend([0; 4]);
    out.extend(options);
    out.extend(data);
    out
}

/// A UDP datagram, without a checksum.
pub(crate) fn udp((source, destination): (Socket, Socket), data: &[u8]) -> Vec<u8> {
    let mut out = [source.1.to_be_bytes(), destination.1.to_be_bytes()].concat();
    out.extend((8 + data.len() as u16).to_be_bytes());
    out.extend([0; 2]);
    out.extend(data);
    out
}

/// A packet of the family that its addresses have; the checksum of what it carries is made right, unless that is a datagram
/// that is to have none.
pub(crate) fn packet(
    around: Around,
    ends: (IpAddr, IpAddr),
    protocol: u8,
    carried: &[u8],
    summed: bool,
) -> Vec<u8> {
    let Around { class, ttl, identification, dont_fragment, label } = around;
    let length = carried.len() as u16;
    let mut out = if ends.0.is_ipv6() {
        let mut header = (6 << 28 | u32::from(class) << 20 | label).to_be_bytes().to_vec();
        header.extend(length.to_be_bytes());
        header.extend([protocol, ttl]);
        header.resize(40, 0);
        put_address(&mut header, 8, ends.0);
        put_address(&mut header, 24, ends.1);
        header
    } else {
        let mut header = vec![0x45, class];
        header.extend((20 + length).to_be_bytes());
        header.extend(identification.to_be_bytes());
        header.extend([u8::from(dont_fragment) << 6, 0, ttl, protocol]);
        header.resize(20, 0);
        put_address(&mut header, 12, ends.0);
        put_address(&mut header, 16, ends.1);
        let checksum = internet_checksum(&header);
        put(&mut header, 10, checksum);
        header
    };
    let at = out.len() + if protocol == TCP { 16 } else { 6 };
    out.extend(carried);
    if summed {
        let checksum = match internet_checksum(&covered(ends, protocol, carried)) {
            0 if protocol == UDP => 0xffff,
            checksum => checksum,
        };
        put(&mut out, at, checksum);
    }
    out
}
