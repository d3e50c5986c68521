//! What the maps must hold for a model: a pure function, so that it is tested without a kernel.

mod addresses;
mod endpoints;
mod listeners;
#[cfg(test)]
mod tests;
pub mod zones;

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};

use privatelink_common::flow_event::{ENDED, REFUSED};
use privatelink_common::flow_table::Measures;
use privatelink_common::hash::Seeds;
use privatelink_common::maglev::Candidate;
use privatelink_common::memory::Shared;
use privatelink_common::records::{
    Address, AddressKey, Endpoint, Interface, Listener, ListenerKey, LoadBalancer, Mac, NextHop,
    Settings, Target, TargetKey, Timeouts, interface_slots,
};
use privatelink_common::ticks;
use privatelink_common::wide::{
    WideAddress, WideAddressKey, WideListenerKey, WideLoadBalancer, WideRules, WideTargetKey,
};

use self::addresses::{Addresses, are_wide};
pub use self::addresses::{CountedAddress, VpcAddress, counted_addresses};
use self::endpoints::{endpoint, wide_rules};
use self::listeners::{Published, TargetKeys};
use self::zones::{Face, candidates, faces, pools};
use crate::model::{self, Model, TrafficType};
use crate::numbers::Numbering;

/// A link of the host, as far as the data path must know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkFacts {
    /// Kernel index.
    pub ifindex: u32,
    /// MAC address.
    pub mac: [u8; 6],
    /// MTU, bytes.
    pub mtu: u32,
    /// Whether XDP cannot send to it, which is attached at tc ingress alone.
    pub tcx: bool,
}

/// What the maps hold, or are to hold: records by their number or key.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Contents {
    /// Settings, for flows with IPv4 on both sides.
    pub settings: Settings,
    /// Settings for flows with IPv6 on either side, which have a table of their own.
    pub wide_settings: Settings,
    /// Interfaces by slot.
    pub interfaces: HashMap<u32, Interface>,
    /// IPv4 addresses of endpoints and load balancers.
    pub addresses: HashMap<AddressKey, Address>,
    /// Their IPv6 addresses.
    pub wide_addresses: HashMap<WideAddressKey, Address>,
    /// Endpoints.
    pub endpoints: HashMap<u32, Endpoint>,
    /// Rules for IPv6 clients of the endpoints that have any.
    pub wide_rules: HashMap<u32, WideRules>,
    /// Ports published at IPv4 addresses.
    pub listeners: HashMap<ListenerKey, Listener>,
    /// Ports published at IPv6 addresses.
    pub wide_listeners: HashMap<WideListenerKey, Listener>,
    /// IPv4 addresses of load balancers, whole and by zone: see [`zones`].
    pub load_balancers: HashMap<u32, LoadBalancer>,
    /// IPv6 addresses of those that have any.
    pub wide_load_balancers: HashMap<u32, WideLoadBalancer>,
    /// Targets.
    pub targets: HashMap<u32, TargetWay>,
    /// Their addresses, of either family.
    pub wide_targets: HashMap<u32, WideAddress>,
    /// Numbers of IPv4 targets by address.
    pub target_keys: HashMap<TargetKey, u32>,
    /// Numbers of IPv6 targets by address.
    pub wide_target_keys: HashMap<WideTargetKey, u32>,
    /// Among which targets new flows are shared: see [`zones`].
    pub pools: HashMap<u32, Vec<Candidate>>,
}

/// A target and the way to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TargetWay {
    /// The target; of an IPv6 target its address's [name](WideAddress::name).
    pub key: TargetKey,
    /// Its next hop.
    pub next_hop: NextHop,
}

impl TargetWay {
    /// What a record says.
    pub fn of(record: &Target) -> Self {
        let &Target { address, port, vpc, ref next_hop } = record;
        let key = TargetKey { address, port, vpc };
        Self { key, next_hop: NextHop::from_word(next_hop.get()) }
    }

    /// As a record.
    pub const fn record(&self) -> Target {
        let TargetKey { address, port, vpc } = self.key;
        Target { address, port, vpc, next_hop: Shared::new(self.next_hop.word()) }
    }
}

