//! Counters and gauges of everything in one answer, for who works out rates from two of them.

use serde::{Deserialize, Serialize};

/// What the metrics count, at about one moment, `GET /v1/totals`.
///
/// A resource's counters only grow while `pid` is the same, unless it was made anew. Their rate between two answers is what
/// they have grown by over what `uptime_ms` has grown by.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// Version of the daemon.
    pub version: String,
    /// Process id of the daemon.
    pub pid: u32,
    /// Milliseconds since the interfaces were attached: when the counters were read.
    pub uptime_ms: u64,
    /// The flow table.
    pub flow_table: TableTotals,
    /// Every endpoint.
    pub endpoints: Vec<EndpointTotals>,
    /// Every endpoint service.
    pub services: Vec<ServiceTotals>,
    /// Every target of every target group.
    pub targets: Vec<TargetTotals>,
    /// Drops by interface and reason; zero counts are left out.
    pub drops: Vec<DropTotals>,
}

/// The flow table.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableTotals {
    /// Most flows with IPv4 on both sides.
    pub capacity: u64,
    /// Those that have a place now, alive or ended and holding their lease.
    pub held: u64,
    /// Most flows with IPv6 on either side; 0 where nothing is IPv6.
    pub ipv6_capacity: u64,
    /// Those that have a place now.
    pub ipv6_held: u64,
    /// Flows alive now.
    pub flows: u64,
    /// Those of them that are half-open.
    pub half_open: u64,
}

/// An endpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointTotals {
    /// `vpce-…`.
    pub endpoint: String,
    /// Vpc it stands in.
    pub vpc: String,
    /// Service it connects to.
    pub service: String,
    /// Flows alive now.
    pub flows: u64,
    /// Those of them that are half-open.
    pub half_open: u64,
    /// What has happened.
    pub counts: CountsBody,
}

/// An endpoint service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceTotals {
    /// `vpce-svc-…`.
    pub service: String,
    /// Load balancers, comma separated.
    pub load_balancers: String,
    /// Number of endpoints.
    pub endpoints: u64,
    /// Flows alive now.
    pub flows: u64,
    /// What has happened at its endpoints, at those that are gone too.
    pub counts: CountsBody,
}

/// A target of a target group.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetTotals {
    /// Target group.
    pub target_group: String,
    /// `ip:port`.
    pub target: String,
    /// Whether it is healthy.
    pub healthy: bool,
    /// Flows alive now.
    pub flows: u64,
    /// What has happened.
    pub counts: CountsBody,
}

/// Counters of flows, those that live and those that have ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CountsBody {
    /// Flows opened.
    pub new_flows: u64,
    /// Packets forwarded to targets.
    pub packets_to_target: u64,
    /// Bytes forwarded to targets.
    pub bytes_to_target: u64,
    /// Packets forwarded to clients.
    pub packets_to_client: u64,
    /// Bytes forwarded to clients.
    pub bytes_to_client: u64,
    /// RSTs from clients that ended a flow.
    pub client_resets: u64,
    /// RSTs from targets that ended a flow.
    pub target_resets: u64,
    /// Flows not opened because no lease was free.
    pub port_allocation_errors: u64,
    /// Packets dropped; of targets always 0.
    pub packets_dropped: u64,
    /// RSTs sent to clients whose segments had no flow; of targets always 0.
    pub elb_resets: u64,
}

/// Packets dropped on one interface for one reason.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DropTotals {
    /// Interface the packets arrived on.
    pub interface: String,
    /// Vpc of the interface.
    pub vpc: String,
    /// Name of the drop reason.
    pub reason: String,
    /// Packets dropped.
    pub packets: u64,
}
