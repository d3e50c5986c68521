//! Millions of damaged frames on the host's engine, and what may never happen to any of them.

use privatelink_common::tcp::{ACK, FIN, PSH, RST, SYN};
use privatelink_userspace::datapath::Verdict;

use crate::damage::{Random, damage};
use crate::frame::{self, Message, Segment, internet_checksum};
use crate::wire::{self, Link, u16_at};
use crate::world::{
    BALANCER, CLIENT, ENDPOINT, Engine, FlowExt, Host, Outcome, Port, end, find, from_client,
    from_target,
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

/// Frames for which there is a flow, an answer, or nothing.
fn seeds(host: &mut Host) -> Vec<(Port, Vec<u8>)> {
    let mut seeds: Vec<(Port, Segment)> = Vec::new();
    let mut messages: Vec<(Port, Vec<u8>)> = Vec::new();
    for (port, tags) in [(Port::A, vec![]), (Port::B, vec![(0x88a8, 7), (0x8100, 100)])] {
        let syn = Segment { tags, ..from_client(port, 40_000, SYN) };
        assert_eq!(host.receive(port, &syn.bytes()).verdict, Verdict::Redirect);
        let key = crate::run::key(port, syn.source, syn.destination);
        let flow = find(host, &key).expect("its flow");
        let answer = from_target(&flow, SYN | ACK, &[]);
        let ack = syn.with_flags(ACK);
        for (from, segment) in [(Port::Provider, &answer), (port, &ack)] {
            assert_eq!(host.receive(from, &segment.bytes()).verdict, Verdict::Redirect);
        }
        let other = Segment { source: (CLIENT, 40_001), ..syn.clone() };
        seeds.extend([
            (port, syn.with_payload(b"some data of a live flow, long enough to be cut")),
            (port, syn.with_flags(ACK | FIN)),
            (port, syn.with_flags(RST)),
            (port, other.clone()),
            (port, Segment { options: vec![], payload: b"early data".to_vec(), ..other.clone() }),
            (port, other.with_payload(b"mid-stream, no flow")),
            (port, syn),
            (Port::Provider, from_target(&flow, ACK | PSH, b"an answer to be damaged")),
            (Port::Provider, answer),
            (
                Port::Provider,
                Segment {
                    destination: (BALANCER, 1),
                    ..from_target(&flow, ACK, b"an answer without a flow")
                },
            ),
        ]);
        for (from, ends, sequence) in [
            (port, ((ENDPOINT, 80), (CLIENT, 40_000)), 0x1234_5679),
            (Port::Provider, (flow.nat(), flow.target()), 0x1234_5679),
        ] {
            let (source, destination) = ends;
            let lost = Segment { source, destination, sequence, ..ack.clone() };
            let start = lost.ethernet();
            for quoted in [28, 40] {
                let body = lost.bytes()[start..start + quoted].to_vec();
                let error = Message { source: destination.0, ..message(from, source.0, 3, body) };
                messages.push((from, error.bytes()));
            }
        }
        messages.push((port, message(port, ENDPOINT, 8, b"is anybody there".to_vec()).bytes()));
        let header = frame::ethernet([0xff; 6], port.client(), &[], 0x0806);
        let question = frame::arp(1, (port.client(), CLIENT), ([0; 6], ENDPOINT));
        messages.push((port, [header, question].concat()));
    }
    seeds.into_iter().map(|(port, segment)| (port, segment.bytes())).chain(messages).collect()
}

fn message(port: Port, destination: std::net::Ipv4Addr, kind: u8, body: Vec<u8>) -> Message {
    Message {
        to: port.mac(),
        from: port.client(),
        tags: vec![],
        source: CLIENT,
        destination,
        ttl: 60,
        identification: 7,
        dscp_ecn: 0,
        dont_fragment: true,
        kind,
        code: 0,
        rest: [0; 4],
        body,
    }
}

/// Frames until the engine begins anew: damaged segments reset flows and open them again elsewhere, and then the
/// frames from their targets meet nothing.
const LIFETIME: u64 = 50_000;

/// Sends this many damaged frames through an engine.
pub(crate) fn run(frames: u64, seed: u64) -> Counts {
    let mut counts = Counts::default();
    let mut random = Random(seed);
    for start in (0..frames).step_by(LIFETIME as usize) {
        let mut host = Host::new(&|text| crate::run::edit(&text));
        host.edit_endpoint(0, &|endpoint| endpoint.icmp_echo = 1);
        let seeds = seeds(&mut host);
        for _ in start..frames.min(start + LIFETIME) {
            let (port, frame) = &seeds[random.below(seeds.len())];
            let mut frame = frame.clone();
            damage(&mut frame, &mut random);
            receive(&mut host, *port, &frame, &mut counts);
        }
    }
    counts
}

fn live(host: &Host) -> u64 {
    (0..2).map(|endpoint| host.table().usage(endpoint).expect("one").flows.get()).sum()
}

/// The IPv4 packet of a frame, and the TCP segment in it if there is one.
fn packet(frame: &[u8]) -> Option<(&[u8], Option<wire::Segment>)> {
    let link = Link::read(frame).filter(|link| link.ether_type == 0x0800)?;
    let packet = frame.get(link.length..).filter(|packet| packet.len() >= 20)?;
    Some((packet, wire::Segment::read(packet).ok()))
}

fn receive(host: &mut Host, port: Port, frame: &[u8], counts: &mut Counts) {
    let segment = packet(frame).and_then(|(_, segment)| segment);
    let key = segment.as_ref().map(|of| crate::run::key(port, of.source, of.destination));
    let flow = |host: &Host| key.as_ref().and_then(|key| find(host, key));
    let (before, flows) = (flow(host), live(host));
    let outcome = host.receive(port, frame);
    let after = flow(host);
    let reopened = before.as_ref().map(FlowExt::nat) != after.as_ref().map(FlowExt::nat);
    if live(host) > flows || after.is_some() && reopened {
        counts.opened += 1;
        let segment = segment.expect("only a segment opens a flow");
        assert_eq!(segment.flags & (SYN | ACK | RST | FIN), SYN, "only a SYN: {frame:02x?}");
        let (packet, _) = packet(frame).expect("a packet");
        assert!(wire::ipv4_is_right(packet) && wire::tcp_is_right(packet), "{frame:02x?}");
        assert_ne!(port, Port::Provider, "only a consumer: {frame:02x?}");
        if before.is_none() {
            // The next frames meet the flows of the start only.
            end(host, &after.expect("the new flow"));
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
                keeps_promises(frame, &outcome);
            }
        }
        Verdict::Tx | Verdict::Aborted => panic!("{:?}", outcome.verdict),
    }
}

