//! What the maps must hold for a model: a pure function, so that it is tested without a kernel.

mod listeners;
pub mod zones;

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use ipnet::IpNet;
use privatelink_common::flow_event::{ENDED, REFUSED};
use privatelink_common::flow_table::Measures;
use privatelink_common::limits::MAX_RULES;
use privatelink_common::maglev::Candidate;
use privatelink_common::memory::Shared;
use privatelink_common::records::{
    Address, AddressKey, Endpoint, EndpointAddressKey, FlowLimits, Interface, Listener,
    ListenerKey, LoadBalancer, Mac, NextHop, Rule, Settings, Target, TargetKey, Timeouts,
    interface_slots,
};
use privatelink_common::ticks;

use self::zones::{Face, Part, candidates, faces, pools};
use crate::model::{self, EndpointState, IngressRule, Model, MssClamp, TrafficType};
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
}

/// What the maps hold, or are to hold: records by their number or key.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Contents {
    /// Settings.
    pub settings: Settings,
    /// Interfaces by slot.
    pub interfaces: HashMap<u32, Interface>,
    /// Endpoint and load balancer addresses.
    pub addresses: HashMap<AddressKey, Address>,
    /// Endpoints.
    pub endpoints: HashMap<u32, Endpoint>,
    /// Published ports.
    pub listeners: HashMap<ListenerKey, Listener>,
    /// Load balancers, whole and by zone: see [`zones`].
    pub load_balancers: HashMap<u32, LoadBalancer>,
    /// Targets.
    pub targets: HashMap<u32, TargetWay>,
    /// Numbers of targets by address.
    pub target_keys: HashMap<TargetKey, u32>,
    /// Among which targets new flows are shared: see [`zones`].
    pub pools: HashMap<u32, Vec<Candidate>>,
}

/// A target and the way to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TargetWay {
    /// The target.
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
    /// Seed of all hashes.
    pub hash_seed: u64,
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
    Interface { ifindex: link.ifindex, mtu: link.mtu, mac: Mac::from_bytes(link.mac), vpc }
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

