//! Millions of damaged frames of either family, and what may never happen to any of them.

use std::net::IpAddr;

use privatelink_common::flow_table::Flow;
use privatelink_common::tcp::{ACK, FIN, PSH, RST, SYN};
use privatelink_userspace::datapath::Verdict;

use super::icmp::EXTENSIONS;
use super::mix::{BALANCER_6, ENDPOINT_6, Mix, six};
use super::rewrite::{self, Around};
use super::run::key;
use super::wire::{
    self, ICMPV6, IPV4, IPV6, Link, Parcel, Socket, TCP, UDP, addresses, ether_type_of, header_of,
    u16_at,
};
use crate::damage::{Random, damage};
use crate::frame::{self, internet_checksum};
use crate::world::{
    BALANCER, CLIENT, ENDPOINT, Engine, Outcome, Port, TARGET_MACS, end, find_either,
};

/// What has become of the frames.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) passed: u64,
    pub(crate) dropped: u64,
    pub(crate) forwarded: u64,
    pub(crate) answered: u64,
    pub(crate) opened: u64,
}

type Frame = (Port, Vec<u8>);

const AROUND: Around =
    Around { class: 0xb9, ttl: 64, identification: 0xbeef, dont_fragment: true, label: 0x12345 };
const MSS: [u8; 8] = [2, 4, 5, 0xb4, 1, 3, 3, 7];

/// The MAC address that frames come from by a port.
fn sender(port: Port) -> frame::Mac {
    if port == Port::Provider { TARGET_MACS[0] } else { port.client() }
}

fn framed(port: Port, tags: &[(u16, u16)], packet: &[u8]) -> Frame {
    let ether_type = ether_type_of(addresses(packet).0);
    let header = frame::ethernet(port.mac(), sender(port), tags, ether_type);
    (port, [&header, packet].concat())
}

fn segment(ends: (Socket, Socket), flags: u8, data: &[u8]) -> Vec<u8> {
    let options = if flags & SYN == 0 { &[][..] } else { &MSS };
    let carried = rewrite::tcp(ends, (0x1234_5678, 0x1234_5679), flags, 0xfaf0, options, data);
    rewrite::packet(AROUND, (ends.0.0, ends.1.0), TCP, &carried, true)
}

fn datagram(ends: (Socket, Socket), data: &[u8]) -> Vec<u8> {
    rewrite::packet(AROUND, (ends.0.0, ends.1.0), UDP, &rewrite::udp(ends, data), true)
}

/// The client's and the endpoint's address of a family.
fn consumer_ends(is_six: bool) -> (IpAddr, IpAddr) {
    if is_six { (six(2, 0x20).into(), ENDPOINT_6.into()) } else { (CLIENT.into(), ENDPOINT.into()) }
}

fn open(engine: &mut dyn Engine, (port, frame): &Frame) -> Flow {
    assert_eq!(engine.receive(*port, frame).verdict, Verdict::Redirect);
    let parcel = read(frame).expect("it opens a flow");
    find_either(engine, &key(*port, &parcel)).expect("its flow")
}

/// The ends of what a flow's target says.
fn answering(flow: &Flow) -> (Socket, Socket) {
    let key = flow.reverse.key;
    ((key.source, key.source_port), (key.destination, key.destination_port))
}

