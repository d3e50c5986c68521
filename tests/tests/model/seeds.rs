//! Right frames of every kind, to be damaged: of flows, beside them, and about them.

use std::net::IpAddr;

use privatelink_common::flow_table::Flow;
use privatelink_common::tcp::{ACK, FIN, PSH, RST, SYN};
use privatelink_userspace::datapath::Verdict;

use super::build::{self, Around};
use super::cutting;
use super::mix::{ENDPOINT_6, Mix, six};
use super::mutated::Subject;
use super::steps::{Extension, Piece};
use super::wire::{Socket, TCP, UDP, addresses, ether_type_of, header_of};
use crate::frame;
use crate::world::{CLIENT, ENDPOINT, Port, TARGET_MACS};

pub(super) type Frame = (Port, Vec<u8>);

const AROUND: Around =
    Around { class: 0xb9, ttl: 64, identification: 0xbeef, dont_fragment: true, label: 0x12345 };
const MSS: [u8; 8] = [2, 4, 5, 0xb4, 1, 3, 3, 7];
/// Fragments that make a datagram.
const PIECES: [Piece; 3] = {
    let first = Piece {
        at: 0,
        length: 24,
        more: true,
        claims: Some(59),
        checksum: 0x1234,
        dont_fragment: false,
        protocol: UDP,
        ttl: 64,
        damage: None,
    };
    [first, Piece { at: 24, ..first }, Piece { at: 48, length: 11, more: false, ..first }]
};
/// Extension headers that may be cut off: all kinds, and a long one.
const EXTENSIONS: [Extension; 4] = {
    let first = Extension { kind: 0, units: 0, says: 0, word: 0 };
    let long = Extension { kind: 60, units: 1, says: 1, word: 0 };
    [first, Extension { kind: 43, ..first }, Extension { kind: 44, ..first }, long]
};

/// The MAC address that frames come from by a port.
fn sender(port: Port) -> frame::Mac {
    if port == Port::Provider { TARGET_MACS[0] } else { port.client() }
}

/// A packet as it comes by a port, from B behind tags.
fn framed(port: Port, packet: &[u8]) -> Frame {
    let tags: &[_] = if port == Port::B { &[(0x88a8, 7), (0x8100, 100)] } else { &[] };
    let ether_type = ether_type_of(addresses(packet).0);
    let header = frame::ethernet(port.mac(), sender(port), tags, ether_type);
    (port, [&header, packet].concat())
}

fn segment(ends: (Socket, Socket), flags: u8, data: &[u8]) -> Vec<u8> {
    let options = if flags & SYN == 0 { &[][..] } else { &MSS };
    let carried = build::tcp(ends, (0x1234_5678, 0x1234_5679), flags, 0xfaf0, options, data);
    build::packet(AROUND, (ends.0.0, ends.1.0), TCP, &carried, true)
}

fn datagram(ends: (Socket, Socket), data: &[u8], summed: bool) -> Vec<u8> {
    build::packet(AROUND, (ends.0.0, ends.1.0), UDP, &build::udp(ends, data), summed)
}

/// A datagram in fragments.
fn pieces(ends: (Socket, Socket), identification: u16) -> [Vec<u8>; 3] {
    PIECES.map(|piece| cutting::piece(ends, identification, &piece))
}

/// The client's and the endpoint's address of a family.
fn consumer_ends(is_six: bool) -> (IpAddr, IpAddr) {
    if is_six { (six(2, 0x20).into(), ENDPOINT_6.into()) } else { (CLIENT.into(), ENDPOINT.into()) }
}

/// The ends of what a flow's target says.
fn answering(flow: &Flow) -> (Socket, Socket) {
    let key = flow.reverse.key;
    ((key.source, key.source_port), (key.destination, key.destination_port))
}

