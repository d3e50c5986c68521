//! Targets and load balancer addresses that were removed, and keep the flows they have until these end.
//!
//! They stay in the model in force, marked. What goes as a whole, such as a target group with its targets, does not
//! drain.

use std::collections::{BTreeMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use ipnet::IpNet;
use nix::time::{ClockId, clock_gettime};
use privatelink_common::flow_table::Flow;
use privatelink_common::records::Address;

use crate::contents::{Contents, VpcAddress};
use crate::model::{LoadBalancer, LoadBalancerAddress, Model, Target, TargetGroup};
use crate::numbers::{Kind, Numbering, Numbers, target_key};
use crate::snapshot::Snapshot;

/// How long it takes at least: far longer than a packet is on a CPU, which may be opening a flow.
const LEAST: Duration = Duration::from_secs(2);

/// Since when which targets drain, by their keys in [`Numbers`].
pub type Since = BTreeMap<String, Duration>;

/// Time since this host booted, which no clock setting changes.
pub fn since_boot() -> Duration {
    // Cannot fail: Linux has had the clock since 2.6.39.
    clock_gettime(ClockId::CLOCK_BOOTTIME).map_or(Duration::ZERO, Duration::from)
}

/// Adds to `wanted` what `before` has and it has not, to be drained from `now` on.
pub fn keep(before: &Model, wanted: &mut Model, now: Duration) {
    let used = used_addresses(wanted);
    let same_vpc = |wanted: &Model, before_vpc: usize, vpc: usize| {
        before.vpcs[before_vpc].id == wanted.vpcs[vpc].id
    };
    for group in &before.target_groups {
        let found = wanted.target_groups.iter().position(|of| of.name == group.name);
        let Some(index) =
            found.filter(|&index| same_vpc(wanted, group.vpc, wanted.target_groups[index].vpc))
        else {
            continue;
        };
        let gone = group.targets.iter().filter(|target| {
            !wanted.target_groups[index].targets.iter().any(|of| is_same(of, target))
        });
        // As a restart finds it again: no new flow asks for its weight and zone.
        let draining = gone.map(|target| Target {
            weight: 0,
            zone: None,
            draining_since: target.draining_since.or(Some(now)),
            ..target.clone()
        });
        let draining: Vec<Target> = draining.collect();
        wanted.target_groups[index].targets.extend(draining);
    }
    for balancer in &before.load_balancers {
        let found = wanted.load_balancers.iter().position(|of| of.name == balancer.name);
        let Some(index) =
            found.filter(|&index| same_vpc(wanted, balancer.vpc, wanted.load_balancers[index].vpc))
        else {
            continue;
        };
        let vpc = wanted.vpcs[wanted.load_balancers[index].vpc].id.clone();
        let free =
            |address: &&LoadBalancerAddress| !used.contains(&(vpc.clone(), address.address.addr()));
        let gone = balancer.addresses.iter().filter(free);
        let draining: Vec<LoadBalancerAddress> =
            gone.map(|address| LoadBalancerAddress { draining: true, ..address.clone() }).collect();
        wanted.load_balancers[index].addresses.extend(draining);
    }
}

/// Adds to the model of a daemon that starts what an earlier one left with flows: targets by their numbers, addresses by
/// the maps.
pub fn restore(
    model: &mut Model,
    numbers: &Numbers,
    left: &Contents,
    since: &Since,
    now: Duration,
) {
    for (_, key, _) in numbers.iter().filter(|(kind, ..)| *kind == Kind::Target) {
        let Some((group, target)) = read_target_key(model, key) else { continue };
        let target = Target { draining_since: since.get(key).copied().or(Some(now)), ..target };
        if !model.target_groups[group].targets.iter().any(|of| is_same(of, &target)) {
            model.target_groups[group].targets.push(target);
        }
    }
    let used = used_addresses(model);
    let addresses = left.all_addresses();
    let balancers = addresses.filter(|(_, of)| of.kind == Address::LOAD_BALANCER);
    for ((vpc, address), of) in balancers {
        let held = |kind, number| {
            let mut held = numbers.iter();
            held.find(|&(of, _, held)| of == kind && held == number).map(|(_, key, _)| key)
        };
        let (Some(vpc), Some(face)) = (held(Kind::Vpc, u32::from(vpc)), held(Kind::Face, of.index))
        else {
            continue;
        };
        let vpcs = &model.vpcs;
        let is_of =
            |balancer: &&mut LoadBalancer| balancer.name == face && vpcs[balancer.vpc].id == vpc;
        let Some(balancer) = model.load_balancers.iter_mut().find(is_of) else { continue };
        if !used.contains(&(vpc.to_owned(), address)) {
            let zone = balancer.addresses.first().map(|of| of.zone.clone()).unwrap_or_default();
            let address = IpNet::from(address);
            balancer.addresses.push(LoadBalancerAddress { zone, address, draining: true });
        }
    }
}

/// Since when the targets of a model drain.
pub fn since(model: &Model) -> Since {
    let targets = model
        .target_groups
        .iter()
        .flat_map(|group| group.targets.iter().map(move |target| (group, target)));
    targets
        .filter_map(|(group, target)| Some((target_key(group, target), target.draining_since?)))
        .collect()
}

/// Whether anything drains.
pub fn is_any(model: &Model) -> bool {
    let mut targets = model.target_groups.iter().flat_map(|group| &group.targets);
    let mut addresses = model.load_balancers.iter().flat_map(|balancer| &balancer.addresses);
    targets.any(|target| target.draining_since.is_some()) || addresses.any(|of| of.draining)
}

/// Whether the deregistration delay of a draining target is over.
pub fn is_overdue(group: &TargetGroup, target: &Target, now: Duration) -> bool {
    let delay = group.attributes.deregistration_delay;
    target.draining_since.is_some_and(|since| now.saturating_sub(since) >= delay)
}

/// Numbers of the draining targets whose flows are to end now.
pub fn overdue(snapshot: &Snapshot, now: Duration) -> HashSet<u32> {
    let Snapshot { model, numbering, .. } = snapshot;
    numbering
        .targets(model)
        .filter(|&(_, group, target)| {
            let group = &model.target_groups[group];
            group.attributes.deregistration_ends_flows && is_overdue(group, target, now)
        })
        .map(|(number, ..)| number)
        .collect()
}

/// What live flows use.
#[derive(Debug, Default)]
pub struct InUse {
    /// Numbers of targets.
    pub targets: HashSet<u32>,
    /// NAT source addresses.
    pub addresses: HashSet<VpcAddress>,
}

impl FromIterator<Flow> for InUse {
    fn from_iter<I: IntoIterator<Item = Flow>>(flows: I) -> Self {
        let mut used = Self::default();
        for flow in flows {
            used.targets.insert(flow.target);
            let answers = flow.reverse.key;
            used.addresses.insert((answers.vpc, answers.destination));
        }
        used
    }
}

/// Takes out of a model what has drained: it is without flows now. What that is, in words.
pub fn forget(
    model: &mut Model,
    numbering: &Numbering,
    used: &InUse,
    now: Duration,
) -> Vec<String> {
    let mut drained = Vec::new();
    for (group, numbers) in model.target_groups.iter_mut().zip(&numbering.targets) {
        let mut numbers = numbers.iter();
        group.targets.retain(|target| {
            let number = numbers.next();
            let young = target.draining_since.is_none_or(|since| now.saturating_sub(since) < LEAST);
            let stays = young || number.is_some_and(|number| used.targets.contains(number));
            if !stays {
                drained.push(format!("target {} of {}", target.end(), group.name));
            }
            stays
        });
    }
    for balancer in &mut model.load_balancers {
        let vpc = numbering.vpcs[balancer.vpc];
        balancer.addresses.retain(|address| {
            let place = (vpc, address.address.addr());
            let stays = !address.draining || used.addresses.contains(&place);
            if !stays {
                drained.push(format!("address {} of {}", address.address.addr(), balancer.name));
            }
            stays
        });
    }
    drained
}

fn is_same(left: &Target, right: &Target) -> bool {
    (left.address, left.port) == (right.address, right.port)
}

/// The addresses that the gateway answers for, with their vpcs.
fn used_addresses(model: &Model) -> HashSet<(String, IpAddr)> {
    let of = |vpc: usize, address| (model.vpcs[vpc].id.clone(), address);
    let endpoints = model.endpoints.iter().flat_map(|endpoint| {
        endpoint.addresses.iter().map(move |address| of(endpoint.vpc, address.address))
    });
    let balancers = model.load_balancers.iter().flat_map(|balancer| {
        balancer.addresses.iter().map(move |address| of(balancer.vpc, address.address.addr()))
    });
    endpoints.chain(balancers).collect()
}

/// The group and the target that a key of [`Numbers`] is of.
fn read_target_key(model: &Model, key: &str) -> Option<(usize, Target)> {
    let (name, target) = key.rsplit_once('/')?;
    let target: SocketAddr = target.parse().ok()?;
    let group = model.target_groups.iter().position(|group| group.name == name)?;
    let (address, port) = (target.ip(), target.port());
    Some((group, Target { address, port, zone: None, weight: 0, draining_since: None }))
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::net::Ipv4Addr;

    use privatelink_common::records::AddressKey;
    use privatelink_common::wide::WideAddressKey;

    use super::*;
    use crate::config;
    use crate::contents::network_order;

    const OVERLAP: &str = include_str!("../../examples/overlap.toml");
    const NOW: Duration = Duration::from_secs(1000);

    fn model() -> Model {
        config::parse("overlap.toml", OVERLAP).unwrap()
    }

    fn after(before: &Model, edit: impl Fn(&mut Model)) -> Model {
        let mut wanted = model();
        edit(&mut wanted);
        keep(before, &mut wanted, NOW);
        wanted
    }

    #[test]
    fn what_is_removed_drains_and_what_comes_back_does_not() {
        let before = model();
        let removed = after(&before, |model| {
            model.target_groups[0].targets.remove(0);
            model.load_balancers[0].addresses[0].address = "10.0.0.11/16".parse().unwrap();
        });
        let marks: Vec<_> =
            removed.target_groups[0].targets.iter().map(|t| (t.port, t.draining_since)).collect();
        assert_eq!(marks, [(8081, None), (8080, Some(NOW))]);
        let addresses = &removed.load_balancers[0].addresses;
        let addresses: Vec<_> =
            addresses.iter().map(|a| (a.address.to_string(), a.draining)).collect();
        assert_eq!(addresses, [("10.0.0.11/16".into(), false), ("10.0.0.10/16".into(), true)]);
        assert!(is_any(&removed));
        let mut later = model();
        keep(&removed, &mut later, NOW * 2);
        let marked = later.target_groups[0].targets.iter().filter(|t| t.draining_since.is_some());
        assert_eq!(marked.count(), 0);
        assert_eq!(later.load_balancers[0].addresses.len(), 2, "10.0.0.11 drains now");
    }

    #[test]
    fn a_target_drains_since_it_was_removed_first() {
        let first = after(&model(), |model| drop(model.target_groups[0].targets.remove(0)));
        let mut second = model();
        second.target_groups[0].targets.remove(0);
        keep(&first, &mut second, NOW * 2);
        assert_eq!(since(&second).into_values().collect::<Vec<_>>(), [NOW]);
    }

    #[test]
    fn an_address_with_another_use_does_not_drain() {
        let wanted = after(&model(), |model| {
            model.load_balancers[0].addresses[0].address = "10.0.0.11/16".parse().unwrap();
            let mut other = model.load_balancers[0].clone();
            other.name = "other".into();
            other.addresses[0].address = "10.0.0.10/16".parse().unwrap();
            model.load_balancers.push(other);
        });
        assert_eq!(wanted.load_balancers[0].addresses.len(), 1);
    }

    #[test]
    fn what_goes_as_a_whole_does_not_drain() {
        let wanted = after(&model(), |model| {
            for gone in [&mut model.target_groups[0].name, &mut model.load_balancers[0].name] {
                "another".clone_into(gone);
            }
        });
        assert_eq!(wanted.target_groups[0].targets.len(), 2);
        assert_eq!(wanted.load_balancers[0].addresses.len(), 1);
    }

    #[test]
    fn draining_ends_with_the_last_flow_and_no_sooner_than_a_packet_passes() {
        let draining = after(&model(), |model| {
            model.target_groups[0].targets.remove(0);
            model.load_balancers[0].addresses[0].address = "10.0.0.11/16".parse().unwrap();
        });
        let numbering = Numbering::in_order(&draining).unwrap();
        let provider = numbering.vpcs[draining.load_balancers[0].vpc];
        let old = (provider, "10.0.0.10".parse().unwrap());
        let used = |targets: &[u32], addresses: &[VpcAddress]| InUse {
            targets: targets.iter().copied().collect(),
            addresses: addresses.iter().copied().collect(),
        };
        let left = |used: &InUse, now| {
            let mut model = draining.clone();
            let said = forget(&mut model, &numbering, used, now).len();
            assert_eq!(said == 0, model == draining);
            (model.target_groups[0].targets.len(), model.load_balancers[0].addresses.len())
        };
        let draining_number = numbering.targets[0][1];
        assert_eq!(left(&used(&[draining_number], &[old]), NOW * 9), (2, 2));
        assert_eq!(left(&used(&[], &[old]), NOW + LEAST / 2), (2, 2));
        assert_eq!(left(&used(&[], &[]), NOW + LEAST), (1, 1));
        assert_eq!(left(&used(&[numbering.targets[0][0]], &[]), NOW + LEAST), (1, 1));
    }

    #[test]
    fn ipv6_targets_drain_over_a_restart() {
        let mut before = model();
        before.target_groups[0].targets[0].address = "fd00::1:10".parse().unwrap();
        let mut numbers = Numbers::default();
        Numbering::of(&before, &mut numbers).unwrap();
        let mut started = model();
        started.target_groups[0].targets.remove(0);
        restore(&mut started, &numbers, &Contents::default(), &Since::new(), NOW);
        let marks: Vec<_> = since(&started).into_keys().collect();
        assert_eq!(marks, ["web/[fd00::1:10]:8080"]);
    }

    #[test]
    fn flows_end_with_the_delay_only_where_they_are_to() {
        let mut model = after(&model(), |model| drop(model.target_groups[0].targets.remove(0)));
        let delay = model.target_groups[0].attributes.deregistration_delay;
        let late = |model: &Model, now| {
            let numbering = Numbering::in_order(model).unwrap();
            overdue(&Snapshot::new(model.clone(), numbering), now).len()
        };
        assert_eq!(late(&model, NOW + delay), 0);
        model.target_groups[0].attributes.deregistration_ends_flows = true;
        assert_eq!(late(&model, NOW + delay), 1);
        assert_eq!(late(&model, NOW + delay / 2), 0);
    }

    #[test]
    fn a_restart_finds_what_drains() {
        let mut numbers = Numbers::default();
        let before = model();
        let numbering = Numbering::of(&before, &mut numbers).unwrap();
        let provider = numbering.vpcs[before.load_balancers[0].vpc];
        let old = AddressKey::new(provider, network_order(Ipv4Addr::new(10, 0, 0, 10)));
        let value = Address { kind: Address::LOAD_BALANCER, flags: 0, index: numbering.faces[0] };
        let six: IpAddr = "fd00::10".parse().unwrap();
        let left = Contents {
            addresses: [(old, value)].into(),
            wide_addresses: [(WideAddressKey::new(provider, six.into()), value)].into(),
            ..Contents::default()
        };
        let started = |since: &Since| {
            let mut model = model();
            model.target_groups[0].targets.remove(0);
            model.load_balancers[0].addresses[0].address = "10.0.0.11/16".parse().unwrap();
            restore(&mut model, &numbers, &left, since, NOW);
            model
        };
        let fresh = started(&Since::new());
        assert_eq!(
            since(&fresh).into_iter().collect::<Vec<_>>(),
            [("web/10.0.1.10:8080".into(), NOW)]
        );
        let addresses = fresh.load_balancers[0].addresses.iter();
        let addresses: Vec<_> = addresses.map(|of| (of.address.to_string(), of.draining)).collect();
        let (four, six) = (("10.0.0.10/32".into(), true), ("fd00::10/128".into(), true));
        assert_eq!(addresses[1..], [four, six]);
        assert_eq!(
            since(&started(&[("web/10.0.1.10:8080".into(), NOW / 2)].into())).into_values().max(),
            Some(NOW / 2)
        );
        let mut same = model();
        let left = Contents { wide_addresses: HashMap::new(), ..left };
        restore(&mut same, &numbers, &left, &Since::new(), NOW);
        assert_eq!(same, model());
    }
}
