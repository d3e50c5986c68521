//! The lines of a page: what each shows, what it measures, and their order.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::time::Duration;

use super::number::{short, short_or_none};
use super::page::{Page, Scope, View};
use super::rates::{Rates, carried, rate};
use crate::api::{CountsBody, FlowRow, Totals};
use crate::cli::output::duration;

/// What the daemon has answered at about one moment.
#[derive(Clone, Debug, Default)]
pub(super) struct Sample {
    /// Counters and gauges.
    pub(super) totals: Totals,
    /// Flows, if they were asked for.
    pub(super) flows: Vec<FlowRow<'static>>,
}

impl Sample {
    /// Time since an earlier sample of the same daemon.
    pub(super) fn since(&self, before: &Self) -> Option<Duration> {
        let ms = self.totals.uptime_ms.checked_sub(before.totals.uptime_ms)?;
        (self.totals.pid == before.totals.pid).then_some(Duration::from_millis(ms))
    }
}

/// A column of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Column {
    /// Its header.
    pub(super) header: &'static str,
    /// Its width, characters; of names the least, where there is room.
    pub(super) width: u16,
    /// Whether it has numbers, which stand to the right.
    pub(super) is_number: bool,
    /// Whether it is only shown where there is much room.
    pub(super) is_extra: bool,
}

const fn text(header: &'static str, width: u16) -> Column {
    Column { header, width, is_number: false, is_extra: false }
}

const fn number(header: &'static str, width: u16) -> Column {
    Column { header, width, is_number: true, is_extra: false }
}

const fn extra(column: Column) -> Column {
    Column { is_extra: true, ..column }
}

const TO_TARGET: Column = number("to_target/s", 11);
const TO_CLIENT: Column = number("to_client/s", 11);
const PACKETS: Column = number("packets/s", 9);
const NEW: Column = number("new/s", 6);
const FLOWS: Column = number("flows", 7);

/// The columns of a page; the first names the line.
pub(super) const fn columns(view: View) -> &'static [Column] {
    match view {
        View::Endpoints => {
            const {
                &[
                    text("endpoint", 0),
                    extra(text("vpc", 20)),
                    extra(text("service", 26)),
                    TO_TARGET,
                    TO_CLIENT,
                    PACKETS,
                    NEW,
                    FLOWS,
                ]
            }
        }
        View::Services => {
            const {
                &[
                    text("service", 0),
                    extra(text("load_balancers", 32)),
                    extra(number("endpoints", 9)),
                    TO_TARGET,
                    TO_CLIENT,
                    PACKETS,
                    NEW,
                    FLOWS,
                ]
            }
        }
        View::Targets => {
            const {
                &[
                    text("target", 0),
                    extra(text("target_group", 32)),
                    extra(text("health", 9)),
                    TO_TARGET,
                    TO_CLIENT,
                    PACKETS,
                    NEW,
                    FLOWS,
                ]
            }
        }
        View::Flows => {
            const {
                &[
                    text("client", 0),
                    text("target", 21),
                    extra(text("endpoint", 22)),
                    extra(text("state", 11)),
                    extra(number("age", 8)),
                    TO_TARGET,
                    TO_CLIENT,
                    PACKETS,
                ]
            }
        }
        View::Drops => {
            const {
                &[
                    text("reason", 0),
                    text("interface", 15),
                    extra(text("vpc", 32)),
                    PACKETS,
                    number("packets", 9),
                ]
            }
        }
    }
}

/// A line of a page.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Line {
    /// What no other line of the page has.
    pub(super) key: String,
    /// A text for each column.
    pub(super) cells: Vec<String>,
    /// Bytes of both directions per second.
    pub(super) bytes: Option<f64>,
    /// Packets of both directions per second.
    pub(super) packets: Option<f64>,
    /// Flows opened per second.
    pub(super) new_flows: Option<f64>,
    /// Flows alive now.
    pub(super) flows: Option<u64>,
    /// The page that it opens.
    pub(super) opens: Option<(View, Scope)>,
}

/// By what lines are ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sort {
    /// Bytes of both directions per second, most first.
    Bytes,
    /// Packets per second, most first.
    Packets,
    /// Flows opened per second, most first.
    NewFlows,
    /// Live flows, most first.
    Flows,
    /// What the line is called.
    Id,
}

