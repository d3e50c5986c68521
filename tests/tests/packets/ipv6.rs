//! Flows with IPv6 on either side: from each family to each, there and back.

use std::net::{IpAddr, SocketAddr};

use etherparse::{NetSlice, PacketBuilder, SlicedPacket, TransportSlice};
use privatelink_common::tcp::{ACK, PSH, RST, SYN};
use privatelink_userspace::datapath::Verdict;

use crate::frame::Mac;
use crate::scenarios;
use crate::world::{Engine, Port, TARGET_MACS, drops};

const CLIENT_6: &str = "fd00:b::2:20";
const CLIENT_4: &str = "10.0.2.20";
const ENDPOINT_6: &str = "fd00:b::1:10";
const ENDPOINT_4: &str = "10.0.1.10";
const BALANCER_6: &str = "fd00:a::10";
const BALANCER_4: &str = "10.0.0.10";
const TARGETS_6: [&str; 2] = ["fd00:a::1:10", "fd00:a::1:11"];
const TARGETS_4: [&str; 2] = ["10.0.1.10", "10.0.1.11"];
const TARGET_PORTS: [u16; 2] = [8080, 8081];

/// Both vpcs and the endpoint have both families, and so has the load balancer; listener and targets take both protocols.
fn dualstack(text: String) -> String {
    let changes = [
        (
            "cidrs = [\"10.0.0.0/16\"]\ninterfaces = [{ name = \"pl-provider\"",
            "cidrs = [\"10.0.0.0/16\", \"fd00:a::/64\"]\ninterfaces = [{ name = \"pl-provider\"",
        ),
        (
            "cidrs = [\"10.0.0.0/16\"]\ninterfaces = [{ name = \"pl-consumer-a\"",
            "cidrs = [\"10.0.0.0/16\", \"fd00:b::/64\"]\ninterfaces = [{ name = \"pl-consumer-a\"",
        ),
        ("protocol = \"tcp\"\nport = 8080", "protocol = \"tcp_udp\"\nport = 8080"),
        ("protocol = \"tcp\"\nport = 80\n", "protocol = \"tcp_udp\"\nport = 80\n"),
        (
            "address = \"10.0.0.10/16\" }",
            "address = \"10.0.0.10/16\" }, { zone = \"us-east-1a\", address = \"fd00:a::10/64\" }",
        ),
        (
            "allowed_principals",
            "supported_ip_address_types = [\"ipv4\", \"ipv6\"]\nallowed_principals",
        ),
        ("security_groups = [\"sg-a\"]\n\n", "\n"),
        (
            "address = \"10.0.1.10\" }]      #",
            "address = \"10.0.1.10\" }, { zone = \"us-east-1a\", address = \"fd00:b::1:10\" }] #",
        ),
    ];
    changes.into_iter().fold(text, |text, (from, to)| {
        assert!(text.contains(from), "{from}");
        text.replacen(from, to, 1)
    })
}

/// The same with IPv6 targets.
fn six(text: String) -> String {
    dualstack(text)
        .replace("{ address = \"10.0.1.10\" },", "{ address = \"fd00:a::1:10\" },")
        .replace("{ address = \"10.0.1.11\", port", "{ address = \"fd00:a::1:11\", port")
        .replace(
            "protocol = \"tcp_udp\"\nport = 8080",
            "protocol = \"tcp_udp\"\nip_address_type = \"ipv6\"\nport = 8080",
        )
}

/// What a packet carries.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Carried {
    Segment { flags: u8, sequence: u32, acknowledgement: u32 },
    Datagram,
}

/// A packet of the family that its addresses have.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Packet {
    to: Mac,
    from: Mac,
    source: SocketAddr,
    destination: SocketAddr,
    ttl: u8,
    /// DSCP and ECN.
    class: u8,
    carried: Carried,
    payload: Vec<u8>,
}

fn end(address: &str, port: u16) -> SocketAddr {
    SocketAddr::new(address.parse().expect("an address"), port)
}

