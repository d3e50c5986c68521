//! How many flows are held, and how many of them any one endpoint may have.
//!
//! What stands for a refused number is the most it could have been, so that the numbers below it are
//! not refused for its sake.

use privatelink_common::limits::MIN_FLOWS;

use super::document::Number;
use super::error::Report;
use super::file::{self, File};
use super::values::number;
use crate::model::{DEFAULT_FLOW_CAPACITY, Limits, Model};

/// Largest flow table.
const MAX_CAPACITY: u32 = 1 << 24;
/// Highest limit of flows opened in one second; above it there is none.
const MAX_NEW_FLOWS_PER_SECOND: i64 = 10_000_000;

/// Flows held at once.
pub(super) fn capacity(file: &File<'_>, report: &mut Report<'_>) -> u32 {
    let written = file.flow_table.as_ref().and_then(|table| table.capacity.as_ref());
    written.map_or(DEFAULT_FLOW_CAPACITY, |written| size(written, report))
}

/// Flows with IPv6 on either side held at once. By default it depends on what cannot change at run time: every IPv6 address
/// is one of a vpc's range.
pub(super) fn wide_capacity(file: &File<'_>, model: &Model, report: &mut Report<'_>) -> u32 {
    let written = file.flow_table.as_ref().and_then(|table| table.ipv6_flow_capacity.as_ref());
    let mut ranges = model.vpcs.iter().flat_map(|vpc| &vpc.cidrs);
    match written {
        Some(written) => size(written, report),
        None if ranges.any(|range| range.addr().is_ipv6()) => model.flow_capacity,
        None => MIN_FLOWS,
    }
}

fn size(written: &Number, report: &mut Report<'_>) -> u32 {
    let range = i64::from(MIN_FLOWS)..=i64::from(MAX_CAPACITY);
    number(written, range, "capacity of the flow table", report).unwrap_or(MAX_CAPACITY)
}

/// The limits of an endpoint that has none of its own, before its half-open flows are bounded by its
/// flows: an endpoint may have its own limit of flows, and be bounded by that.
pub(super) fn defaults(file: &File<'_>, capacity: u32, report: &mut Report<'_>) -> Limits {
    let built_in = Limits {
        flows: capacity / 2,
        half_open_flows: (capacity / 64).clamp(64, 16_384),
        new_flows_per_second: None,
    };
    limits(file.endpoint_limits.as_ref(), &built_in, capacity, report)
}

/// The limits of one endpoint.
pub(super) fn of_endpoint(
    endpoint: &file::Endpoint<'_>,
    defaults: &Limits,
    capacity: u32,
    report: &mut Report<'_>,
) -> Limits {
    let limits = limits(endpoint.limits.as_ref(), defaults, capacity, report);
    Limits { half_open_flows: limits.half_open_flows.min(limits.flows), ..limits }
}

fn limits(
    written: Option<&file::Limits<'_>>,
    defaults: &Limits,
    capacity: u32,
    report: &mut Report<'_>,
) -> Limits {
    let Some(written) = written else { return *defaults };
    let flows = written.flows.as_ref().map_or(defaults.flows, |flows| {
        let (cause, remedy) = ("more than the flow table holds", "raise capacity of [flow_table]");
        up_to(flows, (capacity, MAX_CAPACITY), (cause, remedy), "number of flows", report)
            .unwrap_or(capacity)
    });
    let half_open_flows =
        written.half_open_flows.as_ref().map_or(defaults.half_open_flows, |half_open| {
            let (cause, remedy) = ("more than the limit of flows", "raise flows");
            let what = "number of half-open flows";
            up_to(half_open, (flows, capacity), (cause, remedy), what, report).unwrap_or(flows)
        });
    let new_flows_per_second = match &written.new_flows_per_second {
        Some(rate) => {
            let what = "number of flows per second";
            number(rate, 0..=MAX_NEW_FLOWS_PER_SECOND, what, report).filter(|rate| *rate > 0)
        }
        None => defaults.new_flows_per_second,
    };
    Limits { flows, half_open_flows, new_flows_per_second }
}

/// A number from 1 to `most`. One beyond, but not beyond `ever`, is refused for `cause`, and may be
/// made right by `remedy`.
fn up_to(
    written: &Number,
    (most, ever): (u32, u32),
    (cause, remedy): (&str, &str),
    what: &str,
    report: &mut Report<'_>,
) -> Option<u32> {
    if (i64::from(most) + 1..=i64::from(ever)).contains(written.get_ref()) {
        let remedy = format!("write a number from 1 to {most}, or {remedy}");
        report.add(written.span(), format!("{cause}, {most}"), remedy);
        return None;
    }
    number(written, 1..=i64::from(most), what, report)
}