/// Frames for which there is a flow, an answer, or nothing.
pub(super) fn seeds(subject: &mut impl Subject, mix: Mix) -> Vec<Frame> {
    let mut seeds: Vec<Frame> = Vec::new();
    let families: &[bool] = if mix == Mix::Four { &[false] } else { &[false, true] };
    for port in [Port::A, Port::B] {
        for &is_six in families {
            let by_client = of_a_client(subject, port, is_six);
            let extended = by_client.iter().filter_map(|(port, frame)| {
                Some((*port, cutting::extended(frame, &EXTENSIONS)?)).filter(|_| is_six)
            });
            seeds.extend(extended.collect::<Vec<_>>());
            seeds.extend(by_client);
        }
        let header = frame::ethernet([0xff; 6], port.client(), &[], 0x0806);
        let question = frame::arp(1, (port.client(), CLIENT), ([0; 6], ENDPOINT));
        seeds.push((port, [header, question].concat()));
        let body = [&ENDPOINT_6.octets()[..], &[1, 1], &port.client()].concat();
        let group = IpAddr::from([0xff02, 0, 0, 0, 0, 1, 0xff01, 0x10]);
        let ends = (consumer_ends(true).0, group);
        seeds.push(framed(port, &build::icmp(build::ON_LINK, ends, (135, 0, 0), &body)));
    }
    seeds
}

/// Those of a client's flows, which are opened, of the flows that he might open, and of their targets.
fn of_a_client(subject: &mut impl Subject, port: Port, is_six: bool) -> Vec<Frame> {
    let (client, endpoint) = consumer_ends(is_six);
    let ends = ((client, 40_000), (endpoint, 80));
    let other = ((client, 40_001), (endpoint, 80));
    let by_target = |packet: &[u8]| framed(Port::Provider, packet);

    let syn = segment(ends, SYN, &[]);
    let back = answering(&subject.open(&framed(port, &syn)));
    let [answer, ack] = [segment(back, SYN | ACK, &[]), segment(ends, ACK, &[])];
    for (port, frame) in [by_target(&answer), framed(port, &ack)] {
        assert_eq!(subject.receive(port, &frame).verdict, Verdict::Redirect);
    }
    let question = datagram(ends, b"a question, long enough to be cut", true);
    let asked = answering(&subject.open(&framed(port, &question)));
    let reply = datagram(asked, b"an answer to be damaged", true);
    let (replier, frame) = by_target(&reply);
    assert_eq!(subject.receive(replier, &frame).verdict, Verdict::Redirect);

    let mut from_client = vec![
        segment(ends, ACK | PSH, b"some data of a live flow, long enough to be cut"),
        segment(ends, ACK | FIN, &[]),
        segment(ends, RST, &[]),
        segment(other, SYN, &[]),
        segment(other, ACK | PSH, b"mid-stream, no flow"),
        datagram(other, b"a new question", true),
        datagram(ends, b"a question without a checksum", is_six),
        build::icmp(AROUND, (client, endpoint), (if is_six { 128 } else { 8 }, 0, 7), b"there?"),
        syn,
        question,
    ];
    from_client.extend(pieces(ends, 1).into_iter().chain(pieces(other, 2)));
    let swapped = |ends: (Socket, Socket)| (ends.1, ends.0);
    from_client.extend(errors(&segment(swapped(ends), ACK, b"lost")));
    from_client.extend(errors(&datagram(swapped(ends), b"lost", true)));
    let mut from_target = vec![
        segment(back, ACK | PSH, b"an answer to be damaged"),
        reply,
        segment((back.0, (back.1.0, 1)), ACK, b"an answer without a flow"),
        answer,
    ];
    from_target.extend(pieces(asked, if port == Port::A { 3 } else { 4 }));
    from_target.extend(errors(&segment(swapped(back), ACK, b"lost")));
    from_target.extend(errors(&datagram(swapped(asked), b"lost", true)));
    let from_client = from_client.iter().map(|packet| framed(port, packet));
    from_client.chain(from_target.iter().map(|packet| by_target(packet))).collect()
}

/// Errors from whom we had sent something to, quoting little and all of it.
fn errors(lost: &[u8]) -> Vec<Vec<u8>> {
    let (us, from) = addresses(lost);
    let quotes = [header_of(us) + 8, lost.len()].map(|length| &lost[..length]);
    let kinds: &[(u8, u8, u32)] = if us.is_ipv6() {
        &[(1, 4, 0), (2, 0, 1400), (3, 0, 0), (4, 0, 7)]
    } else {
        &[(3, 1, 0), (3, 4, 1400), (11, 0, 0), (12, 0, 8 << 24)]
    };
    let around = Around { ttl: 60, class: 0xc0, ..AROUND };
    let each = kinds.iter().flat_map(|&said| quotes.map(|quote| (said, quote)));
    each.map(|(said, quote)| build::icmp(around, (from, us), said, quote)).collect()
}
