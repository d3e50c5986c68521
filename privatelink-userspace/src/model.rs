//! The desired state: what the configuration declares, checked and with every name resolved.
//!
//! Resources refer to each other by their index in the [`Model`]'s vectors, which are in the order
//! of the configuration file. A `Model` is valid by construction: `config` is its only producer.

mod family;
mod health_check;
mod logs;
mod ports;
mod protocol;
mod state;
mod target_group_attributes;
mod usage;
mod webhook;

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use ipnet::IpNet;
use privatelink_common::limits::MIN_FLOWS;

pub use self::family::{Families, Family};
pub use self::logs::{AccessLog, Destination, FlowLogs, LogFile, LogForm, TrafficType};
pub use self::ports::Ports;
pub use self::protocol::{Protocol, Protocols};
pub use self::state::{EndpointState, LoadBalancerState, ServiceState};
pub use self::target_group_attributes::{MinimumHealthy, TargetGroupAttributes};
pub use self::usage::{Cost, DEFAULT_USAGE_DAYS, NotAPrice, Price, Prices, Rates, UsageTerms};
pub use self::webhook::Webhook;
pub use health_check::{HealthCheck, HealthProtocol, HttpCheck, Matcher, TlsCheck};

/// Flows held at once where the configuration does not say.
pub const DEFAULT_FLOW_CAPACITY: u32 = 1 << 20;

/// Everything the gateway is asked to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Model {
    /// Region name used in service names, e.g. `us-east-1`.
    pub region: String,
    /// Flows with IPv4 on both sides held at once.
    pub flow_capacity: u32,
    /// Flows with IPv6 on either side held at once.
    pub wide_flow_capacity: u32,
    /// Where metrics are read by TCP, if anywhere.
    pub metrics: Option<SocketAddr>,
    /// Where the web page is served, if anywhere.
    pub web: Option<SocketAddr>,
    /// Where events are posted, if anywhere.
    pub webhook: Option<Webhook>,
    /// What is written of flows, if anything.
    pub flow_logs: Option<FlowLogs>,
    /// What is written of connections, if anything.
    pub access_log: Option<AccessLog>,
    /// What is kept of usage, and what it costs.
    pub usage: UsageTerms,
    /// Isolated networks, provider and consumer alike.
    pub vpcs: Vec<Vpc>,
    /// Target groups.
    pub target_groups: Vec<TargetGroup>,
    /// Load balancers.
    pub load_balancers: Vec<LoadBalancer>,
    /// Endpoint services.
    pub services: Vec<EndpointService>,
    /// Endpoints.
    pub endpoints: Vec<Endpoint>,
}

impl Default for Model {
    fn default() -> Self {
        Self {
            region: String::new(),
            flow_capacity: DEFAULT_FLOW_CAPACITY,
            wide_flow_capacity: MIN_FLOWS,
            metrics: None,
            web: None,
            webhook: None,
            flow_logs: None,
            access_log: None,
            usage: UsageTerms::default(),
            vpcs: Vec::new(),
            target_groups: Vec::new(),
            load_balancers: Vec::new(),
            services: Vec::new(),
            endpoints: Vec::new(),
        }
    }
}

impl Model {
    /// Whether any flow may have IPv6 on either side.
    pub fn has_ipv6(&self) -> bool {
        let balancers = self.load_balancers.iter().flat_map(|of| &of.addresses);
        let endpoints = self.endpoints.iter().flat_map(|of| &of.addresses);
        self.target_groups.iter().any(|group| group.family == Family::Ipv6)
            || balancers.map(|of| of.address.addr()).any(|address| address.is_ipv6())
            || endpoints.map(|of| of.address).any(|address| address.is_ipv6())
    }
}

/// An isolated network known to the gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vpc {
    /// The name the configuration gives it.
    pub id: String,
    /// 12-digit account number of its owner.
    pub account: String,
    /// Address ranges; may equal those of any other vpc.
    pub cidrs: Vec<IpNet>,
    /// Interfaces of the gateway host that are attached to this network.
    pub interfaces: Vec<Interface>,
}

/// A network interface of the gateway host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Kernel name, e.g. `eth1`.
    pub name: String,
    /// Availability zone it stands in.
    pub zone: String,
    /// How the data path is to be attached.
    pub attach: AttachMode,
}

/// How the data path is to be attached to an interface.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AttachMode {
    /// By XDP where the driver has it and loses nothing by it, else at tc ingress.
    #[default]
    Auto,
    /// By XDP in the driver.
    Xdp,
    /// By XDP in the network stack: works everywhere, slowly.
    XdpGeneric,
    /// At tc ingress.
    Tcx,
}

impl AttachMode {
    /// Every one.
    pub const ALL: [Self; 4] = [Self::Auto, Self::Xdp, Self::XdpGeneric, Self::Tcx];

    /// This one, or another where this leaves it to the daemon.
    #[must_use]
    pub const fn or(self, other: Self) -> Self {
        match self {
            Self::Auto => other,
            _ => self,
        }
    }

    /// The one of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mode| mode.name() == name)
    }

    /// Its name in the configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Xdp => "xdp",
            Self::XdpGeneric => "xdp-generic",
            Self::Tcx => "tcx",
        }
    }
}

/// A set of targets that share a protocol and health check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetGroup {
    /// Unique name.
    pub name: String,
    /// Index of the vpc the targets live in.
    pub vpc: usize,
    /// Protocols spoken to the targets.
    pub protocol: Protocols,
    /// Family of its targets' addresses.
    pub family: Family,
    /// Targets; no (address, port) twice.
    pub targets: Vec<Target>,
    /// How health is to be checked.
    pub health_check: HealthCheck,
    /// What it does with targets that come, fail and go.
    pub attributes: TargetGroupAttributes,
}

