//! Random configurations, in which all vpcs have the same addresses of both families, and random packets: what leaves for
//! another vpc belongs to a flow that a client of a published port has opened, and goes to the other end of it.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};

use privatelink_common::tcp::{ACK, FIN, RST, SYN};
use privatelink_userspace::config;
use privatelink_userspace::datapath::Verdict;

use super::build::{self, OURS};
use super::mix::six;
use super::wire::{IPV4, Link, Parcel, Socket, TCP, UDP, ether_type_of};
use crate::damage::Random;
use crate::frame;
use crate::world::{Engine, Host, Port};

/// Packets that each configuration sees.
const PACKETS: usize = 400;
/// Ports that are asked for, and that targets have.
const PORTS: [u16; 5] = [80, 81, 9000, 9001, 8080];

/// What the runs came to.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) configurations: u64,
    pub(crate) refused: u64,
    pub(crate) opened: u64,
    pub(crate) carried: u64,
    pub(crate) answered: u64,
}

/// A service with its endpoints.
#[derive(Debug)]
struct Service {
    protocols: &'static str,
    /// Ports published, the last one included.
    ports: (u16, u16),
    keeps_port: bool,
    balancers: Vec<IpAddr>,
    targets: Vec<Socket>,
    endpoints: Vec<(Port, Vec<IpAddr>)>,
}

/// One of a few addresses of a subnet of every vpc's.
fn address(is_six: bool, subnet: u8, host: usize) -> IpAddr {
    if is_six {
        six(u16::from(subnet), 0x10 + host as u16).into()
    } else {
        Ipv4Addr::new(10, 0, subnet, 0x10 + host as u8).into()
    }
}

fn chance(random: &mut Random) -> bool {
    random.below(2) == 0
}

impl Service {
    /// Each family, or one.
    fn addresses(random: &mut Random, subnet: u8, host: usize) -> Vec<IpAddr> {
        let both = [false, true].map(|is_six| address(is_six, subnet, host));
        match random.below(4) {
            0 => both[..1].to_vec(),
            1 => both[1..].to_vec(),
            _ => both.to_vec(),
        }
    }

    fn random(random: &mut Random, number: usize) -> Self {
        let target_family = chance(random);
        let first = PORTS[random.below(PORTS.len())];
        let target = |host| (address(target_family, 1, host), 8080);
        let endpoints = (0..=random.below(3)).map(|_| {
            let port = Port::ALL[random.below(3)];
            // The very addresses that targets have.
            let host = random.below(3);
            (port, Self::addresses(random, 1, host))
        });
        let endpoints = endpoints.collect();
        Self {
            protocols: ["tcp", "udp", "tcp_udp"][random.below(3)],
            ports: (first, first + random.below(3) as u16),
            keeps_port: chance(random),
            balancers: Self::addresses(random, 0, number),
            targets: (0..=random.below(2)).map(target).collect(),
            endpoints,
        }
    }

    fn write(&self, number: usize) -> String {
        let list = |addresses: &[IpAddr], suffix: [&str; 2]| {
            let each = addresses.iter().map(|address| {
                let suffix = suffix[usize::from(address.is_ipv6())];
                format!("{{ zone = \"us-east-1a\", address = \"{address}{suffix}\" }}")
            });
            each.collect::<Vec<_>>().join(", ")
        };
        let Self { protocols, ports: (first, last), keeps_port, .. } = self;
        let family = if self.targets[0].0.is_ipv6() { "ipv6" } else { "ipv4" };
        let targets: Vec<_> =
            self.targets.iter().map(|(at, _)| format!("{{ address = \"{at}\" }}")).collect();
        let (targets, balancers) = (targets.join(", "), list(&self.balancers, ["/16", "/64"]));
        let mut text = format!(
            r#"
[[target_group]]
name = "group-{number}"
vpc = "vpc-provider"
protocol = "{protocols}"
ip_address_type = "{family}"
port = 8080
targets = [{targets}]
[[load_balancer]]
name = "nlb-{number}"
vpc = "vpc-provider"
addresses = [{balancers}]
[[load_balancer.listener]]
protocol = "{protocols}"
port = "{first}-{last}"
target_group = "group-{number}"
keep_port = {keeps_port}
[[endpoint_service]]
id = "vpce-svc-{number}"
load_balancers = ["nlb-{number}"]
acceptance_required = false
allowed_principals = ["*"]
supported_ip_address_types = ["ipv4", "ipv6"]
"#
        );
        for (at, (port, addresses)) in self.endpoints.iter().enumerate() {
            let vpc = port.name().replace("pl-", "vpc-");
            let addresses = list(addresses, ["", ""]);
            let endpoint = format!(
                "[[endpoint]]\nid = \"vpce-{number}x{at}\"\nvpc = \"{vpc}\"\nservice = \"vpce-svc-{number}\"\naddresses = [{addresses}]\n"
            );
            text.write_str(&endpoint).expect("it fits");
        }
        text
    }