/// The host, as far as the contents depend on it.
pub struct Host<'h> {
    /// The attached interfaces by slot.
    pub interfaces: HashMap<u32, Interface>,
    /// Next hop of the target with a number.
    pub next_hop: &'h dyn Fn(u32) -> NextHop,
    /// What the target with a number is good for.
    pub fitness: &'h dyn Fn(u32) -> Fitness,
    /// How much of its weight the target with a number counts for, 1 to [`zones::WHOLE_SHARE`].
    pub share: &'h dyn Fn(u32) -> u16,
    /// Whether an IPv4 address is marked [`Address::WIDE`] now.
    pub marked: &'h dyn Fn(AddressKey) -> bool,
    /// Seeds of all hashes.
    pub seeds: Seeds,
    /// What tells whose numbers the flows have.
    pub generation: u32,
    /// Ticks per second of the clock that records are stamped by.
    pub jiffies_per_second: u64,
}

/// An interface finds no free slot.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "interface {interface} (index {ifindex}) finds no free slot: detach interfaces you do not need, or re-create it to get another index"
)]
pub struct NoSlot {
    /// The interface.
    pub interface: String,
    /// Its kernel index.
    pub ifindex: u32,
}

/// An address in network order, as records hold it.
pub fn network_order(address: Ipv4Addr) -> u32 {
    u32::from_ne_bytes(address.octets())
}

/// An IPv4 address in network order, as records hold it; nothing of an IPv6 address.
pub fn ipv4_word(address: IpAddr) -> Option<u32> {
    match address {
        IpAddr::V4(address) => Some(network_order(address)),
        IpAddr::V6(_) => None,
    }
}

/// The address that a record's network-order word holds.
pub fn ipv4_address(word: u32) -> Ipv4Addr {
    Ipv4Addr::from(word.to_ne_bytes())
}

/// The record of an interface of the vpc with a number.
pub fn interface_record(vpc: u16, link: &LinkFacts) -> Interface {
    let flags = if link.tcx { Interface::STACK } else { 0 };
    let mac = Mac::from_bytes(link.mac);
    Interface { ifindex: link.ifindex, mtu: link.mtu, mac, vpc, flags, padding: 0 }
}

/// The first slot of an interface that none of `taken` has.
pub fn free_slot(
    interface: &str,
    ifindex: u32,
    taken: impl Fn(u32) -> bool,
) -> Result<u32, NoSlot> {
    interface_slots(ifindex)
        .find(|&slot| !taken(slot))
        .ok_or_else(|| NoSlot { interface: interface.to_owned(), ifindex })
}

/// What a target is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fitness {
    /// Nothing reaches it.
    Unreachable,
    /// Packets reach it, but it is not known to be healthy.
    Reachable,
    /// Packets reach it, and it is healthy.
    Healthy,
}

/// Measures of the table of flows with IPv4 on both sides.
pub fn flow_table(model: &Model) -> Measures {
    Measures::new(model.flow_capacity)
}

/// Measures of the table of flows with IPv6 on either side.
pub fn wide_flow_table(model: &Model) -> Measures {
    Measures::new(model.wide_flow_capacity)
}

impl Contents {
    /// The contents for a model.
    pub fn new(model: &Model, numbering: &Numbering, host: &Host<'_>) -> Self {
        let endpoints: HashMap<u32, Endpoint> = numbering
            .endpoints
            .iter()
            .zip(&model.endpoints)
            .map(|(&number, of)| (number, endpoint(model, of, host.jiffies_per_second)))
            .collect();
        let of_endpoints = numbering.endpoints.iter().zip(&model.endpoints);
        let pools = pools(model).into_iter().zip(&numbering.pools);
        let faces = || faces(model).into_iter().zip(&numbering.faces);
        let vpc = |group: usize| numbering.vpcs[model.target_groups[group].vpc];
        let way = |(number, group, target): (u32, usize, &model::Target)| {
            let address = WideAddress::from(target.address).name(&host.seeds);
            let key = TargetKey { address, port: target.port.to_be(), vpc: vpc(group) };
            (number, TargetWay { key, next_hop: (host.next_hop)(number) })
        };
        let addresses = Addresses::new(model, numbering, host.marked);
        let is_wide = are_wide(&addresses.narrow, &addresses.wide);
        let published = Published::new(model, numbering);
        let target_keys = TargetKeys::new(model, numbering);
        Self {
            settings: settings(model, flow_table(model), endpoints.values(), host),
            wide_settings: settings(model, wide_flow_table(model), endpoints.values(), host),
            interfaces: host.interfaces.clone(),
            addresses: addresses.narrow,
            wide_addresses: addresses.wide,
            endpoints,
            wide_rules: of_endpoints
                .filter_map(|(&number, of)| Some((number, wide_rules(of)?)))
                .collect(),
            listeners: published.narrow,
            wide_listeners: published.wide,
            load_balancers: faces()
                .map(|(face, &number)| (number, load_balancer(model, face)))
                .collect(),
            wide_load_balancers: faces()
                .filter(|_| is_wide)
                .flat_map(|(face, &number)| wide_load_balancers(model, face, number, host))
                .collect(),
            targets: numbering.targets(model).map(way).collect(),
            wide_targets: numbering
                .targets(model)
                .map(|(number, _, target)| (number, target.address.into()))
                .collect(),
            target_keys: target_keys.narrow,
            wide_target_keys: target_keys.wide,
            pools: pools
                .map(|(pool, &number)| (number, candidates(model, numbering, pool, host)))
                .collect(),
        }
    }
}

