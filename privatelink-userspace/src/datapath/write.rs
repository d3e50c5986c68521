//! Writing changes into the maps.

use std::time::Instant;

use aya::maps::lpm_trie::{Key, LpmTrie};
use aya::maps::{Array, DevMap, HashMap, MapError};
use nix::libc::ENOENT;
use privatelink_common::maglev::{Candidate, Table};
use privatelink_common::records::{Endpoint, Interface, Listener};
use privatelink_common::wide::WideRules;

use super::error::{DatapathError, errno};
use super::object::{Datapath, map_error};
use super::pools::NO_TABLE;
use super::records::Record;
use crate::contents::TargetWay;
use crate::reconcile::{Change, Maps};

impl Maps for Datapath {
    type Error = DatapathError;

    fn write(&mut self, change: &Change) -> Result<(), DatapathError> {
        match change {
            Change::Settings(settings) => self.set("SETTINGS", 0, settings),
            Change::WideSettings(settings) => self.set("WIDE_SETTINGS", 0, settings),
            Change::Interface(slot, record) => self.set_interface(*slot, record.as_ref()),
            Change::Target(number, target) => {
                let record = target.as_ref().map(TargetWay::record).unwrap_or_default();
                self.set("TARGETS", *number, &record)
            }
            Change::WideTarget(number, address) => {
                self.set("WIDE_TARGETS", *number, &address.unwrap_or_default())
            }
            Change::TargetKey(key, number) => self.put("TARGET_KEYS", key.to_words(), *number),
            Change::WideTargetKey(key, number) => {
                self.put("WIDE_TARGET_KEYS", key.to_words(), *number)
            }
            Change::Pool(number, pool) => self.set_pool(*number, pool.as_deref()),
            Change::LoadBalancer(number, record) => {
                self.set("BALANCERS", *number, &record.unwrap_or_default())
            }
            Change::Endpoint(number, record) => {
                self.set("ENDPOINTS", *number, record.as_deref().unwrap_or(&Endpoint::default()))
            }
            Change::WideLoadBalancer(number, record) => {
                let record = record.as_deref().copied().unwrap_or_default();
                self.set("WIDE_BALANCERS", *number, &record)
            }
            Change::WideRules(number, record) => {
                self.set("WIDE_RULES", *number, record.as_deref().unwrap_or(&WideRules::default()))
            }
            Change::Listener(key, record) => {
                self.set_listener("LISTENERS", Key::new(key.bits, key.of), record.as_ref())
            }
            Change::WideListener(key, record) => {
                self.set_listener("WIDE_LISTENERS", Key::new(key.bits, key.of), record.as_ref())
            }
            Change::Address(key, record) => {
                self.put("ADDRESSES", key.to_words(), record.as_ref().map(Record::to_words))
            }
            Change::WideAddress(key, record) => {
                self.put("WIDE_ADDRESSES", key.to_words(), record.as_ref().map(Record::to_words))
            }
        }
    }
}

impl Datapath {
    /// Makes an interface known, or changed: first as a device to send by, then as one to receive from. The kernel
    /// has removed a deleted device from the device map itself.
    fn set_interface(
        &mut self,
        slot: u32,
        interface: Option<&Interface>,
    ) -> Result<(), DatapathError> {
        if let Some(interface) = interface {
            let mut devices =
                DevMap::try_from(self.map("DEVICES")?).map_err(|e| map_error("DEVICES", e))?;
            devices.set(slot, interface.ifindex, None, 0).map_err(|e| DatapathError::Program {
                program: "privatelink",
                cause: format!("map DEVICES: {e}"),
            })?;
        }
        self.set("INTERFACES", slot, interface.unwrap_or(&Interface::default()))
    }

    /// Replaces the Maglev table of a pool as a whole, or takes it away.
    fn set_pool(&mut self, pool: u32, targets: Option<&[Candidate]>) -> Result<(), DatapathError> {
        let now = Instant::now();
        let Some(targets) = targets else {
            self.put_in_force(pool, NO_TABLE)?;
            self.tables.release(pool, now);
            return Ok(());
        };
        let number = self
            .tables
            .writable(pool, now)
            .ok_or(DatapathError::TooManyPools { most: self.most_pools })?;
        self.set("MAGLEV", number, &*Table::build(targets))?;
        self.put_in_force(pool, number)?;
        self.tables.put_in_force(pool, number, now);
        Ok(())
    }

    fn put_in_force(&mut self, pool: u32, table: u32) -> Result<(), DatapathError> {
        const MAP: &str = "POOLS";
        let mut pools: Array<_, u32> =
            Array::try_from(self.map(MAP)?).map_err(|e| map_error(MAP, e))?;
        pools.set(pool, table, 0).map_err(|e| map_error(MAP, e))
    }

    fn set_listener<K: aya::Pod>(
        &mut self,
        name: &'static str,
        key: Key<K>,
        listener: Option<&Listener>,
    ) -> Result<(), DatapathError> {
        let mut map: LpmTrie<_, K, <Listener as Record>::Words> =
            LpmTrie::try_from(self.map(name)?).map_err(|e| map_error(name, e))?;
        let done = match listener {
            Some(listener) => map.insert(&key, listener.to_words(), 0),
            None => unless_missing(map.remove(&key)),
        };
        done.map_err(|e| map_error(name, e))
    }

    /// Puts an element into a hash map, or takes it out.
    fn put<K: aya::Pod, V: aya::Pod>(
        &mut self,
        name: &'static str,
        key: K,
        value: Option<V>,
    ) -> Result<(), DatapathError> {
        let mut map: HashMap<_, K, V> =
            HashMap::try_from(self.map(name)?).map_err(|e| map_error(name, e))?;
        let done = match value {
            Some(value) => map.insert(key, value, 0),
            None => unless_missing(map.remove(&key)),
        };
        done.map_err(|e| map_error(name, e))
    }
}

/// What is not there need not be removed.
pub(super) fn unless_missing(removed: Result<(), MapError>) -> Result<(), MapError> {
    removed.or_else(|error| if errno(&error) == Some(ENOENT) { Ok(()) } else { Err(error) })
}
