//! Listeners: which ports a load balancer publishes.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};

use super::check::Scope;
use super::document::{Text, TextOrNumber};
use super::error::{Cited, Report};
use super::file;
use super::ip_address_types::refuse_unreachable;
use super::values::{items, port, protocols};
use crate::model::{
    Families, Listener, LoadBalancer, Model, Ports, Protocol, Protocols, TargetGroup,
};

/// The listeners of a load balancer of the vpc with this index and addresses of these families, in the order of the file;
/// `model` holds the target groups.
pub(super) fn listeners(
    balancer: &file::LoadBalancer<'_>,
    (vpc, families, model): (Option<usize>, Option<Families>, &Model),
    scope: &Scope<'_>,
    report: &mut Report<'_>,
) -> Vec<Listener> {
    let mut earlier = Earlier::default();
    let mut listeners = Vec::new();
    for listener in items(&balancer.listener) {
        let protocol = protocols(&listener.protocol, report);
        let ports = listener.port.as_ref().and_then(|written| ports(written, report));
        if let (Some(written), Some(ports), Some(protocol)) = (&listener.port, ports, protocol) {
            earlier.refuse_conflict((protocol, ports), written, report);
        }
        let group = scope.target_groups.find_text(listener.target_group.as_ref(), report);
        if let (Some(text), Some(Some(group))) =
            (&listener.target_group, group.map(|group| model.target_groups.get(group)))
        {
            if let Some(vpc) = vpc {
                refuse_other_vpc((vpc, group.vpc), text, model, report);
            }
            if let Some(protocol) = protocol {
                refuse_other_protocol(protocol, group, text, report);
            }
            if let Some(families) = families {
                refuse_unreachable(group, families, text, report);
            }
        }
        listeners.push(Listener {
            protocol: protocol.unwrap_or(Protocols::Tcp),
            ports: ports.unwrap_or(Ports::ALL),
            target_group: group.unwrap_or_default(),
            keep_port: listener.keep_port.as_ref().is_some_and(|keep| *keep.get_ref()),
        });
    }
    listeners
}

/// The ports of a listener.
fn ports(written: &TextOrNumber<'_>, report: &mut Report<'_>) -> Option<Ports> {
    let text = match written {
        TextOrNumber::Number(number) => return port(number, report).map(Ports::one),
        TextOrNumber::Text(text) => text,
    };
    if *text.get_ref() == "all" {
        return Some(Ports::ALL);
    }
    let plain = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let port = |text: &str| text.parse().ok().filter(|port| *port != 0 && plain(text));
    let ends = text.get_ref().split_once('-');
    let ends = ends.and_then(|(first, last)| Some((port(first)?, port(last)?)));
    match ends {
        Some((first, last)) if first < last => Some(Ports { first, last }),
        Some((first, last)) => {
            let remedy = if first == last {
                format!("write port = {first} for one port")
            } else {
                "swap them".to_owned()
            };
            report.add(text.span(), "the last port is not greater than the first", remedy);
            None
        }
        None => {
            let remedy = "write port = 80, port = \"9000-9099\" or port = \"all\"";
            report.add(text.span(), "not a range of ports", remedy);
            None
        }
    }
}

/// The listeners of one load balancer so far, with the places they stand at.
#[derive(Default)]
struct Earlier {
    places: HashMap<(Protocol, Ports), Cited>,
    /// Ranges by their first ports; none overlaps another.
    ranges: BTreeMap<(Protocol, u16), Ports>,
}

impl Earlier {
    /// Reports what is in the way of a listener, once.
    fn refuse_conflict(
        &mut self,
        (protocols, ports): (Protocols, Ports),
        written: &TextOrNumber<'_>,
        report: &mut Report<'_>,
    ) {
        for &protocol in protocols.each() {
            if let Some((cause, remedy)) = self.conflict((protocol, ports), written, report) {
                report.add(written.span(), cause, remedy);
                return;
            }
        }
    }

