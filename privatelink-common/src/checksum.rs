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

    /// The change as a 16-bit word, to be kept and applied many times.
    #[inline(always)]
    pub const fn fold(self) -> u16 {
        fold(self.0)
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
