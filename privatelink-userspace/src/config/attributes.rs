//! Attributes, by the names of AWS's `Modify…Attributes` calls.

use toml::Spanned;
use toml::de::DeValue;

use super::document::{Decode, Free, Node, Text};
use super::error::Report;
use super::names::nearest;

/// Whether flows leave the zone they enter by.
pub(super) const CROSS_ZONE: &str = "load_balancing.cross_zone.enabled";

/// What a network load balancer or its listeners have on AWS but not yet here.
const LOAD_BALANCER_TO_COME: [&str; 8] = [
    "access_logs.s3.bucket",
    "access_logs.s3.enabled",
    "access_logs.s3.prefix",
    "deletion_protection.enabled",
    "dns_record.client_routing_policy",
    "ipv6.deny_all_igw_traffic",
    "secondary_ips.auto_assigned.per_subnet",
    "zonal_shift.config.enabled",
];

/// What an attribute that is on or off says, unless it is wrong.
pub(super) fn boolean(name: &str, value: &Node<'_>, report: &mut Report<'_>) -> Option<bool> {
    let value = Spanned::<bool>::decode(value, &format!("\"{name}\" = true"), report);
    value.map(Spanned::into_inner)
}

/// Whether a load balancer's attributes ask for cross-zone load balancing.
pub(super) fn cross_zone(attributes: &Option<Free<'_>>, report: &mut Report<'_>) -> bool {
    let mut enabled = false;
    for (name, value) in entries(attributes) {
        if *name.get_ref() == CROSS_ZONE {
            enabled = boolean(CROSS_ZONE, value, report).unwrap_or(enabled);
        } else {
            refuse((name, value), &[CROSS_ZONE], &LOAD_BALANCER_TO_COME, report);
        }
    }
    enabled
}

/// The attributes, by name.
pub(super) fn entries<'l, 'a>(attributes: &'l Option<Free<'a>>) -> &'l [(Text<'a>, &'a Node<'a>)] {
    attributes.as_ref().map_or(&[], |attributes| &attributes.entries)
}

/// Reports an attribute that is none of `known`.
pub(super) fn refuse(
    (name, value): (&Text<'_>, &Node<'_>),
    known: &[&'static str],
    to_come: &[&'static str],
    report: &mut Report<'_>,
) {
    let text = *name.get_ref();
    const REMEDY: &str = "remove it; OPERATIONS.md lists those supported here";
    let (cause, remedy) = if to_come.contains(&text) {
        ("attribute not supported yet", REMEDY.to_owned())
    } else if let (DeValue::Table(_), Some(like)) =
        (value.get_ref(), known.iter().find(|known| known.split('.').next() == Some(text)))
    {
        // TOML reads an unquoted a.b as table a with key b.
        ("an attribute's name is one key", format!("write it in quotes: \"{like}\""))
    } else if let Some(near) = nearest(text, known) {
        ("unknown attribute", format!("did you mean {near}?"))
    } else {
        ("unknown attribute", REMEDY.to_owned())
    };
    report.add(name.span(), cause, remedy);
}
