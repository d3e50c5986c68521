//! Tags: keys and values that mean something to people only.

use toml::de::DeValue;

use super::attributes::entries;
use super::document::Free;
use super::error::Report;
use super::file::File;
use super::values::items;

/// Most tags of a resource, as on AWS.
const MOST: usize = 50;
/// Longest key, characters, as on AWS.
const LONGEST_KEY: usize = 128;
/// Longest value, characters, as on AWS.
const LONGEST_VALUE: usize = 256;
/// What keys of AWS's own begin with.
const RESERVED: &str = "aws:";

/// Reports what is wrong with the tags of all resources.
pub(super) fn check_tags(file: &File<'_>, report: &mut Report<'_>) {
    let groups = items(&file.target_group).iter().map(|of| &of.tags);
    let balancers = items(&file.load_balancer).iter().map(|of| &of.tags);
    let services = items(&file.endpoint_service).iter().map(|of| &of.tags);
    let security = items(&file.security_group).iter().map(|of| &of.tags);
    let endpoints = items(&file.endpoint).iter().map(|of| &of.tags);
    let all = groups.chain(balancers).chain(services).chain(security).chain(endpoints);
    all.for_each(|tags| check(tags, report));
}

fn check(tags: &Option<Free<'_>>, report: &mut Report<'_>) {
    for (index, (key, value)) in entries(tags).iter().enumerate() {
        if index == MOST {
            let cause = format!("more than {MOST} tags of one resource");
            report.add(key.span(), cause, "remove this and what follows");
        }
        let name = *key.get_ref();
        if name.is_empty() || name.chars().count() > LONGEST_KEY || name.starts_with(RESERVED) {
            let remedy =
                format!("write 1 to {LONGEST_KEY} characters that do not begin with {RESERVED}");
            report.add(key.span(), "not a key of a tag", remedy);
        }
        let right = matches!(value.get_ref(), DeValue::String(text) if text.chars().count() <= LONGEST_VALUE);
        if !right {
            let remedy = format!("write a string of at most {LONGEST_VALUE} characters");
            report.add(value.span(), "not a value of a tag", remedy);
        }
    }
}
