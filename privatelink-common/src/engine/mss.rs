//! The largest segment a connection may use, lowered where the way is narrower than its ends know.

use crate::checksum::{Change, Delta, fold};
use crate::drop_reason::DropReason;
use crate::flow_table::Found;
use crate::memory::Packet;
use crate::records::Endpoint;
use crate::tables::Tables;
use crate::tcp::{self, SYN};

/// Most bytes of options a TCP header holds.
const MAX_OPTIONS: usize = 40;
/// Option "no operation", one byte. The only smaller one, 0, ends the list.
const NO_OPERATION: u64 = 1;
/// Option "maximum segment size", four bytes (RFC 9293, section 3.2).
const MSS: u64 = 2;

/// Lowers the MSS that a SYN, its TCP header now at `offset`, announces to what its endpoint lets through, where segments of
/// `fits` bytes fit the packets on both sides.
/// Nothing else is touched, nor is anything added where the option is absent: the other side then sends
/// 536 bytes at most (RFC 9293, section 3.7.1).
#[inline(always)]
pub(super) fn clamp(
    packet: &impl Packet,
    tables: &impl Tables,
    segment: &tcp::Header,
    offset: usize,
    fits: impl FnOnce() -> u32,
    found: &Found<'_>,
) -> Result<(), DropReason> {
    let length = usize::from(segment.header) - tcp::HEADER;
    if segment.flags & SYN == 0 || length == 0 {
        return Ok(());
    }
    let Some(record) = tables.record(tables.owner(found.number())) else {
        return Ok(());
    };
    let Some(endpoint) = tables.endpoint(record.place().endpoint()) else {
        return Ok(());
    };
    let Some(limit) = limit(endpoint, fits()) else {
        return Ok(());
    };
    let delta = lower(packet, offset + tcp::HEADER, length, limit);
    let header = packet.window::<{ tcp::HEADER }>(offset).ok_or(DropReason::Truncated)?;
    let own = Delta::default().and(delta);
    packet.mend_segment(header, offset, Change { own, ..Change::default() });
    Ok(())
}

/// The largest MSS that `endpoint` lets through where segments of `fits` bytes fit the packets.
#[inline(always)]
fn limit(endpoint: &Endpoint, fits: u32) -> Option<u16> {
    let fits = fits.saturating_sub(tcp::HEADER as u32);
    let limit = match endpoint.mss_clamp {
        Endpoint::MSS_OFF => return None,
        Endpoint::MSS_AUTO => fits,
        most => most.min(fits),
    };
    Some(limit.min(u32::from(u16::MAX)) as u16)
}

/// Lowers every MSS in the `length` bytes of options at `start`; how the TCP checksum changes by it, zero
/// where it does not.
///
/// An option whose length cannot be true ends the walk: what comes after it is anybody's guess.
///
/// One step for each byte, whether an option begins there or not, and no branch on what it holds. With
/// branches the verifier followed the options in every order they may have, over a million instructions.
#[inline(never)]
fn lower(packet: &impl Packet, start: usize, length: usize, limit: u16) -> u16 {
    let limit = u64::from(limit);
    // Bit n: an option begins n bytes from here.
    let mut begins = 1_u64;
    // Bit n: the byte n bytes from here belongs to the options.
    let mut inside = (1_u64 << length) - 1;
    let mut delta = 0;
    for at in 0..MAX_OPTIONS {
        // Closer to the frame's end than this there is no room for an MSS.
        let Some(option) = packet.window::<4>(start + at) else {
            break;
        };
        let (kind, size) = (u64::from(option.u8::<0>()), u64::from(option.u8::<1>()));
        let before = option.u16::<2>();
        let value = u64::from(u16::from_be(before));

        let here = begins & inside & 1;
        let sized = less(NO_OPERATION, kind) & less(1, size) & less(size, MAX_OPTIONS as u64);
        let next = equal(kind, NO_OPERATION) | sized << (size.wrapping_sub(1) % 64);
        begins = begins >> 1 | here.wrapping_neg() & next;

        let is_mss = equal(kind, MSS) & equal(size, 4) & inside >> 3;
        let lower = (here & is_mss & less(limit, value)).wrapping_neg();
        let after = ((value ^ (value ^ limit) & lower) as u16).to_be();
        option.set_u16::<2>(after);
        let change = Delta::default().replace16(before, after).fold() & lower as u16;
        // At an odd place each byte counts as its neighbour would (RFC 1071, section 2 B).
        delta += u32::from(change.rotate_left(at as u32 % 2 * 8));

        inside >>= 1;
    }
    fold(delta)
}

/// 1 where `a` is less than `b`, else 0; both below 2^32. LLVM makes a branch of a comparison, but not of
/// this.
#[inline(always)]
const fn less(a: u64, b: u64) -> u64 {
    ((1 << 32) - 1 + b - a) >> 32
}

/// 1 where `a` equals `b`, else 0; both below 2^32.
#[inline(always)]
const fn equal(a: u64, b: u64) -> u64 {
    less(a ^ b, 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::Frame;
    use proptest::prelude::*;

    /// The walk as one would write it for no verifier.
    fn plainly_lowered(options: &[u8], limit: u16) -> Vec<u8> {
        let mut lowered = options.to_vec();
        let mut at = 0;
        while at < options.len() {
            let size = match (options[at], options.get(at + 1)) {
                (0, _) => break,
                (1, _) => 1,
                (_, Some(&size)) if size >= 2 => usize::from(size),
                _ => break,
            };
            if let Some(&[2, 4, high, low]) = options.get(at..at + size) {
                let value = u16::from_be_bytes([high, low]).min(limit);
                lowered[at + 2..at + 4].copy_from_slice(&value.to_be_bytes());
            }
            at += size;
        }
        lowered
    }

    fn sum(bytes: &[u8]) -> u16 {
        fold(bytes.as_chunks().0.iter().map(|&word| u32::from(u16::from_ne_bytes(word))).sum())
    }

    /// Option lists, mostly of MSS and "no operation", some of them cut or with impossible lengths.
    fn options() -> impl Strategy<Value = Vec<u8>> {
        let option = prop_oneof![
            4 => any::<u16>().prop_map(|mss| [&[2, 4][..], &mss.to_be_bytes()].concat()),
            3 => Just(vec![1]),
            2 => (2..12_u8).prop_map(|size| {
                let mut other = vec![0xfe; usize::from(size)];
                other[1] = size;
                other
            }),
            1 => any::<[u8; 3]>().prop_map(Vec::from),
        ];
        (proptest::collection::vec(option, 0..20), 1..=10_usize).prop_map(|(options, words)| {
            let mut options = options.concat();
            options.resize(words * 4, 1);
            options
        })
    }

    proptest! {
        #[test]
        fn as_if_written_plainly(
            options in options(), data in any::<[u8; 6]>(), limit in any::<u16>(), length in 0..6_usize,
        ) {
            let frame = [&[0xee; 54], options.as_slice(), &data[..length]].concat();
            let packet = Frame::new(&frame);
            let before = !sum(&options);
            let after = crate::checksum::apply(before, lower(&packet, 54, options.len(), limit));
            let expected = plainly_lowered(&options, limit);
            let [untouched, rest] = [&frame[..54], &frame[54 + options.len()..]];
            prop_assert_eq!(packet.into_bytes(), [untouched, &expected, rest].concat());
            prop_assert_eq!(fold(u32::from(after) + u32::from(sum(&expected))), 0xffff);
        }
    }
}
