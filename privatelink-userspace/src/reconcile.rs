//! From what the maps hold to what they are to hold, by as few writes as it takes.

use std::collections::HashMap;
use std::fmt::Debug;
use std::hash::Hash;

use privatelink_common::maglev::Candidate;
use privatelink_common::records::{
    Address, AddressKey, Endpoint, Interface, Listener, ListenerKey, LoadBalancer, Settings,
    TargetKey,
};
use privatelink_common::wide::{
    WideAddress, WideAddressKey, WideListenerKey, WideLoadBalancer, WideRules, WideTargetKey,
};

use crate::contents::{Contents, TargetWay};

/// One write to one map; where there is no new value, the element goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// The settings, for flows with IPv4 on both sides.
    Settings(Settings),
    /// Those for flows with IPv6 on either side.
    WideSettings(Settings),
    /// An interface's slot.
    Interface(u32, Option<Interface>),
    /// A target.
    Target(u32, Option<TargetWay>),
    /// A target's address, of either family.
    WideTarget(u32, Option<WideAddress>),
    /// An IPv4 target's key.
    TargetKey(TargetKey, Option<u32>),
    /// An IPv6 target's key.
    WideTargetKey(WideTargetKey, Option<u32>),
    /// The targets that new flows of a pool are shared among.
    Pool(u32, Option<Vec<Candidate>>),
    /// A load balancer's IPv4 addresses.
    LoadBalancer(u32, Option<LoadBalancer>),
    /// A load balancer's IPv6 addresses.
    WideLoadBalancer(u32, Option<Box<WideLoadBalancer>>),
    /// An endpoint.
    Endpoint(u32, Option<Box<Endpoint>>),
    /// An endpoint's rules for IPv6 clients.
    WideRules(u32, Option<Box<WideRules>>),
    /// A port published at an IPv4 address.
    Listener(ListenerKey, Option<Listener>),
    /// A port published at an IPv6 address.
    WideListener(WideListenerKey, Option<Listener>),
    /// An IPv4 address of ours.
    Address(AddressKey, Option<Address>),
    /// An IPv6 address of ours.
    WideAddress(WideAddressKey, Option<Address>),
}

/// What changes are written to.
pub trait Maps {
    /// Why a write fails.
    type Error;

    /// Writes one change.
    ///
    /// # Errors
    ///
    /// The maps are then as they were before.
    fn write(&mut self, change: &Change) -> Result<(), Self::Error>;
}

/// Contents are maps as well: they show what writes come to.
impl Maps for Contents {
    type Error = std::convert::Infallible;

    fn write(&mut self, change: &Change) -> Result<(), Self::Error> {
        match change.clone() {
            Change::Settings(settings) => self.settings = settings,
            Change::WideSettings(settings) => self.wide_settings = settings,
            Change::Interface(slot, record) => put(&mut self.interfaces, slot, record),
            Change::Target(number, record) => put(&mut self.targets, number, record),
            Change::WideTarget(number, address) => put(&mut self.wide_targets, number, address),
            Change::TargetKey(key, number) => put(&mut self.target_keys, key, number),
            Change::WideTargetKey(key, number) => put(&mut self.wide_target_keys, key, number),
            Change::Pool(number, pool) => put(&mut self.pools, number, pool),
            Change::LoadBalancer(number, record) => put(&mut self.load_balancers, number, record),
            Change::WideLoadBalancer(number, record) => {
                put(&mut self.wide_load_balancers, number, record.map(|record| *record));
            }
            Change::Endpoint(number, record) => {
                put(&mut self.endpoints, number, record.map(|record| *record));
            }
            Change::WideRules(number, record) => {
                put(&mut self.wide_rules, number, record.map(|record| *record));
            }
            Change::Listener(key, record) => put(&mut self.listeners, key, record),
            Change::WideListener(key, record) => put(&mut self.wide_listeners, key, record),
            Change::Address(key, record) => put(&mut self.addresses, key, record),
            Change::WideAddress(key, record) => put(&mut self.wide_addresses, key, record),
        }
        Ok(())
    }
}

fn put<K: Eq + Hash, V>(map: &mut HashMap<K, V>, key: K, value: Option<V>) {
    match value {
        Some(value) => map.insert(key, value),
        None => map.remove(&key),
    };
}

