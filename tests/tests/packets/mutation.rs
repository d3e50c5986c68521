//! Random damage to valid frames: both engines must agree on every one, byte for byte, and never break a promise.

use std::cell::Cell;

use privatelink_common::flow_table::record::NewFlow;
use privatelink_common::flow_table::{Flow, Half};
use privatelink_common::records::{FlowKey, NextHop};
use privatelink_common::tcp::{ACK, FIN, PSH, RST, SYN};
use privatelink_userspace::datapath::Verdict;

use crate::damage::{Random, damage, ipv4_at};
use crate::echo::request;
use crate::fragments::cut;
use crate::frame::{
    Datagram, Mac, Message, Segment, arp, checksums_are_right, ethernet, internet_checksum,
};
use crate::icmp::{error_about, error_with};
use crate::udp;
use crate::world::{
    BALANCER, CLIENT, ENDPOINT, Engine, FlowExt as _, Host, Kernel, Outcome, Port, at_client,
    at_target, drops, end, find, flows, from_client, from_target, occupy,
};

const FRAMES: u64 = 30_000;

/// A TCP segment or UDP datagram as its receiver would read it.
struct Read {
    key: FlowKey,
    ttl: u8,
    /// TCP's; 0 of UDP.
    flags: u8,
    /// Whether both checksums are right.
    intact: bool,
    /// All that a NAT has no business with: sequence numbers, flags, window, options, data, padding.
    rest: [Vec<u8>; 2],
}

fn read(port: Port, frame: &[u8]) -> Option<Read> {
    let packet = &frame[ipv4_at(frame)?..];
    let length = usize::from(u16::from_be_bytes([*packet.get(2)?, *packet.get(3)?]));
    let protocol = *packet.get(9)?;
    let least = if protocol == 17 { 28 } else { 40 };
    if packet[0] != 0x45
        || !(least..=packet.len()).contains(&length)
        || ![6, 17].contains(&protocol)
    {
        return None;
    }
    let word = |at: usize| {
        u32::from_ne_bytes([packet[at], packet[at + 1], packet[at + 2], packet[at + 3]])
    };
    let half = |at: usize| u16::from_ne_bytes([packet[at], packet[at + 1]]);
    let key = FlowKey {
        source: word(12),
        destination: word(16),
        source_port: half(20),
        destination_port: half(22),
        vpc: vpc(port),
        protocol,
    };
    let (udp_length, here) = (usize::from(u16::from_be(half(24))), length - 20);
    let longest = if fragment(packet) == Some(Fragment::First) { 65_515 } else { here };
    let least = if longest == here { 8 } else { here };
    let is_later = fragment(packet) == Some(Fragment::Later);
    if is_later || protocol == 17 && !(least..=longest).contains(&udp_length) {
        return None;
    }
    let (flags, checksum) = if protocol == 17 { (0, 26) } else { (packet[33], 36) };
    Some(Read {
        key,
        ttl: packet[8],
        flags,
        intact: checksums_are_right(&[&[0; 14], packet].concat()),
        rest: [packet[24..checksum].to_vec(), packet[checksum + 2..].to_vec()],
    })
}

/// Which fragment of a datagram a packet is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fragment {
    First,
    Later,
}

fn fragment(packet: &[u8]) -> Option<Fragment> {
    let word = u16::from_be_bytes([*packet.get(6)?, *packet.get(7)?]) & 0x3fff;
    match (word, word & 0x1fff) {
        (0, _) => None,
        (_, 0) => Some(Fragment::First),
        _ => Some(Fragment::Later),
    }
}

/// The IPv4 packet of a frame that carries a later fragment of a datagram.
fn later_fragment(frame: &[u8]) -> Option<&[u8]> {
    let packet = &frame[ipv4_at(frame)?..];
    (packet.get(9) == Some(&17) && fragment(packet) == Some(Fragment::Later)).then_some(packet)
}

impl Read {
    /// Whether it asks for a flow, or is what opens one.
    fn opens(&self) -> bool {
        self.key.protocol == 17 || self.flags & (SYN | ACK | RST | FIN) == SYN
    }