impl Packet {
    fn bytes(&self) -> Vec<u8> {
        let builder = PacketBuilder::ethernet2(self.from, self.to);
        let builder = match (self.source.ip(), self.destination.ip()) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                let mut header = etherparse::Ipv4Header::new(
                    0,
                    self.ttl,
                    0.into(),
                    source.octets(),
                    destination.octets(),
                )
                .expect("it fits");
                header.dont_fragment = true;
                header.dscp = (self.class >> 2).try_into().expect("six bits");
                header.ecn = (self.class & 3).try_into().expect("two bits");
                builder.ip(etherparse::IpHeaders::Ipv4(header, Default::default()))
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                builder.ip(etherparse::IpHeaders::Ipv6(
                    etherparse::Ipv6Header {
                        traffic_class: self.class,
                        hop_limit: self.ttl,
                        source: source.octets(),
                        destination: destination.octets(),
                        ..Default::default()
                    },
                    Default::default(),
                ))
            }
            _ => panic!("one family"),
        };
        let mut bytes = Vec::new();
        let (source, destination) = (self.source.port(), self.destination.port());
        match self.carried {
            Carried::Segment { flags, sequence, acknowledgement } => {
                let mut builder = builder.tcp(source, destination, sequence, 0xfaf0);
                for (flag, with) in [
                    (SYN, etherparse::PacketBuilderStep::syn as fn(_) -> _),
                    (RST, etherparse::PacketBuilderStep::rst),
                    (PSH, etherparse::PacketBuilderStep::psh),
                ] {
                    builder = if flags & flag != 0 { with(builder) } else { builder };
                }
                let builder = if flags & ACK != 0 { builder.ack(acknowledgement) } else { builder };
                builder.write(&mut bytes, &self.payload).expect("it fits");
            }
            Carried::Datagram => {
                builder.udp(source, destination).write(&mut bytes, &self.payload).expect("it fits");
            }
        }
        bytes
    }

    /// What a frame says, all its checksums right.
    fn read(frame: &[u8]) -> Self {
        let sliced = SlicedPacket::from_ethernet(frame).expect("a packet");
        let mac = |at: usize| Mac::try_from(&frame[at..at + 6]).expect("six bytes");
        let (source, destination, ttl, class) = match sliced.net.as_ref().expect("IP") {
            NetSlice::Ipv4(ip) => {
                let header = ip.header().to_header();
                assert_eq!(header.header_checksum, header.calc_header_checksum());
                let class = header.dscp.value() << 2 | header.ecn.value();
                (IpAddr::from(header.source), header.destination.into(), header.time_to_live, class)
            }
            NetSlice::Ipv6(ip) => {
                let header = ip.header().to_header();
                assert_eq!(header.flow_label.value(), 0);
                (
                    IpAddr::from(header.source),
                    IpAddr::from(header.destination),
                    header.hop_limit,
                    header.traffic_class,
                )
            }
            NetSlice::Arp(_) => panic!("no ARP"),
        };
        let checksum = |computed: Result<u16, _>, found: u16| {
            assert_eq!(computed.expect("it fits"), found);
        };
        let (ports, carried, payload) = match sliced.transport.expect("a transport") {
            TransportSlice::Tcp(tcp) => {
                let header = tcp.to_header();
                let computed = match (source, destination) {
                    (IpAddr::V4(a), IpAddr::V4(b)) => {
                        header.calc_checksum_ipv4_raw(a.octets(), b.octets(), tcp.payload())
                    }
                    (IpAddr::V6(a), IpAddr::V6(b)) => {
                        header.calc_checksum_ipv6_raw(a.octets(), b.octets(), tcp.payload())
                    }
                    _ => panic!("one family"),
                };
                checksum(computed, header.checksum);
                let flags = tcp.slice()[13];
                let (sequence, acknowledgement) =
                    (header.sequence_number, header.acknowledgment_number);
                let segment = Carried::Segment { flags, sequence, acknowledgement };
                ((header.source_port, header.destination_port), segment, tcp.payload().to_vec())
            }
            TransportSlice::Udp(udp) => {
                let header = udp.to_header();
                let computed = match (source, destination) {
                    (IpAddr::V4(a), IpAddr::V4(b)) => {
                        header.calc_checksum_ipv4_raw(a.octets(), b.octets(), udp.payload())
                    }
                    (IpAddr::V6(a), IpAddr::V6(b)) => {
                        header.calc_checksum_ipv6_raw(a.octets(), b.octets(), udp.payload())
                    }
                    _ => panic!("one family"),
                };
                checksum(computed, header.checksum);
                (
                    (header.source_port, header.destination_port),
                    Carried::Datagram,
                    udp.payload().to_vec(),
                )
            }
            _ => panic!("neither TCP nor UDP"),
        };
        Self {
            to: mac(0),
            from: mac(6),
            source: SocketAddr::new(source, ports.0),
            destination: SocketAddr::new(destination, ports.1),
            ttl,
            class,
            carried,
            payload,
        }
    }
}