    /// Whether a packet that arrives by `port` may open a flow of this service.
    fn publishes(&self, port: Port, parcel: &Parcel) -> bool {
        let protocol = if parcel.protocol == TCP { "tcp" } else { "udp" };
        let at = |(of, addresses): &(Port, Vec<IpAddr>)| {
            *of == port && addresses.contains(&parcel.destination.0)
        };
        (self.ports.0..=self.ports.1).contains(&parcel.destination.1)
            && self.protocols.contains(protocol)
            && self.endpoints.iter().any(at)
    }

    /// Whether a flow to a published port may leave so.
    fn leads(&self, asked: u16, from: Socket, to: Socket) -> bool {
        let target = self
            .targets
            .iter()
            .any(|&(address, port)| to == (address, if self.keeps_port { asked } else { port }));
        target && self.balancers.contains(&from.0) && from.1 >= 10_240
    }
}

/// The vpcs of examples/overlap.toml, with IPv6 and without anything in them.
fn vpcs(text: &str) -> String {
    let end = text.find("# ---- provider side").expect("it is there");
    text[..end].replace("\"10.0.0.0/16\"", "\"10.0.0.0/16\", \"fd00::/64\"")
        + "[flow_table]\ncapacity = 1024\n[endpoint_limits]\nflows = 1024\nhalf_open_flows = 1024\n"
}

/// The ends of a flow on one side, with its protocol.
type Ends = (u8, Socket, Socket);

/// What a packet between sockets is read as.
fn read(bytes: &[u8]) -> Option<Parcel> {
    let link = Link::read(bytes)?;
    let packet = &bytes[link.length..];
    match link.ether_type {
        IPV4 => Parcel::read_v4(packet).ok(),
        _ => Parcel::read_v6(packet).ok(),
    }
}

/// The flows that were seen to be opened.
#[derive(Default)]
struct Flows {
    /// By what clients send: how it leaves.
    forward: HashMap<(Port, Ends), Ends>,
    /// By how it leaves: what the client sends.
    lease: HashMap<Ends, (Port, Ends)>,
}

struct Run {
    services: Vec<Service>,
    host: Host,
    flows: Flows,
}

/// Tries so many configurations.
pub(crate) fn run(configurations: u64, seed: u64) -> Counts {
    let mut counts = Counts::default();
    let mut random = Random(seed);
    while counts.configurations < configurations {
        let services: Vec<Service> =
            (0..=random.below(3)).map(|number| Service::random(&mut random, number)).collect();
        let written: String =
            services.iter().enumerate().map(|(number, service)| service.write(number)).collect();
        let edit = |text: String| vpcs(&text) + &written;
        let text = edit(include_str!("../../../examples/overlap.toml").to_owned());
        if let Err(error) = config::parse("random.toml", &text) {
            counts.refused += 1;
            let most = 100 + 20 * counts.configurations;
            assert!(counts.refused < most, "hardly any is valid: {error:?}\n{text}");
            continue;
        }
        counts.configurations += 1;
        let mut run = Run { services, host: Host::new(&edit), flows: Flows::default() };
        for _ in 0..PACKETS {
            let (port, packet) = run.packet(&mut random);
            run.receive(port, &packet, &mut counts);
        }
    }
    counts
}

