//! Vpcs: their owners, address ranges and interfaces.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ops::Range;

use ipnet::IpNet;

use super::document::Text;
use super::error::Report;
use super::file::{File, Interface, Vpc};
use super::values::{account, cidr, items, owned, some_items, zone};
use super::{Host, Needed};
use crate::model::{self, AttachMode};

/// Longest interface name, in bytes: the kernel's `IFNAMSIZ` (16) with its final zero.
const MAX_INTERFACE_NAME: usize = 15;

/// The vpcs, in the order of the file; `has` says what there is on this host.
pub(super) fn vpcs(file: &File<'_>, has: Host<'_>, report: &mut Report<'_>) -> Vec<model::Vpc> {
    let vpcs = items(&file.vpc);
    refuse_shared_interfaces(vpcs, report);
    let vpcs = vpcs.iter().map(|vpc| model::Vpc {
        id: owned(&vpc.id),
        account: vpc
            .account
            .as_ref()
            .and_then(|text| account(text, report))
            .unwrap_or_default()
            .to_owned(),
        cidrs: cidrs(vpc, report),
        interfaces: interfaces(vpc, has, report),
    });
    vpcs.collect()
}

/// The address ranges of a vpc; none if any is wrong, so that no address is called outside.
fn cidrs(vpc: &Vpc<'_>, report: &mut Report<'_>) -> Vec<IpNet> {
    let written = some_items(&vpc.cidrs, "write cidrs = [\"10.0.0.0/16\"]", report);
    let mut ranges: Vec<IpNet> = Vec::new();
    for text in written {
        let Some(range) = cidr(text, report) else { continue };
        match ranges.iter().find(|other| other.contains(&range) || range.contains(*other)) {
            Some(other) => {
                let cause = format!("overlaps {other} of the same vpc");
                report.add(text.span(), cause, "keep the wider of the two");
            }
            None => ranges.push(range),
        }
    }
    if ranges.len() < written.len() { Vec::new() } else { ranges }
}

fn interfaces(vpc: &Vpc<'_>, has: Host<'_>, report: &mut Report<'_>) -> Vec<model::Interface> {
    let remedy = "write interfaces = [{ name = \"eth1\", zone = \"us-east-1a\" }]";
    let written = some_items(&vpc.interfaces, remedy, report);
    let interfaces =
        written.iter().map(|Interface { name, zone: in_zone, attach: mode, .. }| {
            if let Some(name) = name {
                refuse_absent(name, has, report);
            }
            model::Interface {
                name: owned(name),
                zone: zone(in_zone, report),
                attach: attach(mode, report),
            }
        });
    interfaces.collect()
}

fn attach(text: &Option<Text<'_>>, report: &mut Report<'_>) -> AttachMode {
    let Some(text) = text else { return AttachMode::default() };
    AttachMode::named(text.get_ref()).unwrap_or_else(|| {
        let remedy = "write \"auto\", \"tcx\", \"xdp\" (by the driver) or \"xdp-generic\" (slow)";
        report.add(text.span(), "not a way to attach", remedy);
        AttachMode::default()
    })
}

/// Reports an interface that this host cannot or does not have.
fn refuse_absent(name: &Text<'_>, has: Host<'_>, report: &mut Report<'_>) {
    let text = *name.get_ref();
    // What the kernel takes for a name (dev_valid_name), and what can be told apart when printed.
    let right = |c: char| c.is_ascii_graphic() && !"/:\"".contains(c);
    if text.is_empty()
        || text.len() > MAX_INTERFACE_NAME
        || matches!(text, "." | "..")
        || !text.chars().all(right)
    {
        let remedy = "write a name as \"ip link\" lists it, at most 15 characters";
        report.add(name.span(), "not a valid interface name", remedy);
    } else if !has(Needed::Interface(text)) {
        let remedy = "create it, or write one that \"ip link\" lists";
        report.add(name.span(), "no such interface on this host", remedy);
    }
}

/// Reports every interface that is named more than once: a packet's vpc is told by its interface.
fn refuse_shared_interfaces(vpcs: &[Vpc<'_>], report: &mut Report<'_>) {
    let mut held: HashMap<&str, (Option<&str>, Range<usize>)> = HashMap::new();
    for vpc in vpcs {
        let id = vpc.id.as_ref().map(|id| *id.get_ref());
        let names = items(&vpc.interfaces).iter().filter_map(|interface| interface.name.as_ref());
        for name in names {
            match held.entry(*name.get_ref()) {
                Entry::Vacant(free) => {
                    free.insert((id, name.span()));
                }
                Entry::Occupied(held) => {
                    let (owner, first) = held.get();
                    let place = report.place(first);
                    let cause = match owner {
                        Some(owner) => format!("already an interface of {owner} {place}"),
                        None => format!("already an interface of the vpc {place}"),
                    };
                    report.add(name.span(), cause, "name each interface once, in one vpc");
                }
            }
        }
    }
}
