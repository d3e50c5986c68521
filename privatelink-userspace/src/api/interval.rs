//! A short time between two looks at the flows.

use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use humantime_serde::re::humantime;
use serde::{Deserialize, Serialize};

/// Milliseconds that it may be: long enough to be measured by, short enough to be waited for.
const RANGE: RangeInclusive<u64> = 100..=60_000;

/// A time from 100 ms to 60 s; milliseconds in a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u64", into = "u64")]
pub struct Interval(Duration);

impl Interval {
    /// A second.
    pub const SECOND: Self = Self(Duration::from_secs(1));

    /// How long it is.
    pub const fn duration(self) -> Duration {
        self.0
    }
}

impl TryFrom<u64> for Interval {
    type Error = &'static str;

    fn try_from(ms: u64) -> Result<Self, Self::Error> {
        let time = Duration::from_millis(ms);
        RANGE.contains(&ms).then_some(Self(time)).ok_or("not from 100 to 60000 milliseconds")
    }
}

impl From<Interval> for u64 {
    fn from(interval: Interval) -> Self {
        interval.0.as_millis() as Self
    }
}

impl FromStr for Interval {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let time = humantime::parse_duration(text).ok();
        let ms = time.and_then(|time| u64::try_from(time.as_millis()).ok());
        ms.and_then(|ms| Self::try_from(ms).ok())
            .ok_or("not a time from 100ms to 60s: write e.g. 2s")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn from_100_milliseconds_to_a_minute() {
        for (text, ms) in [
            ("100ms", Some(100)),
            ("1s", Some(1000)),
            ("1s 500ms", Some(1500)),
            ("1m", Some(60_000)),
            ("99ms", None),
            ("0s", None),
            ("1m 1ms", None),
            ("584942417355years", None),
            ("2", None),
            ("", None),
            ("soon", None),
        ] {
            let interval = text.parse::<Interval>();
            assert_eq!(interval.ok().map(u64::from), ms, "{text}");
            assert_eq!(ms.and_then(|ms| Interval::try_from(ms).ok()), interval.ok(), "{text}");
        }
        for ms in [0, 99, 60_001, u64::MAX] {
            assert!(Interval::try_from(ms).is_err(), "{ms}");
        }
    }
}
