//! `[target_group.attributes]`.

use std::ops::RangeInclusive;
use std::time::Duration;

use toml::de::DeValue;

use super::attributes::{CROSS_ZONE, boolean, entries, refuse};
use super::document::{Decode, Free, Node, Number};
use super::error::Report;
use super::values::number;
use crate::model::{Protocols, TargetGroupAttributes};

const DELAY: &str = "deregistration_delay.timeout_seconds";
const DELAY_ENDS_FLOWS: &str = "deregistration_delay.connection_termination.enabled";
const FAILOVER_COUNT: &str = "target_group_health.dns_failover.minimum_healthy_targets.count";
const FAILOVER_PERCENTAGE: &str =
    "target_group_health.dns_failover.minimum_healthy_targets.percentage";
const ROUTING_COUNT: &str =
    "target_group_health.unhealthy_state_routing.minimum_healthy_targets.count";
const ROUTING_PERCENTAGE: &str =
    "target_group_health.unhealthy_state_routing.minimum_healthy_targets.percentage";
const UNHEALTHY_ENDS_FLOWS: &str = "target_health_state.unhealthy.connection_termination.enabled";
const UNHEALTHY_DRAINING: &str = "target_health_state.unhealthy.draining_interval_seconds";
const SLOW_START: &str = "slow_start.duration_seconds";
const STICKINESS_ENABLED: &str = "stickiness.enabled";
const STICKINESS_TYPE: &str = "stickiness.type";
const IDLE_TIMEOUT: &str = "tcp.idle_timeout.seconds";

const KNOWN: [&str; 13] = [
    DELAY,
    DELAY_ENDS_FLOWS,
    CROSS_ZONE,
    SLOW_START,
    STICKINESS_ENABLED,
    STICKINESS_TYPE,
    FAILOVER_COUNT,
    FAILOVER_PERCENTAGE,
    ROUTING_COUNT,
    ROUTING_PERCENTAGE,
    UNHEALTHY_ENDS_FLOWS,
    UNHEALTHY_DRAINING,
    IDLE_TIMEOUT,
];

/// What a target group has on AWS but not yet here.
const TO_COME: [&str; 3] = [
    "preserve_client_ip.enabled",
    "proxy_protocol_v2.enabled",
    "target_failover.on_deregistration",
];

/// What only groups of TCP alone have, as on AWS.
const OF_TCP: [&str; 3] = [UNHEALTHY_ENDS_FLOWS, UNHEALTHY_DRAINING, IDLE_TIMEOUT];

/// The attributes of a target group of these protocols, if they are known; the default for each that is absent.
pub(super) fn target_group_attributes(
    written: &Option<Free<'_>>,
    protocol: Option<Protocols>,
    report: &mut Report<'_>,
) -> TargetGroupAttributes {
    let mut read = TargetGroupAttributes::of(protocol.unwrap_or(Protocols::Tcp));
    for (key, value) in entries(written) {
        let name = *key.get_ref();
        match name {
            DELAY => set(&mut read.deregistration_delay, seconds(name, value, 0..=3600, report)),
            DELAY_ENDS_FLOWS => {
                set(&mut read.deregistration_ends_flows, boolean(name, value, report));
            }
            CROSS_ZONE => read.cross_zone = cross_zone(value, report),
            SLOW_START => set(&mut read.slow_start, slow_start(value, report)),
            STICKINESS_ENABLED => set(&mut read.sticky, boolean(name, value, report)),
            STICKINESS_TYPE => refuse_stickiness_type(value, report),
            FAILOVER_COUNT => set(&mut read.failover_minimum.count, count(value, report)),
            FAILOVER_PERCENTAGE => {
                set(&mut read.failover_minimum.percentage, percentage(value, report));
            }
            ROUTING_COUNT => set(&mut read.routing_minimum.count, count(value, report)),
            ROUTING_PERCENTAGE => {
                set(&mut read.routing_minimum.percentage, percentage(value, report));
            }
            UNHEALTHY_ENDS_FLOWS => {
                set(&mut read.unhealthy_ends_flows, boolean(name, value, report));
            }
            UNHEALTHY_DRAINING => {
                set(&mut read.unhealthy_draining, seconds(name, value, 0..=360_000, report));
            }
            IDLE_TIMEOUT => read.idle_timeout = seconds(name, value, 60..=6000, report),
            _ => refuse((key, value), &KNOWN, &TO_COME, report),
        }
    }
    refuse_of_tcp(written, protocol, report);
    refuse_vain_draining(&read, written, report);
    read
}

