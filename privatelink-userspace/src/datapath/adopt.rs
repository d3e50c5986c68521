//! Maps that outlive the daemon: which, how large, and what an earlier daemon left in them.

use std::collections::HashMap;
use std::fs;
use std::hash::Hash;

use aya::maps::lpm_trie::{Key, LpmTrie};
use aya::maps::{Array, HashMap as HashMapOfKernel, Map, MapData, MapError, MapInfo};
use privatelink_common::flow_table::Measures;
use privatelink_common::flow_table::note::Notes;
use privatelink_common::limits::{INTERFACE_SLOTS, MAX_POOLS};
use privatelink_common::records::{
    Address, AddressKey, Interface, Listener, ListenerKey, Settings, Target, TargetKey,
};
use privatelink_common::wide::{
    WideAddress, WideAddressKey, WideListenerKey, WideLoadBalancer, WideRules, WideTargetKey,
};

use super::error::DatapathError;
use super::object::{Datapath, map_error};
use super::pins::{Pins, pin_error};
use super::records::Record;
use crate::contents::zones::pools;
use crate::contents::{Contents, TargetWay, flow_table, wide_flow_table};
use crate::model::Model;
use crate::numbers::{Kind, Numbers};

/// How many pools there is room for beyond those at the start, so that some can be added.
const SPARE_POOLS: usize = 64;

/// The maps that outlive the daemon. Pools and their tables do not: each daemon makes its own, as large as they must be,
/// and its program goes to them as it is swapped in.
pub(super) const PINNED: [&str; 39] = [
    "ADDRESSES",
    "ADDRESS_TOTALS",
    "BALANCERS",
    "CLASSIFIERS",
    "DEVICES",
    "DROPS",
    "ENDPOINTS",
    "EVENTS_LOST",
    "FLOWS",
    "FLOW_EVENTS",
    "FLOW_FREE",
    "FLOW_INDEX",
    "FLOW_NOTES",
    "FLOW_STRAYS",
    "FLOW_USAGE",
    "FRAGMENTS",
    "FRAGMENT_IDS",
    "ICMP_BUDGETS",
    "INTERFACES",
    "LISTENERS",
    "RESERVED_PORTS",
    "SETTINGS",
    "STAGES",
    "TARGETS",
    "TARGET_KEYS",
    "TARGET_TOTALS",
    "WIDE_ADDRESSES",
    "WIDE_BALANCERS",
    "WIDE_FLOWS",
    "WIDE_FREE",
    "WIDE_INDEX",
    "WIDE_LISTENERS",
    "WIDE_NOTES",
    "WIDE_RULES",
    "WIDE_SETTINGS",
    "WIDE_STRAYS",
    "WIDE_TARGETS",
    "WIDE_TARGET_KEYS",
    "WIDE_TOTALS",
];

/// How large the maps are to be.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    /// Of the flow table.
    pub flow_table: Measures,
    /// Of the one for flows with IPv6.
    pub wide_flow_table: Measures,
    /// How many pools of targets.
    pub pools: usize,
}

impl Sizes {
    /// For a model.
    pub fn of(model: &Model) -> Self {
        Self {
            flow_table: flow_table(model),
            wide_flow_table: wide_flow_table(model),
            pools: pools(model).len(),
        }
    }

    /// Most pools that there can be.
    pub(super) fn most_pools(self) -> usize {
        (self.pools + SPARE_POOLS).min(MAX_POOLS)
    }

    /// Tables of pools: two for each, so that one can be written while the other is in force; and the empty one.
    pub(super) fn tables(self) -> u32 {
        2 * self.most_pools() as u32 + 1
    }