/// Frames for which there is a flow, an answer, or nothing.
fn seeds(engine: &mut dyn Engine, mix: Mix) -> Vec<Frame> {
    let mut seeds: Vec<Frame> = Vec::new();
    let families: &[bool] = if mix == Mix::Four { &[false] } else { &[false, true] };
    for (port, tags) in [(Port::A, &[][..]), (Port::B, &[(0x88a8, 7), (0x8100, 100)])] {
        for &is_six in families {
            let (client, endpoint) = consumer_ends(is_six);
            let ends = ((client, 40_000), (endpoint, 80));
            let mut add = |packets: &[Vec<u8>]| {
                seeds.extend(packets.iter().map(|packet| framed(port, tags, packet)));
            };
            let syn = segment(ends, SYN, &[]);
            let flow = open(engine, &framed(port, tags, &syn));
            let back = answering(&flow);
            let [answer, ack] = [segment(back, SYN | ACK, &[]), segment(ends, ACK, &[])];
            for frame in [framed(Port::Provider, &[], &answer), framed(port, tags, &ack)] {
                assert_eq!(engine.receive(frame.0, &frame.1).verdict, Verdict::Redirect);
            }
            let question = datagram(ends, b"a question, long enough to be cut");
            let asked = answering(&open(engine, &framed(port, tags, &question)));
            let other = ((client, 40_001), (endpoint, 80));
            add(&[
                segment(ends, ACK | PSH, b"some data of a live flow, long enough to be cut"),
                segment(ends, ACK | FIN, &[]),
                segment(ends, RST, &[]),
                segment(other, SYN, &[]),
                segment(other, ACK | PSH, b"mid-stream, no flow"),
                datagram(other, b"a new question"),
                echo(client, endpoint),
                with_extension(&question),
                syn,
                question,
            ]);
            add(&errors(endpoint, &segment((ends.1, ends.0), ACK, b"lost")));
            let mut by_target = vec![
                segment(back, ACK | PSH, b"an answer to be damaged"),
                datagram(asked, b"an answer to be damaged"),
                segment((back.0, (back.1.0, 1)), ACK, b"an answer without a flow"),
                answer,
            ];
            by_target.extend(errors(back.0.0, &segment((back.1, back.0), ACK, b"lost")));
            seeds.extend(by_target.iter().map(|packet| framed(Port::Provider, &[], packet)));
        }
        let header = frame::ethernet([0xff; 6], port.client(), &[], 0x0806);
        let question = frame::arp(1, (port.client(), CLIENT), ([0; 6], ENDPOINT));
        seeds.push((port, [header, question].concat()));
        let body = [&ENDPOINT_6.octets()[..], &[1, 1], &port.client()].concat();
        let group = IpAddr::from([0xff02, 0, 0, 0, 0, 1, 0xff01, 0x10]);
        let solicitation =
            rewrite::icmpv6(0, 255, (consumer_ends(true).0, group), (135, 0, 0), &body);
        seeds.push(framed(port, tags, &solicitation));
    }
    seeds
}

fn echo(client: IpAddr, endpoint: IpAddr) -> Vec<u8> {
    let body = b"is anybody there";
    if endpoint.is_ipv6() {
        return rewrite::icmpv6(0, 64, (client, endpoint), (128, 0, 7), body);
    }
    icmp((client, endpoint), (8, 0), body)
}

fn icmp(ends: (IpAddr, IpAddr), (kind, code): (u8, u8), body: &[u8]) -> Vec<u8> {
    let mut message = [&[kind, code, 0, 0, 0, 0, 0, 7][..], body].concat();
    let checksum = internet_checksum(&message);
    message[2..4].copy_from_slice(&checksum.to_be_bytes());
    rewrite::packet(Around { ttl: 60, ..AROUND }, ends, 1, &message, false)
}

/// Errors by `from` about what we had sent there, quoting little and all of it.
fn errors(from: IpAddr, lost: &[u8]) -> Vec<Vec<u8>> {
    let us = addresses(lost).0;
    // What the other side had sent is what comes back, if it was we who sent it.
    let from = if from == us { addresses(lost).1 } else { from };
    let quotes = [header_of(us) + 8, lost.len()].map(|length| &lost[..length]);
    let kinds: &[(u8, u8)] = if us.is_ipv6() { &[(1, 4), (2, 0)] } else { &[(3, 1), (3, 4)] };
    let each = kinds.iter().flat_map(|&kind| quotes.map(|quote| (kind, quote)));
    each.map(|(kind, quote)| match us {
        IpAddr::V6(_) => rewrite::icmpv6(0xc0, 60, (from, us), (kind.0, kind.1, 1400), quote),
        IpAddr::V4(_) => icmp((from, us), kind, quote),
    })
    .collect()
}

