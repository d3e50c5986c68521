//! The flow map: listing and removing.

use aya::maps::{HashMap, MapData};
use privatelink_common::records::{FlowHalf, FlowKey};

use super::error::DatapathError;
use super::records::Record;

const MAP: &str = "FLOWS";

/// The flow map of the running data path.
pub struct FlowTable {
    map: HashMap<MapData, <FlowKey as Record>::Words, <FlowHalf as Record>::Words>,
    capacity: u64,
}

impl FlowTable {
    pub(super) fn new(map: aya::maps::Map) -> Result<Self, DatapathError> {
        let map = HashMap::try_from(map).map_err(error)?;
        let capacity = u64::from(privatelink_common::limits::FLOW_ENTRIES / 2);
        Ok(Self { map, capacity })
    }

    /// Most flows it can hold.
    pub const fn capacity(&self) -> u64 {
        self.capacity
    }

    /// All entries at about this moment: entries made or removed meanwhile may or may not be among them.
    pub fn entries(&self) -> Result<Vec<(FlowKey, FlowHalf)>, DatapathError> {
        self.map
            .iter()
            .map(|entry| {
                entry.map(|(key, half)| (FlowKey::from_words(&key), FlowHalf::from_words(&half)))
            })
            .collect::<Result<_, _>>()
            .map_err(error)
    }

    /// The entry of a key as it is now.
    pub fn entry(&self, key: &FlowKey) -> Option<FlowHalf> {
        self.map.get(&key.to_words(), 0).ok().map(|words| FlowHalf::from_words(&words))
    }

    /// Puts an entry in, for tests and benchmarks; the daemon leaves opening flows to the data path.
    pub fn insert(&mut self, key: &FlowKey, half: &FlowHalf) -> Result<(), DatapathError> {
        self.map.insert(key.to_words(), half.to_words(), 0).map_err(error)
    }

    /// Removes an entry; one that is gone already is no error.
    pub fn remove(&mut self, key: &FlowKey) {
        let _ = self.map.remove(&key.to_words());
    }
}

const fn error(source: aya::maps::MapError) -> DatapathError {
    DatapathError::Map { map: MAP, source }
}
