//! What a provider decides about his services.

use clap::{Args, Subcommand};

use super::{QueryArgs, ResourceCommand};
use crate::api::{AcceptOrder, AllowOrder, ConnectionQuery, Order, RejectOrder, RevokeOrder};

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum ServiceCommand {
    #[command(flatten)]
    Resource(ResourceCommand),
    #[command(flatten)]
    Principals(PrincipalsCommand),
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum PrincipalsCommand {
    /// Put principals on the list of those who may connect
    Allow(AllowArgs),
    /// Take principals off the list of those who may connect
    ///
    /// Endpoints that nobody on the list admits any more are rejected: they open no more flows. To let
    /// them connect again, allow the principal and accept them.
    Revoke(RevokeArgs),
}

impl PrincipalsCommand {
    /// The service that it is about.
    pub(in crate::cli) fn service(&self) -> &str {
        match self {
            Self::Allow(args) => &args.principals.service,
            Self::Revoke(args) => &args.principals.service,
        }
    }

    /// What the daemon is to do.
    pub(in crate::cli) fn order(&self) -> Order {
        match self {
            Self::Allow(AllowArgs { principals, dry_run, .. }) => Order::Allow(AllowOrder {
                principals: principals.principals.clone(),
                dry_run: *dry_run,
            }),
            Self::Revoke(RevokeArgs { principals, rejection, .. }) => Order::Revoke(RevokeOrder {
                principals: principals.principals.clone(),
                reason: rejection.reason.clone(),
                reconcile: rejection.reconcile,
                dry_run: rejection.dry_run,
            }),
        }
    }

    pub(in crate::cli) const fn query(&self) -> &QueryArgs {
        match self {
            Self::Allow(args) => &args.query,
            Self::Revoke(args) => &args.query,
        }
    }
}

#[derive(Debug, Args)]
pub(in crate::cli) struct AllowArgs {
    #[command(flatten)]
    principals: PrincipalArgs,
    /// Only say what would change
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    query: QueryArgs,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct RevokeArgs {
    #[command(flatten)]
    principals: PrincipalArgs,
    #[command(flatten)]
    rejection: RejectionArgs,
    #[command(flatten)]
    query: QueryArgs,
}

#[derive(Debug, Args)]
struct PrincipalArgs {
    /// Endpoint service
    #[arg(value_name = "SERVICE")]
    service: String,
    /// ARN of a principal, or * for everybody
    #[arg(value_name = "PRINCIPAL", required = true)]
    principals: Vec<String>,
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum ConnectionCommand {
    /// List the endpoints, their states and requests as their services' owners see them
    List(ConnectionsArgs),
    /// Let endpoints connect
    Accept(AcceptArgs),
    /// Let endpoints open no more flows; they can be accepted later
    Reject(RejectArgs),
}

#[derive(Debug, Args)]
pub(in crate::cli) struct ConnectionsArgs {
    /// Only those of this endpoint service
    #[arg(long, value_name = "ID")]
    service: Option<String>,
    #[command(flatten)]
    pub(in crate::cli) query: QueryArgs,
}

impl ConnectionsArgs {
    /// The part of the arguments the daemon needs.
    pub(in crate::cli) fn connection_query(&self) -> ConnectionQuery {
        ConnectionQuery { service: self.service.clone() }
    }
}

#[derive(Debug, Args)]
pub(in crate::cli) struct AcceptArgs {
    #[command(flatten)]
    pub(in crate::cli) endpoints: EndpointArgs,
    /// Why, for whoever asks later
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Only say what would change
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    pub(in crate::cli) query: QueryArgs,
}

impl AcceptArgs {
    /// What the daemon is to do.
    pub(in crate::cli) fn order(&self) -> Order {
        Order::Accept(AcceptOrder {
            endpoints: self.endpoints.endpoints.clone(),
            principals: self.endpoints.principals.clone(),
            reason: self.reason.clone(),
            dry_run: self.dry_run,
        })
    }
}

#[derive(Debug, Args)]
pub(in crate::cli) struct RejectArgs {
    #[command(flatten)]
    pub(in crate::cli) endpoints: EndpointArgs,
    #[command(flatten)]
    rejection: RejectionArgs,
    #[command(flatten)]
    pub(in crate::cli) query: QueryArgs,
}

impl RejectArgs {
    /// What the daemon is to do.
    pub(in crate::cli) fn order(&self) -> Order {
        Order::Reject(RejectOrder {
            endpoints: self.endpoints.endpoints.clone(),
            principals: self.endpoints.principals.clone(),
            reason: self.rejection.reason.clone(),
            reconcile: self.rejection.reconcile,
            dry_run: self.rejection.dry_run,
        })
    }
}

#[derive(Debug, Args)]
pub(in crate::cli) struct EndpointArgs {
    /// Endpoint service
    #[arg(value_name = "SERVICE")]
    pub(in crate::cli) service: String,
    /// Endpoint
    #[arg(value_name = "ENDPOINT", required_unless_present = "principals")]
    endpoints: Vec<String>,
    /// All endpoints of this principal's account, or * for all; may be repeated
    #[arg(long = "principal", value_name = "ARN")]
    principals: Vec<String>,
}

#[derive(Debug, Args)]
struct RejectionArgs {
    /// Why, for whoever asks later
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// End the live flows too, and say how many; without it they go on until they end by themselves
    #[arg(long)]
    reconcile: bool,
    /// Only say what would change
    #[arg(long)]
    dry_run: bool,
}