/// Reports attributes that groups of these protocols do not have.
fn refuse_of_tcp(written: &Option<Free<'_>>, protocol: Option<Protocols>, report: &mut Report<'_>) {
    let Some(protocol) = protocol.filter(|protocol| *protocol != Protocols::Tcp) else { return };
    for (name, _) in entries(written).iter().filter(|(name, _)| OF_TCP.contains(name.get_ref())) {
        let cause = format!("not an attribute of {} target groups", protocol.name());
        let remedy = match *name.get_ref() {
            IDLE_TIMEOUT => "remove it; [endpoint_service.timeouts] has idle and udp_idle",
            _ => "remove it; flows of their unhealthy targets stay",
        };
        report.add(name.span(), cause, remedy);
    }
}

fn set<T>(attribute: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *attribute = value;
    }
}

fn seconds(
    name: &str,
    value: &Node<'_>,
    range: RangeInclusive<i64>,
    report: &mut Report<'_>,
) -> Option<Duration> {
    let example = format!("\"{name}\" = {}", range.end().min(&300));
    let written = Number::decode(value, &example, report)?;
    number(&written, range, "number of seconds for this attribute", report).map(Duration::from_secs)
}

/// AWS has it for application load balancers: 0, which is off, or 30 to 900.
fn slow_start(value: &Node<'_>, report: &mut Report<'_>) -> Option<Duration> {
    let duration = seconds(SLOW_START, value, 0..=900, report)?;
    if (1..30).contains(&duration.as_secs()) {
        report.add(value.span(), "slow start too short", "write 0, which is off, or 30 to 900");
    }
    Some(duration)
}

fn count(value: &Node<'_>, report: &mut Report<'_>) -> Option<u32> {
    off_or(value, 1..=10_000, "number of targets", report)
}

fn percentage(value: &Node<'_>, report: &mut Report<'_>) -> Option<u8> {
    off_or(value, 1..=100, "percentage", report)
}

/// A number, or 0 for "off".
fn off_or<T: TryFrom<i64> + Default>(
    value: &Node<'_>,
    range: RangeInclusive<i64>,
    what: &str,
    report: &mut Report<'_>,
) -> Option<T> {
    let (low, high) = (*range.start(), *range.end());
    let number = match value.get_ref() {
        DeValue::String(text) if text == "off" => return Some(T::default()),
        DeValue::Integer(_) => Number::decode(value, "", report).map(|number| *number.get_ref()),
        _ => None,
    };
    let number = number.filter(|number| range.contains(number));
    let number = number.and_then(|number| T::try_from(number).ok());
    if number.is_none() {
        let remedy = format!("write \"off\" or a number from {low} to {high}");
        report.add(value.span(), format!("not a {what}"), remedy);
    }
    number
}

/// What a target group says of cross-zone load balancing; `None` is what its load balancers say.
fn cross_zone(value: &Node<'_>, report: &mut Report<'_>) -> Option<bool> {
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

/// Reports a draining interval of targets whose flows end at once.
fn refuse_vain_draining(
    read: &TargetGroupAttributes,
    written: &Option<Free<'_>>,
    report: &mut Report<'_>,
) {
    let interval = entries(written).iter().find(|(name, _)| *name.get_ref() == UNHEALTHY_DRAINING);
    if let (true, false, Some((name, _))) =
        (read.unhealthy_ends_flows, read.unhealthy_draining.is_zero(), interval)
    {
        let remedy = format!("add \"{UNHEALTHY_ENDS_FLOWS}\" = false, or remove it");
        report.add(name.span(), "flows of unhealthy targets end at once", remedy);
    }
}
