//! The worlds that the model knows: that of examples/overlap.toml with a small table, tight limits, both protocols, a target
//! that nothing goes to, and a service that shares the address of A's endpoint; and the same with IPv6, where all vpcs use
//! one network and even host addresses repeat.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::wire::Socket;
use crate::world::{BALANCER, ENDPOINT, Port};

/// Live flows that an endpoint may have.
pub(crate) const FLOW_LIMIT: usize = 6;
/// How many targets there are: three of a group, and one of its own that is reached at any port.
pub(crate) const TARGETS: usize = 4;
pub(crate) const GROUP: usize = 3;
pub(crate) const LONER: usize = 3;

pub(crate) const ENDPOINT_6: Ipv6Addr = six(1, 0x10);
pub(crate) const BALANCER_6: Ipv6Addr = six(0, 0x10);
/// The addresses of the load balancer before the target of its own.
const LONER_BALANCER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 11);
const LONER_BALANCER_6: Ipv6Addr = six(0, 0x11);

/// An address of the network that every vpc has.
pub(crate) const fn six(subnet: u16, host: u16) -> Ipv6Addr {
    Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, subnet, host)
}

/// Which families there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mix {
    /// IPv4.
    Four,
    /// Both at the endpoints and load balancers, IPv4 at the targets.
    Dual,
    /// Both, and IPv6 at the targets of the group.
    Six,
}

/// What serves a port of the endpoint address.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Published {
    /// Number of the endpoint.
    pub(crate) endpoint: usize,
    /// Whether flows go to the port that the client asked for.
    pub(crate) keeps_port: bool,
}

/// Number of A's second endpoint.
pub(crate) const SECOND: usize = 2;

/// Port 80 is A's and B's own; A's address is also that of a second endpoint, for ports 9000 to 9003.
pub(crate) const fn published(port: Port, asked: u16) -> Option<Published> {
    match (port, asked) {
        (Port::A | Port::B, 80) => {
            Some(Published { endpoint: port as usize - 1, keeps_port: false })
        }
        (Port::A, 9000..=9003) => Some(Published { endpoint: SECOND, keeps_port: asked != 9001 }),
        _ => None,
    }
}

impl Mix {
    pub(crate) const ALL: [Self; 3] = [Self::Four, Self::Dual, Self::Six];

    /// A target's address and port, and its weight.
    pub(crate) fn target(self, number: usize) -> (Socket, u32) {
        let host = 10 + number as u8;
        let address = if self == Self::Six && number < GROUP {
            IpAddr::from(six(1, 0x10 + number as u16))
        } else {
            IpAddr::from([10, 0, 1, host])
        };
        let (port, weight) = [(8080, 1), (8081, 2), (8082, 0), (9092, 1)][number];
        ((address, port), weight)
    }

    /// All targets.
    pub(crate) fn targets(self) -> [(Socket, u32); TARGETS] {
        std::array::from_fn(|number| self.target(number))
    }

    /// The address that flows to a target come from.
    pub(crate) fn balancer(self, target: usize) -> IpAddr {
        match (target, self.target(target).0.0.is_ipv6()) {
            (LONER, _) => LONER_BALANCER.into(),
            (_, false) => BALANCER.into(),
            (_, true) => BALANCER_6.into(),
        }
    }

    /// Whether an address is a load balancer's or an endpoint's in a port's vpc.
    pub(crate) fn is_ours(self, port: Port, address: IpAddr) -> bool {
        let four: &[Ipv4Addr] = match port {
            Port::Provider => &[BALANCER, LONER_BALANCER],
            Port::A | Port::B => &[ENDPOINT],
        };
        let six: &[Ipv6Addr] = match port {
            Port::Provider => &[BALANCER_6, LONER_BALANCER_6],
            Port::A | Port::B => &[ENDPOINT_6],
        };
        match address {
            IpAddr::V4(address) => four.contains(&address),
            IpAddr::V6(address) => self != Self::Four && six.contains(&address),
        }
    }