fn from_client(six: bool, carried: Carried, payload: &[u8]) -> Packet {
    let (client, endpoint) = if six { (CLIENT_6, ENDPOINT_6) } else { (CLIENT_4, ENDPOINT_4) };
    Packet {
        to: Port::A.mac(),
        from: Port::A.client(),
        source: end(client, 40_000),
        destination: end(endpoint, 80),
        ttl: 64,
        class: 0xb9,
        carried,
        payload: payload.to_vec(),
    }
}

#[track_caller]
fn sent_on(engine: &mut dyn Engine, port: Port, packet: &Packet) -> Packet {
    let outcome = engine.receive(port, &packet.bytes());
    assert_eq!(outcome.verdict, Verdict::Redirect, "{:?}", drops(engine, port));
    let left = Packet::read(&outcome.frame);
    assert_eq!(outcome.frame.len(), left.bytes().len(), "nothing follows the packet");
    left
}

/// A packet of the client, checked as it leaves towards a target of a family; the NAT lease and the target.
#[track_caller]
fn to_target(engine: &mut dyn Engine, packet: &Packet, six: bool) -> (SocketAddr, SocketAddr) {
    let left = sent_on(engine, Port::A, packet);
    let (balancer, targets) = if six { (BALANCER_6, TARGETS_6) } else { (BALANCER_4, TARGETS_4) };
    let at = targets
        .iter()
        .zip(TARGET_PORTS)
        .position(|(address, port)| left.destination == end(address, port))
        .expect("a target");
    assert!(left.source == end(balancer, left.source.port()) && left.source.port() >= 10_240);
    let expected = Packet {
        to: TARGET_MACS[at],
        from: Port::Provider.mac(),
        source: left.source,
        destination: left.destination,
        ttl: packet.ttl - 1,
        ..packet.clone()
    };
    assert_eq!(left, expected);
    (left.source, left.destination)
}

/// An answer of the target, checked as it reaches the client.
#[track_caller]
fn to_client(
    engine: &mut dyn Engine,
    question: &Packet,
    (lease, target): (SocketAddr, SocketAddr),
    carried: Carried,
    payload: &[u8],
) {
    let at = usize::from(target.port() == TARGET_PORTS[1]);
    let answer = Packet {
        to: Port::Provider.mac(),
        from: TARGET_MACS[at],
        source: target,
        destination: lease,
        ttl: 63,
        class: 0x02,
        carried,
        payload: payload.to_vec(),
    };
    let expected = Packet {
        to: Port::A.client(),
        from: Port::A.mac(),
        source: question.destination,
        destination: question.source,
        ttl: 62,
        ..answer.clone()
    };
    assert_eq!(sent_on(engine, Port::Provider, &answer), expected);
}

fn segment(flags: u8, sequence: u32, acknowledgement: u32) -> Carried {
    Carried::Segment { flags, sequence, acknowledgement }
}

/// A connection with data both ways, and a question with its answer by UDP.
fn there_and_back(engine: &mut dyn Engine, client_six: bool, target_six: bool) {
    let syn = from_client(client_six, segment(SYN, 100, 0), &[]);
    let ends = to_target(engine, &syn, target_six);
    to_client(engine, &syn, ends, segment(SYN | ACK, 500, 101), &[]);
    let ack = from_client(client_six, segment(ACK, 101, 501), &[]);
    assert_eq!(to_target(engine, &ack, target_six), ends);
    let data = from_client(client_six, segment(ACK | PSH, 101, 501), b"an odd number of bytes.");
    assert_eq!(to_target(engine, &data, target_six), ends);
    to_client(engine, &data, ends, segment(ACK, 501, 124), &[7; 1200]);

    let question = from_client(client_six, Carried::Datagram, b"question");
    let ends = to_target(engine, &question, target_six);
    to_client(engine, &question, ends, Carried::Datagram, b"answer");
    assert_eq!((drops(engine, Port::A), drops(engine, Port::Provider)), (vec![], vec![]));
}