/// An IPv6 packet with a fragment header before what it carries, more to follow; an IPv4 one as the first fragment.
fn with_extension(packet: &[u8]) -> Vec<u8> {
    let mut packet = packet.to_vec();
    if packet[0] >> 4 == 4 {
        packet[6] = 0x20;
        packet[10..12].fill(0);
        let checksum = internet_checksum(&packet[..20]);
        packet[10..12].copy_from_slice(&checksum.to_be_bytes());
        return packet;
    }
    let next = std::mem::replace(&mut packet[6], 44);
    let length = u16_at(&packet, 4) + 8;
    packet[4..6].copy_from_slice(&length.to_be_bytes());
    packet.splice(40..40, [next, 0, 0, 1, 0, 0, 0, 9]);
    packet
}

/// Sends this many damaged frames through an engine that has no flows yet. Damaged segments reset flows and open them again
/// elsewhere, and then the frames from their targets meet nothing: not too many, therefore.
pub(crate) fn run(
    engine: &mut dyn Engine,
    mix: Mix,
    frames: u64,
    random: &mut Random,
    counts: &mut Counts,
) {
    engine.edit_endpoint(0, &|endpoint| endpoint.icmp_echo = 1);
    let seeds = seeds(engine, mix);
    for _ in 0..frames {
        let (port, frame) = &seeds[random.below(seeds.len())];
        let mut frame = frame.clone();
        damage(&mut frame, random);
        receive(engine, mix, *port, &frame, counts);
    }
}

fn live(engine: &dyn Engine) -> u64 {
    (0..3).map(|endpoint| engine.table().usage(endpoint).expect("one").flows.get()).sum()
}

/// The IP packet of a frame, if its header is whole.
fn packet(frame: &[u8]) -> Option<&[u8]> {
    let link = Link::read(frame)?;
    let least = match link.ether_type {
        IPV4 => 20,
        IPV6 => 40,
        _ => return None,
    };
    frame.get(link.length..).filter(|packet| packet.len() >= least)
}

/// What a frame carries, be it the first fragment of a datagram.
fn read(frame: &[u8]) -> Option<Parcel> {
    let packet = packet(frame)?;
    match Link::read(frame)?.ether_type {
        IPV4 => Parcel::read_v4(packet).ok().or_else(|| {
            let mut whole = packet.to_vec();
            let is_later = u16_at(packet, 6) & 0x1fff != 0;
            whole[6..8].fill(0);
            // The datagram is longer than what is here of it.
            if whole.len() > 26 {
                whole[24..26].copy_from_slice(&8_u16.to_be_bytes());
            }
            let first = Parcel::read_v4(&whole).ok()?;
            (!is_later && first.protocol == UDP).then_some(first)
        }),
        _ => Parcel::read_v6(&without_extensions(packet)).ok(),
    }
}

/// An IPv6 packet without its extension headers; the first fragment of a datagram as if it were all of it.
fn without_extensions(packet: &[u8]) -> Vec<u8> {
    let mut packet = packet.to_vec();
    while matches!(packet[6], 0 | 43 | 44 | 60) && packet.len() >= 48 {
        let is_fragment = packet[6] == 44;
        if is_fragment && u16_at(&packet, 42) & 0xfff8 != 0 {
            return packet;
        }
        let length = if is_fragment { 8 } else { usize::from(packet[41]) * 8 + 8 };
        if packet.len() < 40 + length || usize::from(u16_at(&packet, 4)) < length {
            return packet;
        }
        let rest = u16_at(&packet, 4) - length as u16;
        let is_first = is_fragment && packet[43] & 1 != 0;
        packet[6] = packet[40];
        packet[4..6].copy_from_slice(&rest.to_be_bytes());
        packet.drain(40..40 + length);
        // The datagram is longer than what is here of it.
        if is_first && packet[6] == UDP && packet.len() >= 48 {
            packet[44..46].copy_from_slice(&rest.to_be_bytes());
        }
    }
    packet
}

