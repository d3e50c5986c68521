//! Random damage to valid frames.

use privatelink_common::hash::mix;

use crate::frame::{internet_checksum, set_header_checksum};

/// A reproducible sequence of random words.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        (mix(self.0) % bound as u64) as usize
    }
}

/// Flips bits, overwrites bytes with telling values, cuts, lengthens, tags, leaves bytes behind the packet; then, in two cases of three, makes the
/// checksums right again, so that the damage gets past them.
pub(crate) fn damage(frame: &mut Vec<u8>, random: &mut Random) {
    for _ in 0..=random.below(3) {
        // Mostly the headers: damage to the payload changes nothing.
        let headers = if ipv6_at(frame).is_some() { 90 } else { 70 };
        let at = random.below(frame.len().min(headers));
        match random.below(13) {
            0..4 => frame[at] ^= 1 << random.below(8),
            4..8 => frame[at] = [0, 1, 0x45, 0x7f, 0x80, 0xff][random.below(6)],
            8 => frame.truncate(14.max(at)),
            9 => frame.extend((0..random.below(8)).map(|byte| byte as u8)),
            10 => {
                let tag = [[0x81, 0, 0, 5], [0x88, 0xa8, 0, 6]][random.below(2)];
                frame.splice(12..12, tag);
            }
            11 => shorten(frame, random.below(64) as u16),
            _ => set_flags(frame, random.below(256) as u8),
        }
    }
    if random.below(3) != 0 {
        repair(frame);
    }
}

/// Has the IP packet end sooner than the frame.
fn shorten(frame: &mut [u8], length: u16) {
    let at = ipv4_at(frame).map(|at| at + 2).or(ipv6_at(frame).map(|at| at + 4));
    if let Some(bytes) = at.and_then(|at| frame.get_mut(at..at + 2)) {
        bytes.copy_from_slice(&length.to_be_bytes());
    }
}

fn set_flags(frame: &mut [u8], flags: u8) {
    let tcp = ipv4_at(frame).map(|at| at + 20).or(ipv6_at(frame).map(|at| at + 40));
    if let Some(at) = tcp
        && let Some(byte) = frame.get_mut(at + 13)
    {
        *byte = flags;
    }
}

fn repair(frame: &mut [u8]) {
    if let Some(at) = ipv6_at(frame) {
        repair_v6(&mut frame[at..]);
    }
    let Some(packet) = ipv4_at(frame).map(|at| &mut frame[at..]) else { return };
    if packet.len() < 40 {
        return;
    }
    set_header_checksum(&mut packet[..20]);
    let length = usize::from(u16::from_be_bytes([packet[2], packet[3]]));
    if !(40..=packet.len()).contains(&length) {
        return;
    }
    if packet[9] == 1 {
        packet[22..24].fill(0);
        let checksum = internet_checksum(&packet[20..length]);
        packet[22..24].copy_from_slice(&checksum.to_be_bytes());
        return;
    }
    let is_udp = packet[9] == 17;
    let (at, end) = if is_udp {
        (26, 20 + usize::from(u16::from_be_bytes([packet[24], packet[25]])))
    } else {
        (36, length)
    };
    if !(28..=length).contains(&end) {
        return;
    }
    packet[at..at + 2].fill(0);
    let pseudo = [&packet[12..20], &[0, packet[9]], &((end - 20) as u16).to_be_bytes()].concat();
    let checksum = internet_checksum(&[pseudo.as_slice(), &packet[20..end]].concat());
    packet[at..at + 2].copy_from_slice(&checksum.to_be_bytes());
}

/// Makes the checksum right of what an IPv6 packet carries at once.
fn repair_v6(packet: &mut [u8]) {
    let Some(length) =
        packet.get(4..6).map(|word| usize::from(u16::from_be_bytes([word[0], word[1]])))
    else {
        return;
    };
    let at = match packet.get(6) {
        Some(6) => 16,
        Some(17) => 6,
        Some(58) => 2,
        _ => return,
    };
    if length < at + 2 || packet.len() < 40 + length {
        return;
    }
    let (header, carried) = packet.split_at_mut(40);
    let carried = &mut carried[..length];
    carried[at..at + 2].fill(0);
    let pseudo = [&header[8..40], &(length as u32).to_be_bytes(), &[0, 0, 0, header[6]]].concat();
    let checksum = internet_checksum(&[&pseudo, &*carried].concat());
    carried[at..at + 2].copy_from_slice(&checksum.to_be_bytes());
}

/// Where the IPv4 packet begins, behind up to two tags.
fn ipv4_at(frame: &[u8]) -> Option<usize> {
    packet_at(frame, [8, 0])
}

/// As [`ipv4_at`], of an IPv6 packet.
fn ipv6_at(frame: &[u8]) -> Option<usize> {
    packet_at(frame, [0x86, 0xdd])
}

fn packet_at(frame: &[u8], ether_type: [u8; 2]) -> Option<usize> {
    let mut at = 12;
    for _ in 0..2 {
        if matches!(frame.get(at..at + 2)?, [0x81, 0] | [0x88, 0xa8]) {
            at += 4;
        }
    }
    (frame.get(at..at + 2)? == ether_type).then_some(at + 2)
}
