//! Waiting for a condition instead of sleeping.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// How long to pause between two looks at a condition.
pub(crate) const PAUSE: Duration = Duration::from_millis(20);

/// Looks at `condition` until it holds, at most for `deadline`; `what` names it in the error.
///
/// The condition is looked at once even when `deadline` is zero, and once more after the deadline.
///
/// # Errors
/// When the condition does not hold in time.
pub fn wait_until(
    deadline: Duration,
    what: &str,
    mut condition: impl FnMut() -> bool,
) -> Result<()> {
    let start = Instant::now();
    loop {
        let late = start.elapsed() >= deadline;
        if condition() {
            return Ok(());
        }
        if late {
            bail!("waited {:.1} s in vain until {what}", deadline.as_secs_f64());
        }
        thread::sleep(PAUSE);
    }
}
