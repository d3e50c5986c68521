//! What the control API answers: one serialisable row type per listing, and the layout of a listing.
//!
//! Scripts rely on the field names. An address with its port is written `ip:port`, `[ip]:port` of IPv6; times
//! are milliseconds; bytes are those of the IP packets, headers included.

use std::borrow::Cow;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

mod address;
mod capture;
mod error;
mod event;
mod filter;
mod history;
mod hour;
mod interval;
mod listing;
mod order;
mod plan;
mod query;
mod resource;
mod totals;
mod usage;

pub use capture::{CaptureEnded, CaptureQuery, CaptureSummary, Headers, TraceLine, TracedPacket};
pub use error::{ErrorBody, ErrorCode};
pub use event::{
    ConnectionChange, Event, EventKind, EventKinds, EventQuery, Fill, FillChange, HealthChange,
    Refused, UnknownKind, What,
};
pub use filter::{Clients, FlowState, Targets};
pub use history::{History, HistorySample};
pub use hour::{Hour, NotAnHour};
pub use interval::Interval;
pub use listing::write_listing;
pub use order::{
    AcceptOrder, AllowOrder, Order, Ordered, OrderedEndpoint, RejectOrder, RevokeOrder,
};
pub use plan::{Change, PlanRow};
pub use query::{FlowQuery, FlowSort};
pub use resource::{
    DeleteQuery, Deleted, DeregisterOrder, RegisterOrder, Registered, ResourceBody, TargetAddress,
};
pub use totals::{
    CountsBody, DropTotals, EndpointTotals, ServiceTotals, TableTotals, TargetTotals, Totals,
};
pub use usage::{Parties, Party, Period, UnknownParty, UsageQuery, UsageRow};

/// State of the daemon and its interfaces, `GET /v1/status`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Version of the daemon.
    pub version: String,
    /// Process id of the daemon.
    pub pid: u32,
    /// Milliseconds since the interfaces were attached.
    pub uptime_ms: u64,
    /// Configuration file in force.
    pub config: String,
    /// Flows alive now.
    pub flows: u64,
    /// Most flows the table can hold.
    pub flows_max: u64,
    /// Attached interfaces.
    pub interfaces: Vec<InterfaceRow>,
}

/// An attached interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InterfaceRow {
    /// Interface name.
    pub interface: String,
    /// Kernel index.
    pub ifindex: u32,
    /// Vpc it belongs to.
    pub vpc: String,
    /// Availability zone.
    pub zone: String,
    /// How the data path is attached: `xdp`, `xdp-generic` or `tcx`.
    pub mode: String,
    /// Link state: `up` or `down`.
    pub link: String,
    /// Packets dropped on it since start, all reasons.
    pub drops: u64,
    /// Why it is attached so.
    pub reason: String,
}

/// An endpoint service, `GET /v1/services`. Of one that is `Deleting` or `Failed` only `service` and `state` are known.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceRow {
    /// `vpce-svc-…`.
    pub service: String,
    /// Service name consumers use.
    pub name: String,
    /// `Pending`, `Available`, `Deleting` or `Failed`.
    pub state: String,
    /// Load balancers, comma separated.
    pub load_balancers: String,
    /// Published ports, e.g. `tcp/80`, comma separated.
    pub listeners: String,
    /// Whether each endpoint must be accepted.
    pub acceptance_required: bool,
    /// Number of endpoints connected.
    pub endpoints: u64,
    /// Flows alive now.
    pub flows: u64,
}

/// An endpoint, `GET /v1/endpoints`; one row per endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointRow {
    /// `vpce-…`.
    pub endpoint: String,
    /// Vpc it stands in.
    pub vpc: String,
    /// Service it connects to.
    pub service: String,
    /// Its addresses, comma separated.
    pub addresses: String,
    /// `available`, `pendingAcceptance` …
    pub state: String,
    /// Flows alive now.
    pub flows: u64,
}

/// An endpoint as the owner of its service sees it, `GET /v1/connections`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectionRow {
    /// Service it connects to.
    pub service: String,
    /// `vpce-…`.
    pub endpoint: String,
    /// The account that owns it, as `allowed_principals` name it.
    pub principal: String,
    /// `pendingAcceptance`, `available`, `rejected`, `deleting`, `failed` or `expired`.
    pub state: String,
    /// Since when, by RFC 3339.
    pub since: String,
    /// Why.
    pub reason: String,
    /// What its owner has to say, or empty.
    pub request_message: String,
    /// Flows alive now.
    pub flows: u64,
}

