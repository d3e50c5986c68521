//! One cache line of the index of strays: sixteen entries, each some bits of a key's hash and the number of the half
//! that has it.
//!
//! An entry is one word, so readers need no lock. Those who write tell each other apart by exchanging the empty word.

use crate::memory::Shared32;

/// Entries in a bucket.
const ENTRIES: usize = 16;

/// A bucket.
#[repr(C, align(64))]
#[derive(Debug, Default)]
pub struct Bucket([Shared32; ENTRIES]);

const _: () = assert!(size_of::<Bucket>() == 64);

impl Bucket {
    /// Its entries.
    #[inline(always)]
    pub(super) const fn entries(&self) -> &[Shared32; ENTRIES] {
        &self.0
    }

    /// Puts an entry in the place of another (0: of none); false where there is none such.
    #[inline(always)]
    pub(super) fn replace(&self, from: u32, to: u32) -> bool {
        self.0.iter().any(|entry| entry.get() == from && entry.exchange(from, to))
    }
}
