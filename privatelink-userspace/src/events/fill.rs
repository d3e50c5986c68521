//! When the flow table counts as full: it must get clearly emptier before it counts as emptier.

use crate::api::Fill;

/// From this part of the table on it is high, in percent.
const HIGH: u64 = 80;
/// Below this it is no longer.
const NO_LONGER_HIGH: u64 = 75;
/// From this part on it is critical.
const CRITICAL: u64 = 95;
/// Below this it is no longer.
const NO_LONGER_CRITICAL: u64 = 90;

/// How full a table is that was as full as `before` says and has so many of its places taken.
pub fn fill(before: Fill, held: u64, most: u64) -> Fill {
    let reaches = |percent: u64| u128::from(held) * 100 >= u128::from(most) * u128::from(percent);
    let mark = |of: Fill, enter, stay| reaches(if before >= of { stay } else { enter });
    if mark(Fill::Critical, CRITICAL, NO_LONGER_CRITICAL) {
        Fill::Critical
    } else if mark(Fill::High, HIGH, NO_LONGER_HIGH) {
        Fill::High
    } else {
        Fill::Normal
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_rises_at_one_mark_and_falls_at_another() {
        use Fill::{Critical, High, Normal};
        for (held, from_normal, from_high, from_critical) in [
            (0, Normal, Normal, Normal),
            (749, Normal, Normal, Normal),
            (750, Normal, High, High),
            (799, Normal, High, High),
            (800, High, High, High),
            (899, High, High, High),
            (900, High, High, Critical),
            (949, High, High, Critical),
            (950, Critical, Critical, Critical),
            (1000, Critical, Critical, Critical),
        ] {
            let found = [Normal, High, Critical].map(|before| fill(before, held, 1000));
            assert_eq!(found, [from_normal, from_high, from_critical], "{held}");
        }
    }

    #[test]
    fn a_number_that_swings_at_a_mark_is_told_once() {
        use Fill::{High, Normal};
        let mut state = Normal;
        let states = [799, 800, 799, 801, 760, 800, 749, 799].map(|held| {
            state = fill(state, held, 1000);
            state
        });
        assert_eq!(states, [Normal, High, High, High, High, High, Normal, Normal]);
    }

    #[test]
    fn the_largest_numbers_do_not_overflow() {
        assert_eq!(fill(Fill::Normal, u64::MAX, u64::MAX), Fill::Critical);
    }
}
