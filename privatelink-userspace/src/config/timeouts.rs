//! When the flows of an endpoint service end.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::document::Text;
use super::error::Report;
use super::file;
use super::values::duration;
use crate::model::{Model, Timeouts};

/// What every timeout but the idle ones may be, in seconds.
const SHORT: RangeInclusive<u64> = 1..=300;

/// What `idle` and `udp_idle` may be, in seconds. AWS takes 60 to 6000 for TCP; less serves tests.
const IDLE: RangeInclusive<u64> = 1..=8000;

/// The timeouts of a service; the default for each that is absent. `idle` is what its target groups say.
pub(super) fn timeouts(
    written: Option<&file::Timeouts<'_>>,
    idle: Option<Duration>,
    report: &mut Report<'_>,
) -> Timeouts {
    let default = Timeouts::default();
    let default = Timeouts { idle: idle.unwrap_or(default.idle), ..default };
    let Some(written) = written else { return default };
    let mut timeout = |text: &Option<Text<'_>>, range, what, default| -> Duration {
        text.as_ref().and_then(|text| duration(text, range, what, report)).unwrap_or(default)
    };
    Timeouts {
        half_open: timeout(&written.half_open, SHORT, "half-open timeout", default.half_open),
        idle: timeout(&written.idle, IDLE, "idle timeout", default.idle),
        closing: timeout(&written.closing, SHORT, "closing timeout", default.closing),
        lease_hold: timeout(&written.lease_hold, SHORT, "lease hold", default.lease_hold),
        udp_unreplied: timeout(
            &written.udp_unreplied,
            SHORT,
            "timeout of unreplied UDP",
            default.udp_unreplied,
        ),
        udp_idle: timeout(&written.udp_idle, IDLE, "idle timeout of UDP", default.udp_idle),
    }
}

/// The `tcp.idle_timeout.seconds` of a service's target groups, if any of them has it.
pub(super) fn idle_of_groups(
    service: &file::EndpointService<'_>,
    load_balancers: &[usize],
    model: &Model,
    report: &mut Report<'_>,
) -> Option<Duration> {
    let balancers = load_balancers.iter().filter_map(|&index| model.load_balancers.get(index));
    let groups = balancers
        .flat_map(|balancer| &balancer.listeners)
        .filter_map(|listener| model.target_groups.get(listener.target_group));
    let asked: BTreeSet<Duration> =
        groups.filter_map(|group| group.attributes.idle_timeout).collect();
    let own = service.timeouts.as_ref().and_then(|timeouts| timeouts.idle.as_ref());
    if let (Some(id), None, true) = (&service.id, own, asked.len() > 1) {
        let cause = "its target groups have different tcp.idle_timeout.seconds";
        let remedy = "give them the same, or write idle in [endpoint_service.timeouts]";
        report.add(id.span(), cause, remedy);
    }
    asked.first().copied()
}
