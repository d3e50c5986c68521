//! Resources as the control API shows and takes them: in the configuration's words.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// A resource: a target group, load balancer, endpoint service, security group or endpoint.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ResourceBody {
    /// The table it is in the configuration, e.g. `endpoint_service`.
    pub kind: String,
    /// Its id or name.
    pub id: String,
    /// `file`, where it can be changed only in the file, or `api`.
    pub origin: String,
    /// State by AWS's names: of endpoints and services theirs, of load balancers `provisioning` or `active`, of others
    /// `available`; `failed` (`Failed` of services) for one that does not go with the file.
    pub state: String,
    /// Why it has failed; otherwise absent.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reason: Option<String>,
    /// The keys and values of its table.
    pub settings: Map<String, Value>,
}

/// Query of `DELETE`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DeleteQuery {
    /// Whether what refers to it goes with it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub cascade: bool,
    /// Whether nothing is to change.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub dry_run: bool,
}

/// What was deleted, or would be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deleted {
    /// Kinds and ids, e.g. `endpoint vpce-0a1`.
    pub deleted: Vec<String>,
    /// Flows that it ended, or would end.
    pub flows_cut: u64,
    /// Whether nothing has changed.
    pub dry_run: bool,
}

/// Body of `POST /v1/target-groups/{id}/register`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RegisterOrder {
    /// Targets as `targets` of a target group has them; those that are there get what is new of them.
    pub targets: Vec<Map<String, Value>>,
}

/// Body of `POST /v1/target-groups/{id}/deregister`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeregisterOrder {
    /// Targets; without a port, at the port of the group.
    pub targets: Vec<TargetAddress>,
}

/// Which target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TargetAddress {
    /// Its address.
    pub address: std::net::IpAddr,
    /// Its port.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub port: Option<u16>,
}

/// What a target group has after a change: `10.0.1.10:8080` and the like, without those that are draining.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registered {
    /// The target group.
    pub target_group: String,
    /// Its targets.
    pub targets: Vec<String>,
}