    /// All that must arrive as it was sent, but for the MSS of a SYN: that is lowered to what an MTU of 1500 leaves.
    fn rest_on_arrival(&self) -> [Vec<u8>; 2] {
        if self.flags & SYN == 0 {
            return self.rest.clone();
        }
        let [header, mut behind] = self.rest.clone();
        // From the urgent pointer on; the options begin two bytes later.
        let end = usize::from(header[8] >> 4) * 4 - 20 + 2;
        let mut at = 2;
        while at < end {
            let (kind, size) = (behind[at], usize::from(*behind.get(at + 1).unwrap_or(&0)));
            if kind == 1 {
                at += 1;
                continue;
            }
            if kind == 0 || size < 2 || at + size > end {
                break;
            }
            if (kind, size) == (2, 4) {
                let mss = u16::from_be_bytes([behind[at + 2], behind[at + 3]]).min(1460);
                behind[at + 2..at + 4].copy_from_slice(&mss.to_be_bytes());
            }
            at += size;
        }
        [header, behind]
    }
}

/// The IPv4 packet of a frame that carries an ICMP message.
fn icmp(frame: &[u8]) -> Option<&[u8]> {
    let packet = &frame[ipv4_at(frame)?..];
    let length = usize::from(u16::from_be_bytes([*packet.get(2)?, *packet.get(3)?]));
    (packet[0] == 0x45 && packet.get(9) == Some(&1)).then(|| packet.get(..length))?
}

/// The key of the flow's direction that answers the packet quoted by an ICMP error.
fn answer_key(port: Port, message: &[u8]) -> Option<FlowKey> {
    let quote = message.get(28..56)?;
    let word =
        |at: usize| u32::from_ne_bytes([quote[at], quote[at + 1], quote[at + 2], quote[at + 3]]);
    let half = |at: usize| u16::from_ne_bytes([quote[at], quote[at + 1]]);
    Some(FlowKey {
        source: word(16),
        destination: word(12),
        source_port: half(22),
        destination_port: half(20),
        vpc: vpc(port),
        protocol: quote[9],
    })
}

const fn vpc(port: Port) -> u16 {
    port as u16 + 1
}

/// The interface a frame leaves by, told by its sender's MAC address.
fn egress(frame: &[u8]) -> Port {
    let sender: Mac = frame[6..12].try_into().expect("six bytes");
    let port = Port::ALL.into_iter().find(|port| port.mac() == sender);
    port.expect("what leaves has an interface's MAC address as its sender")
}

/// Both engines, with the same flows.
struct Twins<'k> {
    host: Host,
    kernel: &'k mut Kernel,
    /// Damaged segments that were let into a new flow, and sent on along a known one.
    opened: u32,
    forwarded: Cell<u32>,
    /// Damaged ICMP messages that were answered, and carried to the other side.
    echoed: Cell<u32>,
    carried: Cell<u32>,
    /// Damaged later fragments that followed a first one.
    followed: Cell<u32>,
}