/// The writes that lead from one contents to another, in an order in which the data path may see any part of them
/// done: nothing is referred to before it is there, and nothing goes while it is still referred to. Addresses are marked
/// before flows of the wide table can come to them.
pub fn changes(from: &Contents, to: &Contents) -> Vec<Change> {
    let mut changes = Vec::new();
    if from.settings != to.settings {
        changes.push(Change::Settings(to.settings));
    }
    if from.wide_settings != to.wide_settings {
        changes.push(Change::WideSettings(to.wide_settings));
    }
    let addresses = difference(&from.addresses, &to.addresses, Change::Address);
    let (marks, addresses_set) = marks(from, addresses.0);
    changes.extend(marks);
    let order = [
        difference(&from.interfaces, &to.interfaces, Change::Interface),
        difference(&from.wide_targets, &to.wide_targets, Change::WideTarget),
        difference(&from.targets, &to.targets, Change::Target),
        difference(&from.target_keys, &to.target_keys, Change::TargetKey),
        difference(&from.wide_target_keys, &to.wide_target_keys, Change::WideTargetKey),
        difference(&from.pools, &to.pools, Change::Pool),
        difference(&from.load_balancers, &to.load_balancers, Change::LoadBalancer),
        difference(&from.wide_load_balancers, &to.wide_load_balancers, |number, record| {
            Change::WideLoadBalancer(number, record.map(Box::new))
        }),
        difference(&from.endpoints, &to.endpoints, |number, record| {
            Change::Endpoint(number, record.map(Box::new))
        }),
        difference(&from.wide_rules, &to.wide_rules, |number, record| {
            Change::WideRules(number, record.map(Box::new))
        }),
        difference(&from.listeners, &to.listeners, Change::Listener),
        difference(&from.wide_listeners, &to.wide_listeners, Change::WideListener),
        (addresses_set, addresses.1),
        difference(&from.wide_addresses, &to.wide_addresses, Change::WideAddress),
    ];
    let (set, removed): (Vec<_>, Vec<_>) = order.into_iter().unzip();
    changes.extend(set.into_iter().flatten());
    changes.extend(removed.into_iter().rev().flatten());
    changes
}

/// Of changes to addresses, those that only mark one that is there, and the others. Where flows come back to is marked
/// before where they come in: load balancers first.
fn marks(from: &Contents, changes: Vec<Change>) -> (Vec<Change>, Vec<Change>) {
    let is_mark = |change: &Change| match change {
        Change::Address(key, Some(to)) => {
            from.addresses.get(key).is_some_and(|is| (is.kind, is.index) == (to.kind, to.index))
        }
        _ => false,
    };
    let is_endpoint = |change: &Change| matches!(change, Change::Address(_, Some(to)) if to.kind == Address::ENDPOINT);
    let (mut marks, mut others): (Vec<_>, Vec<_>) = changes.into_iter().partition(is_mark);
    marks.sort_by_key(is_endpoint);
    others.sort_by_key(is_endpoint);
    (marks, others)
}

/// What is new or different, and what is gone.
fn difference<K: Eq + Hash + Copy, V: PartialEq + Clone>(
    from: &HashMap<K, V>,
    to: &HashMap<K, V>,
    change: impl Fn(K, Option<V>) -> Change,
) -> (Vec<Change>, Vec<Change>) {
    let set = to.iter().filter(|(key, value)| from.get(key) != Some(value));
    let removed = from.keys().filter(|key| !to.contains_key(key));
    (
        set.map(|(&key, value)| change(key, Some(value.clone()))).collect(),
        removed.map(|&key| change(key, None)).collect(),
    )
}

/// Keeps maps in step with what they are to hold.
#[derive(Debug, Default)]
pub struct Reconciler {
    installed: Contents,
}

impl Reconciler {
    /// Of maps that hold this.
    pub const fn new(installed: Contents) -> Self {
        Self { installed }
    }

    /// What the maps hold.
    pub const fn installed(&self) -> &Contents {
        &self.installed
    }

    /// Writes what differs from `wanted`; how many writes succeeded, and those that failed. A write that fails stops
    /// no other, and is tried again the next time.
    pub fn apply<M: Maps>(
        &mut self,
        wanted: &Contents,
        maps: &mut M,
    ) -> (usize, Vec<(Change, M::Error)>) {
        let mut written = 0;
        let mut failed = Vec::new();
        for change in changes(&self.installed, wanted) {
            match maps.write(&change) {
                Ok(()) => {
                    let Ok(()) = self.installed.write(&change);
                    written += 1;
                }
                Err(error) => failed.push((change, error)),
            }
        }
        (written, failed)
    }
}