fn receive(engine: &mut dyn Engine, mix: Mix, port: Port, frame: &[u8], counts: &mut Counts) {
    let parcel = read(frame);
    let key = parcel.as_ref().map(|parcel| key(port, parcel));
    let flow = |engine: &dyn Engine| key.as_ref().and_then(|key| find_either(engine, key));
    let (before, flows) = (flow(engine), live(engine));
    let outcome = engine.receive(port, frame);
    let after = flow(engine);
    let lease = |flow: &Option<Flow>| flow.as_ref().map(|flow| flow.reverse.key);
    if live(engine) > flows || after.is_some() && lease(&before) != lease(&after) {
        counts.opened += 1;
        let parcel = parcel.expect("only segment or datagram opens a flow");
        let asks = !parcel.is_tcp() || parcel.flags & (SYN | ACK | RST | FIN) == SYN;
        assert!(asks, "only a SYN: {frame:02x?}");
        let packet = packet(frame).expect("a packet");
        assert!(parcel.header == 40 || wire::ipv4_is_right(packet), "{frame:02x?}");
        let is_fragment = if parcel.header == 20 {
            packet[6] & 0x20 != 0
        } else {
            EXTENSIONS.contains(&packet[6])
        };
        assert!(is_fragment || parcel.is_right(packet), "{frame:02x?}");
        assert_ne!(port, Port::Provider, "only a consumer: {frame:02x?}");
        if before.is_none() {
            // The next frames meet the flows of the start only.
            end(engine, &after.expect("the new flow"));
        }
    }
    match outcome.verdict {
        Verdict::Pass => {
            counts.passed += 1;
            assert_eq!(outcome.frame, frame, "what passes is untouched");
        }
        Verdict::Drop => counts.dropped += 1,
        Verdict::Redirect => {
            let from = outcome.frame[6..12].to_vec();
            let egress = Port::ALL.into_iter().find(|port| port.mac()[..] == from[..]);
            let egress = egress.expect("an interface's own MAC address");
            if egress == port {
                counts.answered += 1;
                keeps_promises_of_an_answer(frame, &outcome);
            } else {
                counts.forwarded += 1;
                let provider = [port, egress].contains(&Port::Provider);
                assert!(provider, "from one consumer to another: {frame:02x?}");
                goes_to_its_place(mix, egress, frame, &outcome);
                keeps_promises(frame, &outcome);
            }
        }
        Verdict::Tx | Verdict::Aborted => panic!("{:?}", outcome.verdict),
    }
}

/// What is sent on leaves between a load balancer's address and a target's, or an endpoint's and a client's.
fn goes_to_its_place(mix: Mix, egress: Port, sent: &[u8], outcome: &Outcome) {
    let (from, to) = addresses(packet(&outcome.frame).expect("a packet"));
    let right = if egress == Port::Provider {
        let balancers: [IpAddr; 2] = [BALANCER.into(), BALANCER_6.into()];
        let is_target = mix.targets().iter().any(|((address, _), _)| *address == to);
        is_target
            && balancers.contains(&from)
            && TARGET_MACS.iter().any(|mac| *mac == outcome.frame[..6])
    } else {
        // The client may have been damaged, and then it has that address.
        let endpoints: [IpAddr; 2] = [ENDPOINT.into(), ENDPOINT_6.into()];
        endpoints.contains(&from)
    };
    assert!(right, "from {from} to {to} by {egress:?}: {sent:02x?}");
}

