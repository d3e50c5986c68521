//! The index: from a key to the record that has it.
//!
//! A bucket is one cache line: a lock and fifteen entries, each some bits of the key's hash and the
//! number and direction of a record. A key's entry is in its home bucket or, where that is full, in the
//! bucket beside it. With three buckets for eight flows an average bucket holds five entries, and of a
//! full table's buckets not one pair in a million overflows.
//!
//! Readers take no lock: an entry is one word, and a record is filled before its entry is written.
//! Two CPUs that insert the same key at once are told apart by the lock of the key's home bucket, so a
//! key is never there twice; entries of different keys for one place are told apart by exchanging the
//! empty word. Removal needs no lock.

use super::FlowMemory;
use super::record::Direction;
use crate::hash::hash;
use crate::memory::Shared32;
use crate::records::Settings;

/// Entries in a bucket.
pub const ENTRIES: usize = 15;

/// One cache line of the index.
#[repr(C, align(64))]
#[derive(Debug, Default)]
pub struct Bucket {
    lock: Shared32,
    entries: [Shared32; ENTRIES],
}

const _: () = assert!(size_of::<Bucket>() == 64);

/// Outcome of inserting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Insert {
    /// The entry is in.
    Done = 0,
    /// The key was there already; nothing changed.
    Exists = 1,
    /// Both buckets are full; nothing changed.
    Full = 2,
    /// The home bucket stayed locked by others all the while; nothing changed.
    Busy = 3,
}

impl Insert {
    /// The outcome with this number.
    #[inline(always)]
    pub const fn from_number(number: u32) -> Self {
        match number {
            0 => Self::Done,
            1 => Self::Exists,
            2 => Self::Full,
            _ => Self::Busy,
        }
    }
}

/// Entries with one fingerprint that a bucket holds at most: it bounds a search. Half of them would be a rarity.
const ALIKE: u32 = 4;
/// How often an entry is lost to another CPU that inserts a key with another home bucket.
const RIVALS: u32 = 4;

/// What an entry of the index says: a record's number, and which of its directions has the key. In one word, so
/// that it is what a function of the kernel's program returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry(pub u64);

impl Entry {
    /// The entry of a direction of a record.
    #[inline(always)]
    pub const fn new(number: u32, direction: Direction) -> Self {
        Self(number as u64 | (direction as u64) << 32)
    }

    /// Number of the record.
    #[inline(always)]
    pub const fn number(self) -> u32 {
        self.0 as u32
    }

    /// Which of its directions has the key.
    #[inline(always)]
    pub const fn direction(self) -> Direction {
        Direction::from_number((self.0 >> 32) as u32)
    }
}

/// How often a CPU asks for a bucket's lock. Whoever has it keeps it for some hundred nanoseconds: this
/// outlasts several holders, but not one whose virtual CPU was taken away.
const PATIENCE: u32 = 64;

/// Where a key's entry may stand, and which bits of the entry are the key's.
#[derive(Clone, Copy)]
struct Spot {
    home: u32,
    fingerprint: u32,
    number_bits: u32,
}

impl Spot {
    #[inline(always)]
    fn of(settings: &Settings, [addresses, ports]: [u64; 2]) -> Self {
        let hash = hash(settings.hash_seed, addresses, ports);
        let number_bits = settings.number_bits;
        // An empty entry is 0, so no fingerprint is.
        let fingerprint = (hash as u32 >> (number_bits + 1)).max(1) << (number_bits + 1);
        let home = (((hash >> 32) * u64::from(settings.buckets)) >> 32) as u32;
        Self { home, fingerprint, number_bits }
    }

    /// The bucket beside the home bucket: the other half of 128 bytes, which come from memory together.
    #[inline(always)]
    const fn beside(self) -> u32 {
        self.home ^ 1
    }

    #[inline(always)]
    const fn entry(self, number: u32, direction: Direction) -> u32 {
        self.fingerprint | (direction as u32) << self.number_bits | number
    }

    /// Which entries of a bucket have the key's fingerprint.
    #[inline(always)]
    fn alike(self, bucket: &Bucket) -> u32 {
        bucket.equal(self.fingerprint, self.number_bits + 1)
    }

    #[inline(always)]
    const fn read(self, entry: u32) -> Entry {
        let number = entry & ((1 << self.number_bits) - 1);
        Entry::new(number, Direction::from_number(entry >> self.number_bits & 1))
    }
}

