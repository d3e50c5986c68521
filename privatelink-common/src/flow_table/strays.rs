//! How many keys of each two halves are strays: found elsewhere, by the index. And the lock for inserting them.
//!
//! A word is for sixteen halves: seven bits for each two that lie beside each other, and the lock. Most words are 0,
//! and they are small enough to stay in the cache: a key that is not there is known not to be by the line that it
//! would be in.

use super::FlowMemory;
use super::spot::Spot;
use crate::memory::Shared;

/// Halves of which a word tells.
pub(super) const HALVES: u32 = 16;
/// Bits of a count.
const BITS: u32 = 7;
const MOST: u64 = (1 << BITS) - 1;
const LOCK: u64 = 1 << 63;

/// How often a CPU asks for the lock. Whoever has it keeps it for some hundred nanoseconds: this outlasts several
/// holders, but not one whose virtual CPU was taken away.
const PATIENCE: u32 = 64;

/// The count of a key's home.
#[derive(Clone, Copy)]
pub(super) struct Strays<'m> {
    word: &'m Shared,
    shift: u32,
}

impl<'m> Strays<'m> {
    #[inline(always)]
    pub(super) fn of<M: FlowMemory + ?Sized>(memory: &'m M, spot: Spot) -> Option<Self> {
        let word = memory.strays(spot.home / HALVES)?;
        Some(Self { word, shift: spot.home % HALVES / 2 * BITS })
    }

    /// How many there are. A key is a stray only after it was counted and until it is no longer.
    #[inline(always)]
    pub(super) fn count(self) -> u64 {
        self.word.get() >> self.shift & MOST
    }

    /// Counts one more, under the lock; false where there is no room for the count.
    #[inline(always)]
    pub(super) fn add(self) -> bool {
        let room = self.count() < MOST;
        if room {
            self.word.add(1 << self.shift);
        }
        room
    }

    /// Counts one less.
    #[inline(always)]
    pub(super) fn take(self) {
        self.word.add((1_u64 << self.shift).wrapping_neg());
    }

    /// Keeps all others from inserting a key that has this home.
    #[inline(always)]
    pub(super) fn lock(self) -> bool {
        for _ in 0..PATIENCE {
            if self.word.set_bits(LOCK) & LOCK == 0 {
                return true;
            }
        }
        false
    }

    /// Lets others insert. Atomic, for its order: whoever has the lock next sees the key.
    #[inline(always)]
    pub(super) fn unlock(self) {
        self.word.keep_bits(!LOCK);
    }
}
