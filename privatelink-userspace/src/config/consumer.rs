//! The consumer's side: security groups and endpoints.

use std::collections::HashSet;
use std::ops::Range;

use privatelink_common::limits::{MAX_LISTENERS, MAX_RULES};

use super::addresses::{Holder, Role};
use super::check::Scope;
use super::document::{List, Number, Placed, Text};
use super::error::Report;
use super::file::{self, File};
use super::flow_limits;
use super::ip_address_types::{self, refuse_unsupported};
use super::names::{Form, Names};
use super::published::{self, Published};
use super::values::{address, cidr, items, number, owned, some_items, words, zone};
use crate::model::{
    Endpoint, EndpointAddress, EndpointState, Family, IngressRule, Model, Protocol, Vpc,
};

/// What stands before region and id in a service's name.
const SERVICE_NAME_PREFIX: &str = "com.amazonaws.vpce.";

/// A security group with its vpc found.
struct SecurityGroup<'a> {
    vpc: Option<(usize, &'a str)>,
    rules: Vec<IngressRule>,
}

/// The endpoints, in the order of the file; `model` holds everything else.
pub(super) fn endpoints<'a>(
    file: &File<'a>,
    scope: &mut Scope<'a>,
    model: &Model,
    report: &mut Report<'_>,
) -> Vec<Endpoint> {
    refuse_wrong_ids(file, report);
    let groups = security_groups(file, scope, report);
    let defaults = flow_limits::defaults(file, model.flow_capacity, report);
    let mut taken = Published::default();
    let mut entries = 0;
    let endpoints = items(&file.endpoint).iter().map(|endpoint| {
        let index = scope.vpcs.find_text(endpoint.vpc.as_ref(), report);
        let vpc = index.and_then(|index| Some((index, model.vpcs.get(index)?)));
        let service = endpoint.service.as_ref().and_then(|text| service(text, scope, report));
        let addresses = addresses(endpoint, vpc, scope, report);
        let published =
            service.map(|service| published::of_service(service, model)).unwrap_or_default();
        let before = entries;
        let blocks: usize = published.iter().map(|(_, ports)| ports.blocks().count()).sum();
        entries += addresses.len() * blocks;
        if before <= MAX_LISTENERS && entries > MAX_LISTENERS {
            let cause =
                format!("more than {MAX_LISTENERS} listeners, counted for every endpoint address");
            let remedy = "connect fewer endpoints to services of many listeners";
            report.add(endpoint.span(), cause, remedy);
        }
        let id = endpoint.id.as_ref().map(|id| *id.get_ref()).unwrap_or_default();
        for (address, span) in &addresses {
            let at = (index.unwrap_or_default(), address.address);
            taken.claim(at, &published, (id, span.clone()), report);
        }
        let of = service.and_then(|service| model.services.get(service));
        if let Some(of) = of {
            for (address, span) in &addresses {
                refuse_unsupported(of, (address, span.clone()), report);
            }
        }
        Endpoint {
            id: owned(&endpoint.id),
            vpc: index.unwrap_or_default(),
            service: service.unwrap_or_default(),
            addresses: addresses.into_iter().map(|(address, _)| address).collect(),
            ingress: ingress(endpoint, vpc, (scope, &groups), report),
            state: match of {
                Some(service) if !service.acceptance_required => EndpointState::Available,
                _ => EndpointState::PendingAcceptance,
            },
            request_message: words(&endpoint.request_message, report),
            icmp_echo: endpoint.icmp_echo.as_ref().is_some_and(|echo| *echo.get_ref()),
            limits: flow_limits::of_endpoint(endpoint, &defaults, model.flow_capacity, report),
        }
    });
    endpoints.collect()
}

/// Reports ids that are ill-formed or repeated. No other table refers to an endpoint by its id.
fn refuse_wrong_ids(file: &File<'_>, report: &mut Report<'_>) {
    let ids = items(&file.endpoint).iter().map(|endpoint| &endpoint.id);
    Names::collect("endpoint", "[[endpoint]]", ("id", Form::Id("vpce-")), ids, report);
}

