//! Packets written the plain way, every right checksum computed.

use std::net::IpAddr;

use super::rewrite::{Said, finish_message, put, put_address};
use super::wire::{ICMPV6, Socket, TCP, UDP, covered};
use crate::frame::internet_checksum;

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

/// What neighbour discovery has: RFC 4861, section 7.1.
pub(crate) const ON_LINK: Around = Around { ttl: 255, ..OURS };

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

/// A packet with an ICMP message of the family that its addresses have.
pub(crate) fn icmp(around: Around, ends: (IpAddr, IpAddr), said: Said, body: &[u8]) -> Vec<u8> {
    let (kind, code, word) = said;
    let mut message = vec![kind, code, 0, 0];
    message.extend(word.to_be_bytes());
    message.extend(body);
    let is_six = ends.0.is_ipv6();
    let mut out = packet(around, ends, if is_six { ICMPV6 } else { 1 }, &message, false);
    finish_message(&mut out);
    out
}
