//! An event as a line of the log.

use std::fmt;

use log::Level;

use crate::api::{ConnectionChange, Fill, FillChange, HealthChange, Refused, What};

/// How urgent it is.
pub(super) fn level(what: &What) -> Level {
    let is_trouble = match what {
        What::Fail(_) | What::LeaseExhausted(_) | What::FlowsRefused(_) | What::Lost { .. } => true,
        What::TargetHealth(change) => change.state != "healthy",
        What::TablePressure(change) => change.state > change.before,
        What::Connect(_)
        | What::Accept(_)
        | What::Reject(_)
        | What::Delete(_)
        | What::Expire(_) => false,
    };
    if is_trouble { Level::Warn } else { Level::Info }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect(ConnectionChange { endpoint, service, principal, reason, .. }) => {
                write!(f, "endpoint {endpoint} of {principal} asks for {service}: {reason}")
            }
            Self::Fail(ConnectionChange { endpoint, reason, .. }) => {
                write!(f, "endpoint {endpoint} has failed: {reason}")
            }
            Self::Accept(change)
            | Self::Reject(change)
            | Self::Delete(change)
            | Self::Expire(change) => {
                let ConnectionChange { endpoint, state, reason, .. } = change;
                write!(f, "endpoint {endpoint} is {}: {reason}", state.name())
            }
            Self::TargetHealth(change) => {
                let HealthChange { target_group, target, state, reason, description, .. } = change;
                write!(f, "target {target} of {target_group} is {state}")?;
                match (description.as_str(), reason.as_str()) {
                    ("", "") => Ok(()),
                    ("", why) | (why, _) => write!(f, ": {why}"),
                }
            }
            Self::LeaseExhausted(refused) | Self::FlowsRefused(refused) => {
                let Refused { interface, reason, packets, description, .. } = refused;
                write!(f, "interface {interface}: {packets} packets dropped as {reason}: ")?;
                f.write_str(description)
            }
            Self::TablePressure(FillChange { state, flows_held, flows_max, .. }) => {
                write!(f, "{flows_held} of {flows_max} places in the flow table are taken")?;
                match state {
                    Fill::Normal => Ok(()),
                    Fill::High | Fill::Critical => {
                        f.write_str(": give it more `capacity` under [flow_table], or `ipv6_flow_capacity` for flows with IPv6")
                    }
                }
            }
            Self::Lost { events } => write!(f, "{events} events are gone unread"),
        }
    }
}
