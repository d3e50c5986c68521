//! Which records are free: one bit each, sixty-four in a word.

use super::record::Phase;
use super::{FlowMemory, scale};
use crate::records::Settings;
use crate::ticks::Tick;

/// Words looked at for a free record: of 2 048 records one is free unless the table is as good as full.
const WORDS: u64 = 32;

/// No record's number.
pub const NONE: u32 = u32::MAX;

/// Takes a record that nobody uses and nobody can still be looking at.
///
/// [`NONE`] where there is none: an `Option` leaves its number undefined then, and LLVM stores such a register,
/// which the verifier refuses.
///
/// The search starts at a random place, so CPUs seldom meet; the bit is cleared in one step, so two
/// never get the same record. A record retired just now is passed over: a packet that found it in the
/// index before it was taken out may still be on another CPU.
#[inline(always)]
pub fn claim<M: FlowMemory + ?Sized>(memory: &M, random: u32, now: Tick) -> u32 {
    let Some(settings) = memory.settings() else {
        return NONE;
    };
    let words = settings.capacity / u64::BITS;
    let first = scale(random, words.saturating_sub(WORDS as u32) + 1);
    for offset in 0..WORDS {
        // The black box keeps LLVM from counting from `first` on: an unknown bound, the verifier says.
        let at = first + core::hint::black_box(offset) as u32;
        let Some(word) = memory.free_word(at) else {
            return NONE;
        };
        let free = word.get();
        if free != 0 {
            let bit = free & free.wrapping_neg();
            if word.keep_bits(!bit) & bit != 0 {
                let number = at * u64::BITS + (bit - 1).count_ones();
                if is_rested(memory, settings, number, now) {
                    return number;
                }
                word.set_bits(bit);
            }
        }
    }
    NONE
}

/// Makes a record free.
#[inline(always)]
pub fn release<M: FlowMemory + ?Sized>(memory: &M, number: u32) {
    if let Some(word) = memory.free_word(number / u64::BITS) {
        word.set_bits(1 << (number % u64::BITS));
    }
}

#[inline(always)]
fn is_rested<M: FlowMemory + ?Sized>(
    memory: &M,
    settings: &Settings,
    number: u32,
    now: Tick,
) -> bool {
    memory.record(number).is_some_and(|record| {
        record.place().phase() == Phase::Unused
            || now.since_stamp(record.forward().stamp()) > settings.quarantine
    })
}
