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
    let number = search(memory, settings.number_bits, Spot::of(settings, key), key);
    memory.half(number).map_or(Entry::NONE, |half| Entry::new(number, half.direction()))
}

#[inline(always)]
fn search<M: FlowMemory + ?Sized>(memory: &M, bits: u32, spot: Spot, key: [u64; 2]) -> u32 {
    if key[0] == NO_ADDRESSES {
        return NONE;
    }
    for number in [spot.home, spot.home ^ 1] {
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

/// What there is for a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Vacancy {
    /// It is not there, and the place its hash says is free.
    Home = 0,
    /// It is not there, and would be beside its place or a stray.
    Elsewhere = 1,
    /// It is there, or a stray with the same fingerprint.
    Taken = 2,
}

impl Vacancy {
    /// The one with this number.
    #[inline(always)]
    pub const fn from_number(number: u32) -> Self {
        match number {
            0 => Self::Home,
            1 => Self::Elsewhere,
            _ => Self::Taken,
        }
    }
}

/// What there is for a key, as far as can be told cheaply, for choosing among keys. The few that are there in the
/// bucket beside their own are found when inserting.
#[inline(always)]
pub fn vacancy<M: FlowMemory + ?Sized>(memory: &M, key: [u64; 2]) -> Vacancy {
    let Some(settings) = memory.settings() else {
        return Vacancy::Taken;
    };
    let (spot, bits) = (Spot::of(settings, key), settings.number_bits);
    // No closures: LLVM would make functions of them, with a stack each.
    for number in [spot.home, spot.home ^ 1] {
        if memory.half(number).is_none_or(|half| half.is(key)) {
            return Vacancy::Taken;
        }
    }
    let (Some(strays), Some(bucket)) = (Strays::of(memory, spot), memory.bucket(spot.bucket))
    else {
        return Vacancy::Taken;
    };
    if strays.count() > 0 && bucket.has_alike(spot.fingerprint, bits) {
        return Vacancy::Taken;
    }
    if free::is_free(memory, spot.home) { Vacancy::Home } else { Vacancy::Elsewhere }
}

/// The same where another table must not have the key either.
#[inline(always)]
pub fn vacancy_beside<M, N>(memory: &M, other: &N, key: [u64; 2]) -> Vacancy
where
    M: FlowMemory + ?Sized,
    N: FlowMemory + ?Sized,
{
    match vacancy(memory, key) {
        Vacancy::Taken => Vacancy::Taken,
        _ if vacancy(other, key) == Vacancy::Taken => Vacancy::Taken,
        vacancy => vacancy,
    }
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
    let outcome = if search(memory, bits, spot, key) != NONE {
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