/// The key of an IPv4 target in the vpc with a number.
pub fn target_key(vpc: u16, target: &model::Target) -> Option<TargetKey> {
    let address = ipv4_word(target.address)?;
    Some(TargetKey { address, port: target.port.to_be(), vpc })
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

/// The flow table's measures for a model.
pub fn flow_table(model: &Model) -> Measures {
    Measures::new(model.flow_capacity)
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
        let targets: HashMap<u32, TargetWay> = numbering
            .targets(model)
            .filter_map(|(number, group, target)| {
                let key = target_key(numbering.vpcs[model.target_groups[group].vpc], target)?;
                Some((number, TargetWay { key, next_hop: (host.next_hop)(number) }))
            })
            .collect();
        let pools = pools(model).into_iter().zip(&numbering.pools);
        let faces = faces(model).into_iter().zip(&numbering.faces);
        Self {
            settings: settings(model, endpoints.values(), host),
            interfaces: host.interfaces.clone(),
            addresses: addresses(model, numbering),
            endpoints,
            listeners: listeners::listeners(model, numbering),
            load_balancers: faces
                .map(|(face, &number)| (number, load_balancer(model, face)))
                .collect(),
            targets,
            target_keys: listeners::target_keys(model, numbering),
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

fn addresses(model: &Model, numbering: &Numbering) -> HashMap<AddressKey, Address> {
    let balancers = faces(model).into_iter().zip(&numbering.faces);
    let whole = balancers.filter(|(face, _)| face.part == Part::All);
    let balancers = whole.flat_map(|(face, &index)| {
        let balancer = &model.load_balancers[face.load_balancer];
        let vpc = numbering.vpcs[balancer.vpc];
        let key = move |address| Some(AddressKey::new(vpc, ipv4_word(address)?));
        let value = Address { kind: Address::LOAD_BALANCER, flags: 0, index };
        // Also those that are draining: answers arrive there.
        let addresses = balancer.addresses.iter();
        addresses.filter_map(move |a| Some((key(a.address.addr())?, value)))
    });
    endpoint_addresses(model, numbering).chain(balancers).collect()
}

/// The endpoint addresses with what they are; where several endpoints share one, the first that answers echo requests,
/// or else the first.
fn endpoint_addresses(
    model: &Model,
    numbering: &Numbering,
) -> impl Iterator<Item = (AddressKey, Address)> {
    let mut first: HashMap<AddressKey, u32> = HashMap::new();
    for answers in [true, false] {
        let endpoints = model.endpoints.iter().zip(&numbering.endpoints);
        for (endpoint, &index) in endpoints.filter(|(endpoint, _)| endpoint.icmp_echo == answers) {
            let vpc = numbering.vpcs[endpoint.vpc];
            for address in endpoint.addresses.iter().filter_map(|at| ipv4_word(at.address)) {
                let key = AddressKey::new(vpc, address);
                first.entry(key).or_insert(index);
            }
        }
    }
    first
        .into_iter()
        .map(|(key, index)| (key, Address { kind: Address::ENDPOINT, flags: 0, index }))
}

/// What the data path is to tell of as it happens.
fn events(model: &Model) -> u32 {
    let flow_logs = model.flow_logs.as_ref().map(|logs| logs.traffic);
    let ended = model.access_log.is_some() || flow_logs.is_some_and(TrafficType::has_accepted);
    let refused = flow_logs.is_some_and(TrafficType::has_rejected);
    (if ended { ENDED } else { 0 }) | if refused { REFUSED } else { 0 }
}

/// The addresses of all endpoints, each with its endpoint: what is counted by.
pub fn counted_addresses<'m>(
    model: &'m Model,
    numbering: &'m Numbering,
) -> impl Iterator<Item = (EndpointAddressKey, &'m model::Endpoint, &'m model::EndpointAddress)> {
    let endpoints = model.endpoints.iter().zip(&numbering.endpoints);
    endpoints.flat_map(move |(endpoint, &number)| {
        endpoint.addresses.iter().filter_map(move |at| {
            let key = EndpointAddressKey {
                address: ipv4_word(at.address)?,
                vpc: numbering.vpcs[endpoint.vpc],
                // Fits: there are MAX_ENDPOINTS.
                endpoint: number as u16,
            };
            Some((key, endpoint, at))
        })
    })
}

/// How long a retired record rests before it is used anew, milliseconds: far longer than a packet is on a CPU.
const QUARANTINE_MS: u64 = 1000;
/// What a half-open flow has when room is wanted: a client's first two retransmissions of its SYN.
const PRESSED_HALF_OPEN_MS: u64 = 3000;

fn settings<'e>(
    model: &Model,
    endpoints: impl Iterator<Item = &'e Endpoint>,
    host: &Host<'_>,
) -> Settings {
    let shortest = |timeouts: &Timeouts| {
        let Timeouts { half_open, idle, closing, lease_hold: _, udp_unreplied, udp_idle } =
            *timeouts;
        half_open.min(idle).min(closing).min(udp_unreplied).min(udp_idle)
    };
    let ticks = |ms| ticks::from_ms(ms, host.jiffies_per_second);
    let flow_table = flow_table(model);
    Settings {
        hash_seed: host.hash_seed,
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

fn endpoint(model: &Model, endpoint: &model::Endpoint, jiffies_per_second: u64) -> Endpoint {
    let service = &model.services[endpoint.service];
    let ticks = |time: Duration| ticks::from_ms(time.as_millis() as u64, jiffies_per_second);
    let rules: Vec<Rule> = endpoint.ingress.iter().filter_map(rule).collect();
    let mut record = Endpoint {
        available: u32::from(endpoint.state == EndpointState::Available),
        rule_count: rules.len().min(MAX_RULES) as u32,
        mss_clamp: match service.mss_clamp {
            MssClamp::Auto => Endpoint::MSS_AUTO,
            MssClamp::Off => Endpoint::MSS_OFF,
            MssClamp::Bytes(bytes) => u32::from(bytes),
        },
        icmp_echo: u32::from(endpoint.icmp_echo),
        timeouts: Timeouts {
            half_open: ticks(service.timeouts.half_open),
            idle: ticks(service.timeouts.idle),
            closing: ticks(service.timeouts.closing),
            lease_hold: ticks(service.timeouts.lease_hold),
            udp_unreplied: ticks(service.timeouts.udp_unreplied),
            udp_idle: ticks(service.timeouts.udp_idle),
        },
        limits: FlowLimits {
            flows: endpoint.limits.flows,
            half_open: endpoint.limits.half_open_flows,
            new_per_second: endpoint.limits.new_flows_per_second.unwrap_or(0),
            padding: 0,
        },
        ..Endpoint::default()
    };
    for (slot, rule) in record.rules.iter_mut().zip(rules) {
        *slot = rule;
    }
    record
}

/// The record of a rule for IPv4 clients.
fn rule(rule: &IngressRule) -> Option<Rule> {
    let IpNet::V4(cidr) = rule.cidr.trunc() else { return None };
    Some(Rule {
        network: network_order(cidr.network()),
        mask: network_order(cidr.netmask()),
        from_port: rule.from_port,
        to_port: rule.to_port,
        protocol: rule.protocol.map_or(Rule::ANY_PROTOCOL, |protocol| u16::from(protocol.number())),
        padding: 0,
    })
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    const OVERLAP: &str = include_str!("../../examples/overlap.toml");

    fn endpoints(model: &Model) -> Vec<Endpoint> {
        model.endpoints.iter().map(|of| endpoint(model, of, 250)).collect()
    }

    #[test]
    fn an_endpoint_has_its_own_echo_and_the_mss_clamp_of_its_service() {
        let key = "acceptance_required = false\n";
        for (clamp, expected) in [
            ("", Endpoint::MSS_AUTO),
            ("mss_clamp = \"off\"\n", Endpoint::MSS_OFF),
            ("mss_clamp = 1360\n", 1360),
        ] {
            let text = OVERLAP.replacen(key, &format!("{key}{clamp}"), 1);
            let model = config::parse("overlap.toml", &(text + "icmp_echo = true\n")).unwrap();
            let endpoints = endpoints(&model);
            let found: Vec<_> = endpoints.iter().map(|e| (e.mss_clamp, e.icmp_echo)).collect();
            assert_eq!(found, [(expected, 0), (expected, 1)]);
        }
    }

    #[test]
    fn an_endpoint_has_the_mss_clamp_of_no_other_service() {
        let other = r#"icmp_echo = false
[[endpoint_service]]
id = "vpce-svc-other"
load_balancers = ["web-nlb"]
allowed_principals = ["*"]
mss_clamp = 536
[[endpoint]]
id = "vpce-c"
vpc = "vpc-consumer-b"
service = "vpce-svc-other"
addresses = [{ zone = "us-east-1a", address = "10.0.1.11" }]
"#;
        let model = config::parse("overlap.toml", &format!("{OVERLAP}{other}")).unwrap();
        let found: Vec<_> = endpoints(&model).iter().map(|e| e.mss_clamp).collect();
        assert_eq!(found, [Endpoint::MSS_AUTO, Endpoint::MSS_AUTO, 536]);
    }
}
