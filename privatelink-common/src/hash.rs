//! Seeded mixing of flow keys.

/// 2⁶⁴ divided by the golden ratio: its multiples are far from each other.
pub const GOLDEN_RATIO: u64 = 0x9e37_79b9_7f4a_7c15;

/// Mixes 64 bits so that every input bit moves every output bit (the finaliser of MurmurHash3).
#[inline(always)]
pub const fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    let value = (value ^ (value >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    value ^ (value >> 33)
}

/// A hash of two words under a seed.
#[inline(always)]
pub const fn hash(seed: u64, first: u64, second: u64) -> u64 {
    mix(mix(seed ^ first) ^ second)
}

/// What all hashes are seeded with: who cannot read it cannot aim at one bucket, target or name.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seeds {
    /// For [`hash`].
    pub hash: u64,
    /// For [`Self::name`].
    pub names: [u64; 4],
}

impl Seeds {
    /// The seeds that a number stands for; it is to be random.
    pub fn of(number: u64) -> Self {
        let seed = |at: u64| mix(number.wrapping_add(at.wrapping_mul(GOLDEN_RATIO)));
        Self { hash: seed(0), names: [1, 2, 3, 4].map(seed) }
    }

    /// 32 bits for two words: whatever two pairs of words somebody thinks of, by one choice of seeds in 2³¹ both have the same
    /// (multilinear hashing with half the multiplications: Lemire and Kaser, "Strongly universal string hashing is fast").
    /// Its multiplications do not wait for each other, as those of [`hash`] do.
    #[inline(always)]
    pub const fn name(&self, first: u64, second: u64) -> u32 {
        let [a, b, c, d] = self.names;
        (product(first, a, b).wrapping_add(product(second, c, d)) >> 32) as u32
    }
}

/// Of the halves of a word, each with its seed added.
#[inline(always)]
const fn product(word: u64, low: u64, high: u64) -> u64 {
    (word & 0xffff_ffff).wrapping_add(low).wrapping_mul((word >> 32).wrapping_add(high))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn names_of_alike_words_differ() {
        const WORDS: u64 = 1 << 16;
        for seeds in [1, 2, 3].map(Seeds::of) {
            for shift in [0, 16, 32, 48] {
                let words = || (0..WORDS).map(move |word| word << shift);
                let first: HashSet<u32> = words().map(|word| seeds.name(word, 0)).collect();
                let second: HashSet<u32> = words().map(|word| seeds.name(!0, word)).collect();
                // Of 2³¹ pairs of words one is expected to have one name.
                assert!(first.len() as u64 > WORDS - 8 && second.len() as u64 > WORDS - 8);
            }
        }
    }

    #[test]
    fn differences_in_the_highest_bits_do_not_cancel() {
        let highest = [0, 1 << 31, 1 << 63, 1 << 31 | 1 << 63];
        for seeds in (0..100).map(Seeds::of) {
            let names: HashSet<u32> = highest
                .iter()
                .flat_map(|&first| highest.map(|second| seeds.name(first, second)))
                .collect();
            assert_eq!(names.len(), 16);
        }
    }
}
