//! What the metrics say, as plain values.

use std::time::Duration;

use privatelink_common::flow_table::totals::Counts;

/// Everything at about one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Facts {
    /// Version of the program.
    pub version: String,
    /// When the daemon was started, seconds since 1970.
    pub started: f64,
    /// For how long it had been up then.
    pub up: Duration,
    /// The flow table.
    pub table: TableFacts,
    /// The other maps.
    pub maps: Vec<MapFacts>,
    /// How often usage could not be written.
    pub usage_failures: u64,
    /// The endpoints.
    pub endpoints: Vec<EndpointFacts>,
    /// The services.
    pub services: Vec<ServiceFacts>,
    /// The target groups.
    pub groups: Vec<GroupFacts>,
    /// The load balancers.
    pub load_balancers: Vec<LoadBalancerFacts>,
    /// The targets.
    pub targets: Vec<TargetFacts>,
    /// The leases in use.
    pub leases: Vec<LeaseFacts>,
    /// What was dropped.
    pub drops: Vec<DropFacts>,
    /// The flow log and the access log.
    pub logs: Vec<LogFacts>,
    /// What the data path had to tell and could not: flows that ended, packets that were refused.
    pub untold: [u64; 2],
}

/// A log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogFacts {
    /// `flow` or `access`.
    pub name: &'static str,
    /// Lines written.
    pub written: u64,
    /// Lines given up since too many waited.
    pub crowded_out: u64,
    /// Lines given up since they could not be written.
    pub failed: u64,
}

/// The flow table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TableFacts {
    /// Most flows with IPv4 on both sides.
    pub capacity: u64,
    /// Those that have a place now, alive or ended and holding their lease.
    pub held: u64,
    /// Most flows with IPv6 on either side; 0 where nothing is IPv6.
    pub ipv6_capacity: u64,
    /// Those that have a place now.
    pub ipv6_held: u64,
    /// Live flows.
    pub flows: u64,
    /// Those of them that are half-open.
    pub half_open: u64,
}

/// A map of the data path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MapFacts {
    /// What it holds, e.g. `listeners`.
    pub name: &'static str,
    /// Elements in use.
    pub used: usize,
    /// Most elements.
    pub capacity: usize,
}

/// An endpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EndpointFacts {
    /// `vpce-…`.
    pub id: String,
    /// Id of its vpc.
    pub vpc: String,
    /// Id of its service.
    pub service: String,
    /// Name of its service.
    pub service_name: String,
    /// Live flows.
    pub flows: u64,
    /// Those of them that are half-open.
    pub half_open: u64,
    /// What has happened.
    pub counts: Counts,
}

/// An endpoint service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServiceFacts {
    /// `vpce-svc-…`.
    pub id: String,
    /// Its load balancers, comma separated.
    pub load_balancers: String,
    /// Number of endpoints.
    pub endpoints: u64,
    /// Live flows.
    pub flows: u64,
    /// What has happened at its endpoints, at those that are gone too.
    pub counts: Counts,
}

/// A target group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupFacts {
    /// Its name.
    pub name: String,
    /// The load balancers that use it, comma separated.
    pub load_balancers: String,
    /// Healthy targets.
    pub healthy: u64,
    /// Unhealthy targets.
    pub unhealthy: u64,
}

/// A load balancer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoadBalancerFacts {
    /// Its name.
    pub name: String,
    /// Live flows to the targets that its listeners lead to.
    pub flows: u64,
    /// What has happened to flows to those targets, and to those that are gone too.
    pub counts: Counts,
}

/// A target.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TargetFacts {
    /// Its group.
    pub group: String,
    /// `ip:port`.
    pub target: String,
    /// Whether it is healthy.
    pub healthy: bool,
    /// How long its last health check took.
    pub latency: Option<Duration>,
    /// Live flows.
    pub flows: u64,
    /// Flows opened to it while it was not healthy.
    pub unhealthy_routing: u64,
    /// What has happened.
    pub counts: Counts,
}

/// Leases of one load balancer address towards one target.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LeaseFacts {
    /// The load balancer.
    pub load_balancer: String,
    /// Its address.
    pub address: String,
    /// `ip:port` of the target.
    pub target: String,
    /// Leases in use, those held after their flow's end included.
    pub used: u64,
}

/// Packets dropped on an interface for one reason.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DropFacts {
    /// The interface.
    pub interface: String,
    /// Id of its vpc.
    pub vpc: String,
    /// Name of the reason.
    pub reason: &'static str,
    /// Packets.
    pub packets: u64,
}
