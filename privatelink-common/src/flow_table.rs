//! The flow table: a slab of halves, one cache line for each direction of a flow, where a half mostly lies at the
//! place that its key's hash says; and an index of those that do not.
//!
//! Every operation is here, generic over how memory is reached ([`FlowMemory`]): the XDP program reaches
//! it through maps, the daemon through the same maps mapped into its own memory, tests through vectors.
//! All of them may work on one table at the same time.

pub mod bucket;
pub mod ending;
pub mod free;
pub mod half;
pub mod index;
pub mod life;
pub mod note;
mod packet_key;
pub mod record;
mod snapshot;
mod spot;
mod strays;
pub mod totals;

use crate::memory::Shared;
use crate::records::{EndpointAddressKey, Settings, Timeouts};
use crate::ticks::Tick;
use crate::wide::Ends;
use bucket::Bucket;
use half::{Direction, FlowHalf};
use life::Pressure;
use note::Notes;
use record::{Place, Record};
use totals::{AddressTotals, Totals};

pub use index::Insert;
pub use packet_key::PacketKey;
pub use snapshot::{Flow, Half};

/// The table's memory.
pub trait FlowMemory {
    /// The settings; the table's measures are among them.
    fn settings(&self) -> Option<&Settings>;
    /// A half of the slab.
    fn half(&self, number: u32) -> Option<&FlowHalf>;
    /// A bucket of the index.
    fn bucket(&self, number: u32) -> Option<&Bucket>;
    /// A word of the map of free halves.
    fn free_word(&self, number: u32) -> Option<&Shared>;
    /// A word of the counts of strays.
    fn strays(&self, number: u32) -> Option<&Shared>;
    /// The notes of two halves.
    fn notes(&self, number: u32) -> Option<&Notes>;
    /// What an endpoint uses.
    fn usage(&self, endpoint: u32) -> Option<&Usage>;
    /// What has happened to a target's flows.
    fn target_totals(&self, target: u32) -> Option<&Totals>;
    /// What has happened to the flows through an address of an endpoint.
    fn address_totals(&self, key: &EndpointAddressKey) -> Option<&AddressTotals>;
    /// The time-outs of an endpoint's flows.
    fn timeouts(&self, endpoint: u32) -> Option<&Timeouts>;

    /// What has happened to the flows through the address by which a flow was opened. Its forward half still has its key.
    #[inline(always)]
    fn totals_by_address(&self, record: &Record<'_>) -> Option<&AddressTotals> {
        let endpoint = record.place().endpoint();
        self.address_totals(&EndpointAddressKey::of_flow(endpoint, record.forward.key_words()))
    }

    /// The addresses of a half; the narrow table has none beside its keys.
    #[inline(always)]
    fn ends(&self, number: u32) -> Option<&Ends> {
        let _ = number;
        None
    }

    /// Tells that a flow has ended ([`crate::flow_event::Ended`]), while all of its record is still there. Nobody listens to
    /// a table that no packets change.
    #[inline(always)]
    fn tell_ended(&self, number: u32, place: Place, last: u32, now: Tick) {
        let _ = (number, place, last, now);
    }

    // The operations below have one meaning, the default one. In the kernel each becomes a function that the verifier
    // checks once, not at every call and on every path.

    /// [`index::find`].
    #[inline(always)]
    fn find(&self, key: [u64; 2]) -> Option<Found<'_>> {
        Found::of(self, index::find(self, key))
    }

    /// [`index::insert`].
    #[inline(always)]
    fn insert(&self, key: [u64; 2], number: u32) -> Insert {
        index::insert(self, key, number)
    }

    /// [`index::remove`].
    #[inline(always)]
    fn remove(&self, number: u32) {
        index::remove(self, number);
    }

    /// [`free::claim`].
    #[inline(always)]
    fn claim(&self, key: [u64; 2], random: u32, now: Tick) -> u32 {
        free::claim(self, key, random, now)
    }

    /// [`life::sweep`].
    #[inline(always)]
    fn sweep(&self, number: u32, pressure: Pressure, now: Tick) -> bool {
        life::sweep(self, number, pressure, now)
    }

    /// [`life::cut`].
    #[inline(always)]
    fn cut(&self, number: u32, place: Place, now: Tick) -> bool {
        life::cut(self, number, place, now)
    }

    /// [`totals::count_ended`].
    #[inline(always)]
    fn count_ended(&self, number: u32) {
        totals::count_ended(self, number);
    }

    /// [`index::owner`].
    #[inline(always)]
    fn owner(&self, number: u32) -> u32 {
        index::owner(self, number)
    }

    /// The flow whose forward half has this number.
    #[inline(always)]
    fn record(&self, number: u32) -> Option<Record<'_>> {
        let forward = self.half(number)?;
        if forward.direction() == Direction::Reverse {
            return None;
        }
        Some(Record { number, forward, reverse: self.half(forward.other())? })
    }
}