fn octets(address: &str) -> [u8; 16] {
    address.parse::<std::net::Ipv6Addr>().expect("an address").octets()
}

/// A message of ICMPv6 from one host of the link to another; `word` is what follows its checksum.
fn discovery(
    (from, source): (Mac, [u8; 16]),
    (to, destination): (Mac, [u8; 16]),
    kind: u8,
    word: [u8; 4],
    payload: &[u8],
) -> Vec<u8> {
    let mut bytes = Vec::new();
    PacketBuilder::ethernet2(from, to)
        .ipv6(source, destination, 255)
        .icmpv6_raw(kind, 0, word)
        .write(&mut bytes, payload)
        .expect("it fits");
    bytes
}

/// A question for the MAC address of `wanted`, to its solicited-node address.
fn solicitation(asker: &str, wanted: &str, options: &[u8]) -> Vec<u8> {
    let wanted = octets(wanted);
    let mut group = octets("ff02::1:ff00:0");
    group[13..].copy_from_slice(&wanted[13..]);
    let mac = [0x33, 0x33, group[12], group[13], group[14], group[15]];
    let from = (Port::A.client(), octets(asker));
    discovery(from, (mac, group), 135, [0; 4], &[&wanted, options].concat())
}

scenarios! {
    fn six_to_six(engine) with(six) {
        there_and_back(engine, true, true);
    }

    fn four_to_six(engine) with(six) {
        there_and_back(engine, false, true);
    }

    fn six_to_four(engine) with(dualstack) {
        there_and_back(engine, true, false);
    }

    fn four_to_four_where_others_have_six(engine) with(dualstack) {
        there_and_back(engine, false, false);
    }

    fn mid_stream_without_a_flow_is_reset(engine) with(six) {
        let stray = from_client(true, segment(ACK | PSH, 100, 777), b"lost");
        let reset = sent_on(engine, Port::A, &stray);
        let expected = Packet {
            to: Port::A.client(),
            from: Port::A.mac(),
            source: stray.destination,
            destination: stray.source,
            ttl: 64,
            class: 0,
            carried: segment(RST, 777, 0),
            payload: Vec::new(),
        };
        // A RST announces no window: the builder's does not count.
        assert_eq!(reset, expected);
        assert_eq!(drops(engine, Port::A), [("NoFlow", 1)]);
    }

    fn who_is_no_client_opens_nothing(engine) with(six) {
        for source in ["fe80::1", "::1", "::", "ff02::1", ENDPOINT_6] {
            let mut syn = from_client(true, segment(SYN, 100, 0), &[]);
            syn.source = end(source, 40_000);
            assert_eq!(engine.receive(Port::A, &syn.bytes()).verdict, Verdict::Drop, "{source}");
        }
        assert_eq!(drops(engine, Port::A), [("SourceAddress", 5)]);
        let mut elsewhere = from_client(true, segment(SYN, 100, 0), &[]);
        elsewhere.destination = end("fd00:b::99", 80);
        assert_eq!(engine.receive(Port::A, &elsewhere.bytes()).verdict, Verdict::Pass);
        let mut unpublished = from_client(true, segment(SYN, 100, 0), &[]);
        unpublished.destination = end(ENDPOINT_6, 81);
        assert_eq!(engine.receive(Port::A, &unpublished.bytes()).verdict, Verdict::Drop);
        assert_eq!(drops(engine, Port::A), [("NoListener", 1), ("SourceAddress", 5)]);
    }

    fn neighbours_that_ask_are_answered(engine) with(six) {
        let own = [1, 1, 2, 0, 0, 0, 2, Port::A as u8];
        let told = [2, 1, 2, 0, 0, 0, 1, Port::A as u8];
        for (asker, options, receiver, mac, flags) in [
            ("fe80::1", &own[..], "fe80::1", Port::A.client(), 0x60),
            (CLIENT_6, &[], CLIENT_6, Port::A.client(), 0x60),
            ("::", &[], "ff02::1", [0x33, 0x33, 0, 0, 0, 1], 0x20),
        ] {
            let question = solicitation(asker, ENDPOINT_6, options);
            let outcome = engine.receive(Port::A, &question);
            assert_eq!(outcome.verdict, Verdict::Redirect, "{asker}");
            let (mut payload, to) = (octets(ENDPOINT_6).to_vec(), (mac, octets(receiver)));
            payload.extend(told);
            let from = (Port::A.mac(), octets(ENDPOINT_6));
            assert_eq!(outcome.frame, discovery(from, to, 136, [flags, 0, 0, 0], &payload), "{asker}");
        }
        for wanted in ["fd00:b::99", CLIENT_6] {
            let question = solicitation("fe80::1", wanted, &own);
            assert_eq!(engine.receive(Port::A, &question).verdict, Verdict::Pass, "{wanted}");
        }
        // From another link, or damaged.
        let mut far = solicitation("fe80::1", ENDPOINT_6, &own);
        far[21] = 254;
        assert_eq!(engine.receive(Port::A, &far).verdict, Verdict::Pass);
        let mut damaged = solicitation("fe80::1", ENDPOINT_6, &own);
        *damaged.last_mut().expect("bytes") ^= 1;
        assert_eq!(engine.receive(Port::A, &damaged).verdict, Verdict::Drop);
        assert_eq!(drops(engine, Port::A), [("IcmpChecksum", 1)]);
    }

    fn what_is_too_big_is_told_in_the_senders_family(engine) with(six) {
        let syn = from_client(true, segment(SYN, 100, 0), &[]);
        to_target(engine, &syn, true);
        engine.set_mtu(Port::Provider, 1400);
        let data = from_client(true, segment(ACK, 101, 501), &[7; 1440]);
        let outcome = engine.receive(Port::A, &data.bytes());
        assert_eq!(outcome.verdict, Verdict::Redirect);
        let (from, to) = ((Port::A.mac(), octets(ENDPOINT_6)), (Port::A.client(), octets(CLIENT_6)));
        let quote = &data.bytes()[14..14 + 1232];
        let mut expected = discovery(from, to, 2, 1400_u32.to_be_bytes(), quote);
        // Precedence "internetwork control", and an ordinary hop limit.
        expected[14] = 0x6c;
        expected[21] = 64;
        assert_eq!(outcome.frame, expected);
        assert_eq!(drops(engine, Port::A), [("TooBig", 1)]);

        engine.set_mtu(Port::Provider, 1500);
        let syn = from_client(false, segment(SYN, 100, 0), &[]);
        to_target(engine, &syn, true);
        let data = from_client(false, segment(ACK, 101, 501), &[7; 1460]);
        let outcome = engine.receive(Port::A, &data.bytes());
        assert_eq!((outcome.verdict, outcome.frame.len()), (Verdict::Redirect, 14 + 56));
        let icmp = &outcome.frame[14 + 20..];
        assert_eq!((&icmp[..2], &icmp[6..8]), (&[3, 4][..], &1480_u16.to_be_bytes()[..]));
        let fits = from_client(false, segment(ACK, 101, 501), &[7; 1440]);
        to_target(engine, &fits, true);
    }

    fn echo_requests_are_answered_where_the_endpoint_wants_that(engine) with(six) {
        let (from, to) = ((Port::A.client(), octets(CLIENT_6)), (Port::A.mac(), octets(ENDPOINT_6)));
        let mut question = discovery(from, to, 128, [1, 2, 3, 4], b"payload");
        question[21] = 9;
        assert_eq!(engine.receive(Port::A, &question).verdict, Verdict::Drop);
        assert_eq!(drops(engine, Port::A), [("IcmpEcho", 1)]);
        engine.edit_endpoint(0, &|endpoint| endpoint.icmp_echo = 1);
        let mut answer = discovery(to, from, 129, [1, 2, 3, 4], b"payload");
        answer[21] = 64;
        let outcome = engine.receive(Port::A, &question);
        assert_eq!((outcome.verdict, outcome.frame), (Verdict::Redirect, answer));
    }

    fn extension_headers_are_not_carried(engine) with(six) {
        let mut syn = from_client(true, segment(SYN, 100, 0), &[]).bytes();
        // Hop-by-hop options, four bytes of padding.
        syn.splice(54..54, [6, 0, 1, 4, 0, 0, 0, 0]);
        syn[20] = 0;
        syn[18..20].copy_from_slice(&28_u16.to_be_bytes());
        assert_eq!(engine.receive(Port::A, &syn).verdict, Verdict::Drop);
        assert_eq!(drops(engine, Port::A), [("Ipv6Extension", 1)]);
    }
}
