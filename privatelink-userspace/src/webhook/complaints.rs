//! What the log hears of a server that does not take events: soon, and then once a minute.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use hyper::Uri;

use crate::seldom::Seldom;

/// More is said only after this long.
const SILENCE: Duration = Duration::from_secs(60);

/// What has gone wrong, as far as it is not said yet.
#[derive(Debug)]
pub(super) struct Complaints {
    /// The server. The rest of its URL may be a secret.
    server: String,
    lost: u64,
    /// Whether the last event was not taken.
    is_troubled: bool,
    saying: Seldom,
}

impl Complaints {
    pub(super) fn about(url: &Uri) -> Self {
        let (scheme, host) = (url.scheme_str(), url.authority());
        let host = host.map_or("", |host| host.as_str());
        let server = format!("{}://{host}", scheme.unwrap_or_default());
        Self { server, lost: 0, is_troubled: false, saying: Seldom::after(SILENCE) }
    }

    /// An event was not taken, and will be posted again.
    pub(super) fn trouble(&mut self, why: &str) {
        self.is_troubled = true;
        if let Some(line) = self.line(why, Instant::now()) {
            log::warn!("{line}; it is tried again");
        }
    }

    /// Events are given up.
    pub(super) fn lost(&mut self, events: u64, why: &str) {
        self.lost += events;
        if let Some(line) = self.line(why, Instant::now()) {
            log::warn!("{line}");
        }
    }

    /// An event was taken.
    pub(super) fn over(&mut self) {
        if std::mem::take(&mut self.is_troubled) {
            log::info!("the webhook at {} takes events again", self.server);
        }
    }

    /// What is to be said now, if anything.
    fn line(&mut self, why: &str, now: Instant) -> Option<String> {
        if !self.saying.may(now) {
            return None;
        }
        let mut line = format!("the webhook at {} does not take events: {why}", self.server);
        let lost = std::mem::take(&mut self.lost);
        if lost > 0 {
            // Writing to a string cannot fail.
            let _ = write!(line, "; events lost: {lost}");
        }
        Some(line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn once_a_minute_with_all_that_was_lost() {
        let url = Uri::from_static("https://hooks.example.com:8443/T0/secret");
        let mut complaints = Complaints::about(&url);
        let start = Instant::now();
        let mut line = |lost, after| {
            complaints.lost += lost;
            complaints.line("connection refused", start + Duration::from_secs(after))
        };
        let said = "the webhook at https://hooks.example.com:8443 does not take events: connection refused";
        assert_eq!(line(0, 0).as_deref(), Some(said));
        assert_eq!(line(1, 1), None);
        assert_eq!(line(5, 59), None);
        assert_eq!(line(1, 60), Some(format!("{said}; events lost: 7")));
        assert_eq!(line(2, 119), None);
        assert_eq!(line(0, 120), Some(format!("{said}; events lost: 2")));
    }
}