fn keeps_promises_of_an_answer(sent: &[u8], outcome: &Outcome) {
    let Some(before) = packet(sent) else {
        assert_eq!(outcome.frame.len(), sent.len(), "an answer to ARP");
        return;
    };
    let after = packet(&outcome.frame).expect("a packet");
    let is_six = after[0] >> 4 == 6;
    let intact = is_six || wire::ipv4_is_right(after);
    if let Some(parcel) = read(&outcome.frame) {
        assert!(intact && parcel.is_right(after), "{sent:02x?}");
        let bare = after.len() == parcel.header + 20 && parcel.flags == RST;
        assert!(bare && before.len() >= after.len(), "a bare RST: {sent:02x?}");
        return;
    }
    if is_six {
        let length = usize::from(u16_at(after, 4));
        assert!(after[6] == ICMPV6 && wire::icmpv6_is_right(&after[..40 + length]), "{sent:02x?}");
        assert!(
            matches!(after[40], 1 | 2 | 129 | 136) && after.len() <= before.len().max(1280).max(72)
        );
        return;
    }
    let length = usize::from(u16_at(after, 2));
    assert_eq!(internet_checksum(&after[20..length]), 0, "{sent:02x?}");
    if after[20] == 0 {
        assert_eq!(after.len(), before.len(), "an echo: {sent:02x?}");
        assert!(!wire::ipv4_is_right(before) || intact);
    } else {
        assert!(intact && after.len() == 56, "an error: {sent:02x?}");
    }
}

/// What is right stays right, and the payload as it was.
fn keeps_promises(sent: &[u8], outcome: &Outcome) {
    let (before, after) =
        (packet(sent).expect("a packet"), packet(&outcome.frame).expect("it stays a packet"));
    let hops = |packet: &[u8]| packet[if packet[0] >> 4 == 6 { 7 } else { 8 }];
    assert_eq!(hops(after), hops(before) - 1, "one hop: {sent:02x?}");
    let [was_six, is_six] = [before, after].map(|packet| packet[0] >> 4 == 6);
    let was_right = was_six || wire::ipv4_is_right(before);
    assert!(is_six || !was_right || wire::ipv4_is_right(after), "{sent:02x?}");
    if is_six && after[6] == 44 || was_six && EXTENSIONS.contains(&before[6]) {
        return;
    }
    if let Some(parcel) = read(sent) {
        // As it was a hop ago: the last one is none to read.
        let mut earlier = outcome.frame.clone();
        let hop = earlier.len() - after.len() + if is_six { 7 } else { 8 };
        earlier[hop] += 1;
        let out = read(&earlier).expect("it stays one");
        assert!(!parcel.is_right(before) || out.is_right(after), "{sent:02x?}");
        let numbers =
            |of: &Parcel| (of.protocol, of.sequence, of.acknowledgement, of.flags, of.payload);
        assert_eq!(numbers(&out), numbers(&parcel), "{sent:02x?}");
        // Neither longer nor shorter; all but the ports, the checksum, and the MSS of a SYN.
        let [carried, carries] = [&before[parcel.header..], &after[out.header..]];
        assert_eq!(carries.len(), carried.len(), "{sent:02x?}");
        let checksum = parcel.checksum() - parcel.header;
        let behind = if parcel.has(SYN) { parcel.length() - parcel.payload } else { checksum + 2 };
        assert_eq!(carries[4..checksum], carried[4..checksum], "{sent:02x?}");
        assert_eq!(carries[behind..], carried[behind..], "{sent:02x?}");
        return;
    }
    if was_six || is_six {
        if after[6] == ICMPV6 && is_six {
            let length = usize::from(u16_at(after, 4));
            assert!(wire::icmpv6_is_right(&after[..40 + length]), "{sent:02x?}");
        }
        return;
    }
    if before[9] == UDP {
        // A fragment.
        assert_eq!(after[28..], before[28..], "{sent:02x?}");
        return;
    }
    let same = |at: std::ops::Range<usize>| {
        assert_eq!(after[at.clone()], before[at.clone()], "{at:?} of {sent:02x?}");
    };
    let length = usize::from(u16_at(after, 2));
    assert_eq!(internet_checksum(&before[20..length]), 0, "only an intact message: {sent:02x?}");
    assert_eq!(internet_checksum(&after[20..length]), 0, "{sent:02x?}");
    // The sequence number that is quoted, and what lies between the checksums.
    same(0..8);
    same(20..22);
    same(24..38);
    same(52..54);
    same(66.min(after.len())..after.len());
}
