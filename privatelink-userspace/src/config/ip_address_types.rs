//! IP address types: which families of addresses a resource has, as it says and as its addresses say.

use std::net::IpAddr;
use std::ops::Range;

use super::document::{List, Text};
use super::error::Report;
use super::file;
use super::values::{items, some_items};
use crate::model::{EndpointAddress, EndpointService, Families, Family, TargetGroup};

/// The type of what has addresses of one family or both.
fn families(text: &Text<'_>, report: &mut Report<'_>) -> Option<Families> {
    let found = Families::ALL.into_iter().find(|families| families.name() == *text.get_ref());
    if found.is_none() {
        let remedy = "write \"ipv4\", \"ipv6\" or \"dualstack\"";
        report.add(text.span(), "not an IP address type", remedy);
    }
    found
}

/// The type of what has addresses of one family.
fn family(text: &Text<'_>, report: &mut Report<'_>) -> Option<Family> {
    let found = Family::ALL.into_iter().find(|family| family.name() == *text.get_ref());
    if found.is_none() {
        let remedy = "write \"ipv4\" or \"ipv6\"";
        report.add(text.span(), "not an IP address type here", remedy);
    }
    found
}

/// Family of a target group's targets: as written, or that of the first of the group's own.
pub(super) fn of_targets(group: &file::TargetGroup<'_>, report: &mut Report<'_>) -> Family {
    let written = group.ip_address_type.as_ref().and_then(|text| family(text, report));
    let addresses = items(&group.targets).iter().filter_map(|target| target.address.as_ref());
    let mut addresses = addresses.filter_map(|text| text.get_ref().parse().ok());
    written.or_else(|| addresses.next().map(Family::of)).unwrap_or_default()
}

/// Whether a target is of its group's family, which is reported if not.
pub(super) fn is_of(
    family: Family,
    (address, text): (IpAddr, &Text<'_>),
    report: &mut Report<'_>,
) -> bool {
    let own = Family::of(address);
    if own != family {
        let cause =
            format!("an {} address, but the target group is one of {}", own.word(), family.name());
        let remedy = format!("put it into a target group with ip_address_type = {:?}", own.name());
        report.add(text.span(), cause, remedy);
    }
    own == family
}

/// Families of all the addresses of a load balancer or endpoint, which are what its type says; `None` where there is none,
/// or some is wrong.
pub(super) fn of_addresses(
    text: &Option<Text<'_>>,
    addresses: impl IntoIterator<Item = Option<IpAddr>>,
    report: &mut Report<'_>,
) -> Option<Families> {
    let said = text.as_ref().and_then(|text| Some((text, families(text, report)?)));
    let addresses: Vec<IpAddr> = addresses.into_iter().collect::<Option<_>>()?;
    let found = Families::of(addresses)?;
    if let Some((text, said)) = said
        && said != found
    {
        let cause = format!("the addresses are {}", found.words());
        let remedy = format!("write {:?}, or other addresses", found.name());
        report.add(text.span(), cause, remedy);
    }
    Some(found)
}

/// Reports a listener's target group that flows could not leave for: each leases a port of an address of the same family.
pub(super) fn refuse_unreachable(
    group: &TargetGroup,
    balancer: Families,
    text: &Text<'_>,
    report: &mut Report<'_>,
) {
    if balancer.has(group.family) {
        return;
    }
    let example = match group.family {
        Family::Ipv4 => "10.0.0.10/16",
        Family::Ipv6 => "fd00::10/64",
    };
    let (name, word) = (group.family.name(), group.family.word());
    let cause = format!("target group of {name}, but the load balancer has no {word} address");
    let remedy = format!(
        "add one to its addresses, such as {{ zone = \"us-east-1a\", address = {example:?} }}"
    );
    report.add(text.span(), cause, remedy);
}

/// The families of addresses that endpoints of a service may have.
pub(super) fn supported(list: &Option<List<Text<'_>>>, report: &mut Report<'_>) -> Families {
    let remedy = "write supported_ip_address_types = [\"ipv4\", \"ipv6\"]";
    let mut found: Option<Families> = None;
    for text in some_items(list, remedy, report) {
        let Some(family) = family(text, report) else { continue };
        if found.is_some_and(|found| found.has(family)) {
            report.add(text.span(), "repeated IP address type", "name each once");
        }
        found = Some(found.map_or(family.into(), |found| found.with(family)));
    }
    match (found, list) {
        (Some(found), _) => found,
        // Nothing in it is right, which is reported: every endpoint fits.
        (None, Some(_)) => Families::Dualstack,
        (None, None) => Families::default(),
    }
}

/// Reports an endpoint's address of a family that the service does not support.
pub(super) fn refuse_unsupported(
    service: &EndpointService,
    (address, span): (&EndpointAddress, Range<usize>),
    report: &mut Report<'_>,
) {
    let family = Family::of(address.address);
    if service.families.has(family) {
        return;
    }
    let (word, name) = (family.word(), family.name());
    let cause = format!("service {} supports no {word} endpoints", service.id);
    let remedy = format!(
        "add {name:?} to its supported_ip_address_types, or write an {} address",
        service.families.words()
    );
    report.add(span, cause, remedy);
}
