//! What an ICMP error of one family is in the other: the tables of RFC 7915.

use std::ops::RangeInclusive;

use super::rewrite::Said;

/// A type, codes of it, and type and code of the other family; `KEPT` is the code as it was. What is in no row is dropped.
type Row = (u8, RangeInclusive<u8>, (u8, u8));

const KEPT: u8 = 255;

/// Section 4.2.
const TO_SIX: [Row; 12] = [
    (3, 0..=1, (1, 0)),
    (3, 2..=2, (4, 1)),
    (3, 3..=3, (1, 4)),
    (3, 4..=4, (2, 0)),
    (3, 5..=8, (1, 0)),
    (3, 9..=10, (1, 1)),
    (3, 11..=12, (1, 0)),
    (3, 13..=13, (1, 1)),
    (3, 15..=15, (1, 1)),
    (11, 0..=255, (3, KEPT)),
    (12, 0..=0, (4, 0)),
    (12, 2..=2, (4, 0)),
];
/// Section 5.2.
const TO_FOUR: [Row; 8] = [
    (1, 0..=0, (3, 1)),
    (1, 1..=1, (3, 10)),
    (1, 2..=3, (3, 1)),
    (1, 4..=4, (3, 3)),
    (2, 0..=255, (3, 4)),
    (3, 0..=255, (11, KEPT)),
    (4, 0..=0, (12, 0)),
    (4, 1..=1, (3, 2)),
];
/// Figures 3 and 6: where a pointer points in the header of the one family, and in that of the other.
const POINTERS_TO_SIX: [(RangeInclusive<u32>, u32); 7] =
    [(0..=0, 0), (1..=1, 1), (2..=3, 4), (8..=8, 7), (9..=9, 6), (12..=15, 8), (16..=19, 24)];
const POINTERS_TO_FOUR: [(RangeInclusive<u32>, u32); 7] =
    [(0..=0, 0), (1..=1, 1), (4..=5, 2), (6..=6, 9), (7..=7, 8), (8..=23, 12), (24..=39, 16)];
/// RFC 1191, section 7.1.
const PLATEAUS: [u32; 11] = [65_535, 32_000, 17_914, 8166, 4352, 2002, 1492, 1006, 508, 296, 68];
/// Offset of "next header".
const NEXT_HEADER: u32 = 6;

/// What bears on the MTU that an error tells.
pub(super) struct Way {
    /// What the packet that it is about says that it is long, bytes.
    pub(super) length: u32,
    /// The MTU of the interface that the error has come by, and of the one that it leaves by.
    pub(super) mtus: [u32; 2],
}

fn row(rows: &[Row], (kind, code, _): Said) -> Option<(u8, u8)> {
    let row = rows.iter().find(|(of, codes, _)| *of == kind && codes.contains(&code))?;
    let (kind, then) = row.2;
    Some((kind, if then == KEPT { code } else { then }))
}

fn pointer(table: &[(RangeInclusive<u32>, u32)], at: u32) -> Option<u32> {
    table.iter().find(|(range, _)| range.contains(&at)).map(|row| row.1)
}

/// What an error of IPv4 says in IPv6.
pub(super) fn to_six(said: Said, way: &Way) -> Option<Said> {
    let (kind, code) = row(&TO_SIX, said)?;
    let word = match (kind, code) {
        (2, _) => {
            let told = match said.2 & 0xffff {
                // A router that tells none: what is likely to be less than the packet has.
                0 => PLATEAUS.into_iter().find(|&mtu| mtu < way.length).unwrap_or(0),
                mtu => mtu,
            };
            let [by, leaves] = way.mtus;
            (told + 20).min(by + 20).min(leaves).max(1280)
        }
        (4, 0) => pointer(&POINTERS_TO_SIX, said.2 >> 24)?,
        (4, _) => NEXT_HEADER,
        _ => 0,
    };
    Some((kind, code, word))
}

/// What an error of IPv6 says in IPv4.
pub(super) fn to_four(said: Said, way: &Way) -> Option<Said> {
    let (kind, code) = row(&TO_FOUR, said)?;
    let word = match (kind, code) {
        (3, 4) => {
            let [by, leaves] = way.mtus;
            said.2.saturating_sub(20).min(by.saturating_sub(20)).min(leaves)
        }
        (12, _) => pointer(&POINTERS_TO_FOUR, said.2)? << 24,
        _ => 0,
    };
    Some((kind, code, word))
}
