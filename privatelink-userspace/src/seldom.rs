//! What is done now and then at most, as complaining is.

use std::time::{Duration, Instant};

/// When it was done, and how often it may be.
#[derive(Debug)]
pub struct Seldom {
    pause: Duration,
    last: Option<Instant>,
}

impl Seldom {
    /// Something that was not done yet, and is to be done again only after a pause.
    pub const fn after(pause: Duration) -> Self {
        Self { pause, last: None }
    }

    /// Whether it may be done now, which it is then taken to be.
    pub fn may(&mut self, now: Instant) -> bool {
        let may = self.last.is_none_or(|last| now.duration_since(last) >= self.pause);
        if may {
            self.last = Some(now);
        }
        may
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_once_and_again_after_the_pause() {
        let (mut seldom, start) = (Seldom::after(Duration::from_secs(60)), Instant::now());
        let mut may = |seconds| seldom.may(start + Duration::from_secs(seconds));
        let seen = [0, 1, 59, 60, 61, 119, 200, 259, 260].map(&mut may);
        assert_eq!(seen, [true, false, false, true, false, false, true, false, true]);
    }
}
