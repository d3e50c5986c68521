//! Random damage to valid frames.

use privatelink_common::hash::mix;

use crate::frame::internet_checksum;

/// A reproducible sequence of random words.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        (mix(self.0) % bound as u64) as usize
    }
}

/// Flips bits, overwrites bytes with telling values, cuts, lengthens, tags; then, in two cases of three, makes the
/// checksums right again, so that the damage gets past them.
pub(crate) fn damage(frame: &mut Vec<u8>, random: &mut Random) {
    for _ in 0..=random.below(3) {
        // Mostly the headers: damage to the payload changes nothing.
        let at = random.below(frame.len().min(70));
        match random.below(12) {
            0..4 => frame[at] ^= 1 << random.below(8),
            4..8 => frame[at] = [0, 1, 0x45, 0x7f, 0x80, 0xff][random.below(6)],
            8 => frame.truncate(14.max(at)),
            9 => frame.extend((0..random.below(8)).map(|byte| byte as u8)),
            10 => {
                let tag = [[0x81, 0, 0, 5], [0x88, 0xa8, 0, 6]][random.below(2)];
                frame.splice(12..12, tag);
            }
            _ => set_flags(frame, random.below(256) as u8),
        }
    }
    if random.below(3) != 0 {
        repair(frame);
    }
}

fn set_flags(frame: &mut [u8], flags: u8) {
    if let Some(at) = ipv4_at(frame)
        && let Some(byte) = frame.get_mut(at + 33)
    {
        *byte = flags;
    }
}

fn repair(frame: &mut [u8]) {
    let Some(packet) = ipv4_at(frame).map(|at| &mut frame[at..]) else { return };
    if packet.len() < 40 {
        return;
    }
    packet[10..12].fill(0);
    let checksum = internet_checksum(&packet[..20]);
    packet[10..12].copy_from_slice(&checksum.to_be_bytes());
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

/// Where the IPv4 packet begins, behind up to two tags.
pub(crate) fn ipv4_at(frame: &[u8]) -> Option<usize> {
    let mut at = 12;
    for _ in 0..2 {
        if matches!(frame.get(at..at + 2)?, [0x81, 0] | [0x88, 0xa8]) {
            at += 4;
        }
    }
    (frame.get(at..at + 2)? == [8, 0]).then_some(at + 2)
}