impl Twins<'_> {
    /// Opens a flow on the host, and with the same lease in the kernel, since leases are random.
    fn open(&mut self, port: Port, first: &[u8]) {
        let ours = self.host.receive(port, first);
        assert_eq!(ours.verdict, Verdict::Redirect);
        let key = read(port, first).expect("it is one").key;
        let flow = find(&self.host, &key).expect("its flow");
        let Flow { endpoint, target, .. } = flow;
        let [forward, reverse] = [key, flow.keys()[1]].map(|key| key.words());
        let copy = NewFlow { forward, reverse, endpoint, target };
        assert!(occupy(self.kernel, &copy));
        assert_eq!(self.kernel.receive(port, first), ours);
    }

    fn live(&self) -> u64 {
        (0..2).map(|endpoint| self.host.table().usage(endpoint).expect("one").flows.get()).sum()
    }

    fn receive(&mut self, port: Port, frame: &[u8]) {
        // Fragments have two seconds, by the one clock or the other.
        if ipv4_at(frame).is_some_and(|at| fragment(&frame[at..]).is_some()) {
            let now = self.kernel.now();
            self.host.set_now(now);
        }
        let reopens = |read: Read| {
            let flow = find(&self.host, &read.key);
            read.opens() && flow.is_some_and(|flow| flow.state.is_over())
        };
        // The flow would get another lease, and its twin another one.
        if read(port, frame).is_some_and(reopens) {
            return;
        }
        let before = self.live();
        let ours = self.host.receive(port, frame);
        let kernels = self.kernel.receive(port, frame);
        let key = read(port, frame).map(|read| read.key);
        if self.live() == before {
            assert_eq!(kernels, ours, "{port:?} {frame:02x?}");
            self.keeps_promises(port, frame, &ours);
            return;
        }
        let key = key.expect("only a segment or datagram opens a flow");
        let opener = read(port, frame).expect("it is one");
        assert!(opener.opens(), "of segments only a SYN opens a flow");
        assert!(opener.intact, "only an intact one");
        assert_ne!(port, Port::Provider, "only a consumer");
        self.keeps_promises(port, frame, &ours);
        // The leases differ, and the checksums by that.
        let without_lease = |outcome: &Outcome| {
            let mut bytes = outcome.frame.clone();
            if outcome.verdict == Verdict::Redirect {
                assert!(checksums_are_right(&bytes), "{bytes:02x?}");
                bytes[34..36].fill(0);
                let checksum = if key.protocol == 17 { 40 } else { 50 };
                bytes[checksum..checksum + 2].fill(0);
            }
            (outcome.verdict, bytes)
        };
        assert_eq!(without_lease(&kernels), without_lease(&ours), "{port:?} {frame:02x?}");
        self.opened += 1;
        // The next frames meet the flows of the start only.
        for engine in [&mut self.host as &mut dyn Engine, self.kernel] {
            let flow = find(engine, &key).expect("the new flow");
            end(engine, &flow);
        }
    }

    /// What may never happen, whatever comes in.
    fn keeps_promises(&self, port: Port, sent: &[u8], outcome: &Outcome) {
        let got = outcome.frame.as_slice();
        match outcome.verdict {
            Verdict::Pass => assert_eq!(got, sent, "what passes is untouched"),
            Verdict::Drop => {}
            Verdict::Redirect => {
                let to = egress(got);
                if let Some(message) = icmp(sent) {
                    self.keeps_promises_about_icmp(
                        port,
                        message,
                        to,
                        icmp(got).expect("it stays ICMP"),
                    );
                    return;
                }
                if let Some(fragment) = later_fragment(sent) {
                    let got = later_fragment(got).expect("it stays one");
                    self.keeps_promises_about_later_fragments(port, fragment, to, got);
                    return;
                }
                let Some(before) = read(port, sent) else {
                    assert_eq!((to, got.len()), (port, sent.len()), "an answer to ARP");
                    return;
                };
                let after = read(to, got).expect("a segment stays one");
                let Some(flow) = find(&self.host, &before.key) else {
                    assert_eq!((to, after.flags), (port, RST), "a segment without a flow");
                    assert!(after.intact && got.len() <= sent.len());
                    return;
                };
                let other = if port == Port::Provider {
                    flow.forward.key.vpc
                } else {
                    flow.reverse.key.vpc
                };
                assert_eq!(vpc(to), other, "never into another vpc than the flow's");
                self.forwarded.set(self.forwarded.get() + 1);
                assert_eq!(after.ttl, before.ttl - 1);
                assert_eq!(after.rest, before.rest_on_arrival(), "what is not ours stays");
                assert!(!before.intact || after.intact, "right checksums stay right");
            }
            Verdict::Tx | Verdict::Aborted => panic!("{:?}", outcome.verdict),
        }
    }

    fn keeps_promises_about_icmp(&self, port: Port, sent: &[u8], to: Port, got: &[u8]) {
        assert_eq!(got.len(), sent.len());
        assert_eq!(internet_checksum(&sent[20..]), 0, "only an intact message");
        assert_eq!(internet_checksum(&got[20..]), 0);
        let header = [sent, got].map(|packet| internet_checksum(&packet[..20]) == 0);
        assert_eq!(header[0], header[1], "a right checksum stays right, a wrong one wrong");
        if sent[20] == 8 {
            assert_eq!((port, to, got[20]), (Port::A, Port::A, 0), "an answer, where it is wanted");
            self.echoed.set(self.echoed.get() + 1);
            return;
        }
        let key = answer_key(port, sent).expect("it quotes enough");
        let flow = find(&self.host, &key).expect("a flow had sent what it quotes");
        let [forward, reverse] = flow.keys();
        let (here, there) = match port {
            Port::Provider => (reverse, forward),
            _ => (forward, reverse),
        };
        assert_eq!(here, key);
        assert_eq!(vpc(to), there.vpc, "never into another vpc than the flow's");
        assert_eq!(
            answer_key(to, got),
            Some(there.reversed()),
            "it is about what the other side had sent"
        );
        assert_eq!(&got[12..16], &there.destination.to_ne_bytes(), "no address of this side");
        assert_eq!(
            (got[8], &got[20..22], &got[24..28]),
            (sent[8] - 1, &sent[20..22], &sent[24..28])
        );
        self.carried.set(self.carried.get() + 1);
    }

    fn keeps_promises_about_later_fragments(&self, port: Port, sent: &[u8], to: Port, got: &[u8]) {
        let flows = flows(&self.host);
        let key = |half: &Half| half.key.ipv4().expect("a key of IPv4 addresses");
        let mut ways = flows.iter().map(|flow| match port {
            Port::Provider => (key(&flow.reverse), key(&flow.forward)),
            _ => (key(&flow.forward), key(&flow.reverse)),
        });
        let is_way = |(here, there): (FlowKey, FlowKey)| {
            let ends = |key: FlowKey| [key.source.to_ne_bytes(), key.destination.to_ne_bytes()];
            (here.vpc, there.vpc) == (vpc(port), vpc(to))
                && sent[12..20] == *ends(here).as_flattened()
                && got[12..20] == *ends(there.reversed()).as_flattened()
        };
        assert!(ways.any(is_way), "a flow goes that way");
        assert_eq!((got[8], &got[20..]), (sent[8] - 1, &sent[20..]));
        assert_eq!((&got[0..4], &got[6..8]), (&sent[0..4], &sent[6..8]));
        let header = [sent, got].map(|packet| internet_checksum(&packet[..20]) == 0);
        assert_eq!(header[0], header[1], "a right checksum stays right, a wrong one wrong");
        self.followed.set(self.followed.get() + 1);
    }

    /// All flows but what clocks, chance and interface indexes decide.
    fn flows(engine: &dyn Engine) -> Vec<Flow> {
        let mut flows = flows(engine);
        for flow in &mut flows {
            (flow.number, flow.opened, flow.forward.stamp, flow.reverse.stamp) = (0, 0, 0, 0);
            flow.client = NextHop::new(flow.client.mac(), 0);
            // The engines' clocks differ.
            for half in [&mut flow.forward, &mut flow.reverse] {
                half.note = half.note.untimed();
            }
        }
        flows
    }
}

