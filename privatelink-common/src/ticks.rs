//! Time as flow records keep it: ticks of 16 jiffies.
//!
//! A tick is 64 ms at 250 Hz, fine enough for time-outs of seconds, and 24 bits of it fit beside a packet
//! counter in one word.

/// Jiffies in a tick, as a power of two.
const JIFFIES: u32 = 4;
/// Bits of a stamp.
pub const STAMP_BITS: u32 = 24;
const STAMP_MASK: u32 = (1 << STAMP_BITS) - 1;
/// Bits of a coarse moment.
pub const COARSE_BITS: u32 = 28;
/// Ticks between two coarse moments, as a power of two: 16 ms at 1 000 Hz, 640 ms at 100 Hz.
const COARSE: u32 = 2;

/// A moment: ticks since boot, wrapping after eight years at 250 Hz.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tick(pub u32);

impl Tick {
    /// The moment of a jiffies count.
    #[inline(always)]
    pub const fn from_jiffies(jiffies: u64) -> Self {
        Self((jiffies >> JIFFIES) as u32)
    }

    /// The low bits, as records keep them.
    #[inline(always)]
    pub const fn stamp(self) -> u32 {
        self.0 & STAMP_MASK
    }

    /// Ticks since a stamp; 0 for one that another CPU took just after this moment.
    ///
    /// A stamp older than half its range (six days at 250 Hz) looks as if it lay ahead. Sweeping takes
    /// flows away long before; if nothing sweeps, such a flow lives for one more time-out.
    #[inline(always)]
    pub const fn since_stamp(self, stamp: u32) -> u32 {
        let ticks = self.0.wrapping_sub(stamp) & STAMP_MASK;
        if ticks > STAMP_MASK / 2 { 0 } else { ticks }
    }

    /// Whether a stamp lies farther back than this, or as far ahead. Unlike [`Self::since_stamp`] it is wrong only when the
    /// stamps come round, in moments as short as that: for what may have been left alone for days.
    #[inline(always)]
    pub const fn is_farther(self, stamp: u32, ticks: u32) -> bool {
        self.0.wrapping_sub(stamp).wrapping_add(ticks) & STAMP_MASK > 2 * ticks
    }

    /// The moment, rounded down to four ticks, as records keep the one they were opened at.
    #[inline(always)]
    pub const fn coarse(self) -> u32 {
        self.0 << (u32::BITS - COARSE_BITS - COARSE) >> (u32::BITS - COARSE_BITS)
    }

    /// Ticks since a coarse moment, three too many at most; 0 for a later one. They wrap after 99 days at 1 000 Hz,
    /// 397 days at 250 Hz.
    pub const fn since_coarse(self, moment: u32) -> u32 {
        const MASK: u32 = (1 << (COARSE_BITS + COARSE)) - 1;
        let ticks = self.0.wrapping_sub(moment << COARSE) & MASK;
        if ticks > MASK / 2 { 0 } else { ticks }
    }
}

/// Whole ticks that make up at least this many milliseconds, at a kernel's jiffies per second.
pub const fn from_ms(ms: u64, jiffies_per_second: u64) -> u32 {
    (ms * jiffies_per_second).div_ceil(1000 << JIFFIES) as u32
}

/// Milliseconds that ticks make up.
pub const fn to_ms(ticks: u32, jiffies_per_second: u64) -> u64 {
    ((ticks as u64) << JIFFIES) * 1000 / jiffies_per_second
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_wrap() {
        let before = Tick(STAMP_MASK - 1);
        let after = Tick(STAMP_MASK + 4);
        assert_eq!(after.since_stamp(before.stamp()), 5);
        assert_eq!(before.since_stamp(after.stamp()), 0, "it lies ahead");
        assert_eq!(before.since_stamp(before.stamp()), 0);
    }

    #[test]
    fn coarse_moments_wrap() {
        const RANGE: u32 = 1 << (COARSE_BITS + COARSE);
        for start in [0, 7, STAMP_MASK - 2, RANGE / 2, RANGE - 5, RANGE, u32::MAX - 6] {
            for (before, ago) in
                (0..8).flat_map(|more| [0, 1, 5, 1000, RANGE / 2 - 5].map(|ago| (more, ago)))
            {
                let before = Tick(start.wrapping_add(before));
                assert!(before.coarse() < 1 << COARSE_BITS);
                let since = Tick(before.0.wrapping_add(ago)).since_coarse(before.coarse());
                assert!((ago..ago + 4).contains(&since), "{before:?}, {ago} ago: {since}");
            }
        }
        assert_eq!(Tick(3).since_coarse(Tick(4).coarse()), 0, "it lies ahead");
        assert_eq!(
            Tick(3).since_coarse(Tick(u32::MAX).coarse()),
            7,
            "jiffies start five minutes before a wrap of 32 bits"
        );
    }

    #[test]
    fn a_stamp_of_days_ago_is_far() {
        let then = Tick(77);
        for (later, far) in [(0, false), (16, false), (17, true), (STAMP_MASK / 2 + 9, true)] {
            assert_eq!(Tick(then.0 + later).is_farther(then.stamp(), 16), far, "{later}");
        }
        assert!(!Tick(then.0 - 2).is_farther(then.stamp(), 16), "another CPU's, just ahead");
        let round = STAMP_MASK - 20;
        assert!(Tick(then.0 + round).is_farther(then.stamp(), 16));
    }

    #[test]
    fn the_first_wrap_of_jiffies_is_no_jump() {
        // INITIAL_JIFFIES is -300 s in 32 bits: the 64-bit count passes 2^32 five minutes after boot.
        let (before, after) =
            (Tick::from_jiffies((1 << 32) - 16), Tick::from_jiffies((1 << 32) + 16));
        assert_eq!(after.since_stamp(before.stamp()), 2);
        assert!((2..6).contains(&after.since_coarse(before.coarse())));
    }

    #[test]
    fn milliseconds() {
        for hz in [100, 250, 300, 1000] {
            for ms in [1, 999, 1000, 10_000, 350_000, 8_000_000] {
                let ticks = from_ms(ms, hz);
                assert!(to_ms(ticks, hz) >= ms - 1 && ticks < STAMP_MASK / 2, "{ms} at {hz}");
                assert!(to_ms(ticks, hz) < ms + 16_001 / hz, "{ms} at {hz}");
            }
        }
    }
}
