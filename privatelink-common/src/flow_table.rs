//! The flow table: a slab of records, and an index that finds a record by either direction's key.
//!
//! Every operation is here, generic over how memory is reached ([`FlowMemory`]): the XDP program reaches
//! it through maps, the daemon through the same maps mapped into its own memory, tests through vectors.
//! All of them may work on one table at the same time.

pub mod free;
pub mod index;
pub mod life;
pub mod record;
mod snapshot;

use crate::memory::{Shared, Shared32};
use crate::records::{Settings, Timeouts};
use crate::ticks::Tick;
use life::Pressure;
use record::{Direction, Record};

pub use index::{Bucket, Entry, Insert};
pub use snapshot::{Flow, Half};

/// The table's memory.
pub trait FlowMemory {
    /// The settings; the table's measures are among them.
    fn settings(&self) -> Option<&Settings>;
    /// A record of the slab.
    fn record(&self, number: u32) -> Option<&Record>;
    /// A bucket of the index.
    fn bucket(&self, number: u32) -> Option<&Bucket>;
    /// A word of the map of free records.
    fn free_word(&self, number: u32) -> Option<&Shared>;
    /// What an endpoint uses.
    fn usage(&self, endpoint: u32) -> Option<&Usage>;
    /// The time-outs of an endpoint's flows.
    fn timeouts(&self, endpoint: u32) -> Option<&Timeouts>;

    // The operations below have one meaning, the default one. In the kernel each becomes a function that the verifier
    // checks once, not at every call and on every path.

    /// [`index::find`].
    #[inline(always)]
    fn find(&self, key: [u64; 2]) -> Option<Found<'_>> {
        let entry = index::find(self, key)?;
        Some(Found { record: self.record(entry.number())?, entry })
    }

    /// [`index::insert`].
    #[inline(always)]
    fn insert(&self, key: [u64; 2], number: u32, direction: Direction) -> Insert {
        index::insert(self, key, number, direction)
    }

    /// [`index::remove`].
    #[inline(always)]
    fn remove(&self, key: [u64; 2], number: u32, direction: Direction) {
        index::remove(self, key, number, direction);
    }

    /// [`free::claim`].
    #[inline(always)]
    fn claim(&self, random: u32, now: Tick) -> u32 {
        free::claim(self, random, now)
    }

    /// [`life::sweep`].
    #[inline(always)]
    fn sweep(&self, number: u32, pressure: Pressure, now: Tick) -> bool {
        life::sweep(self, number, pressure, now)
    }
}

/// A record found by a key.
#[derive(Clone, Copy, Debug)]
pub struct Found<'m> {
    /// The record.
    pub record: &'m Record,
    /// Its number, and the direction that has the key.
    pub entry: Entry,
}

/// How much of the table an endpoint uses. Changed by atomic addition by whoever opens or ends a flow.
#[repr(C, align(8))]
#[derive(Clone, Debug, Default)]
pub struct Usage {
    /// Live flows.
    pub flows: Shared,
    /// Those of them that are half-open.
    pub half_open: Shared,
    /// New flows of the current second: the second in the upper half, their count in the lower.
    pub rate: Shared,
    /// Explicit padding.
    pub reserved: Shared,
}

/// Records, buckets and words that a table of some capacity consists of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Measures {
    /// Records: the flows held at most, those whose lease is held included.
    pub records: u32,
    /// Buckets of the index.
    pub buckets: u32,
    /// Words of the map of free records.
    pub free_words: u32,
}

impl Measures {
    /// The measures of a table for `capacity` flows, rounded up to a multiple of 64.
    pub const fn new(capacity: u32) -> Self {
        let records = capacity.next_multiple_of(u64::BITS);
        Self { records, buckets: records / 8 * 3, free_words: records / u64::BITS }
    }

    /// Bytes of memory taken: 152.125 for each flow.
    pub const fn bytes(self) -> u64 {
        self.records as u64 * size_of::<Record>() as u64
            + self.buckets as u64 * size_of::<Bucket>() as u64
            + self.free_words as u64 * size_of::<Shared>() as u64
    }

    /// Bits of a record's number.
    pub const fn number_bits(self) -> u32 {
        u32::BITS - (self.records - 1).leading_zeros()
    }
}

/// Scales a random word to `0..count`. Unlike the bound of a remainder, the verifier can follow this one's.
#[inline(always)]
pub const fn scale(word: u32, count: u32) -> u32 {
    ((word as u64 * count as u64) >> 32) as u32
}

/// Sets all records free. For a table that nobody uses yet.
pub fn clear(memory: &impl FlowMemory, measures: Measures) {
    for word in (0..measures.free_words).filter_map(|number| memory.free_word(number)) {
        word.set(u64::MAX);
    }
}

const _: () = assert!(size_of::<Usage>() == 32 && size_of::<Shared32>() == 4);