    /// Of each map whose size is not known beforehand.
    pub(super) fn by_map(self) -> [(&'static str, u32); 11] {
        let Measures { halves, buckets, free_words, stray_words } = self.flow_table;
        let wide = self.wide_flow_table;
        [
            ("MAGLEV", self.tables()),
            ("FLOWS", halves),
            ("FLOW_NOTES", Notes::count(halves)),
            ("FLOW_INDEX", buckets),
            ("FLOW_FREE", free_words),
            ("FLOW_STRAYS", stray_words),
            ("WIDE_FLOWS", wide.halves),
            ("WIDE_NOTES", Notes::count(wide.halves)),
            ("WIDE_INDEX", wide.buckets),
            ("WIDE_FREE", wide.free_words),
            ("WIDE_STRAYS", wide.stray_words),
        ]
    }
}

/// Whether an earlier daemon left all maps, in the sizes wanted.
pub(super) fn are_adoptable(
    pins: &Pins,
    wanted: &[(&'static str, u32)],
) -> Result<bool, DatapathError> {
    if !were_in_force(pins)? {
        for path in PINNED.iter().map(|name| pins.map(name)).filter(|path| path.exists()) {
            fs::remove_file(&path).map_err(|error| pin_error(&path, &error.to_string()))?;
        }
        return Ok(false);
    }
    for &(map, wanted) in wanted.iter().filter(|(map, _)| PINNED.contains(map)) {
        let info = MapInfo::from_pin(pins.map(map)).map_err(|e| map_error(map, e))?;
        let found = info.max_entries();
        if found != wanted {
            return Err(DatapathError::OtherSize { map, found, wanted });
        }
    }
    Ok(true)
}

/// Whether the maps are all there and were filled. If not, a daemon died while it made them, before anything was
/// attached: the generation is in the settings before a link is pinned.
fn were_in_force(pins: &Pins) -> Result<bool, DatapathError> {
    const MAP: &str = "SETTINGS";
    if !PINNED.iter().all(|name| pins.map(name).exists()) {
        return Ok(false);
    }
    let failed = |error| map_error(MAP, error);
    let map = Map::Array(MapData::from_pin(pins.map(MAP)).map_err(failed)?);
    let map: Array<_, <Settings as Record>::Words> = Array::try_from(map).map_err(failed)?;
    let settings = <Settings as Record>::from_words(&map.get(&0, 0).map_err(failed)?);
    Ok(settings.generation != 0)
}

impl Datapath {
    /// What maps hold that an earlier daemon left, as far as it is needed to go on from there; `None` where they are new.
    /// `numbers` are those that were given: nothing else is in force. Endpoints, IPv4 addresses of load balancers and pools are
    /// left out, and so written anew.
    pub fn adopted(&mut self, numbers: &Numbers) -> Result<Option<Contents>, DatapathError> {
        if !self.adopted {
            return Ok(None);
        }
        let mut contents = Contents {
            settings: self.get("SETTINGS", 0)?,
            wide_settings: self.get("WIDE_SETTINGS", 0)?,
            addresses: self.elements("ADDRESSES", AddressKey::from_words, |words| {
                <Address as Record>::from_words(words)
            })?,
            target_keys: self
                .elements("TARGET_KEYS", TargetKey::from_words, |&number: &u32| number)?,
            wide_addresses: self.elements(
                "WIDE_ADDRESSES",
                WideAddressKey::from_words,
                <Address as Record>::from_words,
            )?,
            wide_target_keys: self.elements(
                "WIDE_TARGET_KEYS",
                WideTargetKey::from_words,
                |&number: &u32| number,
            )?,
            listeners: self.listeners("LISTENERS", |bits, of| ListenerKey { bits, of })?,
            wide_listeners: self
                .listeners("WIDE_LISTENERS", |bits, of| WideListenerKey { bits, of })?,
            ..Contents::default()
        };
        for slot in 0..INTERFACE_SLOTS {
            let interface: Interface = self.get("INTERFACES", slot)?;
            if interface.ifindex != 0 {
                contents.interfaces.insert(slot, interface);
            }
        }
        for number in numbers.of_kind(Kind::Target) {
            let target: Target = self.get("TARGETS", number)?;
            if target.vpc != 0 {
                contents.targets.insert(number, TargetWay::of(&target));
                let address: WideAddress = self.get("WIDE_TARGETS", number)?;
                contents.wide_targets.insert(number, address);
            }
        }
        for number in numbers.of_kind(Kind::Endpoint) {
            let rules: WideRules = self.get("WIDE_RULES", number)?;
            if rules.count != 0 {
                contents.wide_rules.insert(number, rules);
            }
        }
        for number in numbers.of_kind(Kind::Face).flat_map(|face| [2 * face, 2 * face + 1]) {
            let balancer: WideLoadBalancer = self.get("WIDE_BALANCERS", number)?;
            if balancer.names.count != 0 {
                contents.wide_load_balancers.insert(number, balancer);
            }
        }
        Ok(Some(contents))
    }

    fn elements<KeyWords: aya::Pod, ValueWords: aya::Pod, K: Eq + Hash, V>(
        &mut self,
        name: &'static str,
        key_of: impl Fn(&KeyWords) -> K,
        value_of: impl Fn(&ValueWords) -> V,
    ) -> Result<HashMap<K, V>, DatapathError> {
        let map: HashMapOfKernel<_, KeyWords, ValueWords> =
            HashMapOfKernel::try_from(self.map(name)?).map_err(|e| map_error(name, e))?;
        let element = |element: Result<_, MapError>| {
            element.map(|(key, value)| (key_of(&key), value_of(&value)))
        };
        map.iter().map(element).collect::<Result<_, _>>().map_err(|e| map_error(name, e))
    }

    fn listeners<KeyWords: aya::Pod, K: Eq + Hash>(
        &mut self,
        name: &'static str,
        key_of: impl Fn(u32, KeyWords) -> K,
    ) -> Result<HashMap<K, Listener>, DatapathError> {
        let map: LpmTrie<_, KeyWords, <Listener as Record>::Words> =
            LpmTrie::try_from(self.map(name)?).map_err(|e| map_error(name, e))?;
        let element = |element: Result<(Key<KeyWords>, _), MapError>| {
            let (key, words) = element?;
            Ok((key_of(key.prefix_len(), key.data()), Listener::from_words(&words)))
        };
        map.iter().map(element).collect::<Result<_, _>>().map_err(|e| map_error(name, e))
    }
}
