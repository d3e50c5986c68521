//! An hour of UTC.

use std::fmt;
use std::str::FromStr;

use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};
use serde::{Deserialize, Serialize};

const SECONDS: i64 = 3600;

/// An hour, counted from 1970. Written as its beginning by RFC 3339, or as a date where a day begins.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(try_from = "String", into = "String")]
pub struct Hour(pub u32);

/// What is written is no hour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAnHour {
    /// It is no time at all.
    #[error(
        "not a time: write a date such as 2026-11-01, or a full hour such as 2026-11-01T13:00:00Z"
    )]
    Time,
    /// It is a time within an hour.
    #[error(
        "not a full hour of UTC, by which usage is kept: write one such as 2026-11-01T13:00:00Z"
    )]
    Within,
}

impl Hour {
    /// The last there is.
    pub const LAST: Self = Self(u32::MAX);

    /// The one that a moment is in, seconds since 1970.
    pub const fn of(seconds: u64) -> Self {
        Self((seconds / SECONDS as u64) as u32)
    }

    /// When it begins, seconds since 1970.
    pub const fn begins(self) -> u64 {
        self.0 as u64 * SECONDS as u64
    }

    /// The next one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// The first hour of its day.
    #[must_use]
    pub const fn day(self) -> Self {
        Self(self.0 - self.0 % 24)
    }

    /// The first hour of the next day.
    #[must_use]
    pub const fn next_day(self) -> Self {
        Self(self.day().0.saturating_add(24))
    }

    /// The first hour of its month.
    #[must_use]
    pub fn month(self) -> Self {
        Self::of_date(self.date().first_of_month())
    }

    /// The first hour of the next month.
    #[must_use]
    pub fn next_month(self) -> Self {
        let next = self.date().first_of_month().checked_add(Span::new().months(1));
        next.map_or(Self::LAST, Self::of_date)
    }

    fn time(self) -> Timestamp {
        // Beyond the year 9999, which the clock may well say when nobody has set it.
        Timestamp::from_second(self.begins() as i64).unwrap_or(Timestamp::MAX)
    }

    fn date(self) -> Date {
        self.time().to_zoned(TimeZone::UTC).date()
    }

    fn of_date(date: Date) -> Self {
        let time = TimeZone::UTC.to_timestamp(DateTime::from(date));
        time.map_or(Self::LAST, |time| Self::of(time.as_second().max(0) as u64))
    }
}

impl fmt::Display for Hour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.time())
    }
}

impl FromStr for Hour {
    type Err = NotAnHour;

    fn from_str(text: &str) -> Result<Self, NotAnHour> {
        // jiff reads more than RFC 3339 and dates.
        let plain = text.len() == "2026-11-01".len();
        let time = match plain {
            true => text
                .parse::<Date>()
                .ok()
                .and_then(|date| TimeZone::UTC.to_timestamp(DateTime::from(date)).ok()),
            false => text.parse::<Timestamp>().ok(),
        };
        let time = time.filter(|time| *time >= Timestamp::UNIX_EPOCH).ok_or(NotAnHour::Time)?;
        if time.as_second() % SECONDS != 0 || time.subsec_nanosecond() != 0 {
            return Err(NotAnHour::Within);
        }
        u32::try_from(time.as_second() / SECONDS).map(Self).map_err(|_| NotAnHour::Time)
    }
}

impl TryFrom<String> for Hour {
    type Error = NotAnHour;

    fn try_from(text: String) -> Result<Self, NotAnHour> {
        text.parse()
    }
}

impl From<Hour> for String {
    fn from(hour: Hour) -> Self {
        hour.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hours_and_dates_are_read() {
        for (text, expected) in [
            ("1970-01-01", Ok("1970-01-01T00:00:00Z")),
            ("2024-02-29", Ok("2024-02-29T00:00:00Z")),
            ("2026-11-21T22:00:00Z", Ok("2026-11-21T22:00:00Z")),
            ("2026-11-21T22:00:00+01:00", Ok("2026-11-21T21:00:00Z")),
            ("2026-11-21T22:00:00.000Z", Ok("2026-11-21T22:00:00Z")),
            ("2026-11-21T22:30:00+05:30", Ok("2026-11-21T17:00:00Z")),
            ("2026-11-21T22:00:00+05:30", Err(NotAnHour::Within)),
            ("2026-11-21T22:00:01Z", Err(NotAnHour::Within)),
            ("2026-11-21T22:00:00.5Z", Err(NotAnHour::Within)),
            ("2025-02-29", Err(NotAnHour::Time)),
            ("1969-12-31", Err(NotAnHour::Time)),
            ("2026-11-21T22:00:00", Err(NotAnHour::Time)),
            ("2026-11", Err(NotAnHour::Time)),
            ("yesterday", Err(NotAnHour::Time)),
            ("", Err(NotAnHour::Time)),
        ] {
            let read = text.parse::<Hour>().map(|hour| hour.to_string());
            assert_eq!(read, expected.map(str::to_owned), "{text}");
        }
    }

    #[test]
    fn days_and_months_begin_and_end() {
        let hour = |text: &str| text.parse::<Hour>().unwrap();
        let at = hour("2026-12-31T23:00:00Z");
        assert_eq!((at.day(), at.next_day()), (hour("2026-12-31"), hour("2027-01-01")));
        assert_eq!((at.month(), at.next_month()), (hour("2026-12-01"), hour("2027-01-01")));
        let leap = hour("2024-02-29T05:00:00Z");
        assert_eq!((leap.month(), leap.next_month()), (hour("2024-02-01"), hour("2024-03-01")));
        assert_eq!(Hour::of(at.begins() + 3599), at);
        assert!(Hour::LAST.month() <= Hour::LAST && Hour::LAST.next_month() <= Hour::LAST);
    }
}