    /// Notes a listener; what is in its way, and the remedy.
    fn conflict(
        &mut self,
        (protocol, ports): (Protocol, Ports),
        written: &TextOrNumber<'_>,
        report: &Report<'_>,
    ) -> Option<(String, &'static str)> {
        let name = protocol.name();
        let place = report.place(&written.span());
        if let Some(first) = self.places.insert((protocol, ports), place) {
            let cause = format!("repeated listener, {name}/{ports} is already {first}");
            return Some((cause, "remove it, or give it another port"));
        }
        if !ports.is_range() {
            return None;
        }
        let mut before = self.ranges.range((protocol, 0)..=(protocol, ports.last));
        if let Some((_, other)) = before.next_back().filter(|(_, other)| other.last >= ports.first)
        {
            let place = &self.places[&(protocol, *other)];
            let cause = format!("overlaps {name}/{other} {place}");
            return Some((cause, "keep the ranges of a load balancer apart"));
        }
        self.ranges.insert((protocol, ports.first), ports);
        None
    }
}

fn refuse_other_vpc(
    (balancers, groups): (usize, usize),
    group: &Text<'_>,
    model: &Model,
    report: &mut Report<'_>,
) {
    if balancers != groups {
        let id = |index: usize| model.vpcs.get(index).map(|vpc| vpc.id.as_str());
        let (here, there) = (id(balancers).unwrap_or_default(), id(groups).unwrap_or_default());
        let cause = format!("target group of {there}, but the load balancer is in {here}");
        report.add(group.span(), cause, format!("choose a target group of {here}"));
    }
}

/// Reports a target group that does not speak what the listener accepts.
fn refuse_other_protocol(
    listener: Protocols,
    group: &TargetGroup,
    text: &Text<'_>,
    report: &mut Report<'_>,
) {
    if group.protocol.include(listener) {
        return;
    }
    let (accepted, spoken) = (listener.name(), group.protocol.name());
    let fit = Protocols::ALL.into_iter().filter(|protocol| protocol.include(listener));
    let fit: Vec<_> = fit.map(Protocols::name).collect();
    let cause = format!("target group of {spoken}, but the listener is {accepted}");
    report.add(text.span(), cause, format!("choose a target group of {}", fit.join(" or ")));
}

/// Reports load balancers of one service whose ranges overlap, neither within the other: it would not be clear which of
/// them serves what they have in common.
pub(super) fn refuse_crossing(balancers: &[(&Text<'_>, &LoadBalancer)], report: &mut Report<'_>) {
    let mut ranges: Vec<(Protocol, Ports, usize)> = Vec::new();
    for (index, (_, balancer)) in balancers.iter().enumerate() {
        let listeners = balancer.listeners.iter().filter(|listener| listener.ports.is_range());
        let published = listeners.flat_map(Listener::published);
        ranges.extend(published.map(|(protocol, ports)| (protocol, ports, index)));
    }
    ranges.sort_by_key(|&(protocol, ports, _)| (protocol, ports.first, Reverse(ports.last)));
    // Those that the current one may be within, each within the one before.
    let mut around: Vec<(Protocol, Ports, usize)> = Vec::new();
    for range in ranges {
        let (protocol, ports, index) = range;
        while around.pop_if(|outer| outer.0 != protocol || outer.1.last < ports.first).is_some() {}
        if let Some(&(_, outer, other)) = around.last()
            && ports.last > outer.last
            && index != other
        {
            // The one that the service names later is the one to change.
            let name = protocol.name();
            let ((text, own), (_, theirs)) = if index > other {
                ((balancers[index].0, ports), (balancers[other].0, outer))
            } else {
                ((balancers[other].0, outer), (balancers[index].0, ports))
            };
            let first = balancers[index.min(other)].0.get_ref();
            let cause = format!("its {name}/{own} overlaps {name}/{theirs} of {first}");
            report.add(text.span(), cause, "keep them apart, or one within the other");
        }
        around.push(range);
    }
}
