//! Where a key belongs.

use super::scale;
use crate::hash::hash;
use crate::records::Settings;

/// What a key's hash says.
#[derive(Clone, Copy)]
pub(super) struct Spot {
    /// Number of the half it should have. The one beside it, of the same 128 bytes, is as good: they come from memory
    /// together.
    pub(super) home: u32,
    /// Number of its bucket, should it be a stray.
    pub(super) bucket: u32,
    /// Its bits of an entry there, above those of a half's number. Never 0, since an empty entry is.
    pub(super) fingerprint: u32,
}

impl Spot {
    /// Of a key.
    #[inline(always)]
    pub(super) fn of(settings: &Settings, [addresses, ports]: [u64; 2]) -> Self {
        let hash = hash(settings.seeds.hash, addresses, ports);
        // The upper bits of three words that begin at different bits.
        let home = scale((hash >> 32) as u32, settings.halves);
        let bucket = scale((hash >> 16) as u32, settings.buckets);
        let bits = u32::BITS - settings.number_bits;
        let fingerprint = (hash as u32 & ((1 << bits) - 1)).max(1) << settings.number_bits;
        Self { home, bucket, fingerprint }
    }

    /// Whether a half is one of the key's two places.
    #[inline(always)]
    pub(super) const fn is_home(self, number: u32) -> bool {
        (self.home ^ number) < 2
    }
}
