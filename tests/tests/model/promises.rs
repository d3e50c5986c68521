//! What holds of every frame that leaves, whatever came in: what is right stays right, and what is no business of a NAT's stays
//! as it was.

use std::net::IpAddr;

use privatelink_common::tcp::{RST, SYN};

use super::extensions::bare;
use super::rewrite::{may_be_fragmented, retarget};
use super::said::{Way, to_four, to_six};
use super::wire::{
    self, ICMPV6, Parcel, Socket, UDP, addresses, header_of, ipv4_is_right, u16_at, u32_at,
};
use crate::frame::internet_checksum;

/// What IP headers of either family have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Ip {
    header: usize,
    class: u8,
    hops: u8,
    protocol: u8,
    /// Bytes behind it.
    length: usize,
}

impl Ip {
    fn read(packet: &[u8]) -> Self {
        match header_of(addresses(packet).0) {
            40 => Self {
                header: 40,
                class: (u16_at(packet, 0) >> 4) as u8,
                hops: packet[7],
                protocol: packet[6],
                length: usize::from(u16_at(packet, 4)),
            },
            header => Self {
                header,
                class: packet[1],
                hops: packet[8],
                protocol: packet[9],
                // What is quoted may say anything.
                length: usize::from(u16_at(packet, 2)).saturating_sub(20),
            },
        }
    }

    const fn is_six(&self) -> bool {
        self.header == 40
    }

    /// What it says that is carried, fewer where not all is there.
    fn carried<'p>(&self, packet: &'p [u8]) -> &'p [u8] {
        &packet[self.header..packet.len().min(self.header + self.length)]
    }
}

/// That a header has become the one that it must be; what it leads to is no fragment.
fn of_a_header(before: &[u8], after: &[u8], sent: &[u8]) {
    let [was, is] = [before, after].map(Ip::read);
    assert_eq!(is.class, was.class, "DSCP and ECN: {sent:02x?}");
    let label = |packet: &[u8]| u32_at(packet, 0) & 0xf_ffff;
    if is.is_six() {
        let expected = if was.is_six() { label(before) } else { 0 };
        assert_eq!((after[0] >> 4, label(after)), (6, expected), "{sent:02x?}");
        return;
    }
    assert_eq!(after[0], 0x45, "{sent:02x?}");
    if was.is_six() {
        let may = may_be_fragmented(addresses(after).0, is.length);
        assert_eq!(u16_at(after, 6), if may { 0 } else { 0x4000 }, "{sent:02x?}");
        assert!(may || u16_at(after, 4) == 0, "{sent:02x?}");
    } else {
        assert_eq!(after[4..8], before[4..8], "{sent:02x?}");
    }
    assert!(ipv4_is_right(after) || !was.is_six() && !ipv4_is_right(before), "{sent:02x?}");
}

/// Of a frame that has become another one, which leaves by another interface.
pub(super) fn of_what_is_sent_on(sent: &[u8], out: &[u8]) {
    let (before, after) =
        (bare(sent).expect("a packet"), bare(out).expect("it stays a packet without extensions"));
    let [was, is] = [&before, &after].map(|packet| Ip::read(packet));
    assert_eq!(is.hops, was.hops - 1, "one hop: {sent:02x?}");
    let Ok(parcel) = Parcel::read_any(&before) else {
        of_an_error(&before, &after, sent);
        return;
    };
    // As it was a hop ago: the last one is none to read.
    let mut earlier = after.clone();
    earlier[if is.is_six() { 7 } else { 8 }] += 1;
    let leaves = Parcel::read_any(&earlier).expect("it stays one");
    let [carried, carries] =
        [(&parcel, &before), (&leaves, &after)].map(|(of, packet)| &packet[of.start()..]);
    assert_eq!(carries.len(), carried.len(), "{sent:02x?}");
    assert_eq!(leaves.payload, parcel.payload, "{sent:02x?}");
    if parcel.piece.is_some() {
        of_a_fragment(&parcel, (&before, carried), &leaves, (&after, carries), sent);
        return;
    }
    assert_eq!((is.protocol, is.length), (was.protocol, was.length), "{sent:02x?}");
    of_a_header(&before, &after, sent);
    assert!(!parcel.is_right(&before) || leaves.is_right(&after), "{sent:02x?}");
    let checksum = parcel.checksum() - parcel.start();
    let is_made = parcel.protocol == UDP && u16_at(carried, checksum) == 0 && is.is_six();
    if is_made {
        assert!(leaves.is_right(&after) && u16_at(carries, checksum) != 0, "{sent:02x?}");
    }
    if !is_made && !parcel.has(SYN) {
        assert_eq!(carries, retargeted(&parcel, carried, &leaves), "{sent:02x?}");
        return;
    }
    // All but the ports, the checksum, and the MSS of a SYN.
    let behind = if parcel.has(SYN) { parcel.length() - parcel.payload } else { checksum + 2 };
    assert_eq!(carries[4..checksum], carried[4..checksum], "{sent:02x?}");
    assert_eq!(carries[behind..], carried[behind..], "{sent:02x?}");
}