/// Index of the service that `text` names, in full or by its id.
fn service(text: &Text<'_>, scope: &Scope<'_>, report: &mut Report<'_>) -> Option<usize> {
    let name = *text.get_ref();
    let parts = name.strip_prefix(SERVICE_NAME_PREFIX).and_then(|rest| rest.split_once('.'));
    let Some((region, id)) = parts else {
        if name.starts_with("vpce-svc-") {
            return scope.services.find(name, text.span(), report);
        }
        let region = scope.region.unwrap_or("REGION");
        let remedy =
            format!("write {SERVICE_NAME_PREFIX}{region}.ID or ID, that of an endpoint_service");
        report.add(text.span(), "not a service name", remedy);
        return None;
    };
    match scope.region {
        Some(ours) if ours != region => {
            let cause = format!("service of another region, this gateway's is {ours}");
            report.add(text.span(), cause, format!("write {SERVICE_NAME_PREFIX}{ours}.{id}"));
            None
        }
        _ => scope.services.find(id, text.span(), report),
    }
}

/// The addresses that the endpoint may have, with their places.
fn addresses<'a>(
    endpoint: &file::Endpoint<'a>,
    vpc: Option<(usize, &Vpc)>,
    scope: &mut Scope<'a>,
    report: &mut Report<'_>,
) -> Vec<(EndpointAddress, Range<usize>)> {
    let remedy = "write addresses = [{ zone = \"us-east-1a\", address = \"10.0.1.10\" }]";
    let name = endpoint.id.as_ref().map(|id| *id.get_ref()).unwrap_or_default();
    let mut addresses = Vec::new();
    let mut parsed = Vec::new();
    for entry in some_items(&endpoint.addresses, remedy, report) {
        let zone = zone(&entry.zone, report);
        let found = entry.address.as_ref().and_then(|text| Some((text, address(text, report)?)));
        parsed.push(found.map(|(_, address)| address));
        let Some((text, address)) = found else { continue };
        let holder = Holder { role: Role::Endpoint, name, span: text.span() };
        let held =
            vpc.is_some_and(|vpc| scope.addresses.hold(vpc, (address, None), holder, report));
        if held {
            addresses.push((EndpointAddress { zone, address }, text.span()));
        }
    }
    ip_address_types::of_addresses(&endpoint.ip_address_type, parsed, report);
    addresses
}

fn ingress(
    endpoint: &file::Endpoint<'_>,
    vpc: Option<(usize, &Vpc)>,
    (scope, groups): (&Scope<'_>, &[SecurityGroup<'_>]),
    report: &mut Report<'_>,
) -> Vec<IngressRule> {
    let everything = everything_from(vpc);
    let (rules, span): (Vec<&[IngressRule]>, _) = match &endpoint.security_groups {
        Some(named) => {
            let groups = named_groups(named, vpc, (scope, groups), report);
            (groups.iter().map(|group| group.rules.as_slice()).collect(), named.span.clone())
        }
        None => (vec![everything.as_slice()], endpoint.span()),
    };
    let rules = rules.concat();
    for family in Family::ALL {
        let of = rules.iter().filter(|rule| Family::of(rule.cidr.addr()) == family);
        let (count, word) = (of.count(), family.word());
        if count > MAX_RULES {
            let cause = format!("{count} ingress rules for {word} on one endpoint");
            let remedy = format!("keep at most {MAX_RULES}, e.g. by wider cidrs or port ranges");
            report.add(span.clone(), cause, remedy);
        }
    }
    rules
}

/// The rules of an endpoint without security groups.
fn everything_from(vpc: Option<(usize, &Vpc)>) -> Vec<IngressRule> {
    let cidrs = vpc.map(|(_, vpc)| vpc.cidrs.as_slice()).unwrap_or_default();
    let rule = |cidr| IngressRule { protocol: None, from_port: 0, to_port: u16::MAX, cidr };
    cidrs.iter().copied().map(rule).collect()
}

