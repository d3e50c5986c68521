//! The one world that everything is measured in: a consumer's network, a provider's network, a gateway between them.
//!
//! The networks' addresses differ, so that plain routing, nftables and HAProxy can do the job as well.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4};

use anyhow::Result;
use privatelink_tests::{Lab, Links, Network, Topology};
use privatelink_userspace::attach_choice::Mode;

use crate::records::{IPV6_NETWORK, Tuple};

/// The client's own address.
pub(crate) const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 20);
/// The endpoint's address.
pub(crate) const ENDPOINT: Ipv4Addr = Ipv4Addr::new(10, 1, 255, 10);
/// The published port, and the targets' port behind it.
pub(crate) const HTTP: [u16; 2] = [80, 8080];
/// A second published port, the same at the target: what latency is measured by.
pub(crate) const ECHO: u16 = 11_111;
/// The gateway's kernel addresses in both networks.
pub(crate) const GATEWAY: [Ipv4Addr; 2] = [Ipv4Addr::new(10, 1, 0, 1), Ipv4Addr::new(10, 2, 0, 1)];

/// TCP flags, as the programs that make frames take them.
pub(crate) const SYN: u32 = privatelink_tests::SYN as u32;
/// See [`SYN`].
pub(crate) const ACK: u32 = privatelink_tests::ACK as u32;

/// Flows the table holds, but where a table that is nearly full is measured: twice the most that there are.
pub(crate) const CAPACITY: u32 = 1 << 21;
/// Load balancer addresses: as many as there may be, so that NAT ports are not what is measured.
pub(crate) const BALANCERS: u8 = 8;

/// A target's address.
pub(crate) const fn target(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 2, 1, 10 + number)
}

/// A load balancer address.
pub(crate) const fn balancer(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 2, 0, 10 + number)
}

/// What a report says of a lab's links.
pub(crate) const fn offloads(links: Links) -> &'static str {
    match links {
        Links::Plain => "offloads as the kernel sets them",
        Links::ForXdp => "offloads tx off, gro on",
    }
}

/// Names of the gateway's interfaces, towards the consumer and towards the provider, and how they are set up. Kernel
/// threads bear the names, so they are this lab's only.
#[derive(Clone, Debug)]
pub(crate) struct Interfaces {
    pub(crate) consumer: String,
    pub(crate) provider: String,
    pub(crate) links: Links,
}

impl Interfaces {
    /// Names that nobody else has.
    pub(crate) fn new(links: Links) -> Self {
        let suffix: u32 = rand::random();
        let [consumer, provider] = ["c", "p"].map(|side| format!("pl-{side}{suffix:08x}"));
        Self { consumer, provider, links }
    }

    /// How privatelink is attached to them: as suits their links.
    pub(crate) const fn mode(&self) -> Mode {
        match self.links {
            Links::Plain => Mode::Tcx,
            Links::ForXdp => Mode::Xdp,
        }
    }

    /// The lab: its networks are called "consumer" and "provider"; the targets are one host. `consumer_address` is
    /// whether the gateway has an address of its own in the consumer's network, which privatelink does not need.
    pub(crate) fn lab(&self, consumer_address: bool, targets: u8) -> Result<Lab> {
        let address = |address: Ipv4Addr| format!("{address}/16");
        let network = |name: &str, interface: &str, own: Option<Ipv4Addr>, hosts| Network {
            name: name.to_owned(),
            interface: interface.to_owned(),
            gateway_address: own.map(address),
            addresses: hosts,
        };
        let targets = (0..targets).map(target).map(address).collect();
        let own = consumer_address.then_some(GATEWAY[0]);
        let topology = Topology {
            networks: vec![
                network("consumer", &self.consumer, own, vec![address(CLIENT)]),
                network("provider", &self.provider, Some(GATEWAY[1]), targets),
            ],
            targets: Vec::new(),
        };
        Lab::with_links(&topology, self.links)
    }

