//! States of resources, by AWS's names.

use serde::{Deserialize, Serialize};

/// State of an endpoint, by AWS's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum EndpointState {
    /// Waits for the provider.
    PendingAcceptance,
    /// Carries traffic.
    Available,
    /// Refused by the provider: opens no flows until it is accepted.
    Rejected,
    /// Is not declared any more: its last flows end.
    Deleting,
    /// Its service does not admit its account.
    Failed,
    /// The provider has not answered in time.
    Expired,
}

impl EndpointState {
    /// The name AWS gives the state.
    pub const fn name(self) -> &'static str {
        match self {
            Self::PendingAcceptance => "pendingAcceptance",
            Self::Available => "available",
            Self::Rejected => "rejected",
            Self::Deleting => "deleting",
            Self::Failed => "failed",
            Self::Expired => "expired",
        }
    }
}

/// State of a load balancer in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoadBalancerState {
    /// No interface of its vpc is attached yet, or any more.
    Provisioning,
    /// Carries traffic.
    Active,
}

impl LoadBalancerState {
    /// The name AWS gives the state.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Provisioning => "provisioning",
            Self::Active => "active",
        }
    }
}

/// State of an endpoint service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServiceState {
    /// None of its load balancers is active yet, or any more.
    Pending,
    /// Carries traffic.
    Available,
    /// Is not declared any more: its last flows end.
    Deleting,
    /// Is declared, but at odds with the file.
    Failed,
}

impl ServiceState {
    /// The name AWS gives the state.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::Available => "Available",
            Self::Deleting => "Deleting",
            Self::Failed => "Failed",
        }
    }
}