/// The interfaces of a model by slot, where all that have facts are attached in the model's order.
pub fn interfaces(
    model: &Model,
    numbering: &Numbering,
    links: &HashMap<String, LinkFacts>,
) -> Result<HashMap<u32, Interface>, NoSlot> {
    let mut interfaces = HashMap::new();
    for (vpc, &number) in model.vpcs.iter().zip(&numbering.vpcs) {
        for interface in &vpc.interfaces {
            let Some(link) = links.get(&interface.name) else {
                continue;
            };
            let taken = |slot| interfaces.contains_key(&slot);
            let slot = free_slot(&interface.name, link.ifindex, taken)?;
            interfaces.insert(slot, interface_record(number, link));
        }
    }
    Ok(interfaces)
}

/// What the data path is to tell of as it happens.
fn events(model: &Model) -> u32 {
    let flow_logs = model.flow_logs.as_ref().map(|logs| logs.traffic);
    let ended = model.access_log.is_some() || flow_logs.is_some_and(TrafficType::has_accepted);
    let refused = flow_logs.is_some_and(TrafficType::has_rejected);
    (if ended { ENDED } else { 0 }) | if refused { REFUSED } else { 0 }
}

/// How long a retired record rests before it is used anew, milliseconds: far longer than a packet is on a CPU.
const QUARANTINE_MS: u64 = 1000;
/// What a half-open flow has when room is wanted: a client's first two retransmissions of its SYN.
const PRESSED_HALF_OPEN_MS: u64 = 3000;

fn settings<'e>(
    model: &Model,
    flow_table: Measures,
    endpoints: impl Iterator<Item = &'e Endpoint>,
    host: &Host<'_>,
) -> Settings {
    let shortest = |timeouts: &Timeouts| {
        let Timeouts { half_open, idle, closing, lease_hold: _, udp_unreplied, udp_idle } =
            *timeouts;
        half_open.min(idle).min(closing).min(udp_unreplied).min(udp_idle)
    };
    let ticks = |ms| ticks::from_ms(ms, host.jiffies_per_second);
    Settings {
        seeds: host.seeds,
        halves: flow_table.halves,
        buckets: flow_table.buckets,
        number_bits: flow_table.number_bits(),
        second: ticks(1000),
        quarantine: ticks(QUARANTINE_MS),
        pressed_half_open: ticks(PRESSED_HALF_OPEN_MS),
        shortest_timeout: endpoints.map(|e| shortest(&e.timeouts)).min().unwrap_or(0),
        generation: host.generation,
        events: events(model),
        padding: 0,
    }
}

fn load_balancer(model: &Model, face: Face<'_>) -> LoadBalancer {
    let mut record = LoadBalancer::default();
    let addresses = face.addresses(model).filter_map(|of| ipv4_word(of.address.addr()));
    for (slot, address) in record.addresses.iter_mut().zip(addresses) {
        *slot = address;
        record.count += 1;
    }
    record
}

/// The addresses of a face with this number, by family.
fn wide_load_balancers(
    model: &Model,
    face: Face<'_>,
    number: u32,
    host: &Host<'_>,
) -> impl Iterator<Item = (u32, WideLoadBalancer)> {
    let all: Vec<WideAddress> =
        face.addresses(model).map(|of| WideAddress::from(of.address.addr())).collect();
    let (four, six): (Vec<_>, Vec<_>) = all.into_iter().partition(|address| address.is_ipv4());
    let record = |addresses: Vec<WideAddress>| {
        let first = *addresses.first()?;
        let number = WideLoadBalancer::number(number, first);
        Some((number, WideLoadBalancer::new(&addresses, &host.seeds)))
    };
    record(four).into_iter().chain(record(six))
}
