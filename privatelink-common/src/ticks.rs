//! Time as flow records keep it: ticks of 16 jiffies.
//!
//! A tick is 64 ms at 250 Hz, fine enough for time-outs of seconds, and 24 bits of it fit beside a packet
//! counter in one word.

/// Jiffies in a tick, as a power of two.
const JIFFIES: u32 = 4;
/// Bits of a stamp.
pub const STAMP_BITS: u32 = 24;
const STAMP_MASK: u32 = (1 << STAMP_BITS) - 1;

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

    /// Ticks since another moment; 0 for a later one.
    #[inline(always)]
    pub const fn since(self, moment: u32) -> u32 {
        let ticks = self.0.wrapping_sub(moment);
        if ticks > u32::MAX / 2 { 0 } else { ticks }
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
        assert_eq!(
            Tick(3).since(u32::MAX),
            4,
            "jiffies start five minutes before a wrap of 32 bits"
        );
        assert_eq!(Tick(3).since(4), 0);
    }

    #[test]
    fn the_first_wrap_of_jiffies_is_no_jump() {
        // INITIAL_JIFFIES is -300 s in 32 bits: the 64-bit count passes 2^32 five minutes after boot.
        let (before, after) =
            (Tick::from_jiffies((1 << 32) - 16), Tick::from_jiffies((1 << 32) + 16));
        assert_eq!(after.since_stamp(before.stamp()), 2);
        assert_eq!(after.since(before.0), 2);
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