/// Where a flow's client is.
fn client_port(flow: &Flow) -> Port {
    if flow.forward.key.vpc == vpc(Port::A) { Port::A } else { Port::B }
}

/// Datagrams of a flow both ways, others beside it, and errors about them.
fn datagrams(flow: &Flow) -> Vec<(Port, Vec<u8>)> {
    let port = client_port(flow);
    let question = udp::from_client(port, 40_000, b"a question that is long enough");
    let answer = udp::from_target(flow, b"an answer that is long enough");
    let bare = |datagram: &Datagram| Datagram { has_checksum: false, ..datagram.clone() };
    let new = udp::from_client(port, 40_001, b"one that opens another flow");
    let unasked = Datagram { destination: (BALANCER, 1), ..answer.clone() };
    let lost = [
        (Port::Provider, udp::at_target(&question, flow)),
        (port, udp::at_client(&answer, port, 40_000)),
    ];
    let errors = lost.map(|(port, lost)| (port, error_about_datagram(&lost).bytes()));
    let from_clients = [question.bytes(), bare(&question).bytes(), new.bytes(), bare(&new).bytes()];
    let from_provider = [answer.bytes(), bare(&answer).bytes(), unasked.bytes()];
    // Of two fragments each: what is live and what opens a flow.
    let pieces = |datagram: &Datagram, identification| {
        cut(&Datagram { identification, ..datagram.clone() }, 24)
    };
    let fragments = [(port, &question), (port, &new), (Port::Provider, &answer)]
        .into_iter()
        .zip(1..)
        .flat_map(|((port, datagram), identification)| {
            pieces(datagram, identification).into_iter().map(move |frame| (port, frame))
        });
    let datagrams = from_clients.map(|frame| (port, frame)).into_iter().chain(fragments);
    datagrams.chain(from_provider.map(|frame| (Port::Provider, frame))).chain(errors).collect()
}

/// An error about a datagram as it left us, from the host it was sent to.
fn error_about_datagram(datagram: &Datagram) -> Message {
    Message {
        to: datagram.from,
        from: datagram.to,
        source: datagram.destination.0,
        destination: datagram.source.0,
        ..error_with(3, 3, datagram.quote(40))
    }
}

