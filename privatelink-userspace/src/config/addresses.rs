//! Which address of a vpc is held by what: nothing else may answer for it.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::ops::Range;

use ipnet::Ipv4Net;

use super::error::Report;
use crate::model::Vpc;

/// What holds an address.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// A target; several groups may share one.
    Target,
    /// A load balancer.
    LoadBalancer,
    /// An endpoint.
    Endpoint,
}

/// Something that holds an address.
#[derive(Clone)]
pub(super) struct Holder<'a> {
    /// In which role.
    pub(super) role: Role,
    /// Name of the target group or load balancer, id of the endpoint.
    pub(super) name: &'a str,
    /// Where the address stands in the file.
    pub(super) span: Range<usize>,
}

impl Holder<'_> {
    /// Targets share addresses, and so do endpoints whose ports differ, which is for [`super::published`] to say.
    fn may_share_with(&self, other: &Self) -> bool {
        match (self.role, other.role) {
            (Role::Target, Role::Target) => true,
            (Role::Endpoint, Role::Endpoint) => self.name != other.name,
            _ => false,
        }
    }
}

/// The addresses held in all vpcs.
#[derive(Default)]
pub(super) struct Addresses<'a> {
    held: HashMap<(usize, Ipv4Addr), Holder<'a>>,
}

impl<'a> Addresses<'a> {
    /// Notes that `holder` has `address` in the vpc with this index; false where something forbids it, which is reported.
    ///
    /// `subnet` is the one the address stands in; if not known, the vpc's range is taken for it.
    pub(super) fn hold(
        &mut self,
        (index, vpc): (usize, &Vpc),
        (address, subnet): (Ipv4Addr, Option<Ipv4Net>),
        holder: Holder<'a>,
        report: &mut Report<'_>,
    ) -> bool {
        let span = holder.span.clone();
        if let Some(cause) = never_a_host(address) {
            report.add(span, cause, format!("write the address of a host in {}", vpc.id));
            return false;
        }
        let range = vpc.cidrs.iter().find(|range| range.contains(&address));
        // No range at all: they are wrong themselves, and reported.
        if range.is_none() && !vpc.cidrs.is_empty() {
            let cause = format!("outside the cidrs of {}, {}", vpc.id, listed(&vpc.cidrs));
            report.add(span, cause, "write an address inside, or add its range to the vpc");
            return false;
        }
        if let (Some(subnet), Some(range)) = (subnet, range)
            && subnet.prefix_len() < range.prefix_len()
        {
            let cause = format!("the subnet is wider than {range} of {}", vpc.id);
            let remedy = format!("write a prefix length from {} to 32", range.prefix_len());
            report.add(span, cause, remedy);
            return false;
        }
        if let Some((subnet, end)) =
            subnet.or(range.copied()).and_then(|subnet| Some((subnet, end_of(subnet, address)?)))
        {
            let cause = format!("the {end} address of {}", subnet.trunc());
            report.add(span, cause, format!("write the address of a host in {}", vpc.id));
            return false;
        }
        match self.held.get(&(index, address)) {
            Some(other) if !holder.may_share_with(other) => {
                let place = report.place(&other.span);
                let kind = match other.role {
                    Role::Target => "a target of",
                    Role::LoadBalancer => "load balancer",
                    Role::Endpoint => "endpoint",
                };
                let cause = format!("already the address of {kind} {} {place}", other.name);
                let remedy = format!("choose a free address of {}", vpc.id);
                report.add_against(&place, span, cause, remedy);
                false
            }
            Some(_) => true,
            None => {
                self.held.insert((index, address), holder);
                true
            }
        }
    }
}

/// Why no host anywhere can have `address` (RFC 6890, RFC 5771), if so.
fn never_a_host(address: Ipv4Addr) -> Option<&'static str> {
    if address.is_loopback() {
        Some("a loopback address")
    } else if address.is_multicast() {
        Some("a multicast address")
    } else if address.is_broadcast() {
        Some("the broadcast address")
    } else if address.octets().starts_with(&[0]) {
        Some("an address of \"this network\"")
    } else {
        None
    }
}

/// Which end of `subnet` the address is, if any; a /31 or /32 has none (RFC 3021).
fn end_of(subnet: Ipv4Net, address: Ipv4Addr) -> Option<&'static str> {
    match subnet.prefix_len() {
        31.. => None,
        _ if address == subnet.network() => Some("network"),
        _ if address == subnet.broadcast() => Some("broadcast"),
        _ => None,
    }
}

fn listed(ranges: &[Ipv4Net]) -> String {
    ranges.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
