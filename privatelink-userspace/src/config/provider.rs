//! The provider's side: target groups, load balancers and endpoint services.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;

use ipnet::IpNet;
use privatelink_common::limits::MAX_LB_ADDRESSES;

use super::addresses::{Holder, Role};
use super::attributes::cross_zone;
use super::check::Scope;
use super::document::{Placed, Text};
use super::error::Report;
use super::file::{self, File};
use super::health_check::health_check;
use super::ip_address_types::{self, is_of, supported};
use super::listeners::{listeners, refuse_crossing};
use super::target_group_attributes::target_group_attributes;
use super::timeouts::{idle_of_groups, timeouts};
use super::values::{
    address, address_in_subnet, at_most, items, mss_clamp, number, owned, port, protocols,
    some_items, zone,
};
use crate::model::{
    EndpointService, Families, Family, LoadBalancer, LoadBalancerAddress, Model, Protocols, Target,
    TargetGroup, Vpc,
};
use crate::principal::{FORM, account_of};

/// The target groups, in the order of the file.
pub(super) fn target_groups<'a>(
    file: &File<'a>,
    scope: &mut Scope<'a>,
    vpcs: &[Vpc],
    report: &mut Report<'_>,
) -> Vec<TargetGroup> {
    let mut ports = Vec::new();
    let groups = items(&file.target_group).iter().map(|group| {
        let vpc = scope.vpcs.find_text(group.vpc.as_ref(), report);
        let port = group.port.as_ref().and_then(|number| port(number, report));
        ports.push(port);
        let family = ip_address_types::of_targets(group, report);
        let of = Group { name: &group.name, port, vpc: known(vpc, vpcs), family };
        let protocol = protocols(&group.protocol, report);
        TargetGroup {
            name: owned(&group.name),
            vpc: vpc.unwrap_or_default(),
            // Where it is wrong, which is reported, every listener fits.
            protocol: protocol.unwrap_or(Protocols::TcpUdp),
            family,
            targets: targets(items(&group.targets), &of, scope, report),
            health_check: health_check(group.health_check.as_ref(), report),
            attributes: target_group_attributes(&group.attributes, protocol, report),
        }
    });
    let mut groups: Vec<TargetGroup> = groups.collect();
    for registration in items(&file.registration) {
        let found = scope.target_groups.find_text(registration.target_group.as_ref(), report);
        let Some((index, group)) = found.and_then(|at| Some((at, groups.get_mut(at)?))) else {
            continue;
        };
        let of = Group {
            name: &registration.target_group,
            port: ports[index],
            vpc: known(Some(group.vpc), vpcs),
            family: group.family,
        };
        let registered = targets(items(&registration.targets), &of, scope, report);
        let gone = deregistered(registration, report);
        group.targets.retain(|target| {
            !registered.iter().any(|other| other.end() == target.end())
                && !gone.contains(&target.end())
        });
        group.targets.extend(registered);
    }
    groups
}

fn known(index: Option<usize>, vpcs: &[Vpc]) -> Option<(usize, &Vpc)> {
    index.and_then(|index| Some((index, vpcs.get(index)?)))
}

fn deregistered(
    registration: &file::Registration<'_>,
    report: &mut Report<'_>,
) -> HashSet<SocketAddr> {
    let mut read = HashSet::new();
    for text in items(&registration.deregistered) {
        match text.get_ref().parse() {
            Ok(target) => drop(read.insert(target)),
            Err(_) => report.add(
                text.span(),
                "not a target",
                "write it as 10.0.1.10:8080 or [fd00::1:10]:8080",
            ),
        }
    }
    read
}

/// The group that targets are of.
struct Group<'g, 'a> {
    name: &'g Option<Text<'a>>,
    /// Port of the targets that name none.
    port: Option<u16>,
    vpc: Option<(usize, &'g Vpc)>,
    family: Family,
}

fn targets<'a>(
    written: &[file::Target<'a>],
    group: &Group<'_, 'a>,
    scope: &mut Scope<'a>,
    report: &mut Report<'_>,
) -> Vec<Target> {
    let mut places = HashMap::new();
    let mut targets = Vec::new();
    for target in written {
        let own_port = target.port.as_ref().map(|number| port(number, report));
        let weight = target.weight.as_ref();
        let weight = weight.and_then(|weight| number(weight, 0..=999, "weight", report));
        let zone = target.zone.as_ref().map(|_| zone(&target.zone, report));
        let Some(text) = &target.address else { continue };
        let Some(address) = address(text, report) else { continue };
        if !is_of(group.family, (address, text), report) {
            continue;
        }
        if let Some(vpc) = group.vpc {
            let holder = holder(Role::Target, group.name, text);
            scope.addresses.hold(vpc, (address, None), holder, report);
        }
        let Some(port) = own_port.unwrap_or(group.port) else { continue };
        let place = report.place(&text.span());
        if let Some(first) = places.insert((address, port), place) {
            let cause =
                format!("repeated target, {} is already {first}", SocketAddr::new(address, port));
            report.add(text.span(), cause, "remove it, or give it another port");
        }
        let weight = weight.unwrap_or(1);
        targets.push(Target { address, port, zone, weight, draining_since: None });
    }
    targets
}

fn holder<'a>(role: Role, name: &Option<Text<'a>>, address: &Text<'_>) -> Holder<'a> {
    let name = name.as_ref().map(|name| *name.get_ref()).unwrap_or_default();
    Holder { role, name, span: address.span() }
}

/// The load balancers, in the order of the file; `model` holds vpcs and target groups.
pub(super) fn load_balancers<'a>(
    file: &File<'a>,
    scope: &mut Scope<'a>,
    model: &Model,
    report: &mut Report<'_>,
) -> Vec<LoadBalancer> {
    let balancers = items(&file.load_balancer).iter().map(|balancer| {
        let index = scope.vpcs.find_text(balancer.vpc.as_ref(), report);
        let vpc = index.and_then(|index| Some((index, model.vpcs.get(index)?)));
        let (addresses, families) = nat_addresses(balancer, vpc, scope, report);
        LoadBalancer {
            name: owned(&balancer.name),
            vpc: index.unwrap_or_default(),
            addresses,
            listeners: listeners(balancer, (index, families, model), scope, report),
            cross_zone: cross_zone(&balancer.attributes, report),
        }
    });
    balancers.collect()
}

