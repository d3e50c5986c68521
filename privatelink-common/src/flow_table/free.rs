//! Which halves are free: one bit each, sixty-four in a word.

use super::half::FlowHalf;
use super::spot::Spot;
use super::{FlowMemory, NONE, scale};
use crate::records::Settings;
use crate::ticks::Tick;

/// Words looked at for a free half: of 2 048 halves one is free unless the table is as good as full.
const WORDS: u64 = 32;

/// Takes a half that nobody uses and nobody can still be looking at, or [`NONE`]: one of the key's two places, or else
/// one from a random place on.
///
/// A bit is cleared in one step, so two CPUs never get the same half. A half retired just now is passed over: a packet
/// that found it by its key before may still be on another CPU.
#[inline(always)]
pub fn claim<M: FlowMemory + ?Sized>(memory: &M, key: [u64; 2], random: u32, now: Tick) -> u32 {
    let Some(settings) = memory.settings() else {
        return NONE;
    };
    let spot = Spot::of(settings, key);
    for number in [spot.home, spot.home ^ 1] {
        if is_free(memory, number) && take(memory, settings, number, now) {
            return number;
        }
    }
    let words = settings.halves / u64::BITS;
    let first = scale(random, words.saturating_sub(WORDS as u32) + 1);
    for offset in 0..WORDS {
        // The black box keeps LLVM from counting from `first` on: an unknown bound, the verifier says.
        let at = first + core::hint::black_box(offset) as u32;
        let Some(word) = memory.free_word(at) else {
            return NONE;
        };
        let free = word.get();
        if free != 0 {
            let lowest = free & free.wrapping_neg();
            let number = at * u64::BITS + (lowest - 1).count_ones();
            if take(memory, settings, number, now) {
                return number;
            }
        }
    }
    NONE
}

#[inline(always)]
fn take<M: FlowMemory + ?Sized>(memory: &M, settings: &Settings, number: u32, now: Tick) -> bool {
    let Some(word) = memory.free_word(number / u64::BITS) else {
        return false;
    };
    let bit = 1 << (number % u64::BITS);
    if word.keep_bits(!bit) & bit == 0 {
        return false;
    }
    let rested = memory.half(number).is_some_and(|half| is_rested(half, settings, now));
    if !rested {
        word.set_bits(bit);
    }
    rested
}

/// Makes a half free.
#[inline(always)]
pub fn release<M: FlowMemory + ?Sized>(memory: &M, number: u32) {
    if let Some(word) = memory.free_word(number / u64::BITS) {
        word.set_bits(1 << (number % u64::BITS));
    }
}

/// Whether a half is free.
#[inline(always)]
pub(super) fn is_free<M: FlowMemory + ?Sized>(memory: &M, number: u32) -> bool {
    memory
        .free_word(number / u64::BITS)
        .is_some_and(|word| word.get() >> (number % u64::BITS) & 1 != 0)
}

#[inline(always)]
fn is_rested(half: &FlowHalf, settings: &Settings, now: Tick) -> bool {
    half.is_new() || now.is_farther(half.stamp(), settings.quarantine)
}