/// What a parcel carries with the ends that it leaves with.
fn retargeted(parcel: &Parcel, carried: &[u8], leaves: &Parcel) -> Vec<u8> {
    let mut carried = carried.to_vec();
    let ends: (Socket, Socket) = (leaves.source, leaves.destination);
    retarget(&mut carried, parcel.protocol, ends, (parcel.source.0, parcel.destination.0));
    carried
}

/// Of a piece of a datagram.
fn of_a_fragment(
    parcel: &Parcel,
    (before, carried): (&[u8], &[u8]),
    leaves: &Parcel,
    (after, carries): (&[u8], &[u8]),
    sent: &[u8],
) {
    let [was, is] = [before, after].map(Ip::read);
    assert_eq!(is.class, was.class, "{sent:02x?}");
    let (Some(piece), Some(stays)) = (parcel.piece, leaves.piece) else {
        panic!("it stays a fragment: {sent:02x?}");
    };
    assert_eq!((stays.at, stays.more), (piece.at, piece.more), "{sent:02x?}");
    assert!(stays.identification <= 0xffff, "{sent:02x?}");
    if is.is_six() {
        assert_eq!(after[40..42], [UDP, 0], "{sent:02x?}");
    } else {
        assert!(!ipv4_is_right(before) && !was.is_six() || ipv4_is_right(after), "{sent:02x?}");
    }
    if parcel.is_later() {
        assert_eq!(carries, carried, "{sent:02x?}");
    } else {
        assert!(!is.is_six() || u16_at(carries, 6) != 0, "a checksum: {sent:02x?}");
        assert_eq!(carries, retargeted(parcel, carried, leaves), "{sent:02x?}");
    }
}

/// Whether the checksum of the ICMP message in a packet is right.
fn is_right(packet: &[u8]) -> bool {
    let ip = Ip::read(packet);
    let message = ip.carried(packet);
    match ip.protocol {
        ICMPV6 => internet_checksum(&wire::covered(addresses(packet), ICMPV6, message)) == 0,
        _ => internet_checksum(message) == 0,
    }
}