    /// Whether what comes to an address of ours may be of a flow of the wide table. New flows to such an endpoint address are.
    pub(crate) fn is_wide(self, port: Port, address: IpAddr) -> bool {
        address.is_ipv6()
            || match self {
                Self::Four => false,
                Self::Dual => port == Port::Provider,
                Self::Six => true,
            }
    }

    /// The configuration of this world.
    pub(crate) fn edit(self, text: &str) -> String {
        let mut text = text.to_owned() + SHARED;
        let mut put = |from: &str, to: &str| {
            assert!(text.contains(from), "{from}");
            text = text.replace(from, to);
        };
        put(
            "port = 8081, weight = 2 },\n",
            "port = 8081, weight = 2 },\n  { address = \"10.0.1.12\", port = 8082, weight = 0 },\n",
        );
        put("provider\"\nprotocol = \"tcp\"", "provider\"\nprotocol = \"tcp_udp\"");
        put("protocol = \"tcp\"\nport = 80\n", "protocol = \"tcp_udp\"\nport = 80\n");
        put(
            "ingress = [{ protocol = \"tcp\", from_port = 80, to_port = 80, cidr = \"10.0.0.0/16\" }]",
            "ingress = [RULES]",
        );
        let rule = |protocol: &str, network: &str| {
            format!(
                "{{ protocol = \"{protocol}\", from_port = 80, to_port = 80, cidr = \"{network}\" }},"
            )
        };
        let networks =
            if self == Self::Four { &["10.0.0.0/16"][..] } else { &["10.0.0.0/16", "fd00::/64"] };
        let rules =
            networks.iter().flat_map(|network| [rule("tcp", network), rule("udp", network)]);
        put("RULES", &rules.collect::<String>());
        if self != Self::Four {
            put("cidrs = [\"10.0.0.0/16\"]", "cidrs = [\"10.0.0.0/16\", \"fd00::/64\"]");
            for (four, six) in [
                ("10.0.0.10/16", "fd00::10/64"),
                ("10.0.0.11/16", "fd00::11/64"),
                ("10.0.1.10", "fd00::1:10"),
            ] {
                let both = format!(
                    "address = \"{four}\" }}, {{ zone = \"us-east-1a\", address = \"{six}\" }}]"
                );
                put(&format!("address = \"{four}\" }}]"), &both);
            }
            let types = "supported_ip_address_types = [\"ipv4\", \"ipv6\"]\nallowed_principals";
            put("allowed_principals", types);
        }
        if self == Self::Six {
            for host in 10..13 {
                // The same digits, as `target` has them: hexadecimal here.
                let six = format!("  {{ address = \"fd00::1:{host}\"");
                put(&format!("  {{ address = \"10.0.1.{host}\""), &six);
            }
            put("port = 8080", "ip_address_type = \"ipv6\"\nport = 8080");
        }
        let limits = format!("flows = {FLOW_LIMIT}\nhalf_open_flows = {FLOW_LIMIT}\n");
        text + &format!("\n[flow_table]\ncapacity = 1024\n[endpoint_limits]\n{limits}")
    }
}

/// The service that shares the address.
const SHARED: &str = r#"
[[target_group]]
name = "kafka"
vpc = "vpc-provider"
protocol = "tcp_udp"
port = 9092
targets = [{ address = "10.0.1.13" }]
[[load_balancer]]
name = "kafka-nlb"
vpc = "vpc-provider"
addresses = [{ zone = "us-east-1a", address = "10.0.0.11/16" }]
[[load_balancer.listener]]
protocol = "tcp_udp"
port = "9000-9003"
target_group = "kafka"
keep_port = true
[[load_balancer.listener]]
protocol = "tcp_udp"
port = 9001
target_group = "kafka"
[[endpoint_service]]
id = "vpce-svc-kafka"
load_balancers = ["kafka-nlb"]
acceptance_required = false
allowed_principals = ["*"]
[[endpoint]]
id = "vpce-kafka"
vpc = "vpc-consumer-a"
service = "vpce-svc-kafka"
addresses = [{ zone = "us-east-1a", address = "10.0.1.10" }]
"#;