/// A half found by a key.
#[derive(Clone, Copy, Debug)]
pub struct Found<'m> {
    /// The half.
    pub half: &'m FlowHalf,
    /// Its number, and which direction it is.
    pub entry: Entry,
}

impl<'m> Found<'m> {
    /// What an entry tells of.
    #[inline(always)]
    pub fn of<M: FlowMemory + ?Sized>(memory: &'m M, entry: Entry) -> Option<Self> {
        Some(Self { half: memory.half(entry.number())?, entry })
    }

    /// Its number.
    #[inline(always)]
    pub const fn number(&self) -> u32 {
        self.entry.number()
    }

    /// Which direction of its flow it is.
    #[inline(always)]
    pub const fn direction(&self) -> Direction {
        self.entry.direction()
    }
}

/// A half's number and direction, in one word: so that it is what a function of the kernel's program returns, and the
/// verifier knows the direction to be the same wherever it is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry(pub u64);

impl Entry {
    /// No half's.
    pub const NONE: Self = Self(NONE as u64);

    /// The entry of a half.
    #[inline(always)]
    pub const fn new(number: u32, direction: Direction) -> Self {
        Self(number as u64 | (direction as u64) << 32)
    }

    /// Number of the half.
    #[inline(always)]
    pub const fn number(self) -> u32 {
        self.0 as u32
    }

    /// Its direction.
    #[inline(always)]
    pub const fn direction(self) -> Direction {
        match self.0 >> 32 {
            0 => Direction::Forward,
            _ => Direction::Reverse,
        }
    }
}

/// How much of the table an endpoint uses, and what has happened to its flows. Changed by atomic addition by whoever opens
/// or ends a flow.
#[repr(C, align(8))]
#[derive(Clone, Debug, Default)]
pub struct Usage {
    /// Live flows.
    pub flows: Shared,
    /// Those of them that are half-open.
    pub half_open: Shared,
    /// New flows of the current second: the second in the upper half, their count in the lower.
    pub rate: Shared,
    /// What has happened.
    pub totals: Totals,
    /// Explicit padding, so that no two endpoints share a cache line.
    pub reserved: [Shared; 3],
}

/// Elements of each kind that a table of some capacity consists of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Measures {
    /// Halves: twice as many as flows are held at most, those whose lease is held included.
    pub halves: u32,
    /// Buckets of the index.
    pub buckets: u32,
    /// Words of the map of free halves.
    pub free_words: u32,
    /// Words of the counts of strays.
    pub stray_words: u32,
}

impl Measures {
    /// The measures of a table for `capacity` flows, rounded up to a multiple of 64.
    pub const fn new(capacity: u32) -> Self {
        let flows = capacity.next_multiple_of(u64::BITS);
        let halves = flows * 2;
        Self {
            halves,
            buckets: flows / 4,
            free_words: halves / u64::BITS,
            stray_words: halves / strays::HALVES,
        }
    }

    /// Most flows.
    pub const fn flows(self) -> u32 {
        self.halves / 2
    }

    /// Bytes of memory taken: 153.25 for each flow.
    pub const fn bytes(self) -> u64 {
        self.halves as u64 * size_of::<FlowHalf>() as u64
            + self.buckets as u64 * size_of::<Bucket>() as u64
            + (self.free_words as u64 + self.stray_words as u64) * size_of::<Shared>() as u64
            + Notes::count(self.halves) as u64 * size_of::<Notes>() as u64
    }

    /// Bits of a half's number.
    pub const fn number_bits(self) -> u32 {
        u32::BITS - (self.halves - 1).leading_zeros()
    }
}

/// No half's number.
///
/// Not an `Option`: its number is undefined where there is none, and LLVM stores such a register, which the verifier
/// refuses.
pub const NONE: u32 = u32::MAX;

/// Scales a random word to `0..count`. Unlike the bound of a remainder, the verifier can follow this one's.
#[inline(always)]
pub const fn scale(word: u32, count: u32) -> u32 {
    ((word as u64 * count as u64) >> 32) as u32
}

/// Sets all halves free. For a table that nobody uses yet.
pub fn clear(memory: &impl FlowMemory, measures: Measures) {
    for word in (0..measures.free_words).filter_map(|number| memory.free_word(number)) {
        word.set(u64::MAX);
    }
}

const _: () = assert!(size_of::<Usage>() == 128 && size_of::<Totals>() == 80);
const _: () = assert!(size_of::<AddressTotals>() == 40);
