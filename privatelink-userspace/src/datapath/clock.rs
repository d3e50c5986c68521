//! The kernel's jiffies, in which records are stamped.

use std::time::Duration;

use nix::time::{ClockId, clock_getres};

/// Jiffies per second of the running kernel (CONFIG_HZ).
///
/// The coarse clocks advance once a tick and report that as their resolution.
pub fn jiffies_per_second() -> u64 {
    clock_getres(ClockId::CLOCK_MONOTONIC_COARSE)
        .ok()
        .map(Duration::from)
        .filter(|tick| !tick.is_zero())
        .map_or(250, |tick| (1.0 / tick.as_secs_f64()).round() as u64)
}

/// One moment on the kernel's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clock {
    /// Jiffies now.
    pub jiffies: u64,
    /// Jiffies per second.
    pub per_second: u64,
}

impl Clock {
    /// Milliseconds since a stamp; 0 for one taken after this moment.
    pub const fn ms_since(&self, stamp: u64) -> u64 {
        self.jiffies.saturating_sub(stamp).saturating_mul(1000) / self.per_second
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn milliseconds_since_a_stamp() {
        let clock = Clock { jiffies: (1 << 32) + 500, per_second: 250 };
        assert_eq!(clock.ms_since(1 << 32), 2000, "jiffies are 64 bits wide: no wrap after 2^32");
        assert_eq!(clock.ms_since((1 << 32) + 499), 4);
        assert_eq!(clock.ms_since((1 << 32) + 501), 0, "a packet that came while we looked");
    }

    #[test]
    fn the_tick_is_a_rate_kernels_are_built_with() {
        assert!([100, 250, 300, 1000].contains(&jiffies_per_second()), "{}", jiffies_per_second());
    }
}
