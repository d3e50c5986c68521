//! Which health checks the model asks for, and over which way.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, SocketAddr};

use crate::health::{Check, Via};
use crate::model::{Model, Target};
use crate::netlink::NextHop;
use crate::running::Running;

/// The checks of all IPv4 targets that a listener serves and that do not drain, by target number.
pub fn checks(running: &Running) -> BTreeMap<u32, Check> {
    let snapshot = running.snapshot();
    let model = &snapshot.model;
    let sources = sources(model);
    let next_hops = running.next_hops();
    let check = |(number, index, target): (u32, usize, &Target)| {
        if target.draining_since.is_some() {
            return None;
        }
        let settings = model.target_groups[index].health_check.clone();
        let port = settings.port.unwrap_or(target.port);
        let via = match next_hops.get(&number) {
            Some(&NextHop::Resolved { ifindex, mac: next_hop, mtu }) => {
                Some(Via { ifindex, next_hop, mtu })
            }
            _ => None,
        };
        let address = target.address;
        let source = *sources.get(&(index, address.is_ipv6()))?;
        Some((number, Check { settings, target: SocketAddr::new(address, port), source, via }))
    };
    snapshot.numbering.targets(model).filter_map(check).collect()
}

/// The address that each target group's checks come from, by the group and whether its targets have IPv6: the first
/// one of that family of the first load balancer that has one and serves the group.
fn sources(model: &Model) -> HashMap<(usize, bool), IpAddr> {
    let mut sources = HashMap::new();
    for balancer in &model.load_balancers {
        for address in balancer.addresses.iter().filter(|address| !address.draining) {
            let source = address.address.addr();
            for listener in &balancer.listeners {
                sources.entry((listener.target_group, source.is_ipv6())).or_insert(source);
            }
        }
    }
    sources
}
