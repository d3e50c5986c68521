//! What the world is configured to: examples/overlap.toml, or what a scenario makes of it.

use privatelink_common::flow_event::{ENDED, REFUSED};
use privatelink_common::hash::Seeds;
use privatelink_common::maglev::Candidate;
use privatelink_common::records::{self, NextHop};
use privatelink_userspace::config;
use privatelink_userspace::contents::zones::WHOLE_SHARE;
use privatelink_userspace::contents::{
    Contents, CountedAddress, Fitness, Host as HostFacts, LinkFacts, counted_addresses, interfaces,
};
use privatelink_userspace::datapath::jiffies_per_second;
use privatelink_userspace::model::Model;
use privatelink_userspace::numbers::Numbering;

use super::network::{Port, TARGET_MACS};

const MTU: u32 = 1500;
/// Of a table that is quickly made.
const CAPACITY: u32 = 8192;

/// A configuration with these replacements, each of them possible and made once.
pub(crate) fn replaced(text: String, changes: &[(&str, &str)]) -> String {
    changes.iter().fold(text, |text, (from, to)| {
        assert!(text.contains(from), "the configuration has no {from:?}");
        text.replacen(from, to, 1)
    })
}

/// The part of a configuration by which there are so many flows, and any endpoint may have them all.
pub(crate) fn capacity(flows: u32) -> String {
    let limits = format!("flows = {flows}\nhalf_open_flows = {flows}\n");
    format!("\n[flow_table]\ncapacity = {flows}\n[endpoint_limits]\n{limits}")
}

/// The world of examples/overlap.toml, after `edit` of its text.
pub(super) fn model(edit: &dyn Fn(String) -> String) -> Model {
    let text = edit(include_str!("../../../../examples/overlap.toml").to_owned());
    let text = if text.contains("[flow_table]") { text } else { text + &capacity(CAPACITY) };
    config::parse("overlap.toml", &text).expect("the configuration is valid")
}

pub(super) fn contents(model: &Model, ifindexes: [u32; 3]) -> Contents {
    let facts = |(port, ifindex): (Port, u32)| {
        (port.name().to_owned(), LinkFacts { ifindex, mac: port.mac(), mtu: MTU, tcx: false })
    };
    let links = Port::ALL.into_iter().zip(ifindexes).map(facts).collect();
    let numbering = Numbering::in_order(model).expect("there are numbers");
    let interfaces = interfaces(model, &numbering, &links).expect("slots are free");
    let provider = interfaces.iter().find(|(_, interface)| interface.ifindex == ifindexes[0]);
    let slot = *provider.expect("it has a slot").0;
    let host = HostFacts {
        interfaces,
        next_hop: &|number| target_hop(number, slot),
        fitness: &|_| Fitness::Healthy,
        share: &|_| WHOLE_SHARE,
        marked: &|_| false,
        seeds: Seeds::of(7),
        generation: 0,
        jiffies_per_second: jiffies_per_second(),
    };
    let mut contents = Contents::new(model, &numbering, &host);
    contents.settings.events = ENDED | REFUSED;
    contents
}

/// The next hop of a target behind the interface in a slot.
pub(crate) fn target_hop(number: u32, slot: u32) -> NextHop {
    NextHop::new(records::Mac::from_bytes(TARGET_MACS[number as usize % 2]), slot as u16)
}

/// The addresses of endpoints that are counted by.
pub(super) fn counted(model: &Model) -> impl Iterator<Item = CountedAddress> {
    let numbering = Numbering::in_order(model).expect("there are numbers");
    let keys: Vec<_> = counted_addresses(model, &numbering).map(|(key, ..)| key).collect();
    keys.into_iter()
}

/// The interfaces of the ports with their slots.
pub(super) fn by_port(contents: &Contents, ifindexes: [u32; 3]) -> Vec<(u32, records::Interface)> {
    let slot = |ifindex| {
        let mut found = contents.interfaces.iter();
        found.find(|(_, interface)| interface.ifindex == ifindex).map(|(&at, &of)| (at, of))
    };
    ifindexes.into_iter().map(|ifindex| slot(ifindex).expect("it has a slot")).collect()
}

/// The targets of the first group that are usable.
pub(super) fn usable_of(contents: &Contents, usable: &dyn Fn(u32) -> bool) -> Vec<Candidate> {
    let all = contents.pools[&0].iter().copied();
    let chosen: Vec<_> = all.clone().filter(|target| usable(u32::from(target.target))).collect();
    if chosen.iter().any(|target| target.weight > 0) { chosen } else { all.collect() }
}
