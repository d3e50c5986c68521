//! Attributes of target groups and load balancers, by the names of AWS's `Modify…Attributes` calls.

use std::time::Duration;

use toml::Spanned;
use toml::de::DeValue;

use super::document::{Decode, Free, Node, Number, Text};
use super::error::Report;
use super::names::nearest;
use super::values::number;

const DEREGISTRATION_DELAY: &str = "deregistration_delay.timeout_seconds";
const CROSS_ZONE: &str = "load_balancing.cross_zone.enabled";

/// AWS's default of [`DEREGISTRATION_DELAY`], in seconds.
const DEFAULT_DEREGISTRATION_DELAY: u64 = 300;

/// What a target group has on AWS but not yet here.
const TARGET_GROUP_TO_COME: [&str; 13] = [
    "deregistration_delay.connection_termination.enabled",
    "load_balancing.cross_zone.enabled",
    "preserve_client_ip.enabled",
    "proxy_protocol_v2.enabled",
    "stickiness.enabled",
    "stickiness.type",
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

/// The deregistration delay that a target group's attributes ask for.
pub(super) fn deregistration_delay(
    attributes: &Option<Free<'_>>,
    report: &mut Report<'_>,
) -> Duration {
    let mut delay = DEFAULT_DEREGISTRATION_DELAY;
    for (name, value) in entries(attributes) {
        if *name.get_ref() == DEREGISTRATION_DELAY {
            let example = format!("\"{DEREGISTRATION_DELAY}\" = {DEFAULT_DEREGISTRATION_DELAY}");
            let seconds = Number::decode(value, &example, report);
            let seconds = seconds.and_then(|seconds| {
                number(&seconds, 0..=3600, "number of seconds for this attribute", report)
            });
            delay = seconds.unwrap_or(delay);
        } else {
            refuse((name, value), &[DEREGISTRATION_DELAY], &TARGET_GROUP_TO_COME, report);
        }
    }
    Duration::from_secs(delay)
}

/// Whether a load balancer's attributes ask for cross-zone load balancing.
pub(super) fn cross_zone(attributes: &Option<Free<'_>>, report: &mut Report<'_>) -> bool {
    let mut enabled = false;
    for (name, value) in entries(attributes) {
        if *name.get_ref() == CROSS_ZONE {
            let example = format!("\"{CROSS_ZONE}\" = true");
            let value = Spanned::<bool>::decode(value, &example, report);
            enabled = value.is_some_and(Spanned::into_inner);
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
    } else if matches!(value.get_ref(), DeValue::Table(_)) {
        // TOML reads an unquoted a.b as table a with key b.
        ("an attribute's name is one key", format!("write it in quotes: \"{supported}\""))
    } else if let Some(near) = nearest(text, known) {
        ("unknown attribute", format!("did you mean {near}?"))
    } else {
        ("unknown attribute", format!("remove it; supported here: {supported}"))
    };
    report.add(name.span(), cause, remedy);
}
