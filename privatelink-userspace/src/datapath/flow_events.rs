//! What the data path tells as it happens.

use aya::maps::{MapData, PerCpuArray, RingBuf};
use privatelink_common::flow_event::{FlowEvent, Lost};

use super::error::DatapathError;
use super::handle::another;
use super::object::{Datapath, map_error};
use super::records::Record;

const RING: &str = "FLOW_EVENTS";
const LOST: &str = "EVENTS_LOST";

/// The events, in the order in which they happened on each CPU. One reader.
pub struct FlowEvents {
    ring: RingBuf<MapData>,
    lost: PerCpuArray<MapData, <Lost as Record>::Words>,
}

impl Datapath {
    /// The reader of what the data path tells. There may be one: what it has read is gone.
    ///
    /// # Errors
    ///
    /// The maps cannot be reached.
    pub fn events(&self) -> Result<FlowEvents, DatapathError> {
        let ring = RingBuf::try_from(another(&self.ebpf, RING)?).map_err(|e| map_error(RING, e))?;
        let lost =
            PerCpuArray::try_from(another(&self.ebpf, LOST)?).map_err(|e| map_error(LOST, e))?;
        Ok(FlowEvents { ring, lost })
    }
}

/// What has happened so far; more may come after `None`.
impl Iterator for FlowEvents {
    type Item = FlowEvent;

    fn next(&mut self) -> Option<FlowEvent> {
        loop {
            // What is no event was written by no data path of this schema.
            if let Some(event) = FlowEvent::read(&self.ring.next()?) {
                return Some(event);
            }
        }
    }
}

impl FlowEvents {
    /// How many there was no room for, since the maps were made.
    pub fn lost(&self) -> Result<Lost, DatapathError> {
        let per_cpu = self.lost.get(&0, 0).map_err(|e| map_error(LOST, e))?;
        let counts = per_cpu.iter().map(Lost::from_words);
        Ok(counts.fold(Lost::default(), |sum, of| Lost {
            ended: sum.ended + of.ended,
            refused: sum.refused + of.refused,
        }))
    }
}
