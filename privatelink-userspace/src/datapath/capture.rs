//! The watched program, and what it tells of packets.

use aya::maps::{MapData, PerCpuArray, RingBuf};
use privatelink_common::capture::{Captured, Counts, Order};

use super::error::DatapathError;
use super::handle::another;
use super::object::{Datapath, map_error};
use super::records::Record;

const RING: &str = "CAPTURED";

/// Packets that the watched program tells of.
pub struct Ring(RingBuf<MapData>);

impl Ring {
    /// Hands over what is told of the next packet, its bytes as it arrived and as it left; false where nothing waits.
    pub fn next(&mut self, take: impl FnOnce(&Captured, &[u8], &[u8])) -> bool {
        let Some(item) = self.0.next() else {
            return false;
        };
        if let Some((captured, bytes)) = split(&item)
            && let Some((before, rest)) = bytes.split_at_checked(captured.before as usize)
            && let Some(after) = rest.get(..captured.after as usize)
        {
            take(&captured, before, after);
        }
        true
    }
}

fn split(item: &[u8]) -> Option<(Captured, &[u8])> {
    let (head, bytes) = item.split_at_checked(size_of::<Captured>())?;
    let mut words = [0; size_of::<Captured>() / 8];
    for (word, bytes) in words.iter_mut().zip(head.as_chunks().0) {
        *word = u64::from_ne_bytes(*bytes);
    }
    Some((Captured::from_words(&words), bytes))
}

impl Datapath {
    /// Has the watched program run, or the usual one, where [`super::Links`] attaches or swaps from now on. The watched one
    /// is loaded when it is first wanted, so that a gateway owes nothing to it.
    pub fn set_watched(&mut self, watched: bool) -> Result<(), DatapathError> {
        if watched {
            self.load_watched()?;
        }
        self.watched = watched;
        if watched { self.join_stages() } else { Ok(()) }
    }

    /// Loads the watched programs, unless they are loaded.
    pub fn load_watched(&mut self) -> Result<(), DatapathError> {
        self.load_programs(true)
    }

    /// Tells the watched program what to take.
    pub fn set_capture(&mut self, order: &Order) -> Result<(), DatapathError> {
        self.set("CAPTURE", 0, order)
    }

    /// What became of the packets that came in by the interface in a slot, since the start.
    pub fn capture_counts(&self, slot: u32) -> Result<Counts, DatapathError> {
        const MAP: &str = "CAPTURE_COUNTS";
        let map = self.ebpf.map(MAP).ok_or(DatapathError::Object(MAP))?;
        let map: PerCpuArray<_, <Counts as Record>::Words> =
            PerCpuArray::try_from(map).map_err(|e| map_error(MAP, e))?;
        let mut sum = Counts::default();
        for words in map.get(&slot, 0).map_err(|e| map_error(MAP, e))?.iter() {
            let Counts { wanted, sampled_out, rate_limited, lost } = Counts::from_words(words);
            sum.wanted += wanted;
            sum.sampled_out += sampled_out;
            sum.rate_limited += rate_limited;
            sum.lost += lost;
        }
        Ok(sum)
    }

    /// The reader of captured packets. There may be one: what it has read is gone.
    pub fn ring(&self) -> Result<Ring, DatapathError> {
        let map = another(&self.ebpf, RING)?;
        RingBuf::try_from(map).map(Ring).map_err(|e| map_error(RING, e))
    }
}
