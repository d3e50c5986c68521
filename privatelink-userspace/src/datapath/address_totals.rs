//! What has happened at each address of the endpoints: the maps' elements, which the daemon puts in and takes out.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use aya::Ebpf;
use aya::maps::{HashMap as HashMapOfKernel, MapData, MapError};
use privatelink_common::flow_table::totals::{AddressCounts, AddressTotals};
use privatelink_common::records::EndpointAddressKey;
use privatelink_common::wide::WideEndpointAddressKey;

use super::error::DatapathError;
use super::handle::another;
use super::object::map_error;
use super::records::Record;
use crate::contents::{CountedAddress, ipv4_address, network_order};

type Words<R> = <R as Record>::Words;
type Elements<Key> = HashMapOfKernel<MapData, Words<Key>, Words<AddressTotals>>;

/// The map of IPv4 addresses, and that of IPv6 addresses.
const NARROW: &str = "ADDRESS_TOTALS";
const WIDE: &str = "WIDE_TOTALS";

/// Both maps.
struct Maps {
    narrow: Elements<EndpointAddressKey>,
    wide: Elements<WideEndpointAddressKey>,
}

/// The maps, and what is in them.
pub(super) struct AddressTotalsMaps(Mutex<(Maps, HashSet<CountedAddress>)>);

impl AddressTotalsMaps {
    /// Those of a loaded object, with what an earlier daemon left there.
    pub(super) fn new(ebpf: &Ebpf) -> Result<Self, DatapathError> {
        let maps = Maps {
            narrow: narrow(another(ebpf, NARROW)?.try_into())?,
            wide: wide(another(ebpf, WIDE)?.try_into())?,
        };
        let mut keys = HashSet::new();
        for words in maps.narrow.keys() {
            keys.insert(of_narrow(&Record::from_words(&narrow(words)?)));
        }
        for words in maps.wide.keys() {
            keys.insert(of_wide(&Record::from_words(&wide(words)?)));
        }
        Ok(Self(Mutex::new((maps, keys))))
    }

    /// A panic elsewhere leaves keys behind that may or may not be in a map: both are put right later.
    fn lock(&self) -> MutexGuard<'_, (Maps, HashSet<CountedAddress>)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts in those that are missing, with nothing counted. Tries all, and says how the last failure came.
    pub(super) fn add(
        &self,
        wanted: impl Iterator<Item = CountedAddress>,
    ) -> Result<(), DatapathError> {
        let (maps, keys) = &mut *self.lock();
        let missing: Vec<_> = wanted.filter(|key| !keys.contains(key)).collect();
        let mut done = Ok(());
        for key in missing {
            match maps.insert(&key) {
                Ok(()) => drop(keys.insert(key)),
                Err(error) => done = Err(error),
            }
        }
        done
    }

    /// What each says now.
    pub(super) fn read(&self) -> Result<HashMap<CountedAddress, AddressCounts>, DatapathError> {
        let (maps, keys) = &*self.lock();
        keys.iter().map(|key| Ok((*key, maps.get(key)?.read()))).collect()
    }

    /// Takes some out.
    pub(super) fn remove(&self, gone: &[CountedAddress]) -> Result<(), DatapathError> {
        let (maps, keys) = &mut *self.lock();
        for key in gone {
            if keys.contains(key) {
                maps.remove(key)?;
                keys.remove(key);
            }
        }
        Ok(())
    }
}

impl Maps {
    fn insert(&mut self, key: &CountedAddress) -> Result<(), DatapathError> {
        let nothing = AddressTotals::default().to_words();
        match Key::of(key) {
            Key::Narrow(key) => narrow(self.narrow.insert(key.to_words(), nothing, 0)),
            Key::Wide(key) => wide(self.wide.insert(key.to_words(), nothing, 0)),
        }
    }

    fn get(&self, key: &CountedAddress) -> Result<AddressTotals, DatapathError> {
        let words = match Key::of(key) {
            Key::Narrow(key) => narrow(self.narrow.get(&key.to_words(), 0)),
            Key::Wide(key) => wide(self.wide.get(&key.to_words(), 0)),
        };
        words.map(|words| AddressTotals::from_words(&words))
    }

    fn remove(&mut self, key: &CountedAddress) -> Result<(), DatapathError> {
        match Key::of(key) {
            Key::Narrow(key) => narrow(self.narrow.remove(&key.to_words())),
            Key::Wide(key) => wide(self.wide.remove(&key.to_words())),
        }
    }
}

fn narrow<T>(result: Result<T, MapError>) -> Result<T, DatapathError> {
    result.map_err(|error| map_error(NARROW, error))
}

fn wide<T>(result: Result<T, MapError>) -> Result<T, DatapathError> {
    result.map_err(|error| map_error(WIDE, error))
}

/// The key in the map that an address is in.
enum Key {
    Narrow(EndpointAddressKey),
    Wide(WideEndpointAddressKey),
}

impl Key {
    fn of(&CountedAddress { address, vpc, endpoint }: &CountedAddress) -> Self {
        match address {
            IpAddr::V4(address) => {
                let address = network_order(address);
                Self::Narrow(EndpointAddressKey { address, vpc, endpoint })
            }
            IpAddr::V6(_) => Self::Wide(WideEndpointAddressKey::new(vpc, address.into(), endpoint)),
        }
    }
}

fn of_narrow(
    &EndpointAddressKey { address, vpc, endpoint }: &EndpointAddressKey,
) -> CountedAddress {
    CountedAddress { address: ipv4_address(address).into(), vpc, endpoint }
}

fn of_wide(key: &WideEndpointAddressKey) -> CountedAddress {
    CountedAddress { address: key.address.into(), vpc: key.vpc, endpoint: key.endpoint }
}
