//! The entries for published ports: one for each endpoint address, protocol and port, several for a range.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

use privatelink_common::records::{Listener, ListenerKey, TargetKey};
use privatelink_common::wide::{WideListenerKey, WideTargetKey};

use super::zones::Numbers;
use super::{VpcAddress, network_order};
use crate::model::{self, Model, Protocol};
use crate::numbers::Numbering;

/// Everything that is published at the endpoint addresses.
#[derive(Default)]
pub(super) struct Published {
    /// At IPv4 addresses.
    pub(super) narrow: HashMap<ListenerKey, Listener>,
    /// At IPv6 addresses.
    pub(super) wide: HashMap<WideListenerKey, Listener>,
}

impl Published {
    /// That of a model.
    pub(super) fn new(model: &Model, numbering: &Numbering) -> Self {
        let numbers = Numbers::new(model, numbering);
        let mut entries = Self::default();
        for (endpoint, &number) in model.endpoints.iter().zip(&numbering.endpoints) {
            let published = published(model, endpoint.service);
            for address in &endpoint.addresses {
                for &(balancer, listener) in &published {
                    let group = &model.target_groups[listener.target_group];
                    let (pool, face) = numbers.of(&address.zone, balancer, listener.target_group);
                    let flag = |is, flag| if is { flag } else { 0 };
                    let record = Listener {
                        endpoint: number,
                        service: numbering.services[endpoint.service],
                        load_balancer: face,
                        pool,
                        flags: flag(group.attributes.sticky, Listener::STICKY)
                            | flag(listener.keep_port, Listener::KEEP_PORT),
                        padding: 0,
                    };
                    let place = (numbering.vpcs[endpoint.vpc], address.address);
                    for (protocol, ports) in listener.published() {
                        for block in ports.blocks() {
                            entries.add(place, protocol, block, record);
                        }
                    }
                }
            }
        }
        entries
    }

    fn add(
        &mut self,
        (vpc, address): VpcAddress,
        protocol: Protocol,
        (port, bits): (u16, u32),
        record: Listener,
    ) {
        let (protocol, port) = (protocol.number(), port.to_be());
        match address {
            IpAddr::V4(address) => {
                let key = ListenerKey::new(vpc, network_order(address), protocol, port);
                self.narrow.insert(key.block(bits), record);
            }
            IpAddr::V6(_) => {
                let key = WideListenerKey::new(vpc, address.into(), protocol, port);
                self.wide.insert(key.block(bits), record);
            }
        }
    }
}

/// A service's listeners with the indexes of their load balancers, such that of two for the same block the later one
/// serves it: the one of fewer ports; of as many, the one of the load balancer that the service names first.
fn published(model: &Model, service: usize) -> Vec<(usize, &model::Listener)> {
    let balancers = model.services[service].load_balancers.iter().rev();
    let mut listeners: Vec<_> = balancers
        .flat_map(|&balancer| {
            model.load_balancers[balancer]
                .listeners
                .iter()
                .map(move |listener| (balancer, listener))
        })
        .collect();
    listeners.sort_by_key(|(_, listener)| Reverse(listener.ports.count()));
    listeners
}

/// By which keys the data path knows the targets' own segments.
#[derive(Default)]
pub(super) struct TargetKeys {
    /// Of IPv4 targets.
    pub(super) narrow: HashMap<TargetKey, u32>,
    /// Of IPv6 targets.
    pub(super) wide: HashMap<WideTargetKey, u32>,
}