impl Sort {
    /// What people call it.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Bytes => "bytes",
            Self::Packets => "packets",
            Self::NewFlows => "new flows",
            Self::Flows => "flows",
            Self::Id => "id",
        }
    }

    /// How two lines stand. Lines that measure the same stand by their keys.
    pub(super) fn compare(self, reversed: bool, a: &Line, b: &Line) -> Ordering {
        let most = |of: fn(&Line) -> Option<f64>| {
            // What has no rate yet stands behind what has none at all.
            let measure = |line| of(line).unwrap_or(-1.0);
            measure(b).total_cmp(&measure(a))
        };
        let order = match self {
            Self::Bytes => most(|line| line.bytes),
            Self::Packets => most(|line| line.packets),
            Self::NewFlows => most(|line| line.new_flows),
            Self::Flows => b.flows.cmp(&a.flows),
            Self::Id => a.cells.cmp(&b.cells),
        };
        let order = if reversed { order.reverse() } else { order };
        order.then_with(|| a.key.cmp(&b.key))
    }
}

/// The rates of all services together; `None` while there are none.
pub(super) fn all_rates(before: Option<&Sample>, now: &Sample) -> Option<Rates> {
    let before = before?;
    let elapsed = now.since(before)?;
    let earlier: HashMap<_, _> =
        before.totals.services.iter().map(|of| (&of.service, &of.counts)).collect();
    let of_one = now
        .totals
        .services
        .iter()
        .filter_map(|of| Rates::between(earlier.get(&of.service)?, &of.counts, elapsed));
    (!elapsed.is_zero()).then(|| of_one.fold(Rates::default(), Rates::plus))
}

/// Packets dropped per second, for all reasons together.
pub(super) fn all_drops(before: Option<&Sample>, now: &Sample) -> Option<f64> {
    let elapsed = now.since(before?)?;
    let sum = |sample: &Sample| sample.totals.drops.iter().map(|of| of.packets).sum();
    rate(sum(before?), sum(now), elapsed)
}

/// The lines of a page, in no order.
pub(super) fn lines(page: &Page, before: Option<&Sample>, now: &Sample) -> Vec<Line> {
    let before = before.and_then(|before| Some((before, now.since(before)?)));
    match page.view {
        View::Endpoints => endpoints(&page.scope, before, now),
        View::Services => services(before, now),
        View::Targets => targets(before, now),
        View::Flows => flows(&page.scope, before, now),
        View::Drops => drops(before, now),
    }
}

/// An earlier sample and the time since.
type Before<'s> = Option<(&'s Sample, Duration)>;

/// Rates of resources, by what identifies them.
struct Earlier<K> {
    counts: HashMap<K, CountsBody>,
    elapsed: Duration,
}

impl<K: Eq + std::hash::Hash> Earlier<K> {
    fn new<'s>(before: Before<'s>, of: impl FnOnce(&'s Sample) -> Vec<(K, CountsBody)>) -> Self {
        let (counts, elapsed) = before.map_or_else(Default::default, |(sample, elapsed)| {
            (of(sample).into_iter().collect(), elapsed)
        });
        Self { counts, elapsed }
    }

    fn rates(&self, key: &K, now: &CountsBody) -> Option<Rates> {
        Rates::between(self.counts.get(key)?, now, self.elapsed)
    }
}

/// A line of something that has flows.
fn resource(
    key: String,
    names: Vec<String>,
    rates: Option<Rates>,
    flows: u64,
    opens: (View, Scope),
) -> Line {
    let mut cells = names;
    cells.extend(carrying(rates));
    cells.push(short_or_none(rates.map(|rates| rates.new_flows)));
    cells.push(flows.to_string());
    Line {
        key,
        cells,
        bytes: rates.map(|rates| rates.bytes()),
        packets: rates.map(|rates| rates.packets),
        new_flows: rates.map(|rates| rates.new_flows),
        flows: Some(flows),
        opens: Some(opens),
    }
}

/// Bytes each way and packets, per second.
fn carrying(rates: Option<Rates>) -> [String; 3] {
    [
        short_or_none(rates.map(|rates| rates.to_target)),
        short_or_none(rates.map(|rates| rates.to_client)),
        short_or_none(rates.map(|rates| rates.packets)),
    ]
}

fn endpoints(scope: &Scope, before: Before<'_>, now: &Sample) -> Vec<Line> {
    let earlier = Earlier::new(before, |sample| {
        sample.totals.endpoints.iter().map(|of| (&*of.endpoint, of.counts)).collect()
    });
    let rows = now.totals.endpoints.iter();
    let in_scope = rows.filter(|of| match scope {
        Scope::Service(service) => of.service == *service,
        _ => true,
    });
    in_scope
        .map(|of| {
            resource(
                of.endpoint.clone(),
                vec![of.endpoint.clone(), of.vpc.clone(), of.service.clone()],
                earlier.rates(&&*of.endpoint, &of.counts),
                of.flows,
                (View::Flows, Scope::Endpoint(of.endpoint.clone())),
            )
        })
        .collect()
}