/// Of an error about what a flow has sent.
fn of_an_error(before: &[u8], after: &[u8], sent: &[u8]) {
    let [was, is] = [before, after].map(Ip::read);
    let protocol = |ip: &Ip| if ip.is_six() { ICMPV6 } else { 1 };
    assert_eq!([was.protocol, is.protocol], [&was, &is].map(protocol), "{sent:02x?}");
    assert!(is_right(before) && is_right(after), "only an intact message: {sent:02x?}");
    of_a_header(before, after, sent);
    let [said, says] = [(&was, before), (&is, after)].map(|(ip, packet)| {
        let message = ip.carried(packet);
        (message[0], message[1], u32_at(message, 4))
    });
    let [quote, quotes] =
        [(&was, before), (&is, after)].map(|(ip, packet)| &ip.carried(packet)[8..]);
    let [lost, loses] = [quote, quotes].map(Ip::read);
    let length = (lost.header + lost.length) as u32;
    let way = Way { length, mtus: [1500; 2] };
    let expected = match (was.is_six(), is.is_six()) {
        (false, true) => to_six(said, &way),
        (true, false) => to_four(said, &way),
        _ => Some(said),
    };
    assert_eq!(Some(says), expected, "{sent:02x?}");
    // It is about what its receiver had sent.
    let (source, destination) = addresses(after);
    assert_eq!(addresses(quotes), (destination, source), "{sent:02x?}");
    let (of, as_sent) = ((lost.class, lost.hops, lost.protocol, lost.length), Ip::read(quotes));
    let then = (as_sent.class, as_sent.hops, as_sent.protocol, as_sent.length);
    assert_eq!(then, of, "{sent:02x?}");
    let mut carried = quote[lost.header..].to_vec();
    if is.is_six() {
        carried.truncate(1280 - 40 - 8 - 40);
    }
    let ports = &quotes[loses.header..];
    let ends = ((destination, u16_at(ports, 0)), (source, u16_at(ports, 2)));
    retarget(&mut carried, lost.protocol, ends, addresses(quote));
    assert_eq!(quotes[loses.header..], carried, "{sent:02x?}");
    // An IPv4 header that stays one may stay wrong.
    let stays_four = !was.is_six() && !is.is_six();
    let was_wrong = stays_four && !ipv4_is_right(quote);
    assert!(is.is_six() || was_wrong || ipv4_is_right(quotes), "{sent:02x?}");
}

/// Of a frame that is answered by the interface that it came by.
pub(super) fn of_an_answer(sent: &[u8], out: &[u8]) {
    let Some(before) = bare(sent) else {
        assert_eq!(out.len(), sent.len(), "an answer to ARP");
        return;
    };
    let after = bare(out).expect("a packet");
    let (ours, theirs) = (addresses(&after), addresses(&before));
    let is = Ip::read(&after);
    assert!(is.is_six() || ipv4_is_right(&after) || is.protocol == 1, "{sent:02x?}");
    let answers = (ours.1, ours.0) == theirs;
    if let Ok(parcel) = Parcel::read_any(&after) {
        assert!(answers && parcel.is_right(&after), "{sent:02x?}");
        let bare = after.len() == parcel.header + 20 && parcel.flags == RST;
        assert!(bare && before.len() >= after.len(), "a bare RST: {sent:02x?}");
        return;
    }
    assert!(is_right(&after), "{sent:02x?}");
    let message = is.carried(&after);
    match (is.is_six(), message[0]) {
        (true, 136) => {
            let wanted = wire::ipv6_at(message, 8);
            assert_eq!((ours.0, message.len()), (wanted, 32), "{sent:02x?}");
            let asked = Ip::read(&before);
            assert!(asked.hops == 255 && asked.length >= 24, "{sent:02x?}");
            let all: IpAddr = [0xff02, 0, 0, 0, 0, 0, 0, 1].into();
            assert!([theirs.0, all].contains(&ours.1), "{sent:02x?}");
        }
        (true, 129) | (false, 0) => {
            assert!(answers && after.len() == before.len(), "an echo: {sent:02x?}");
            let start = is.header;
            assert_eq!(after[start + 4..], before[start + 4..], "{sent:02x?}");
            assert!(is.is_six() || !ipv4_is_right(&before) || ipv4_is_right(&after));
        }
        (true, 1 | 2) => {
            assert!(answers && is.class == 0xc0, "{sent:02x?}");
            let quoted = (is.header + Ip::read(&before).length).min(1280 - 48);
            assert_eq!(message[8..], before[..quoted], "{sent:02x?}");
        }
        (false, 3) => {
            assert!(answers && ipv4_is_right(&after), "{sent:02x?}");
            assert_eq!((message.len(), &message[8..]), (36, &before[..28]), "{sent:02x?}");
        }
        _ => panic!("{sent:02x?}"),
    }
}