impl TargetKeys {
    /// Those of a model.
    pub(super) fn new(model: &Model, numbering: &Numbering) -> Self {
        let listeners = model.load_balancers.iter().flat_map(|balancer| &balancer.listeners);
        let kept: HashSet<usize> =
            listeners.filter(|listener| listener.keep_port).map(|l| l.target_group).collect();
        let mut keys = Self::default();
        for (number, group, target) in numbering.targets(model) {
            let vpc = numbering.vpcs[model.target_groups[group].vpc];
            let any_port = kept.contains(&group).then_some(0);
            for port in std::iter::once(target.port.to_be()).chain(any_port) {
                match target.address {
                    IpAddr::V4(address) => {
                        let key = TargetKey { address: network_order(address), port, vpc };
                        keys.narrow.insert(key, number);
                    }
                    IpAddr::V6(_) => {
                        let key = WideTargetKey::new(vpc, target.address.into(), port);
                        keys.wide.insert(key, number);
                    }
                }
            }
        }
        keys
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use privatelink_common::ipv4;

    use super::*;
    use crate::config;

    const OVERLAP: &str = include_str!("../../../examples/overlap.toml");

    fn model(port: &str, more: &str) -> Model {
        let text = OVERLAP.replacen("port = 80\n", &format!("port = {port}\n"), 1);
        let text = text.replacen(
            "[load_balancer.attributes]",
            &format!("{more}[load_balancer.attributes]"),
            1,
        );
        config::parse("overlap.toml", &text).unwrap_or_else(|errors| panic!("{errors}"))
    }

    fn listeners_of(model: &Model) -> HashMap<ListenerKey, Listener> {
        Published::new(model, &Numbering::in_order(model).unwrap()).narrow
    }

    fn keys_of(model: &Model) -> HashMap<TargetKey, u32> {
        TargetKeys::new(model, &Numbering::in_order(model).unwrap()).narrow
    }

    /// What the trie finds for a port of the first endpoint.
    fn serving(model: &Model, port: u16) -> Option<Listener> {
        serving_of(model, ipv4::TCP, port)
    }

    fn serving_of(model: &Model, protocol: u8, port: u16) -> Option<Listener> {
        let entries: HashMap<_, _> = listeners_of(model);
        let address = network_order(Ipv4Addr::new(10, 0, 1, 10));
        let key = ListenerKey::new(2, address, protocol, port.to_be());
        (0..=u16::BITS).find_map(|bits| entries.get(&key.block(bits)).copied())
    }

    #[test]
    fn a_range_has_few_entries() {
        for (port, entries) in
            [("80", 1), ("\"all\"", 1), ("\"9000-9003\"", 1), ("\"1-65534\"", 30)]
        {
            assert_eq!(listeners_of(&model(port, "")).len(), 2 * entries, "{port}, two endpoints");
        }
    }

    #[test]
    fn fewer_ports_beat_more() {
        let listener = |port: &str, keys: &str| {
            format!(
                "[[load_balancer.listener]]\nprotocol = \"tcp\"\nport = {port}\n\
                 target_group = \"web\"\n{keys}\n"
            )
        };
        let more = listener("\"9000-9099\"", "keep_port = true") + &listener("9000", "");
        let model = model("\"all\"", &more);
        let flags = |port| serving(&model, port).map(|listener| listener.flags);
        assert_eq!(flags(9001), Some(Listener::KEEP_PORT));
        assert_eq!(flags(9099), Some(Listener::KEEP_PORT));
        assert_eq!([9000, 8999, 9100, 1, 65_535].map(flags), [Some(0); 5]);
    }

    #[test]
    fn each_protocol_has_entries_of_its_own() {
        let of = |protocol: &str| {
            let text = OVERLAP
                .replace("protocol = \"tcp\"\nport = 8080", "protocol = \"tcp_udp\"\nport = 8080")
                .replacen(
                    "protocol = \"tcp\"\nport = 80\n",
                    &format!("protocol = \"{protocol}\"\nport = 80\n"),
                    1,
                );
            config::parse("overlap.toml", &text).unwrap_or_else(|errors| panic!("{errors}"))
        };
        for (protocol, expected) in
            [("tcp", [true, false]), ("udp", [false, true]), ("tcp_udp", [true, true])]
        {
            let model = of(protocol);
            let found = [ipv4::TCP, ipv4::UDP].map(|number| serving_of(&model, number, 80));
            assert_eq!(found.map(|listener| listener.is_some()), expected, "{protocol}");
            let [of_tcp, of_udp] = found;
            assert!(of_tcp.is_none() || of_udp.is_none() || of_tcp == of_udp, "{protocol}");
        }
    }

    #[test]
    fn targets_reached_at_chosen_ports_are_known_at_any() {
        assert_eq!(keys_of(&model("80", "")).len(), 2);
        let keys = keys_of(&model("80\nkeep_port = true", ""));
        let mut ports: Vec<_> = keys.keys().map(|key| u16::from_be(key.port)).collect();
        ports.sort_unstable();
        assert_eq!(ports, [0, 0, 8080, 8081]);
    }
}