/// One backend of a target group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Address in the group's vpc.
    pub address: IpAddr,
    /// Port, the group's unless overridden; never 0.
    pub port: u16,
    /// Availability zone it stands in; `None` is any.
    pub zone: Option<String>,
    /// Share of new flows relative to the group's other targets, 0 (none) to 999.
    pub weight: u16,
    /// Since when it is out of its group and keeps only the flows it has, by the clock since boot; `None` if it is not.
    pub draining_since: Option<Duration>,
}

impl Target {
    /// Its address and port.
    pub const fn end(&self) -> SocketAddr {
        SocketAddr::new(self.address, self.port)
    }
}

/// A load balancer in the provider's vpc.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadBalancer {
    /// Unique name.
    pub name: String,
    /// Index of the vpc it stands in.
    pub vpc: usize,
    /// NAT source addresses; never empty. There are some of the family of each target group that its listeners lead to.
    pub addresses: Vec<LoadBalancerAddress>,
    /// Published ports; of one protocol no two are the same, and no range overlaps another.
    pub listeners: Vec<Listener>,
    /// `load_balancing.cross_zone.enabled`.
    pub cross_zone: bool,
}

/// One NAT source address of a load balancer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadBalancerAddress {
    /// Availability zone.
    pub zone: String,
    /// The address and the prefix length of the subnet it stands in.
    pub address: IpNet,
    /// Whether it was removed, and keeps only the flows it has.
    pub draining: bool,
}

/// Published ports of a load balancer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// Protocols accepted; all are among those of the target group.
    pub protocol: Protocols,
    /// Ports accepted.
    pub ports: Ports,
    /// Index of the target group that serves them.
    pub target_group: usize,
    /// Whether flows go to the port that the client asked for, not to the target's own.
    pub keep_port: bool,
}

impl Listener {
    /// What it publishes: its ports, by each of its protocols.
    pub fn published(&self) -> impl Iterator<Item = (Protocol, Ports)> + use<> {
        let ports = self.ports;
        self.protocol.each().iter().map(move |&protocol| (protocol, ports))
    }
}

/// A service published to other accounts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointService {
    /// `vpce-svc-…`.
    pub id: String,
    /// Indexes of its load balancers; never empty.
    pub load_balancers: Vec<usize>,
    /// Families of addresses that its endpoints may have.
    pub families: Families,
    /// Whether the provider must accept each endpoint.
    pub acceptance_required: bool,
    /// Principals that may connect, as written: ARNs or `*`.
    pub allowed_principals: Vec<String>,
    /// What is done to the MSS option of a SYN.
    pub mss_clamp: MssClamp,
    /// When its flows end.
    pub timeouts: Timeouts,
}

impl EndpointService {
    /// The name consumers connect by.
    pub fn service_name(&self, region: &str) -> String {
        format!("com.amazonaws.vpce.{region}.{}", self.id)
    }
}

/// What is done to the MSS option of a SYN, in either direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MssClamp {
    /// Lowered to what the MTUs of the two interfaces let through.
    #[default]
    Auto,
    /// Left alone.
    Off,
    /// Lowered to this many bytes, 536 to 65495.
    Bytes(u16),
}

/// When the flows of a service end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// Time without a packet that ends a flow whose handshake is not complete.
    pub half_open: Duration,
    /// Time without a packet that ends an established flow.
    pub idle: Duration,
    /// Time without a packet that ends a flow both sides have closed, or that was reset.
    pub closing: Duration,
    /// Time for which the NAT lease of a flow that has ended is not given to another.
    pub lease_hold: Duration,
    /// Time without a packet that ends a UDP flow whose target has not answered.
    pub udp_unreplied: Duration,
    /// Time without a packet that ends a UDP flow whose target has answered.
    pub udp_idle: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            half_open: Duration::from_secs(30),
            // AWS's idle timeout of a network load balancer.
            idle: Duration::from_secs(350),
            closing: Duration::from_secs(10),
            lease_hold: Duration::from_secs(60),
            udp_unreplied: Duration::from_secs(30),
            // AWS's idle timeout of UDP flows.
            udp_idle: Duration::from_secs(120),
        }
    }
}

/// A service's presence in a consumer's vpc.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// `vpce-…`.
    pub id: String,
    /// Index of the consumer's vpc.
    pub vpc: usize,
    /// Index of the service.
    pub service: usize,
    /// Addresses in the consumer's subnets; never empty. Endpoints of a vpc that share one publish different ports.
    pub addresses: Vec<EndpointAddress>,
    /// What may connect. Without security groups: everything from the vpc's CIDRs.
    pub ingress: Vec<IngressRule>,
    /// Whether flows may be opened: by the configuration alone, until decisions made at run time are applied.
    pub state: EndpointState,
    /// What its owner has to say to the provider; may be empty.
    pub request_message: String,
    /// Whether its addresses answer ICMP echo requests.
    pub icmp_echo: bool,
    /// How much of the flow table it may take.
    pub limits: Limits,
}

/// How much of the flow table an endpoint may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Flows held at once, 1 to the capacity of the table.
    pub flows: u32,
    /// Flows held at once whose handshake is not complete, 1 to `flows`.
    pub half_open_flows: u32,
    /// Flows opened in one second; `None` is any number.
    pub new_flows_per_second: Option<u32>,
}

/// An address of an endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointAddress {
    /// Availability zone.
    pub zone: String,
    /// The address.
    pub address: IpAddr,
}

/// A security group rule: what may open flows to an endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IngressRule {
    /// Protocol; `None` is any.
    pub protocol: Option<Protocol>,
    /// First destination port.
    pub from_port: u16,
    /// Last destination port, inclusive.
    pub to_port: u16,
    /// Client addresses.
    pub cidr: IpNet,
}
