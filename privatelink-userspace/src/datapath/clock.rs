//! The kernel's jiffies, in which records are stamped.

use std::time::Duration;

use nix::time::{ClockId, clock_getres};
use privatelink_common::ticks::{self, Tick};

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
    /// The moment as records keep it.
    pub const fn tick(&self) -> Tick {
        Tick::from_jiffies(self.jiffies)
    }

    /// Milliseconds that ticks make up.
    pub const fn ms(&self, ticks: u32) -> u64 {
        ticks::to_ms(ticks, self.per_second)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tick_is_a_rate_kernels_are_built_with() {
        assert!([100, 250, 300, 1000].contains(&jiffies_per_second()), "{}", jiffies_per_second());
    }
}