impl Run {
    /// A packet of a flow, either way and mostly where it belongs, or between any of the addresses.
    fn packet(&self, random: &mut Random) -> (Port, Vec<u8>) {
        let flags = [SYN, SYN, SYN | ACK, ACK, ACK, ACK | FIN, RST][random.below(7)];
        let known = self.flows.forward.len();
        let (mut port, (protocol, from, to)) = if known > 0 && chance(random) {
            let (&(port, client), &(protocol, lease, target)) =
                self.flows.forward.iter().nth(random.below(known)).expect("one of them");
            if chance(random) {
                (port, client)
            } else {
                (Port::Provider, (protocol, target, lease))
            }
        } else {
            let is_six = chance(random);
            let mut socket = |ports: &[u16]| {
                let subnet = [0, 1, 1, 2][random.below(4)];
                (address(is_six, subnet, random.below(3)), ports[random.below(ports.len())])
            };
            let (client, endpoint) = (socket(&[40_000, 40_001, 8080]), socket(&PORTS));
            let protocol = [TCP, UDP][random.below(2)];
            (Port::ALL[random.below(3)], (protocol, client, endpoint))
        };
        if random.below(8) == 0 {
            port = Port::ALL[random.below(3)];
        }
        let carried = match protocol {
            UDP => build::udp((from, to), b"data"),
            _ => build::tcp((from, to), (1000, 1000), flags, 1000, &[], &[]),
        };
        let packet = build::packet(OURS, (from.0, to.0), protocol, &carried, true);
        let header = frame::ethernet(port.mac(), port.client(), &[], ether_type_of(from.0));
        (port, [header, packet].concat())
    }

    fn receive(&mut self, port: Port, sent: &[u8], counts: &mut Counts) {
        let outcome = self.host.receive(port, sent);
        let parcel = read(sent).expect("it is right");
        if outcome.verdict != Verdict::Redirect {
            return;
        }
        let told = || format!("{port:?} {sent:02x?}\nbecame {outcome:02x?}\n{:#?}", self.services);
        let egress = Port::ALL.into_iter().find(|port| port.mac()[..] == outcome.frame[6..12]);
        let egress = egress.expect("an interface's own MAC address");
        let ours = (parcel.protocol, parcel.source, parcel.destination);
        let out = read(&outcome.frame).map(|out| (out.protocol, out.source, out.destination));
        let answers = out.is_none_or(|(_, from, to)| (from, to) == (ours.2, ours.1));
        if egress == port && answers {
            // A reset, or an error.
            counts.answered += 1;
            return;
        }
        let (_, from, to) = out.unwrap_or_else(|| panic!("no parcel: {}", told()));
        if let Some(&(client_port, client)) =
            self.flows.lease.get(&ours).filter(|_| port == Port::Provider)
        {
            let (protocol, client, endpoint) = client;
            let right = (egress, out) == (client_port, Some((protocol, endpoint, client)));
            assert!(right, "not to its client: {}", told());
            counts.carried += 1;
            return;
        }
        assert_eq!(egress, Port::Provider, "only targets answer: {}", told());
        let serves =
            |of: &Service| of.publishes(port, &parcel) && of.leads(parcel.destination.1, from, to);
        assert!(self.services.iter().any(serves), "not published so: {}", told());
        let (leaves, answer) = ((parcel.protocol, from, to), (parcel.protocol, to, from));
        let before = self.flows.forward.insert((port, ours), leaves);
        if before == Some(leaves) {
            counts.carried += 1;
            return;
        }
        let opens = parcel.protocol == UDP || parcel.flags & (SYN | ACK | RST | FIN) == SYN;
        assert!(opens, "mid-stream: {}", told());
        if let Some((protocol, lease, target)) = before {
            self.flows.lease.remove(&(protocol, target, lease));
        }
        let other = self.flows.lease.insert(answer, (port, ours));
        assert_eq!(other, None, "a lease twice: {}", told());
        counts.opened += 1;
    }
}
