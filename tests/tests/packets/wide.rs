//! Two vpcs that have both families, and what their hosts send each other: for scenarios with IPv6 on either side.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use privatelink_tests::Family;
use privatelink_userspace::datapath::Verdict;

use crate::frame::Mac;
use crate::packet::{Carried, Packet};
use crate::world::{BALANCER, CLIENT, ENDPOINT, Engine, Port, TARGET_MACS, drops, replaced};

pub(crate) const CLIENT_6: &str = "fd00:b::2:20";
pub(crate) const ENDPOINT_6: &str = "fd00:b::1:10";
const BALANCER_6: &str = "fd00:a::10";
const TARGETS_4: [&str; 2] = ["10.0.1.10:8080", "10.0.1.11:8081"];
const TARGETS_6: [&str; 2] = ["[fd00:a::1:10]:8080", "[fd00:a::1:11]:8081"];

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
    replaced(text, &changes)
}

/// The same with IPv6 targets.
pub(crate) fn six(text: String) -> String {
    let changes = [
        ("{ address = \"10.0.1.10\" },", "{ address = \"fd00:a::1:10\" },"),
        ("{ address = \"10.0.1.11\", port", "{ address = \"fd00:a::1:11\", port"),
        (
            "protocol = \"tcp_udp\"\nport = 8080",
            "protocol = \"tcp_udp\"\nip_address_type = \"ipv6\"\nport = 8080",
        ),
    ];
    replaced(dualstack(text), &changes)
}

pub(crate) fn octets(address: &str) -> [u8; 16] {
    address.parse::<Ipv6Addr>().expect("an address").octets()
}

/// The one of two addresses that is of a family.
pub(crate) fn address(family: Family, four: Ipv4Addr, six: &str) -> IpAddr {
    match family {
        Family::Four => four.into(),
        Family::Six => six.parse().expect("an address"),
    }
}

pub(crate) fn end(address: &str, port: u16) -> SocketAddr {
    SocketAddr::new(address.parse().expect("an address"), port)
}

pub(crate) fn from_client(family: Family, carried: Carried, payload: &[u8]) -> Packet {
    Packet {
        to: Port::A.mac(),
        from: Port::A.client(),
        source: SocketAddr::new(address(family, CLIENT, CLIENT_6), 40_000),
        destination: SocketAddr::new(address(family, ENDPOINT, ENDPOINT_6), 80),
        ttl: 64,
        class: 0xb9,
        carried,
        payload: payload.to_vec(),
    }
}

/// The two ends of a flow on the provider's side: NAT lease and target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ends {
    pub(crate) lease: SocketAddr,
    pub(crate) target: SocketAddr,
}

impl Ends {
    /// Those of a client's packet as it has left, which must be what a target of this family gets.
    #[track_caller]
    pub(crate) fn of(left: &Packet, packet: &Packet, family: Family) -> Self {
        let ends = Self { lease: left.source, target: left.destination };
        let targets = match family {
            Family::Four => TARGETS_4,
            Family::Six => TARGETS_6,
        };
        let mut targets = targets.into_iter().map(str::parse::<SocketAddr>);
        assert!(targets.any(|target| target == Ok(ends.target)), "{ends:?}");
        assert_eq!(ends.lease.ip(), address(family, BALANCER, BALANCER_6));
        assert!(ends.lease.port() >= 10_240, "{ends:?}");
        assert_eq!(*left, ends.at_target(packet));
        ends
    }

    pub(crate) fn target_mac(self) -> Mac {
        TARGET_MACS[usize::from(self.target.port() == 8081)]
    }

    /// A packet of the client's, as the target must get it.
    pub(crate) fn at_target(self, packet: &Packet) -> Packet {
        Packet {
            to: self.target_mac(),
            from: Port::Provider.mac(),
            source: self.lease,
            destination: self.target,
            ttl: packet.ttl - 1,
            ..packet.clone()
        }
    }

    /// What the target answers.
    pub(crate) fn answer(self, carried: Carried, payload: &[u8]) -> Packet {
        Packet {
            to: Port::Provider.mac(),
            from: self.target_mac(),
            source: self.target,
            destination: self.lease,
            ttl: 63,
            class: 0x02,
            carried,
            payload: payload.to_vec(),
        }
    }
}

/// An answer, as the client that has asked must get it.
pub(crate) fn at_client(answer: &Packet, question: &Packet) -> Packet {
    Packet {
        to: Port::A.client(),
        from: Port::A.mac(),
        source: question.destination,
        destination: question.source,
        ttl: answer.ttl - 1,
        ..answer.clone()
    }
}

/// Sends a packet that must leave; as what.
#[track_caller]
pub(crate) fn sent_on(engine: &mut dyn Engine, port: Port, packet: &Packet) -> Packet {
    let outcome = engine.receive(port, &packet.bytes());
    assert_eq!(outcome.verdict, Verdict::Redirect, "{:?}", drops(engine, port));
    let left = Packet::read(&outcome.frame);
    assert_eq!(outcome.frame.len(), left.bytes().len(), "nothing follows the packet");
    left
}

/// A packet of the client's, checked as it leaves towards a target of a family.
#[track_caller]
pub(crate) fn to_target(engine: &mut dyn Engine, packet: &Packet, family: Family) -> Ends {
    let left = sent_on(engine, Port::A, packet);
    Ends::of(&left, packet, family)
}

/// An answer of the target's, checked as it reaches the client.
#[track_caller]
pub(crate) fn to_client(
    engine: &mut dyn Engine,
    question: &Packet,
    ends: Ends,
    carried: Carried,
    payload: &[u8],
) {
    let answer = ends.answer(carried, payload);
    assert_eq!(sent_on(engine, Port::Provider, &answer), at_client(&answer, question));
}
