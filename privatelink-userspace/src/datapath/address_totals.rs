//! What has happened at each address of the endpoints: the map's elements, which the daemon puts in and takes out.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use aya::Ebpf;
use aya::maps::{HashMap as HashMapOfKernel, MapData};
use privatelink_common::flow_table::totals::{AddressCounts, AddressTotals};
use privatelink_common::records::EndpointAddressKey;

use super::error::DatapathError;
use super::handle::another;
use super::object::map_error;
use super::records::Record;

const MAP: &str = "ADDRESS_TOTALS";

type KeyWords = <EndpointAddressKey as Record>::Words;
type Elements = HashMapOfKernel<MapData, KeyWords, <AddressTotals as Record>::Words>;

/// The map, and what is in it.
pub(super) struct AddressTotalsMap(Mutex<(Elements, BTreeSet<EndpointAddressKey>)>);

impl AddressTotalsMap {
    /// That of a loaded object, with what an earlier daemon left there.
    pub(super) fn new(ebpf: &Ebpf) -> Result<Self, DatapathError> {
        let map = another(ebpf, MAP)?;
        let elements: Elements = map.try_into().map_err(|e| map_error(MAP, e))?;
        let keys = elements.keys().map(|words| words.map(|words| Record::from_words(&words)));
        let keys = keys.collect::<Result<_, _>>().map_err(|e| map_error(MAP, e))?;
        Ok(Self(Mutex::new((elements, keys))))
    }

    /// A panic elsewhere leaves keys behind that may or may not be in the map: both are put right later.
    fn lock(&self) -> MutexGuard<'_, (Elements, BTreeSet<EndpointAddressKey>)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts in those that are missing, with nothing counted. Tries all, and says how the last failure came.
    pub(super) fn add(
        &self,
        wanted: impl Iterator<Item = EndpointAddressKey>,
    ) -> Result<(), DatapathError> {
        let (elements, keys) = &mut *self.lock();
        let missing: Vec<_> = wanted.filter(|key| !keys.contains(key)).collect();
        let mut done = Ok(());
        for key in missing {
            match elements.insert(key.to_words(), AddressTotals::default().to_words(), 0) {
                Ok(()) => drop(keys.insert(key)),
                Err(error) => done = Err(map_error(MAP, error)),
            }
        }
        done
    }

    /// What each says now.
    pub(super) fn read(&self) -> Result<HashMap<EndpointAddressKey, AddressCounts>, DatapathError> {
        let (elements, keys) = &*self.lock();
        let read = |key: &EndpointAddressKey| {
            let words = elements.get(&key.to_words(), 0).map_err(|e| map_error(MAP, e))?;
            Ok((*key, AddressTotals::from_words(&words).read()))
        };
        keys.iter().map(read).collect()
    }

    /// Takes some out.
    pub(super) fn remove(&self, gone: &[EndpointAddressKey]) -> Result<(), DatapathError> {
        let (elements, keys) = &mut *self.lock();
        for key in gone.iter().filter(|key| keys.contains(key)).copied().collect::<Vec<_>>() {
            elements.remove(&key.to_words()).map_err(|e| map_error(MAP, e))?;
            keys.remove(&key);
        }
        Ok(())
    }
}