#[cfg(test)]
mod tests {
    use privatelink_common::hash::Seeds;
    use privatelink_common::records::NextHop;
    use proptest::prelude::*;

    use super::*;
    use crate::config;
    use crate::contents::zones::WHOLE_SHARE;
    use crate::contents::{Fitness, Host};
    use crate::numbers::{Numbering, Numbers};

    const OVERLAP: &str = include_str!("../../examples/overlap.toml");

    /// Contents of overlap.toml with some of its endpoints and targets.
    fn contents(parts: u8, numbers: &mut Numbers) -> Contents {
        let mut model = config::parse("overlap.toml", OVERLAP).unwrap();
        let part = |bit: u8| parts >> bit & 1 != 0;
        let mut bit = 0..;
        model.endpoints.retain(|_| part(bit.next().unwrap()));
        model.target_groups[0].targets.retain(|_| part(bit.next().unwrap()));
        if part(4) {
            model.endpoints.reverse();
        }
        let numbering = Numbering::of(&model, numbers).unwrap();
        let host = Host {
            interfaces: HashMap::new(),
            next_hop: &|_| NextHop::UNKNOWN,
            fitness: &|number| {
                if part(5) || number != 0 { Fitness::Healthy } else { Fitness::Reachable }
            },
            share: &|_| WHOLE_SHARE,
            marked: &|_| false,
            seeds: Seeds::of(7),
            generation: 0,
            jiffies_per_second: 250,
        };
        Contents::new(&model, &numbering, &host)
    }

    /// Maps some of whose writes fail, and in which nothing may refer to what is not there.
    struct Moody {
        held: Contents,
        failures: Vec<bool>,
    }

    impl Maps for Moody {
        type Error = ();

        fn write(&mut self, change: &Change) -> Result<(), ()> {
            if self.failures.pop().unwrap_or(false) {
                return Err(());
            }
            let Ok(()) = self.held.write(change);
            Ok(())
        }
    }

    fn assert_whole(held: &Contents) {
        for listener in held.listeners.values() {
            assert!(held.load_balancers.contains_key(&listener.load_balancer));
            assert!(held.pools.contains_key(&listener.pool));
        }
        for address in held.addresses.values().filter(|a| a.kind == Address::ENDPOINT) {
            assert!(held.endpoints.contains_key(&address.index));
        }
        for candidate in held.pools.values().flatten() {
            assert!(held.targets.contains_key(&u32::from(candidate.target)));
        }
    }

    proptest! {
        #[test]
        fn whatever_came_before_the_maps_hold_what_is_wanted(
            steps in prop::collection::vec((any::<u8>(), prop::collection::vec(any::<bool>(), 0..12)), 1..8)
        ) {
            let mut numbers = Numbers::default();
            let mut reconciler = Reconciler::default();
            let mut maps = Moody { held: Contents::default(), failures: Vec::new() };
            for (parts, failures) in steps {
                let wanted = contents(parts, &mut numbers);
                maps.failures = failures;
                reconciler.apply(&wanted, &mut maps);
                prop_assert_eq!(reconciler.installed(), &maps.held);
                maps.failures.clear();
                let (_, failed) = reconciler.apply(&wanted, &mut maps);
                prop_assert!(failed.is_empty());
                prop_assert_eq!(&maps.held, &wanted);
                let (written, _) = reconciler.apply(&wanted, &mut maps);
                prop_assert_eq!(written, 0);
            }
        }

        #[test]
        fn nothing_ever_refers_to_what_is_not_there(steps in prop::collection::vec(any::<u8>(), 1..8)) {
            let mut numbers = Numbers::default();
            let mut held = Contents::default();
            for parts in steps {
                for change in changes(&held.clone(), &contents(parts, &mut numbers)) {
                    let Ok(()) = held.write(&change);
                    assert_whole(&held);
                }
            }
        }
    }

    #[test]
    fn only_what_differs_is_written() {
        let mut numbers = Numbers::default();
        let (all, fewer) = (contents(0b10_1111, &mut numbers), contents(0b10_1011, &mut numbers));
        let changes = changes(&all, &fewer);
        let kinds: Vec<_> = changes.iter().map(std::mem::discriminant).collect();
        let pool = Change::Pool(0, None);
        assert_eq!(kinds[0], std::mem::discriminant(&pool), "{changes:?}");
        assert_eq!(changes.len(), 4, "pool, then target, its address and its key: {changes:?}");
    }
}
