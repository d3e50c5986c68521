//! How to show what goes on.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use humantime_serde::re::humantime::parse_duration;

use crate::control::DEFAULT_SOCKET;

/// Least and most time between two refreshes.
const INTERVALS: RangeInclusive<Duration> = Duration::from_millis(200)..=Duration::from_secs(60);

#[derive(Debug, Args)]
pub(in crate::cli) struct TopArgs {
    /// Control socket of the daemon
    #[arg(long, value_name = "PATH", default_value = DEFAULT_SOCKET)]
    pub(in crate::cli) socket: PathBuf,
    /// Time between two refreshes, 200ms to 60s
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = parse_interval)]
    pub(in crate::cli) interval: Duration,
}

fn parse_interval(text: &str) -> Result<Duration, String> {
    let interval = parse_duration(text).ok().filter(|interval| INTERVALS.contains(interval));
    interval.ok_or_else(|| "write a time from 200ms to 60s".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_have_their_bounds() {
        for (text, ms) in [
            ("200ms", Some(200)),
            ("1s", Some(1_000)),
            ("60s", Some(60_000)),
            ("1m", Some(60_000)),
            ("199ms", None),
            ("61s", None),
            ("1", None),
            ("", None),
            ("-1s", None),
        ] {
            assert_eq!(parse_interval(text).ok(), ms.map(Duration::from_millis), "{text:?}");
        }
    }
}