impl Bucket {
    /// The entries that equal `value` when the lowest bits are shifted out, one bit each. Without branches:
    /// a mispredicted one would cost more than the fifteen comparisons.
    #[inline(always)]
    fn equal(&self, value: u32, shift: u32) -> u32 {
        let mut equal = 0;
        for (at, entry) in self.entries.iter().enumerate() {
            let difference = u64::from((entry.get() ^ value) >> shift);
            // The topmost bit of what is 0 less 1.
            equal |= (difference.wrapping_sub(1) >> 63) << at;
        }
        equal as u32
    }

    /// The first of a set of entries.
    #[inline(always)]
    fn first(&self, set: u32) -> Option<&Shared32> {
        let lowest = set & set.wrapping_neg();
        self.entries.get(lowest.wrapping_sub(1).count_ones() as usize)
    }
}

/// The entry of a key.
#[inline(always)]
pub fn find<M: FlowMemory + ?Sized>(memory: &M, key: [u64; 2]) -> Option<Entry> {
    let spot = Spot::of(memory.settings()?, key);
    search(memory, spot, spot.home, key).or_else(|| search(memory, spot, spot.beside(), key))
}

#[inline(always)]
fn search<M: FlowMemory + ?Sized>(
    memory: &M,
    spot: Spot,
    bucket: u32,
    key: [u64; 2],
) -> Option<Entry> {
    let bucket = memory.bucket(bucket)?;
    let mut alike = spot.alike(bucket);
    for _ in 0..ALIKE {
        let entry = spot.read(bucket.first(alike)?.get());
        if memory.record(entry.number())?.half(entry.direction()).is(key) {
            return Some(entry);
        }
        alike &= alike.wrapping_sub(1);
    }
    None
}

/// Whether a key's home bucket has it, or another with the same fingerprint: cheaper than [`find`], for choosing
/// among keys. The few that are in the bucket beside are found when inserting.
#[inline(always)]
pub fn seems_taken<M: FlowMemory + ?Sized>(memory: &M, key: [u64; 2]) -> bool {
    let Some(settings) = memory.settings() else {
        return true;
    };
    let spot = Spot::of(settings, key);
    memory.bucket(spot.home).is_none_or(|home| spot.alike(home) != 0)
}

/// Puts a key in for a direction of a record, unless it is there: in one step, against all other CPUs.
#[inline(always)]
pub fn insert<M: FlowMemory + ?Sized>(
    memory: &M,
    key: [u64; 2],
    number: u32,
    direction: Direction,
) -> Insert {
    let Some((spot, home, beside)) = place(memory, key) else {
        return Insert::Full;
    };
    if !lock(home) {
        return Insert::Busy;
    }
    let entry = spot.entry(number, direction);
    let there = search(memory, spot, spot.home, key).is_some()
        || search(memory, spot, spot.beside(), key).is_some();
    let outcome = if there {
        Insert::Exists
    } else if put(home, spot, entry) || put(beside, spot, entry) {
        Insert::Done
    } else {
        Insert::Full
    };
    // An exchange, for its order: whoever has the lock next sees the entry.
    home.lock.exchange(1, 0);
    outcome
}

/// Takes the entry of a direction of a record out.
#[inline(always)]
pub fn remove<M: FlowMemory + ?Sized>(
    memory: &M,
    key: [u64; 2],
    number: u32,
    direction: Direction,
) {
    if let Some((spot, home, beside)) = place(memory, key) {
        let entry = spot.entry(number, direction);
        let _ = replace(home, entry, 0) || replace(beside, entry, 0);
    }
}

#[inline(always)]
fn place<M: FlowMemory + ?Sized>(memory: &M, key: [u64; 2]) -> Option<(Spot, &Bucket, &Bucket)> {
    let spot = Spot::of(memory.settings()?, key);
    Some((spot, memory.bucket(spot.home)?, memory.bucket(spot.beside())?))
}

#[inline(always)]
fn lock(bucket: &Bucket) -> bool {
    for _ in 0..PATIENCE {
        if bucket.lock.exchange(0, 1) {
            return true;
        }
    }
    false
}

#[inline(always)]
fn put(bucket: &Bucket, spot: Spot, entry: u32) -> bool {
    spot.alike(bucket).count_ones() < ALIKE && replace(bucket, 0, entry)
}

#[inline(always)]
fn replace(bucket: &Bucket, from: u32, to: u32) -> bool {
    for _ in 0..RIVALS {
        let Some(entry) = bucket.first(bucket.equal(from, 0)) else {
            return false;
        };
        if entry.exchange(from, to) {
            return true;
        }
    }
    false
}
