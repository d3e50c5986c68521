//! What endpoints publish at their addresses: several may share one, if their ports differ.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::IpAddr;
use std::ops::Range;

use super::error::{Cited, Report};
use crate::model::{Listener, Model, Ports, Protocol};

/// All that a service publishes: each listener's ports once, whichever of its load balancers has it.
pub(super) fn of_service(service: usize, model: &Model) -> HashSet<(Protocol, Ports)> {
    let balancers = model.services.get(service).map(|service| service.load_balancers.as_slice());
    let listeners = balancers
        .unwrap_or_default()
        .iter()
        .filter_map(|balancer| model.load_balancers.get(*balancer))
        .flat_map(|balancer| &balancer.listeners);
    listeners.flat_map(Listener::published).collect()
}

/// An endpoint's claim on ports of an address.
struct Claim<'a> {
    last: u16,
    endpoint: &'a str,
    place: Cited,
}

/// The ports that are taken, by vpc and address.
#[derive(Default)]
pub(super) struct Published<'a> {
    /// By the first ports of claims that do not overlap.
    taken: HashMap<(usize, IpAddr, Protocol), BTreeMap<u16, Claim<'a>>>,
}

impl<'a> Published<'a> {
    /// Claims what a service publishes for an endpoint, at the address that stands at `span`; reports what another has.
    pub(super) fn claim(
        &mut self,
        (vpc, address): (usize, IpAddr),
        published: &HashSet<(Protocol, Ports)>,
        (endpoint, span): (&'a str, Range<usize>),
        report: &mut Report<'_>,
    ) {
        let place = report.place(&span);
        for (protocol, Ports { first, last }) in merged(published) {
            let taken = self.taken.entry((vpc, address, protocol)).or_default();
            let before = taken.range(..=last).next_back();
            if let Some((start, claim)) = before.filter(|(_, claim)| claim.last >= first) {
                let common = Ports { first: first.max(*start), last: last.min(claim.last) };
                let cause = format!(
                    "{}/{common} already published at this address by endpoint {} {}",
                    protocol.name(),
                    claim.endpoint,
                    claim.place
                );
                let remedy = "choose another address, or a service of other ports";
                report.add_against(&claim.place, span, cause, remedy);
                return;
            }
            taken.insert(first, Claim { last, endpoint, place: place.clone() });
        }
    }
}

/// The same ports as ranges that do not overlap, in order.
fn merged(published: &HashSet<(Protocol, Ports)>) -> Vec<(Protocol, Ports)> {
    let mut sorted: Vec<_> = published.iter().copied().collect();
    sorted.sort_unstable();
    let mut merged: Vec<(Protocol, Ports)> = Vec::new();
    for (protocol, ports) in sorted {
        match merged.last_mut() {
            Some((same, before)) if *same == protocol && ports.first <= before.last => {
                before.last = before.last.max(ports.last);
            }
            _ => merged.push((protocol, ports)),
        }
    }
    merged
}