/// Which services to list, the query of `GET /v1/services`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServiceQuery {
    /// Only those that let this principal connect.
    #[serde(rename = "as", skip_serializing_if = "Option::is_none")]
    pub principal: Option<String>,
}

/// Which connections to list, the query of `GET /v1/connections`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConnectionQuery {
    /// Only those of this service.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
}

/// What the file that `POST /v1/reload` put in force came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reloaded {
    /// The configuration file.
    pub config: String,
    /// Flows that ended, since what they used is gone.
    pub flows_cut: u64,
}

/// A target of a target group, `GET /v1/targets`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetRow {
    /// Target group.
    pub target_group: String,
    /// Vpc of the group.
    pub vpc: String,
    /// `ip:port`.
    pub target: String,
    /// Weight within the group.
    pub weight: u16,
    /// Health state by AWS's names.
    pub health: String,
    /// AWS's reason code for the state, or empty.
    pub reason: String,
    /// Why the last health check failed, in words, or empty.
    pub description: String,
    /// MAC address of the next hop, or why there is none.
    pub next_hop: String,
    /// Interface towards the target, or empty while unresolved.
    pub interface: String,
    /// Flows alive now.
    pub flows: u64,
}

/// One flow, both directions, `GET /v1/flows`. Borrows its names from whoever lists it: there may be a million.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowRow<'a> {
    /// `tcp` or `udp`.
    pub protocol: Cow<'a, str>,
    /// State, e.g. `established`.
    pub state: Cow<'a, str>,
    /// Vpc of the client.
    pub vpc: Cow<'a, str>,
    /// Endpoint id.
    pub endpoint: Cow<'a, str>,
    /// Service id.
    pub service: Cow<'a, str>,
    /// Client's address and port.
    #[serde(serialize_with = "address::serialize")]
    pub client: SocketAddr,
    /// Endpoint's address and port.
    #[serde(serialize_with = "address::serialize")]
    pub endpoint_address: SocketAddr,
    /// Load balancer's address and leased port.
    #[serde(serialize_with = "address::serialize")]
    pub nat: SocketAddr,
    /// Target's address and port.
    #[serde(serialize_with = "address::serialize")]
    pub target: SocketAddr,
    /// Packets forwarded to the target.
    pub packets_to_target: u64,
    /// Bytes forwarded to the target.
    pub bytes_to_target: u64,
    /// Packets forwarded to the client.
    pub packets_to_client: u64,
    /// Bytes forwarded to the client.
    pub bytes_to_client: u64,
    /// Segments to the target that brought nothing new: sent again, or overtaken on the way. At most 32 767 are counted.
    pub retransmissions_to_target: u32,
    /// Segments to the client that brought nothing new.
    pub retransmissions_to_client: u32,
    /// Microseconds of the handshake on the consumer's side, from the SYN-ACK to the ACK, within a thousandth; none before,
    /// and none of UDP.
    pub consumer_rtt_us: Option<u32>,
    /// Microseconds of the handshake on the provider's side, from the SYN to the SYN-ACK.
    pub provider_rtt_us: Option<u32>,
    /// Milliseconds since the flow was opened.
    pub age_ms: u64,
    /// Milliseconds since the last packet of either direction.
    pub idle_ms: u64,
    /// Packets forwarded to the target in a second; as all rates, only if they were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub packets_to_target_per_s: Option<u64>,
    /// Bytes forwarded to the target in a second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes_to_target_per_s: Option<u64>,
    /// Packets forwarded to the client in a second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub packets_to_client_per_s: Option<u64>,
    /// Bytes forwarded to the client in a second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes_to_client_per_s: Option<u64>,
}

/// Packets dropped on one interface for one reason, `GET /v1/drops`; zero counts are left out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DropRow {
    /// Interface the packets arrived on.
    pub interface: String,
    /// Vpc of the interface.
    pub vpc: String,
    /// Number of the drop reason.
    pub code: u32,
    /// Name of the drop reason.
    pub reason: String,
    /// Packets dropped since start.
    pub packets: u64,
    /// What the reason means, in words.
    pub meaning: String,
}