fn named_groups<'g, 'a>(
    named: &List<Text<'_>>,
    vpc: Option<(usize, &Vpc)>,
    (scope, groups): (&Scope<'_>, &'g [SecurityGroup<'a>]),
    report: &mut Report<'_>,
) -> Vec<&'g SecurityGroup<'a>> {
    // AWS would take the vpc's default group for an empty list; here it could as well mean that
    // nothing may connect.
    if named.written_empty {
        let remedy = "name a group, or remove the key to allow all from the vpc's cidrs";
        report.add(named.span.clone(), "empty", remedy);
    }
    let mut seen = HashSet::new();
    let found = named.items.iter().filter_map(|text| {
        if !seen.insert(*text.get_ref()) {
            report.add(text.span(), "repeated security group", "name each once");
            return None;
        }
        let index = scope.security_groups.find_text(Some(text), report)?;
        let group = groups.get(index)?;
        if let (Some((here, vpc)), Some((there, other))) = (vpc, group.vpc)
            && here != there
        {
            let here = &vpc.id;
            let cause = format!("security group of {other}, but the endpoint is in {here}");
            report.add(text.span(), cause, format!("choose a security group of {here}"));
        }
        Some(group)
    });
    found.collect()
}

fn security_groups<'a>(
    file: &File<'a>,
    scope: &Scope<'a>,
    report: &mut Report<'_>,
) -> Vec<SecurityGroup<'a>> {
    let groups = items(&file.security_group).iter().map(|group| {
        let vpc = scope.vpcs.find_text(group.vpc.as_ref(), report);
        let name = group.vpc.as_ref().map(|text| *text.get_ref()).unwrap_or_default();
        let rules = items(&group.ingress).iter();
        SecurityGroup {
            vpc: vpc.map(|vpc| (vpc, name)),
            rules: rules.filter_map(|written| rule(written, report)).collect(),
        }
    });
    groups.collect()
}

/// A rule; `None` if any of it is wrong.
fn rule(written: &file::Rule<'_>, report: &mut Report<'_>) -> Option<IngressRule> {
    let protocol = written.protocol.as_ref().and_then(|text| rule_protocol(text, report));
    let cidr = written.cidr.as_ref().and_then(|text| cidr(text, report));
    let any = protocol == Some(None);
    let mut port = |text: &Option<Number>, key: &str, default: u16| match text {
        Some(text) => number(text, 0..=65535, "port", report),
        None if any => Some(default),
        None => {
            let cause = format!("the key {key} is missing");
            report.add(written.span(), cause, format!("add {key} = 80"));
            None
        }
    };
    let from_port = port(&written.from_port, "from_port", 0);
    let to_port = port(&written.to_port, "to_port", u16::MAX);
    let (protocol, cidr, from_port, to_port) = (protocol?, cidr?, from_port?, to_port?);
    if from_port > to_port {
        let span = written.from_port.as_ref().map_or(written.span(), Number::span);
        let cause = format!("from_port greater than to_port, {to_port}");
        report.add(span, cause, "swap them");
        return None;
    }
    if to_port == 0 {
        // Elsewhere 0 to 0 is written for all ports, where the protocol is any.
        let span = written.to_port.as_ref().map_or(written.span(), Number::span);
        let remedy = "write from_port = 0, to_port = 65535 for all ports";
        report.add(span, "a rule for port 0 alone admits nothing", remedy);
        return None;
    }
    Some(IngressRule { protocol, from_port, to_port, cidr })
}

/// The protocol of a rule, the inner `None` being any.
fn rule_protocol(text: &Text<'_>, report: &mut Report<'_>) -> Option<Option<Protocol>> {
    match *text.get_ref() {
        "-1" | "all" => Some(None),
        "tcp" => Some(Some(Protocol::Tcp)),
        "udp" => Some(Some(Protocol::Udp)),
        _ => {
            let remedy = "write \"tcp\", \"udp\", or \"-1\" or \"all\" for any";
            report.add(text.span(), "protocol not supported", remedy);
            None
        }
    }
}
