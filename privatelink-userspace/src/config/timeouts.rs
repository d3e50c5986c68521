//! When the flows of an endpoint service end.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::document::Text;
use super::error::Report;
use super::file;
use super::values::duration;
use crate::model::Timeouts;

/// What every timeout but `idle` may be, in seconds.
const SHORT: RangeInclusive<u64> = 1..=300;

/// What `idle` may be, in seconds. AWS takes 60 to 6000; less serves tests.
const IDLE: RangeInclusive<u64> = 1..=8000;

/// The timeouts of a service; the default for each that is absent.
pub(super) fn timeouts(written: Option<&file::Timeouts<'_>>, report: &mut Report<'_>) -> Timeouts {
    let default = Timeouts::default();
    let Some(written) = written else { return default };
    let mut timeout = |text: &Option<Text<'_>>, range, what, default| -> Duration {
        text.as_ref().and_then(|text| duration(text, range, what, report)).unwrap_or(default)
    };
    Timeouts {
        half_open: timeout(&written.half_open, SHORT, "half-open timeout", default.half_open),
        idle: timeout(&written.idle, IDLE, "idle timeout", default.idle),
        closing: timeout(&written.closing, SHORT, "closing timeout", default.closing),
        lease_hold: timeout(&written.lease_hold, SHORT, "lease hold", default.lease_hold),
    }
}
