//! Attributes of target groups and load balancers, by the names of AWS's `Modify…Attributes` calls.

use std::time::Duration;

use toml::Spanned;
use toml::de::DeValue;

use super::document::{Decode, Free, Node, Number, Text};
use super::error::Report;
use super::names::nearest;
use super::values::number;

const DEREGISTRATION_DELAY: &str = "deregistration_delay.timeout_seconds";
const STICKINESS_ENABLED: &str = "stickiness.enabled";
const STICKINESS_TYPE: &str = "stickiness.type";
const CROSS_ZONE: &str = "load_balancing.cross_zone.enabled";

/// AWS's default of [`DEREGISTRATION_DELAY`], in seconds.
const DEFAULT_DEREGISTRATION_DELAY: u64 = 300;

/// What a target group has on AWS but not yet here.
const TARGET_GROUP_TO_COME: [&str; 10] = [
    "deregistration_delay.connection_termination.enabled",
    "preserve_client_ip.enabled",
    "proxy_protocol_v2.enabled",
    "target_failover.on_deregistration",
    "target_group_health.dns_failover.minimum_healthy_targets.count",
    "target_group_health.dns_failover.minimum_healthy_targets.percentage",
    "target_group_health.unhealthy_state_routing.minimum_healthy_targets.count",
    "target_group_health.unhealthy_state_routing.minimum_healthy_targets.percentage",
    "target_health_state.unhealthy.connection_termination.enabled",
    "target_health_state.unhealthy.draining_interval_seconds",
];

/// What a network load balancer or its listeners have on AWS but not yet here.
const LOAD_BALANCER_TO_COME: [&str; 9] = [
    "access_logs.s3.bucket",
    "access_logs.s3.enabled",
    "access_logs.s3.prefix",
    "deletion_protection.enabled",
    "dns_record.client_routing_policy",
    "ipv6.deny_all_igw_traffic",
    "secondary_ips.auto_assigned.per_subnet",
    "tcp.idle_timeout.seconds",
    "zonal_shift.config.enabled",
];

/// What a target group's attributes ask for.
pub(super) struct TargetGroupAttributes {
    /// How long a deregistered target keeps its flows.
    pub(super) deregistration_delay: Duration,
    /// Whether all flows of a client go to one target.
    pub(super) sticky: bool,
    /// Whether flows leave the zone they enter by; `None` is for the load balancer to say.
    pub(super) cross_zone: Option<bool>,
}

impl TargetGroupAttributes {
    const KNOWN: [&'static str; 4] =
        [DEREGISTRATION_DELAY, CROSS_ZONE, STICKINESS_ENABLED, STICKINESS_TYPE];

    /// Reads them, reporting what is wrong.
    pub(super) fn read(attributes: &Option<Free<'_>>, report: &mut Report<'_>) -> Self {
        let mut read = Self {
            deregistration_delay: Duration::from_secs(DEFAULT_DEREGISTRATION_DELAY),
            sticky: false,
            cross_zone: None,
        };
        for (name, value) in entries(attributes) {
            match *name.get_ref() {
                DEREGISTRATION_DELAY => {
                    let example =
                        format!("\"{DEREGISTRATION_DELAY}\" = {DEFAULT_DEREGISTRATION_DELAY}");
                    let seconds = Number::decode(value, &example, report).and_then(|seconds| {
                        number(&seconds, 0..=3600, "number of seconds for this attribute", report)
                    });
                    read.deregistration_delay =
                        seconds.map_or(read.deregistration_delay, Duration::from_secs);
                }
                CROSS_ZONE => read.cross_zone = group_cross_zone(value, report),
                STICKINESS_ENABLED => read.sticky = boolean(STICKINESS_ENABLED, value, report),
                STICKINESS_TYPE => refuse_stickiness_type(value, report),
                _ => refuse((name, value), &Self::KNOWN, &TARGET_GROUP_TO_COME, report),
            }
        }
        read
    }
}

/// What a target group says of cross-zone load balancing; `None` is what its load balancers say.
fn group_cross_zone(value: &Node<'_>, report: &mut Report<'_>) -> Option<bool> {
    const AS_LOAD_BALANCER: &str = "use_load_balancer_configuration";
    match value.get_ref() {
        DeValue::Boolean(enabled) => Some(*enabled),
        DeValue::String(text) if text == AS_LOAD_BALANCER => None,
        _ => {
            let remedy = format!("write true, false or \"{AS_LOAD_BALANCER}\"");
            report.add(value.span(), "not a value of this attribute", remedy);
            None
        }
    }
}

fn refuse_stickiness_type(value: &Node<'_>, report: &mut Report<'_>) {
    const SOURCE_IP: &str = "source_ip";
    if !matches!(value.get_ref(), DeValue::String(text) if text == SOURCE_IP) {
        let remedy = format!("write \"{SOURCE_IP}\", the only type of a network load balancer");
        report.add(value.span(), "not a type of stickiness", remedy);
    }
}

fn boolean(name: &str, value: &Node<'_>, report: &mut Report<'_>) -> bool {
    let value = Spanned::<bool>::decode(value, &format!("\"{name}\" = true"), report);
    value.is_some_and(Spanned::into_inner)
}

/// Whether a load balancer's attributes ask for cross-zone load balancing.
pub(super) fn cross_zone(attributes: &Option<Free<'_>>, report: &mut Report<'_>) -> bool {
    let mut enabled = false;
    for (name, value) in entries(attributes) {
        if *name.get_ref() == CROSS_ZONE {
            enabled = boolean(CROSS_ZONE, value, report);
        } else {
            refuse((name, value), &[CROSS_ZONE], &LOAD_BALANCER_TO_COME, report);
        }
    }
    enabled
}

fn entries<'l, 'a>(attributes: &'l Option<Free<'a>>) -> &'l [(Text<'a>, &'a Node<'a>)] {
    attributes.as_ref().map_or(&[], |attributes| &attributes.entries)
}

/// Reports an attribute that is none of `known`.
fn refuse(
    (name, value): (&Text<'_>, &Node<'_>),
    known: &[&'static str],
    to_come: &[&'static str],
    report: &mut Report<'_>,
) {
    let text = *name.get_ref();
    let supported = known.join(", ");
    let (cause, remedy) = if to_come.contains(&text) {
        ("attribute not supported yet", format!("remove it; supported here: {supported}"))
    } else if let (DeValue::Table(_), Some(like)) =
        (value.get_ref(), known.iter().find(|known| known.split('.').next() == Some(text)))
    {
        // TOML reads an unquoted a.b as table a with key b.
        ("an attribute's name is one key", format!("write it in quotes: \"{like}\""))
    } else if let Some(near) = nearest(text, known) {
        ("unknown attribute", format!("did you mean {near}?"))
    } else {
        ("unknown attribute", format!("remove it; supported here: {supported}"))
    };
    report.add(name.span(), cause, remedy);
}