fn services(before: Before<'_>, now: &Sample) -> Vec<Line> {
    let earlier = Earlier::new(before, |sample| {
        sample.totals.services.iter().map(|of| (&*of.service, of.counts)).collect()
    });
    let rows = now.totals.services.iter().map(|of| {
        resource(
            of.service.clone(),
            vec![of.service.clone(), of.load_balancers.clone(), of.endpoints.to_string()],
            earlier.rates(&&*of.service, &of.counts),
            of.flows,
            (View::Endpoints, Scope::Service(of.service.clone())),
        )
    });
    rows.collect()
}

fn targets(before: Before<'_>, now: &Sample) -> Vec<Line> {
    let earlier = Earlier::new(before, |sample| {
        let targets = sample.totals.targets.iter();
        targets.map(|of| ((&*of.target_group, &*of.target), of.counts)).collect()
    });
    let rows = now.totals.targets.iter().map(|of| {
        let health = if of.healthy { "healthy" } else { "unhealthy" };
        resource(
            format!("{} {}", of.target, of.target_group),
            vec![of.target.clone(), of.target_group.clone(), health.to_owned()],
            earlier.rates(&(&*of.target_group, &*of.target), &of.counts),
            of.flows,
            (View::Flows, Scope::Target(of.target.clone())),
        )
    });
    rows.collect()
}

/// Which flow: clients of two vpcs may have the same address.
fn identity<'f>(
    flow: &'f FlowRow<'_>,
) -> ([&'f str; 2], std::net::SocketAddr, std::net::SocketAddr) {
    ([&flow.vpc, &flow.protocol], flow.client, flow.endpoint_address)
}

fn flows(scope: &Scope, before: Before<'_>, now: &Sample) -> Vec<Line> {
    let earlier: HashMap<_, _> = before
        .iter()
        .flat_map(|(sample, _)| &sample.flows)
        .map(|flow| (identity(flow), flow))
        .collect();
    // Flows are read at another moment than totals: their ages say when.
    let rates_of = |now: &FlowRow<'_>| {
        let before = earlier.get(&identity(now))?;
        let elapsed = Duration::from_millis(now.age_ms.checked_sub(before.age_ms)?);
        Rates::between(&carried(before), &carried(now), elapsed)
    };
    let in_scope = now.flows.iter().filter(|flow| match scope {
        Scope::Target(target) => flow.target.to_string() == *target,
        Scope::Endpoint(endpoint) => flow.endpoint == *endpoint,
        Scope::Service(service) => flow.service == *service,
        Scope::All => true,
    });
    in_scope
        .map(|flow| {
            let rates = rates_of(flow);
            let mut cells = vec![
                flow.client.to_string(),
                flow.target.to_string(),
                flow.endpoint.to_string(),
                flow.state.to_string(),
                duration(flow.age_ms),
            ];
            cells.extend(carrying(rates));
            Line {
                key: format!(
                    "{} {} {} {}",
                    flow.client, flow.endpoint_address, flow.vpc, flow.protocol
                ),
                cells,
                bytes: rates.map(|rates| rates.bytes()),
                packets: rates.map(|rates| rates.packets),
                ..Line::default()
            }
        })
        .collect()
}

fn drops(before: Before<'_>, now: &Sample) -> Vec<Line> {
    let earlier: HashMap<_, _> = before
        .iter()
        .flat_map(|(sample, _)| &sample.totals.drops)
        .map(|of| ((&of.interface, &of.reason), of.packets))
        .collect();
    let rows = now.totals.drops.iter().map(|of| {
        // A reason that was not there had counted nothing.
        let packets = before.and_then(|(_, elapsed)| {
            let earlier = earlier.get(&(&of.interface, &of.reason)).copied().unwrap_or_default();
            rate(earlier, of.packets, elapsed)
        });
        Line {
            key: format!("{} {}", of.reason, of.interface),
            cells: vec![
                of.reason.clone(),
                of.interface.clone(),
                of.vpc.clone(),
                short_or_none(packets),
                short(of.packets as f64),
            ],
            // Their bytes are not counted.
            bytes: packets,
            packets,
            ..Line::default()
        }
    });
    rows.collect()
}
