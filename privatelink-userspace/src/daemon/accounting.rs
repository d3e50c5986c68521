//! Puts usage into the books: each minute, and as an hour ends.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::task::JoinHandle;

use crate::running::Running;

/// How much may be lost when the daemon is killed.
const INTERVAL: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

/// The accounting task; ended when dropped.
pub(super) struct Bookkeeper(JoinHandle<()>);

impl Bookkeeper {
    /// Starts the task.
    pub(super) fn start(running: Arc<Running>) -> Self {
        Self(tokio::spawn(keep_for_ever(running)))
    }
}

impl Drop for Bookkeeper {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn keep_for_ever(running: Arc<Running>) {
    loop {
        let accounted = running.clone();
        if let Err(error) = tokio::task::spawn_blocking(move || accounted.account()).await {
            log::error!("accounting has failed: {error}");
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        tokio::time::sleep(pause(now)).await;
    }
}

/// How long to wait: to the turn of the hour, if that comes first.
fn pause(now: Duration) -> Duration {
    let into = Duration::new(now.as_secs() % HOUR.as_secs(), now.subsec_nanos());
    INTERVAL.min(HOUR - into)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_hour_is_waited_for() {
        for (now, expected) in
            [(0, 60_000), (3_539_000, 60_000), (3_540_001, 59_999), (3_599_999, 1)]
        {
            let day = Duration::from_secs(20_000 * 86_400);
            assert_eq!(pause(day + Duration::from_millis(now)), Duration::from_millis(expected));
        }
    }
}
