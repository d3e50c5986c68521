//! What the service manager is told, if there is one: systemd, or another with its protocol (sd_notify(3)).

use std::future::pending;

use sd_notify::NotifyState;
use tokio::time::{Interval, MissedTickBehavior, interval};

/// Everything works from now on.
pub fn ready() {
    tell(&[NotifyState::Ready]);
}

/// The configuration is read again, until [`ready`].
pub fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(error) => log::warn!("the monotonic clock cannot be read: {error}"),
    }
}

/// The end has begun.
pub fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// Its watchdog, which takes a silent daemon for dead and starts another.
pub struct Watchdog(Option<Interval>);

impl Watchdog {
    /// As the service manager wants it.
    pub fn asked_for() -> Self {
        // Twice as often as it must be, as sd_watchdog_enabled(3) recommends.
        Self(sd_notify::watchdog_enabled().map(|within| {
            let mut interval = interval(within / 2);
            interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
            interval
        }))
    }

    /// Waits until it must hear something; for ever if there is none.
    pub async fn due(&mut self) {
        match &mut self.0 {
            Some(interval) => drop(interval.tick().await),
            None => pending().await,
        }
    }

    /// Says that the daemon is alive. To be called by the loop that does its work, and by nobody else.
    pub fn alive(&self) {
        tell(&[NotifyState::Watchdog]);
    }
}

fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        log::warn!("the service manager cannot be notified: {error}");
    }
}