/// Valid frames of every kind, from every side.
fn seeds(host: &Host) -> Vec<(Port, Vec<u8>)> {
    let mut seeds: Vec<(Port, Segment)> = Vec::new();
    let tagged = |segment: Segment| Segment { tags: vec![(0x88a8, 7), (0x8100, 100)], ..segment };
    for port in [Port::A, Port::B] {
        let syn = from_client(port, 40_000, SYN);
        seeds.push((port, syn.with_payload(b"some data of a live flow, long enough to be cut")));
        seeds.push((port, from_client(port, 40_001, SYN)));
        seeds.push((port, tagged(from_client(port, 40_002, SYN))));
        let stray = from_client(port, 40_003, ACK | PSH).with_payload(b"mid-stream, no flow");
        seeds.push((port, tagged(stray)));
    }
    seeds.push((Port::B, tagged(from_client(Port::B, 40_000, ACK | FIN))));
    let (tcp, udp): (Vec<Flow>, Vec<Flow>) =
        flows(host).into_iter().partition(|flow| flow.forward.key.protocol == 6);
    for flow in &tcp {
        seeds.push((Port::Provider, from_target(flow, ACK | PSH, b"an answer to be damaged")));
        let forgotten = Segment {
            destination: (BALANCER, 1),
            ..from_target(flow, ACK, b"an answer without a flow")
        };
        seeds.push((Port::Provider, forgotten));
    }
    let mut messages: Vec<(Port, Message)> = Vec::new();
    for port in [Port::A, Port::B] {
        messages.push((
            port,
            Message { tags: vec![(0x8100, 9)], ..request(port, b"is anybody there") },
        ));
    }
    for flow in &tcp {
        let port = client_port(flow);
        let sent = from_client(port, 40_000, ACK);
        let lost = [(Port::Provider, at_target(&sent, flow)), {
            let answer = from_target(flow, ACK, b"too big");
            (port, at_client(&answer, port, 40_000))
        }];
        for (port, lost) in lost {
            messages.push((port, error_about(&lost, 28)));
            messages.push((port, error_about(&lost, 60)));
        }
    }
    let messages = messages.into_iter().map(|(port, message)| (port, message.bytes()));
    let datagrams = udp.iter().flat_map(datagrams);
    let mut seeds: Vec<_> = seeds
        .into_iter()
        .map(|(port, segment)| (port, segment.bytes()))
        .chain(messages)
        .chain(datagrams)
        .collect();
    for (port, wanted) in [(Port::A, ENDPOINT), (Port::B, ENDPOINT), (Port::Provider, BALANCER)] {
        let header = ethernet([0xff; 6], port.client(), &[], 0x0806);
        let question = arp(1, (port.client(), CLIENT), ([0; 6], wanted));
        seeds.push((port, [header, question].concat()));
    }
    seeds
}

/// Both protocols are published, and allowed.
fn both(text: String) -> String {
    udp::both(text).replace("ingress = [{ protocol = \"udp\"", "ingress = [{ protocol = \"all\"")
}

#[test]
fn both_engines_agree_on_damaged_frames() {
    let run = |kernel: &mut Kernel| {
        let mut twins = Twins {
            host: Host::new(&both),
            kernel,
            opened: 0,
            forwarded: Cell::new(0),
            echoed: Cell::new(0),
            carried: Cell::new(0),
            followed: Cell::new(0),
        };
        for engine in [&mut twins.host as &mut dyn Engine, twins.kernel] {
            engine.edit_endpoint(0, &|endpoint| endpoint.icmp_echo = 1);
        }
        twins.open(Port::A, &from_client(Port::A, 40_000, SYN).bytes());
        let vlan = Segment { tags: vec![(0x8100, 5)], ..from_client(Port::B, 40_000, SYN) };
        twins.open(Port::B, &vlan.bytes());
        for port in [Port::A, Port::B] {
            twins.open(port, &udp::from_client(port, 40_000, b"question").bytes());
        }
        let seeds = seeds(&twins.host);
        // Undamaged, every kind does what it should.
        for (port, frame) in &seeds {
            twins.receive(*port, frame);
        }
        let mut random = Random(1);
        for _ in 0..FRAMES {
            let (port, frame) = &seeds[random.below(seeds.len())];
            let mut frame = frame.clone();
            damage(&mut frame, &mut random);
            twins.receive(*port, &frame);
        }
        for port in Port::ALL {
            // The flows were opened on the host alone, and copied: no drop in that.
            assert_eq!(drops(twins.kernel, port), drops(&twins.host, port), "{port:?}");
        }
        assert_eq!(Twins::flows(twins.kernel), Twins::flows(&twins.host));
        assert_eq!(flows(&twins.host).len(), 4);
        // The damage leaves enough alive to say something about the ways through.
        let icmp = (twins.echoed.get(), twins.carried.get());
        let alive = (twins.opened, twins.forwarded.get());
        assert!(alive.0 > 500 && alive.1 > 2000, "{alive:?}");
        assert!(icmp.0 > 100 && icmp.1 > 1000, "{icmp:?}");
        assert!(twins.followed.get() > 100, "{}", twins.followed.get());
    };
    Kernel::run(&both, run);
}
