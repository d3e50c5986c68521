//! Which address of a vpc is held by what: nothing else may answer for it.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::Range;

use ipnet::IpNet;

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
    held: HashMap<(usize, IpAddr), Holder<'a>>,
}

impl<'a> Addresses<'a> {
    /// Notes that `holder` has `address` in the vpc with this index; false where something forbids it, which is reported.
    ///
    /// `subnet` is the one the address stands in; if not known, the vpc's range is taken for it.
    pub(super) fn hold(
        &mut self,
        (index, vpc): (usize, &Vpc),
        (address, subnet): (IpAddr, Option<IpNet>),
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
            let remedy = format!(
                "write a prefix length from {} to {}",
                range.prefix_len(),
                range.max_prefix_len()
            );
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

/// Why no host anywhere can have `address`, if so.
fn never_a_host(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V4(address) => never_an_ipv4_host(address),
        IpAddr::V6(address) => never_an_ipv6_host(address),
    }
}

/// RFC 6890, RFC 5771.
fn never_an_ipv4_host(address: Ipv4Addr) -> Option<&'static str> {
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

/// RFC 4291, sections 2.5 to 2.7. Nothing routes a link-local address, and a link has it many times over.
fn never_an_ipv6_host(address: Ipv6Addr) -> Option<&'static str> {
    if address.is_unspecified() {
        Some("the unspecified address")
    } else if address.is_loopback() {
        Some("a loopback address")
    } else if address.is_multicast() {
        Some("a multicast address")
    } else if address.is_unicast_link_local() {
        Some("a link-local address")
    } else if address.to_ipv4_mapped().is_some() {
        Some("an IPv4 address in IPv6 form")
    } else {
        None
    }
}

/// Which end of `subnet` the address is, if any. Those of one or two addresses have none (RFC 3021, RFC 6164); where there
/// are more, the first of an IPv6 subnet is that of its routers (RFC 4291, section 2.6.1), and its last is like any other.
fn end_of(subnet: IpNet, address: IpAddr) -> Option<&'static str> {
    if subnet.max_prefix_len() - subnet.prefix_len() <= 1 {
        return None;
    }
    match address {
        IpAddr::V6(_) if address == subnet.network() => Some("subnet-router anycast"),
        IpAddr::V4(_) if address == subnet.network() => Some("network"),
        IpAddr::V4(_) if address == subnet.broadcast() => Some("broadcast"),
        _ => None,
    }
}

fn listed(ranges: &[IpNet]) -> String {
    ranges.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
