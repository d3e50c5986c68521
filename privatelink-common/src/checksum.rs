//! The Internet checksum, and how it changes with the words it covers.
//!
//! All sums work on words as they stand in memory. The one's complement sum does not mind the byte
//! order as long as every word is read the same way (RFC 1071, section 2 B), so nothing is swapped.

/// Folds the carries of a sum of 16-bit words back in. Fits sums of up to 2^16 words.
#[inline(always)]
pub const fn fold(sum: u32) -> u16 {
    let sum = (sum & 0xffff) + (sum >> 16);
    (sum + (sum >> 16)) as u16
}

/// The sum of a 32-bit value's two words.
#[inline(always)]
pub const fn words(value: u32) -> u32 {
    (value & 0xffff) + (value >> 16)
}

/// The sum of a 64-bit value's two 32-bit words. As many as 2^28 such sums may be added up, and [`fold_long`] folds them to what
/// [`fold`] makes of the 16-bit words: 2^16 and 2^32 are both 1 to the one's complement.
#[inline(always)]
pub const fn long_words(value: u64) -> u64 {
    (value & 0xffff_ffff) + (value >> 32)
}

/// Folds the carries of a sum of 32-bit words back in, as [`fold`].
#[inline(always)]
pub const fn fold_long(sum: u64) -> u16 {
    let sum = long_words(sum);
    fold(((sum & 0xffff) + (sum >> 16)) as u32)
}

/// How a checksum changes when words it covers are replaced: RFC 1624, equation 3,
/// `HC' = ~(~HC + ~m + m')`, with `~m + m'` summed up over all replaced words.
///
/// Equation 3, unlike RFC 1141's, never turns a valid checksum into the other zero (section 3), so
/// a checksum updated so equals one computed afresh.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Delta(u32);

impl Delta {
    /// The change when one 16-bit word is replaced by another.
    #[inline(always)]
    pub const fn replace16(self, old: u16, new: u16) -> Self {
        Self(self.0 + !old as u32 + new as u32)
    }

    /// The change when one 32-bit value is replaced by another.
    #[inline(always)]
    pub const fn replace32(self, old: u32, new: u32) -> Self {
        self.replace16(old as u16, new as u16).replace16((old >> 16) as u16, (new >> 16) as u16)
    }

    /// The change when words that add up to one sum of [`long_words`] are replaced by those of another; 2^20 of them at most.
    #[inline(always)]
    pub const fn replace_sum(self, old: u64, new: u64) -> Self {
        // A zero of the one's complement that is not less than what is taken from it.
        const ZERO: u64 = 0xffff << 37;
        Self(self.0 + fold_long(ZERO - old + new) as u32)
    }

    /// With another that was folded.
    #[inline(always)]
    pub const fn and(self, folded: u16) -> Self {
        Self(self.0 + folded as u32)
    }

    /// The change as a 16-bit word, to be kept and applied many times.
    #[inline(always)]
    pub const fn fold(self) -> u16 {
        fold(self.0)
    }
}

/// How the checksum of a segment or datagram changes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Change {
    /// By the addresses of the pseudo-header.
    pub addresses: Delta,
    /// By words of the segment or datagram itself.
    pub own: Delta,
}

impl Change {
    /// Both together.
    #[inline(always)]
    pub const fn whole(self) -> Delta {
        Delta(self.addresses.0 + self.own.0)
    }
}

/// The checksum after a change.
#[inline(always)]
pub const fn apply(checksum: u16, delta: u16) -> u16 {
    !fold(!checksum as u32 + delta as u32)
}

/// The sum of the pseudo-header that TCP's checksum covers (RFC 9293, section 3.1), not folded.
/// Addresses in network order, `length` of the TCP segment in host order.
#[inline(always)]
pub const fn pseudo_header(source: u32, destination: u32, protocol: u8, length: u16) -> u32 {
    words(source) + words(destination) + (protocol as u16).to_be() as u32 + length.to_be() as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn full(words: &[u16]) -> u16 {
        !fold(words.iter().map(|&word| u32::from(word)).sum())
    }

    proptest! {
        #[test]
        fn a_delta_equals_recomputation(
            mut data in proptest::collection::vec(any::<u16>(), 2..64),
            at in any::<proptest::sample::Index>(),
            new in any::<u16>(),
        ) {
            // A header is never all zero; a sum of zero has no one's complement twin.
            data.push(0x4500);
            let at = at.index(data.len() - 1);
            let before = full(&data);
            let delta = Delta::default().replace16(data[at], new).fold();
            data[at] = new;
            prop_assert_eq!(apply(before, delta), full(&data));
        }

        #[test]
        fn a_flow_delta_equals_recomputation(
            old in any::<[u32; 3]>(), new in any::<[u32; 3]>(), rest in any::<[u16; 8]>(),
        ) {
            let data = |values: [u32; 3]| {
                let mut all = vec![0x4500];
                all.extend(rest);
                all.extend(values.iter().flat_map(|v| [*v as u16, (*v >> 16) as u16]));
                all
            };
            let delta = (0..3).fold(Delta::default(), |d, i| d.replace32(old[i], new[i])).fold();
            prop_assert_eq!(apply(full(&data(old)), delta), full(&data(new)));
        }
    }

    proptest! {
        #[test]
        fn a_delta_of_sums_equals_recomputation(
            old in any::<[u64; 8]>(), new in any::<[u64; 8]>(), rest in any::<[u16; 8]>(),
        ) {
            let data = |values: [u64; 8]| {
                let mut all = vec![0x4500];
                all.extend(rest);
                all.extend(values.iter().flat_map(|v| [0, 16, 32, 48].map(|by| (*v >> by) as u16)));
                all
            };
            let [before, after] = [old, new].map(|values| values.map(long_words).iter().sum());
            let delta = Delta::default().replace_sum(before, after).fold();
            prop_assert_eq!(apply(full(&data(old)), delta), full(&data(new)));
            prop_assert_eq!(!fold_long(before), full(&data(old)[9..]));
        }
    }

    #[test]
    fn corners_of_a_sum() {
        const SOME: [u64; 5] = [0, 1, 0xffff, u32::MAX as u64, u64::MAX];
        for [old, new] in SOME.iter().flat_map(|&old| SOME.map(|new| [old, new])) {
            let data = |value: u64| {
                [
                    0x4500,
                    value as u16,
                    (value >> 16) as u16,
                    (value >> 32) as u16,
                    (value >> 48) as u16,
                ]
            };
            let delta = Delta::default().replace_sum(long_words(old), long_words(new)).fold();
            assert_eq!(apply(full(&data(old)), delta), full(&data(new)), "{old:x} {new:x}");
        }
    }

    #[test]
    fn all_corners_of_one_word() {
        // RFC 1624 section 4's trouble is at 0x0000 and 0xffff: try every old value against the new
        // values around both, with the rest of the header fixed.
        for rest in [0x4500_u16, 0xffff, 0x0001, 0xfffe] {
            for old in 0..=u16::MAX {
                for new in [0, 1, 0x7fff, 0x8000, 0xfffe, 0xffff, old, !old] {
                    let delta = Delta::default().replace16(old, new).fold();
                    assert_eq!(
                        apply(full(&[rest, old]), delta),
                        full(&[rest, new]),
                        "{rest:x} {old:x} {new:x}"
                    );
                }
            }
        }
    }

    #[test]
    fn the_example_of_rfc_1624() {
        // Section 4: HC = 0xdd2f, m = 0x5555, m' = 0x3285, HC' = 0x0000.
        assert_eq!(apply(0xdd2f, Delta::default().replace16(0x5555, 0x3285).fold()), 0x0000);
    }
}
