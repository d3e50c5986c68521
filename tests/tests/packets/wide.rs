//! Packets of either family, and two vpcs that have both: for scenarios with IPv6 on either side.

use std::net::{IpAddr, SocketAddr};

use etherparse::{NetSlice, PacketBuilder, SlicedPacket, TransportSlice};
use privatelink_common::tcp::{ACK, PSH, RST, SYN};
use privatelink_userspace::datapath::Verdict;

use crate::frame::Mac;
use crate::world::{Engine, Port, TARGET_MACS, drops};

pub(crate) const CLIENT_6: &str = "fd00:b::2:20";
pub(crate) const CLIENT_4: &str = "10.0.2.20";
pub(crate) const ENDPOINT_6: &str = "fd00:b::1:10";
pub(crate) const ENDPOINT_4: &str = "10.0.1.10";
pub(crate) const BALANCER_6: &str = "fd00:a::10";
pub(crate) const BALANCER_4: &str = "10.0.0.10";
pub(crate) const TARGETS_6: [&str; 2] = ["fd00:a::1:10", "fd00:a::1:11"];
pub(crate) const TARGETS_4: [&str; 2] = ["10.0.1.10", "10.0.1.11"];
pub(crate) const TARGET_PORTS: [u16; 2] = [8080, 8081];

/// Both vpcs and the endpoint have both families, and so has the load balancer; listener and targets take both protocols.
pub(crate) fn dualstack(text: String) -> String {
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
pub(crate) fn six(text: String) -> String {
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
pub(crate) enum Carried {
    Segment { flags: u8, sequence: u32, acknowledgement: u32 },
    Datagram,
}

/// A packet of the family that its addresses have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Packet {
    pub(crate) to: Mac,
    pub(crate) from: Mac,
    pub(crate) source: SocketAddr,
    pub(crate) destination: SocketAddr,
    pub(crate) ttl: u8,
    /// DSCP and ECN.
    pub(crate) class: u8,
    pub(crate) carried: Carried,
    pub(crate) payload: Vec<u8>,
}

pub(crate) fn end(address: &str, port: u16) -> SocketAddr {
    SocketAddr::new(address.parse().expect("an address"), port)
}

impl Packet {
    pub(crate) fn bytes(&self) -> Vec<u8> {
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
    pub(crate) fn read(frame: &[u8]) -> Self {
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

pub(crate) fn from_client(six: bool, carried: Carried, payload: &[u8]) -> Packet {
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
pub(crate) fn sent_on(engine: &mut dyn Engine, port: Port, packet: &Packet) -> Packet {
    let outcome = engine.receive(port, &packet.bytes());
    assert_eq!(outcome.verdict, Verdict::Redirect, "{:?}", drops(engine, port));
    let left = Packet::read(&outcome.frame);
    assert_eq!(outcome.frame.len(), left.bytes().len(), "nothing follows the packet");
    left
}

/// A packet of the client, checked as it leaves towards a target of a family; the NAT lease and the target.
#[track_caller]
pub(crate) fn to_target(
    engine: &mut dyn Engine,
    packet: &Packet,
    six: bool,
) -> (SocketAddr, SocketAddr) {
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
pub(crate) fn to_client(
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

pub(crate) fn segment(flags: u8, sequence: u32, acknowledgement: u32) -> Carried {
    Carried::Segment { flags, sequence, acknowledgement }
}

pub(crate) fn octets(address: &str) -> [u8; 16] {
    address.parse::<std::net::Ipv6Addr>().expect("an address").octets()
}
