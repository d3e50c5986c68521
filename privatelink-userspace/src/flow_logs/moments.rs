//! Ticks as the time of day.

use std::time::{SystemTime, UNIX_EPOCH};

use privatelink_common::ticks::Tick;

use crate::datapath::Clock;

/// A moment on the data path's clock and on the wall's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moments {
    clock: Clock,
    /// Milliseconds since 1970.
    pub now: u64,
}

impl Moments {
    /// This one.
    pub fn now(clock: Clock) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { clock, now: now.as_millis() as u64 }
    }

    /// One at which the clock says this, and the wall's that, milliseconds since 1970.
    #[cfg(test)]
    pub(super) const fn at(clock: Clock, now: u64) -> Self {
        Self { clock, now }
    }

    /// When a stamp was taken, milliseconds since 1970.
    pub const fn of_stamp(&self, stamp: u32) -> u64 {
        self.before(self.clock.tick().since_stamp(stamp))
    }

    /// When a flow was opened, milliseconds since 1970.
    pub const fn of_coarse(&self, opened: u32) -> u64 {
        self.before(self.clock.tick().since_coarse(opened))
    }

    /// When a tick was, milliseconds since 1970.
    pub const fn of_tick(&self, tick: Tick) -> u64 {
        self.of_stamp(tick.stamp())
    }

    const fn before(&self, ticks: u32) -> u64 {
        self.now.saturating_sub(self.clock.ms(ticks))
    }
}
