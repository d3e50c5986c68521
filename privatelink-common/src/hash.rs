//! Seeded mixing of flow keys.

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