    /// As [`Self::configuration`], with UDP at the published port, and the same service, but for UDP, at the same addresses with
    /// IPv6 throughout.
    pub(crate) fn configuration_of_families(&self, targets: u8, capacity: u32) -> String {
        let list = |items: Vec<String>| items.join(", ");
        let six_targets = list(
            (0..targets).map(|at| format!("{{ address = \"{}\" }}", six(target(at)))).collect(),
        );
        let balancers = (0..BALANCERS)
            .map(|at| format!("{{ zone = \"z\", address = \"{}/64\" }}", six(balancer(at))));
        let balancers = list(balancers.collect());
        let (endpoint, [published, port]) = (six(ENDPOINT), HTTP);
        let network = six(Ipv4Addr::UNSPECIFIED);
        self.configuration(targets, capacity)
            .replace("/16\"]", &format!("/16\", \"{network}/64\"]"))
            .replace("\"tcp\"", "\"tcp_udp\"")
            + &format!(
                r#"
[[target_group]]
name = "web-six"
vpc = "vpc-provider"
protocol = "tcp"
ip_address_type = "ipv6"
port = {port}
targets = [{six_targets}]
[[load_balancer]]
name = "nlb-six"
vpc = "vpc-provider"
addresses = [{balancers}]
[[load_balancer.listener]]
protocol = "tcp"
port = {published}
target_group = "web-six"
[[endpoint_service]]
id = "vpce-svc-0bec0000000000006"
load_balancers = ["nlb-six"]
acceptance_required = false
allowed_principals = ["*"]
supported_ip_address_types = ["ipv6"]
[[endpoint]]
id = "vpce-0bec0000000000006"
vpc = "vpc-consumer"
service = "com.amazonaws.vpce.us-east-1.vpce-svc-0bec0000000000006"
addresses = [{{ zone = "z", address = "{endpoint}" }}]
"#
            )
    }

    /// The configuration of privatelink with so many targets and room for so many flows.
    pub(crate) fn configuration(&self, targets: u8, capacity: u32) -> String {
        let list = |count: u8, item: &dyn Fn(u8) -> String| {
            (0..count).map(item).collect::<Vec<_>>().join(", ")
        };
        let targets = list(targets, &|number| format!("{{ address = \"{}\" }}", target(number)));
        let balancers = list(BALANCERS, &|number| {
            format!("{{ zone = \"z\", address = \"{}/16\" }}", balancer(number))
        });
        let Self { consumer, provider, .. } = self;
        let attach = self.mode().name();
        let [published, port] = HTTP;
        format!(
            r#"
region = "us-east-1"
# No limit below the table's own: what is measured is the table.
[flow_table]
capacity = {capacity}
[endpoint_limits]
flows = {capacity}
half_open_flows = {capacity}
[[vpc]]
id = "vpc-consumer"
account = "222222222222"
cidrs = ["10.1.0.0/16"]
interfaces = [{{ name = "{consumer}", attach = "{attach}", zone = "z" }}]
[[vpc]]
id = "vpc-provider"
account = "111111111111"
cidrs = ["10.2.0.0/16"]
interfaces = [{{ name = "{provider}", attach = "{attach}", zone = "z" }}]
[[target_group]]
name = "web"
vpc = "vpc-provider"
protocol = "tcp"
port = {port}
targets = [{targets}]
[[target_group]]
name = "echo"
vpc = "vpc-provider"
protocol = "tcp"
port = {ECHO}
targets = [{targets}]
[[load_balancer]]
name = "nlb"
vpc = "vpc-provider"
addresses = [{balancers}]
[[load_balancer.listener]]
protocol = "tcp"
port = {published}
target_group = "web"
[[load_balancer.listener]]
protocol = "tcp"
port = {ECHO}
target_group = "echo"
[[endpoint_service]]
id = "vpce-svc-0bec0000000000001"
load_balancers = ["nlb"]
acceptance_required = false
allowed_principals = ["*"]
[[endpoint]]
id = "vpce-0bec0000000000001"
vpc = "vpc-consumer"
service = "com.amazonaws.vpce.us-east-1.vpce-svc-0bec0000000000001"
addresses = [{{ zone = "z", address = "{ENDPOINT}" }}]
"#
        )
    }
}

/// The IPv6 address that a driver's frames have for an IPv4 one.
fn six(address: Ipv4Addr) -> Ipv6Addr {
    let [a, b, c, d] = address.octets();
    let [high, low] = [[a, b], [c, d]].map(u16::from_be_bytes);
    Ipv6Addr::new(IPV6_NETWORK, 0, 0, 0, 0, 0, high, low)
}

/// What the segments of so many clients to `to` are addressed by, no two the same.
pub(crate) fn tuples(count: u32, to: SocketAddrV4) -> Vec<Tuple> {
    const FIRST: u32 = u32::from_be_bytes([10, 1, 16, 0]);
    const FIRST_PORT: u32 = 1024;
    const HOSTS: u32 = 1024;
    let tuple = |number: u32| Tuple {
        source: (FIRST + number % HOSTS).to_be(),
        destination: u32::from_ne_bytes(to.ip().octets()),
        source_port: ((FIRST_PORT + number / HOSTS) as u16).to_be(),
        destination_port: to.port().to_be(),
        padding: 0,
    };
    (0..count).map(tuple).collect()
}
