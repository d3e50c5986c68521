//! From a key to the half that has it.
//!
//! A key's half is the one its hash says or the one beside it, where one of them was free; then it is found by
//! reading that line. Otherwise it is a stray: any half, with an entry in a bucket of the index, or the bucket beside.
//! While no more than half the table is used, three clients' keys in ten are strays at most; leases are chosen so that
//! hardly any of theirs is.
//!
//! Readers take no lock: a half is filled before its key is written, and the key before its entry. Two CPUs that
//! insert the same key at once are told apart by the lock of its home, so a key is never there twice. Removal needs
//! no lock.

use super::bucket::Bucket;
use super::half::{Direction, NO_ADDRESSES};
use super::spot::Spot;
use super::strays::Strays;
use super::{Entry, FlowMemory, NONE, free};

/// Outcome of inserting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Insert {
    /// The key is in.
    Done = 0,
    /// The key was there already; nothing changed.
    Exists = 1,
    /// There is no room in the index; nothing changed.
    Full = 2,
    /// The key's home stayed locked by others all the while; nothing changed.
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

/// The half that has a key, or [`Entry::NONE`].
#[inline(always)]
pub fn find<M: FlowMemory + ?Sized>(memory: &M, key: [u64; 2]) -> Entry {
    let Some(settings) = memory.settings() else {
        return Entry::NONE;
    };
    let number = search::<_, false>(memory, settings.number_bits, Spot::of(settings, key), key);
    memory.half(number).map_or(Entry::NONE, |half| Entry::new(number, half.direction()))
}

/// The number of the half that has a key, or [`NONE`]. `SPARING` passes over halves that are free: they have none.
#[inline(always)]
fn search<M: FlowMemory + ?Sized, const SPARING: bool>(
    memory: &M,
    bits: u32,
    spot: Spot,
    key: [u64; 2],
) -> u32 {
    if key[0] == NO_ADDRESSES {
        return NONE;
    }
    for number in [spot.home, spot.home ^ 1] {
        if SPARING && free::is_free(memory, number) {
            continue;
        }
        // Before the comparison, so that both lines come from memory at once: a processor that is kept from foreseeing where
        // functions return to would ask for this one after the other.
        if let Some(ends) = memory.ends(number) {
            ends.touch();
        }
        if memory.half(number).is_some_and(|half| half.is(key)) {
            return number;
        }
    }
    if Strays::of(memory, spot).is_none_or(|strays| strays.count() == 0) {
        return NONE;
    }
    for bucket in [spot.bucket, spot.bucket ^ 1] {
        let Some(bucket) = memory.bucket(bucket) else {
            return NONE;
        };
        for entry in bucket.entries() {
            let entry = entry.get();
            if (entry ^ spot.fingerprint) >> bits == 0 {
                let number = entry & ((1 << bits) - 1);
                if memory.half(number).is_some_and(|half| half.is(key)) {
                    return number;
                }
            }
        }
    }
    NONE
}

/// Whether a half has a key: for keys that hardly any has. The map of free halves, which is small enough to stay in the cache, mostly
/// tells that the two which [`find`] reads have none.
#[inline(always)]
pub fn contains<M: FlowMemory + ?Sized>(memory: &M, key: [u64; 2]) -> bool {
    let Some(settings) = memory.settings() else {
        return false;
    };
    search::<_, true>(memory, settings.number_bits, Spot::of(settings, key), key) != NONE
}

/// The numbers of the two halves where a key's mostly is.
#[inline(always)]
pub fn places<M: FlowMemory + ?Sized>(memory: &M, key: [u64; 2]) -> Option<[u32; 2]> {
    let home = Spot::of(memory.settings()?, key).home;
    Some([home, home ^ 1])
}

/// Whether a key's half would be the one that its hash says.
#[inline(always)]
pub fn is_home_free<M: FlowMemory + ?Sized>(memory: &M, key: [u64; 2]) -> bool {
    memory.settings().is_some_and(|settings| free::is_free(memory, Spot::of(settings, key).home))
}

/// The number of the forward half of a half's flow; [`NONE`] where the flow has ended meanwhile.
///
/// A forward half says where its other half is. A reverse half has no room for that while it says where the client
/// is, and then tells the other's key: another search. Packets of that direction seldom need it.
#[inline(always)]
pub fn owner<M: FlowMemory + ?Sized>(memory: &M, number: u32) -> u32 {
    let Some(half) = memory.half(number) else {
        return NONE;
    };
    if half.direction() == Direction::Forward {
        return number;
    }
    let owner = if half.client().0.is_unknown() {
        half.other()
    } else {
        find(memory, half.client_key_words()).number()
    };
    // The half may have got another flow since, or the client opened one.
    match memory.record(owner) {
        Some(record) if record.forward.other() == number => owner,
        _ => NONE,
    }
}

/// Gives a claimed and filled half its key, unless another half has it: in one step, against all other CPUs.
#[inline(always)]
pub fn insert<M: FlowMemory + ?Sized>(memory: &M, key: [u64; 2], number: u32) -> Insert {
    let (Some(settings), Some(half)) = (memory.settings(), memory.half(number)) else {
        return Insert::Full;
    };
    let (spot, bits) = (Spot::of(settings, key), settings.number_bits);
    let Some(strays) = Strays::of(memory, spot) else {
        return Insert::Full;
    };
    if !strays.lock() {
        return Insert::Busy;
    }
    let outcome = if search::<_, false>(memory, bits, spot, key) != NONE {
        Insert::Exists
    } else if spot.is_home(number) {
        half.set_key(key);
        Insert::Done
    } else if !strays.add() {
        Insert::Full
    } else {
        half.set_stray_key(key);
        if add(memory, spot, number) {
            Insert::Done
        } else {
            half.clear_key();
            strays.take();
            Insert::Full
        }
    };
    strays.unlock();
    outcome
}

#[inline(always)]
fn add<M: FlowMemory + ?Sized>(memory: &M, spot: Spot, number: u32) -> bool {
    let entry = spot.fingerprint | number;
    buckets(memory, spot)
        .is_some_and(|[first, beside]| first.replace(0, entry) || beside.replace(0, entry))
}

#[inline(always)]
fn buckets<M: FlowMemory + ?Sized>(memory: &M, spot: Spot) -> Option<[&Bucket; 2]> {
    Some([memory.bucket(spot.bucket)?, memory.bucket(spot.bucket ^ 1)?])
}

/// Takes the key of a half away. Called by the one who ends its flow.
#[inline(always)]
pub fn remove<M: FlowMemory + ?Sized>(memory: &M, number: u32) {
    let (Some(settings), Some(half)) = (memory.settings(), memory.half(number)) else {
        return;
    };
    let key = half.key_words();
    let stray = half.is_stray();
    half.clear_key();
    if stray {
        let spot = Spot::of(settings, key);
        let entry = spot.fingerprint | number;
        if let Some([first, beside]) = buckets(memory, spot)
            && (first.replace(entry, 0) || beside.replace(entry, 0))
            && let Some(strays) = Strays::of(memory, spot)
        {
            strays.take();
        }
    }
}
