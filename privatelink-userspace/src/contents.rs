//! What the maps must hold for a model: a pure function, so that it is tested without a kernel.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use ipnet::Ipv4Net;
use privatelink_common::flow_table::Measures;
use privatelink_common::ipv4::TCP;
use privatelink_common::limits::MAX_RULES;
use privatelink_common::maglev::{Candidate, Table};
use privatelink_common::memory::Shared;
use privatelink_common::records::{
    Address, AddressKey, Endpoint, FlowLimits, Interface, Listener, ListenerKey, LoadBalancer, Mac,
    NextHop, Rule, Settings, Target, TargetKey, Timeouts, interface_slots,
};
use privatelink_common::ticks;

use crate::model::{self, EndpointState, IngressRule, Model, MssClamp};

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

/// The wanted contents of the maps. Vectors are indexed by the number that records use.
pub struct Contents {
    /// Settings.
    pub settings: Settings,
    /// Measures of the flow table.
    pub flow_table: Measures,
    /// Interfaces with their slots.
    pub interfaces: Vec<(u32, Interface)>,
    /// Endpoint and load balancer addresses.
    pub addresses: Vec<(AddressKey, Address)>,
    /// Endpoints, by index in the model.
    pub endpoints: Vec<Endpoint>,
    /// Published ports.
    pub listeners: Vec<(ListenerKey, Listener)>,
    /// Load balancers, by index in the model.
    pub load_balancers: Vec<LoadBalancer>,
    /// Targets, group after group in the model's order; see [`target_numbers`].
    pub targets: Vec<Target>,
    /// Numbers of targets by address.
    pub target_keys: Vec<(TargetKey, u32)>,
    /// Maglev tables, by target group's index in the model.
    pub maglev: Vec<Box<Table>>,
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

/// The address that a record's network-order word holds.
pub fn ipv4_address(word: u32) -> Ipv4Addr {
    Ipv4Addr::from(word.to_ne_bytes())
}

/// Number of the vpc at an index of the model; 0 is no vpc.
pub const fn vpc_number(index: usize) -> u16 {
    index as u16 + 1
}

/// Index in the model of a vpc number.
pub const fn vpc_index(number: u16) -> usize {
    number as usize - 1
}

/// Number, target group index and target of every target of the model, in order of number.
pub fn target_numbers(model: &Model) -> impl Iterator<Item = (u32, usize, &model::Target)> {
    let targets = model
        .target_groups
        .iter()
        .enumerate()
        .flat_map(|(group, targets)| targets.targets.iter().map(move |target| (group, target)));
    targets.zip(0_u32..).map(|((group, target), number)| (number, group, target))
}

/// The record of an interface.
pub fn interface_record(vpc: usize, link: &LinkFacts) -> Interface {
    Interface {
        ifindex: link.ifindex,
        mtu: link.mtu,
        mac: Mac::from_bytes(link.mac),
        vpc: vpc_number(vpc),
    }
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

/// The record of a target.
pub fn target_record(vpc: usize, target: &model::Target, next_hop: NextHop) -> Target {
    Target {
        address: network_order(target.address),
        port: target.port.to_be(),
        vpc: vpc_number(vpc),
        next_hop: Shared::new(next_hop.word()),
    }
}

/// The Maglev table of a target group: over its usable targets, or over all where none is usable.
pub fn maglev_table(model: &Model, group: usize, usable: impl Fn(u32) -> bool) -> Box<Table> {
    let members: Vec<Candidate> = target_numbers(model)
        .filter(|&(_, of, _)| of == group)
        .map(|(number, _, target)| Candidate {
            target: number as u16,
            identity: u64::from(u32::from(target.address)) << 16 | u64::from(target.port),
            weight: target.weight,
        })
        .collect();
    let chosen: Vec<Candidate> =
        members.iter().copied().filter(|c| usable(u32::from(c.target))).collect();
    let any = chosen.iter().any(|candidate| candidate.weight > 0);
    Table::build(if any { &chosen } else { &members })
}

impl Contents {
    /// The contents for a model whose interfaces have these facts by name. Interfaces without are left
    /// out; no next hop is known yet.
    pub fn new(
        model: &Model,
        links: &HashMap<String, LinkFacts>,
        hash_seed: u64,
        jiffies_per_second: u64,
    ) -> Result<Self, NoSlot> {
        let flow_table = Measures::new(model.flow_capacity);
        let endpoints: Vec<Endpoint> =
            model.endpoints.iter().map(|of| endpoint(model, of, jiffies_per_second)).collect();
        let targets: Vec<Target> = target_numbers(model)
            .map(|(_, group, target)| {
                target_record(model.target_groups[group].vpc, target, NextHop::UNKNOWN)
            })
            .collect();
        let target_keys = targets
            .iter()
            .zip(0..)
            .map(|(target, number)| {
                (TargetKey { address: target.address, port: target.port, vpc: target.vpc }, number)
            })
            .collect();
        Ok(Self {
            settings: settings(flow_table, &endpoints, hash_seed, jiffies_per_second),
            flow_table,
            interfaces: interfaces(model, links)?,
            addresses: addresses(model),
            endpoints,
            listeners: listeners(model),
            load_balancers: model.load_balancers.iter().map(load_balancer).collect(),
            targets,
            target_keys,
            maglev: (0..model.target_groups.len())
                .map(|group| maglev_table(model, group, |_| true))
                .collect(),
        })
    }
}

fn interfaces(
    model: &Model,
    links: &HashMap<String, LinkFacts>,
) -> Result<Vec<(u32, Interface)>, NoSlot> {
    let mut interfaces: Vec<(u32, Interface)> = Vec::new();
    for (index, vpc) in model.vpcs.iter().enumerate() {
        for interface in &vpc.interfaces {
            let Some(link) = links.get(&interface.name) else {
                continue;
            };
            let taken = |slot| interfaces.iter().any(|&(taken, _)| taken == slot);
            let slot = free_slot(&interface.name, link.ifindex, taken)?;
            interfaces.push((slot, interface_record(index, link)));
        }
    }
    Ok(interfaces)
}

fn addresses(model: &Model) -> Vec<(AddressKey, Address)> {
    let key = |vpc: usize, address| AddressKey::new(vpc_number(vpc), network_order(address));
    let endpoints = model.endpoints.iter().zip(0..).flat_map(move |(endpoint, index)| {
        let value = Address { kind: Address::ENDPOINT, index };
        endpoint.addresses.iter().map(move |a| (key(endpoint.vpc, a.address), value))
    });
    let balancers = model.load_balancers.iter().zip(0..).flat_map(move |(balancer, index)| {
        let value = Address { kind: Address::LOAD_BALANCER, index };
        balancer.addresses.iter().map(move |a| (key(balancer.vpc, a.address.addr()), value))
    });
    endpoints.chain(balancers).collect()
}

/// How long a retired record rests before it is used anew, milliseconds: far longer than a packet is on a CPU.
const QUARANTINE_MS: u64 = 1000;
/// What a half-open flow has when room is wanted: a client's first two retransmissions of its SYN.
const PRESSED_HALF_OPEN_MS: u64 = 3000;

fn settings(
    flow_table: Measures,
    endpoints: &[Endpoint],
    hash_seed: u64,
    jiffies_per_second: u64,
) -> Settings {
    let shortest =
        |timeouts: &Timeouts| timeouts.half_open.min(timeouts.idle).min(timeouts.closing);
    let ticks = |ms| ticks::from_ms(ms, jiffies_per_second);
    Settings {
        hash_seed,
        halves: flow_table.halves,
        buckets: flow_table.buckets,
        number_bits: flow_table.number_bits(),
        second: ticks(1000),
        quarantine: ticks(QUARANTINE_MS),
        pressed_half_open: ticks(PRESSED_HALF_OPEN_MS),
        shortest_timeout: endpoints.iter().map(|e| shortest(&e.timeouts)).min().unwrap_or(0),
        padding: 0,
    }
}

fn endpoint(model: &Model, endpoint: &model::Endpoint, jiffies_per_second: u64) -> Endpoint {
    let service = &model.services[endpoint.service];
    let ticks = |time: Duration| ticks::from_ms(time.as_millis() as u64, jiffies_per_second);
    let mut record = Endpoint {
        available: u32::from(endpoint.state == EndpointState::Available),
        rule_count: endpoint.ingress.len().min(MAX_RULES) as u32,
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
        },
        limits: FlowLimits {
            flows: endpoint.limits.flows,
            half_open: endpoint.limits.half_open_flows,
            new_per_second: endpoint.limits.new_flows_per_second.unwrap_or(0),
            padding: 0,
        },
        ..Endpoint::default()
    };
    for (slot, ingress) in record.rules.iter_mut().zip(&endpoint.ingress) {
        *slot = rule(ingress);
    }
    record
}

fn rule(rule: &IngressRule) -> Rule {
    let cidr: Ipv4Net = rule.cidr.trunc();
    Rule {
        network: network_order(cidr.network()),
        mask: network_order(cidr.netmask()),
        from_port: rule.from_port,
        to_port: rule.to_port,
        protocol: rule.protocol.map_or(Rule::ANY_PROTOCOL, |protocol| u16::from(protocol.number())),
        padding: 0,
    }
}

/// Every port an endpoint's service publishes. Where two of its load balancers publish the same port,
/// the first one serves it.
fn listeners(model: &Model) -> Vec<(ListenerKey, Listener)> {
    let mut listeners = Vec::new();
    for (endpoint, number) in model.endpoints.iter().zip(0..) {
        let mut published = Vec::new();
        for &balancer in &model.services[endpoint.service].load_balancers {
            for listener in &model.load_balancers[balancer].listeners {
                if published.contains(&listener.port) {
                    continue;
                }
                published.push(listener.port);
                listeners.push((
                    ListenerKey::new(number, TCP, listener.port.to_be()),
                    Listener {
                        service: endpoint.service as u32,
                        load_balancer: balancer as u32,
                        target_group: listener.target_group as u32,
                        padding: 0,
                    },
                ));
            }
        }
    }
    listeners
}

fn load_balancer(balancer: &model::LoadBalancer) -> LoadBalancer {
    let mut record = LoadBalancer::default();
    for (slot, address) in record.addresses.iter_mut().zip(&balancer.addresses) {
        *slot = network_order(address.address.addr());
        record.count += 1;
    }
    record
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    const OVERLAP: &str = include_str!("../../examples/overlap.toml");

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
            let contents = Contents::new(&model, &HashMap::new(), 7, 250).unwrap();
            let found: Vec<_> =
                contents.endpoints.iter().map(|e| (e.mss_clamp, e.icmp_echo)).collect();
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
        let contents = Contents::new(&model, &HashMap::new(), 7, 250).unwrap();
        let found: Vec<_> = contents.endpoints.iter().map(|e| e.mss_clamp).collect();
        assert_eq!(found, [Endpoint::MSS_AUTO, Endpoint::MSS_AUTO, 536]);
    }
}
