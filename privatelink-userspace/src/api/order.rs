//! What a provider may order about a service, and the answer to it.

use serde::{Deserialize, Serialize};

/// An order about one service: `POST /v1/services/{id}/` and its [`verb`](Order::verb), the rest in the body.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Order {
    /// Lets endpoints connect.
    Accept(AcceptOrder),
    /// Lets endpoints open no more flows.
    Reject(RejectOrder),
    /// Puts principals on the service's list.
    Allow(AllowOrder),
    /// Takes principals off the service's list.
    Revoke(RevokeOrder),
}

impl Order {
    /// The last part of its route.
    pub const fn verb(&self) -> &'static str {
        match self {
            Self::Accept(_) => "accept",
            Self::Reject(_) => "reject",
            Self::Allow(_) => "allow",
            Self::Revoke(_) => "revoke",
        }
    }

    /// Whether it is only to be told what the order would come to.
    pub const fn dry_run(&self) -> bool {
        match self {
            Self::Accept(order) => order.dry_run,
            Self::Reject(order) => order.dry_run,
            Self::Allow(order) => order.dry_run,
            Self::Revoke(order) => order.dry_run,
        }
    }

    /// Whether live flows of the endpoints it rejects are to end.
    pub const fn reconcile(&self) -> bool {
        match self {
            Self::Accept(_) | Self::Allow(_) => false,
            Self::Reject(order) => order.reconcile,
            Self::Revoke(order) => order.reconcile,
        }
    }
}

/// Body of `POST /v1/services/{id}/accept`: the endpoints, by id, by account, or both.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AcceptOrder {
    /// Ids of endpoints.
    pub endpoints: Vec<String>,
    /// Principals, for all endpoints of their accounts; `*` for all.
    pub principals: Vec<String>,
    /// Why, on one line of 1 to 140 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Whether nothing is to change.
    pub dry_run: bool,
}

/// Body of `POST /v1/services/{id}/reject`: the endpoints, by id, by account, or both.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RejectOrder {
    /// Ids of endpoints.
    pub endpoints: Vec<String>,
    /// Principals, for all endpoints of their accounts; `*` for all.
    pub principals: Vec<String>,
    /// Why, on one line of 1 to 140 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Whether their live flows are to end.
    pub reconcile: bool,
    /// Whether nothing is to change.
    pub dry_run: bool,
}

/// Body of `POST /v1/services/{id}/allow`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AllowOrder {
    /// ARNs, or `*` for everybody.
    pub principals: Vec<String>,
    /// Whether nothing is to change.
    pub dry_run: bool,
}

/// Body of `POST /v1/services/{id}/revoke`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RevokeOrder {
    /// ARNs, or `*`, as they stand on the list.
    pub principals: Vec<String>,
    /// Why, on one line of 1 to 140 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Whether live flows of the endpoints that nobody on the list admits any more, and which are rejected, are to end.
    pub reconcile: bool,
    /// Whether nothing is to change.
    pub dry_run: bool,
}

/// What an order came to, or would come to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ordered {
    /// Id of the service.
    pub service: String,
    /// The service's principals after the order.
    pub allowed_principals: Vec<String>,
    /// The endpoints that the order is about.
    pub endpoints: Vec<OrderedEndpoint>,
    /// Flows that the order ended, or would end.
    pub flows_cut: u64,
    /// Whether nothing has changed.
    pub dry_run: bool,
}

/// An endpoint that an order is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderedEndpoint {
    /// `vpce-…`.
    pub endpoint: String,
    /// The account that owns it, as `allowed_principals` name it.
    pub principal: String,
    /// State before the order.
    pub before: String,
    /// State after it.
    pub state: String,
    /// Flows alive before the order.
    pub flows: u64,
}
