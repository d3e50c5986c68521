//! When an event is posted again.

use std::time::Duration;

/// Pause after the first failure; it doubles with each.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// Longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// For how long an event is posted again and again.
const PATIENCE: Duration = Duration::from_secs(600);

/// The pause after so many failures, the first of which began so long ago; `None` if it is given up.
pub(super) fn pause(failed: u32, since: Duration) -> Option<Duration> {
    let doubled = 2_u32.saturating_pow(failed.saturating_sub(1));
    let pause = FIRST_PAUSE.saturating_mul(doubled).min(LONGEST_PAUSE);
    (since + pause <= PATIENCE).then_some(pause)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(failed: u32, since: u64) -> Option<u64> {
        pause(failed, Duration::from_secs(since)).map(|pause| pause.as_secs())
    }

    #[test]
    fn the_pause_doubles_up_to_a_minute() {
        let pauses = [1, 2, 3, 4, 5, 6, 7, 8, 100, u32::MAX].map(|failed| seconds(failed, 0));
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60, 60, 60].map(Some));
    }

    #[test]
    fn after_ten_minutes_it_is_given_up() {
        for (failed, since, expected) in
            [(1, 599, Some(1)), (1, 600, None), (9, 540, Some(60)), (9, 541, None), (9, 6000, None)]
        {
            assert_eq!(seconds(failed, since), expected, "{failed} failures in {since} s");
        }
        // A server that refuses at once is asked 15 times.
        let (mut since, mut failed) = (0, 1);
        while let Some(pause) = seconds(failed, since) {
            (since, failed) = (since + pause, failed + 1);
        }
        assert_eq!((since, failed), (543, 15));
    }
}
