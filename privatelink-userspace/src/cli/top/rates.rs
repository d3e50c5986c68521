//! Rates, worked out from two readings of counters.

use std::time::Duration;

use crate::api::{CountsBody, FlowRow};

/// What happens per second.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Rates {
    /// Bytes of IP packets to targets.
    pub(super) to_target: f64,
    /// Bytes of IP packets to clients.
    pub(super) to_client: f64,
    /// Packets of both directions.
    pub(super) packets: f64,
    /// Flows opened.
    pub(super) new_flows: f64,
}

impl Rates {
    /// Those between two readings; `None` if a counter went back, as it does when it is another's, or no time has passed.
    pub(super) fn between(
        before: &CountsBody,
        now: &CountsBody,
        elapsed: Duration,
    ) -> Option<Self> {
        let of = |count: fn(&CountsBody) -> u64| rate(count(before), count(now), elapsed);
        Some(Self {
            to_target: of(|counts| counts.bytes_to_target)?,
            to_client: of(|counts| counts.bytes_to_client)?,
            packets: of(|counts| counts.packets_to_target)?
                + of(|counts| counts.packets_to_client)?,
            new_flows: of(|counts| counts.new_flows)?,
        })
    }

    /// Bytes of both directions.
    pub(super) fn bytes(&self) -> f64 {
        self.to_target + self.to_client
    }

    /// The sums.
    pub(super) fn plus(self, other: Self) -> Self {
        Self {
            to_target: self.to_target + other.to_target,
            to_client: self.to_client + other.to_client,
            packets: self.packets + other.packets,
            new_flows: self.new_flows + other.new_flows,
        }
    }
}

/// How much a counter has grown per second; `None` if it went back or no time has passed.
pub(super) fn rate(before: u64, now: u64, elapsed: Duration) -> Option<f64> {
    let grown = now.checked_sub(before)?;
    (!elapsed.is_zero()).then(|| grown as f64 / elapsed.as_secs_f64())
}

/// What a flow has carried.
pub(super) fn carried(flow: &FlowRow<'_>) -> CountsBody {
    CountsBody {
        packets_to_target: flow.packets_to_target,
        bytes_to_target: flow.bytes_to_target,
        packets_to_client: flow.packets_to_client,
        bytes_to_client: flow.bytes_to_client,
        ..CountsBody::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_growth_over_time() {
        let second = Duration::from_secs(1);
        for (before, now, elapsed, expected) in [
            (0, 0, second, Some(0.0)),
            (10, 30, second, Some(20.0)),
            (10, 30, Duration::from_millis(200), Some(100.0)),
            (10, 30, Duration::from_secs(40), Some(0.5)),
            (30, 10, second, None),
            (10, 30, Duration::ZERO, None),
            (0, u64::MAX, second, Some(u64::MAX as f64)),
        ] {
            assert_eq!(rate(before, now, elapsed), expected, "{before} {now} {elapsed:?}");
        }
    }

    #[test]
    fn one_counter_that_went_back_takes_all_rates() {
        let before = CountsBody {
            new_flows: 1,
            packets_to_target: 2,
            bytes_to_target: 3,
            packets_to_client: 4,
            bytes_to_client: 5,
            ..CountsBody::default()
        };
        let now = CountsBody {
            new_flows: 2,
            packets_to_target: 12,
            bytes_to_target: 103,
            packets_to_client: 24,
            bytes_to_client: 1005,
            ..before
        };
        let two = Duration::from_secs(2);
        let rates = Rates { to_target: 50.0, to_client: 500.0, packets: 15.0, new_flows: 0.5 };
        assert_eq!(Rates::between(&before, &now, two), Some(rates));
        for back in [
            CountsBody { new_flows: 0, ..now },
            CountsBody { packets_to_target: 0, ..now },
            CountsBody { bytes_to_target: 0, ..now },
            CountsBody { packets_to_client: 0, ..now },
            CountsBody { bytes_to_client: 0, ..now },
        ] {
            assert_eq!(Rates::between(&before, &back, two), None, "{back:?}");
        }
    }
}
