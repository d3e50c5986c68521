//! What the whole gateway has carried in the last hour, for charts: a ring of samples.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use privatelink_common::flow_table::totals::Counts;

use crate::api;
use crate::metrics::Grown;

/// Time between two samples.
pub const STEP: Duration = Duration::from_secs(10);
/// An hour of them: 32 KiB.
const SAMPLES: usize = 360;
/// The name by which all endpoints are summed up.
const ALL: &str = "";

/// Counters and gauges at one moment.
#[derive(Clone, Debug, Default)]
pub struct Reading {
    /// Each endpoint's id and counters.
    pub endpoints: Vec<(String, Counts)>,
    /// Packets dropped on each interface, for each reason.
    pub dropped: Vec<((String, &'static str), u64)>,
    /// Live flows.
    pub flows: u64,
}

/// What has happened between two readings.
#[derive(Clone, Copy, Debug)]
struct Sample {
    at: Instant,
    over: Duration,
    new_flows: u64,
    packets: [u64; 2],
    bytes: [u64; 2],
    dropped: u64,
    flows: u64,
}

/// The samples, and what the last reading said.
#[derive(Debug, Default)]
pub struct History {
    endpoints: Grown,
    /// By interface and reason, kept for an interface that comes back.
    dropped: HashMap<(String, &'static str), u64>,
    last: Option<(Instant, Counts)>,
    samples: VecDeque<Sample>,
}

impl History {
    /// Takes a reading; the first one only says where counters begin.
    pub fn take(&mut self, at: Instant, reading: &Reading) {
        if self.last.is_some_and(|(last, _)| last == at) {
            return;
        }
        let seen = reading.endpoints.iter().map(|(id, counts)| (id.clone(), [ALL], *counts));
        self.endpoints.see(seen);
        let carried = self.endpoints.of_owner(ALL);
        let dropped = reading.dropped.iter().map(|(of, now)| {
            let before = self.dropped.insert(of.clone(), *now).unwrap_or(0);
            now.checked_sub(before).unwrap_or(*now)
        });
        let dropped = dropped.sum();
        let Some((then, before)) = self.last.replace((at, carried)) else {
            return;
        };
        let grown = carried.less(&before);
        if self.samples.len() == SAMPLES {
            self.samples.pop_front();
        }
        self.samples.push_back(Sample {
            at,
            over: at.saturating_duration_since(then),
            new_flows: grown.opened,
            packets: [grown.packets_to_target, grown.packets_to_client],
            bytes: [grown.bytes_to_target, grown.bytes_to_client],
            dropped,
            flows: reading.flows,
        });
    }

    /// The samples, oldest first, as they are `now`.
    pub fn shown(&self, now: Instant) -> api::History {
        let samples = self.samples.iter().map(|sample| api::HistorySample {
            age_ms: now.saturating_duration_since(sample.at).as_millis() as u64,
            over_ms: sample.over.as_millis() as u64,
            new_flows: sample.new_flows,
            packets_to_target: sample.packets[0],
            bytes_to_target: sample.bytes[0],
            packets_to_client: sample.packets[1],
            bytes_to_client: sample.bytes[1],
            packets_dropped: sample.dropped,
            flows: sample.flows,
        });
        api::History { step_ms: STEP.as_millis() as u64, samples: samples.collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(endpoints: &[(&str, u64, u64)], dropped: &[(&str, u64)]) -> Reading {
        let endpoint = |&(id, opened, bytes): &(&str, u64, u64)| {
            let counts = Counts { opened, bytes_to_target: bytes, ..Counts::default() };
            (id.to_owned(), counts)
        };
        let endpoints = endpoints.iter().map(endpoint).collect();
        let dropped = dropped.iter().map(|&(of, count)| ((of.to_owned(), "NoListener"), count));
        Reading { endpoints, dropped: dropped.collect(), flows: 7 }
    }

    /// New flows, bytes and drops of each sample after these readings.
    fn samples(readings: &[Reading]) -> Vec<(u64, u64, u64)> {
        let (mut history, began) = (History::default(), Instant::now());
        for (number, reading) in readings.iter().enumerate() {
            history.take(began + STEP * number as u32, reading);
        }
        let shown = history.shown(began + STEP * (readings.len() as u32 - 1)).samples;
        assert!(shown.iter().rev().map(|of| of.age_ms).eq((0..).step_by(10_000).take(shown.len())));
        assert!(shown.iter().all(|of| (of.over_ms, of.flows) == (10_000, 7)));
        shown.iter().map(|of| (of.new_flows, of.bytes_to_target, of.packets_dropped)).collect()
    }

    #[test]
    fn samples_say_what_has_grown() {
        let readings = [
            reading(&[("a", 10, 1000), ("b", 1, 50)], &[("eth0", 5)]),
            reading(&[("a", 12, 1600), ("b", 1, 50)], &[("eth0", 5), ("eth1", 2)]),
            reading(&[("a", 12, 1600), ("b", 2, 90)], &[("eth0", 6), ("eth1", 2)]),
        ];
        assert_eq!(samples(&readings[..1]), []);
        assert_eq!(samples(&readings), [(2, 600, 2), (1, 40, 1)]);
    }

    #[test]
    fn a_flow_that_ends_while_it_is_read_is_no_peak_afterwards() {
        let readings = [1_000_000, 200, 1_000_050].map(|bytes| reading(&[("a", 3, bytes)], &[]));
        assert_eq!(samples(&readings), [(0, 0, 0), (0, 50, 0)]);
    }

    #[test]
    fn what_goes_away_takes_nothing_along_and_brings_nothing_back() {
        let readings = [
            reading(&[("a", 10, 1000), ("b", 5, 500)], &[("eth0", 100), ("eth1", 3)]),
            reading(&[("a", 11, 1010)], &[("eth1", 3)]),
            reading(&[("a", 11, 1010), ("b", 1, 20)], &[("eth0", 101), ("eth1", 1)]),
        ];
        assert_eq!(samples(&readings), [(1, 10, 0), (1, 20, 2)]);
    }

    #[test]
    fn an_hour_is_kept() {
        let (mut history, began) = (History::default(), Instant::now());
        for number in 0..1000 {
            history.take(began + STEP * number, &reading(&[("a", u64::from(number), 0)], &[]));
        }
        let shown = history.shown(began + STEP * 999);
        assert_eq!((shown.samples.len(), shown.samples[0].age_ms), (360, 3_590_000));
        assert_eq!(size_of::<Sample>() * SAMPLES, 31_680);
    }
}