fn keeps_promises_of_an_answer(sent: &[u8], outcome: &Outcome) {
    let Some((before, _)) = packet(sent) else {
        assert_eq!(outcome.frame.len(), sent.len(), "an answer to ARP");
        return;
    };
    let (after, segment) = packet(&outcome.frame).expect("a packet");
    let length = usize::from(u16_at(after, 2));
    if segment.is_some() {
        assert!(wire::ipv4_is_right(after) && wire::tcp_is_right(after), "{sent:02x?}");
        assert!(after.len() == 40 && before.len() >= 40, "a bare RST: {sent:02x?}");
        return;
    }
    assert_eq!(internet_checksum(&after[20..length]), 0, "{sent:02x?}");
    if after[20] == 0 {
        assert_eq!(after.len(), before.len(), "an echo: {sent:02x?}");
        assert!(!wire::ipv4_is_right(before) || wire::ipv4_is_right(after));
    } else {
        assert!(wire::ipv4_is_right(after) && after.len() == 56, "an error: {sent:02x?}");
    }
}

/// What is right stays right, and the payload as it was.
fn keeps_promises(sent: &[u8], outcome: &Outcome) {
    let (before, segment) = packet(sent).expect("a packet");
    let (after, _) = packet(&outcome.frame).expect("it stays a packet");
    assert_eq!(after.len(), before.len(), "neither longer nor shorter: {sent:02x?}");
    assert_eq!(after[8], before[8] - 1, "one hop: {sent:02x?}");
    assert!(!wire::ipv4_is_right(before) || wire::ipv4_is_right(after), "{sent:02x?}");
    let same = |at: std::ops::Range<usize>| {
        assert_eq!(after[at.clone()], before[at.clone()], "{at:?} of {sent:02x?}");
    };
    same(0..8);
    if let Some(segment) = segment {
        assert!(!wire::tcp_is_right(before) || wire::tcp_is_right(after), "{sent:02x?}");
        same(24..36);
        same(38..40);
        let options = usize::from(u16_at(after, 2)) - segment.payload;
        if segment.flags & SYN == 0 {
            same(40..options);
        }
        same(options..after.len());
        return;
    }
    let length = usize::from(u16_at(after, 2));
    assert_eq!(internet_checksum(&before[20..length]), 0, "only an intact message: {sent:02x?}");
    assert_eq!(internet_checksum(&after[20..length]), 0, "{sent:02x?}");
    // The sequence number that is quoted, and what lies between the checksums.
    same(20..22);
    same(24..38);
    same(52..56);
    same(56.min(length)..length.min(64));
    same(66.min(after.len())..after.len());
}