fn nat_addresses<'a>(
    balancer: &file::LoadBalancer<'a>,
    vpc: Option<(usize, &Vpc)>,
    scope: &mut Scope<'a>,
    report: &mut Report<'_>,
) -> (Vec<LoadBalancerAddress>, Option<Families>) {
    let remedy = "write addresses = [{ zone = \"us-east-1a\", address = \"10.0.0.10/16\" }]";
    let written = some_items(&balancer.addresses, remedy, report);
    let addresses = written.iter().map(|entry| {
        let text = entry.address.as_ref();
        let address = text.and_then(|text| Some((text, address_in_subnet(text, report)?)));
        if let (Some(vpc), Some((text, address))) = (vpc, address) {
            let holder = holder(Role::LoadBalancer, &balancer.name, text);
            scope.addresses.hold(vpc, (address.addr(), Some(address)), holder, report);
        }
        (zone(&entry.zone, report), address.map(|(_, address)| address))
    });
    let addresses: Vec<(String, Option<IpNet>)> = addresses.collect();
    for family in Family::ALL {
        let of =
            |address: &Option<IpNet>| address.is_some_and(|of| Family::of(of.addr()) == family);
        let spans = written.iter().zip(&addresses).filter(|(_, (_, address))| of(address));
        let what = format!("{} addresses of one load balancer", family.word());
        at_most(MAX_LB_ADDRESSES, &what, spans.map(|(entry, _)| entry.span()), report);
    }
    let ends = addresses.iter().map(|(_, address)| address.map(|address| address.addr()));
    let families = ip_address_types::of_addresses(&balancer.ip_address_type, ends, report);
    let addresses = addresses.into_iter().map(|(zone, address)| LoadBalancerAddress {
        zone,
        address: address.unwrap_or_default(),
        draining: false,
    });
    (addresses.collect(), families)
}

/// The endpoint services, in the order of the file; `model` holds the load balancers.
pub(super) fn services(
    file: &File<'_>,
    scope: &Scope<'_>,
    model: &Model,
    report: &mut Report<'_>,
) -> Vec<EndpointService> {
    let services = items(&file.endpoint_service).iter().map(|service| {
        let acceptance = service.acceptance_required.as_ref();
        let clamp = service.mss_clamp.as_ref();
        let load_balancers = load_balancers_of(service, (scope, model), report);
        let idle = idle_of_groups(service, &load_balancers, model, report);
        EndpointService {
            id: owned(&service.id),
            load_balancers,
            families: supported(&service.supported_ip_address_types, report),
            acceptance_required: acceptance.is_none_or(|required| *required.get_ref()),
            allowed_principals: principals(service, report),
            mss_clamp: clamp.and_then(|clamp| mss_clamp(clamp, report)).unwrap_or_default(),
            timeouts: timeouts(service.timeouts.as_ref(), idle, report),
        }
    });
    services.collect()
}

fn principals(service: &file::EndpointService<'_>, report: &mut Report<'_>) -> Vec<String> {
    let principals = items(&service.allowed_principals).iter().map(|text| {
        if account_of(text.get_ref()).is_none() {
            report.add(text.span(), "not a principal", FORM);
        }
        (*text.get_ref()).to_owned()
    });
    principals.collect()
}

fn load_balancers_of(
    service: &file::EndpointService<'_>,
    (scope, model): (&Scope<'_>, &Model),
    report: &mut Report<'_>,
) -> Vec<usize> {
    let mut named = HashSet::new();
    let remedy = "write load_balancers = [\"web-nlb\"]";
    let written = some_items(&service.load_balancers, remedy, report);
    let mut found = Vec::new();
    let mut balancers = Vec::new();
    for text in written {
        if !named.insert(*text.get_ref()) {
            report.add(text.span(), "repeated load balancer", "name each once");
        }
        let Some(index) = scope.load_balancers.find_text(Some(text), report) else { continue };
        found.push(index);
        balancers.extend(model.load_balancers.get(index).map(|balancer| (text, balancer)));
    }
    refuse_crossing(&balancers, report);
    found
}
